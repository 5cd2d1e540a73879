/* test_opencl.c - worker/opencl gives the CPU's bytes: on whatever device the driver shows first.
 * Where there is none the tests are skipped, unless HYDAC_OPENCL names one that must be there. */
#include "pair.h"
#include "worker/opencl/opencl.h"

#include <stdlib.h>

#if __has_include(<CL/cl.h>)
#include "worker/opencl/impl.h"
#endif

/* Under sanitizers a driver's compiler takes minutes for the kernels of all types: of these, one in
 * five there. The host's code is the same for all. */
#define TYPES_APART 1
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#undef TYPES_APART
#define TYPES_APART 5
#endif
#endif

/* Skips the test where there is no device. */
static void need_device(void)
{
    struct hd_error err = {0};
    struct hd_device_options o = {
        .threads = 1, .isa = hd_isa_best(), .where = getenv("HYDAC_OPENCL")};
    if (hd_opencl_device.check(&o, &err) == 0)
        return;
    cr_assert_null(o.where, "%s", err.text);
    cr_skip_test("%s", err.text);
}

/* Every packed form that a synthesized model can have, rows of floats and of 8 bits, K/V of 16 and
 * of 32 bits. */
Test(opencl, gives_the_same_bytes)
{
    static const struct rig_options options[] = {
        {.shape = "tiny", .type = HD_F32, .kv = HD_KV_F32},
        {.shape = "tiny-gqa3", .type = HD_BF16, .kv = HD_KV_F16},
        {.shape = "tiny", .type = HD_F16, .kv = HD_KV_F16},
        {.shape = "tiny", .type = HD_Q8_0, .kv = HD_KV_F32},
        {.shape = "tiny-gqa3", .type = HD_Q4_0, .kv = HD_KV_F16},
        {.shape = "tiny", .type = HD_Q8_0, .kv = HD_KV_F32, .activations = HD_ACTIVATIONS_Q8},
        {.shape = "tiny-gqa3", .type = HD_Q4_0, .activations = HD_ACTIVATIONS_Q8},
        {.shape = "tiny", .type = HD_Q4_1, .activations = HD_ACTIVATIONS_Q8},
    };
    need_device();
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        pair_expect_same(options[i], &hd_opencl_device);
}

/* Every type of GGUF files, as products of 8-bit rows and of floats, for few rows and for many. */
Test(opencl, gives_the_same_bytes_for_each_type)
{
    static const enum hd_dtype types[] = {
        HD_Q4_1,   HD_Q5_0,  HD_Q5_1,    HD_Q2_K,   HD_Q3_K,  HD_Q4_K,    HD_Q5_K,  HD_Q6_K,
        HD_IQ1_S,  HD_IQ1_M, HD_IQ2_XXS, HD_IQ2_XS, HD_IQ2_S, HD_IQ3_XXS, HD_IQ3_S, HD_IQ4_NL,
        HD_IQ4_XS, HD_TQ1_0, HD_TQ2_0,   HD_MXFP4,  HD_NVFP4, HD_Q1_0,
    };
    need_device();
    for (size_t i = 0; i < sizeof types / sizeof *types; i += TYPES_APART)
        pair_expect_same(
            (struct rig_options){.shape = "tiny-256",
                                 .type = types[i],
                                 .activations = i % 4 ? HD_ACTIVATIONS_Q8 : HD_ACTIVATIONS_F32},
            &hd_opencl_device);
}

/* Biases, norms of q and k, by head or of all, windows, caps, sinks, activations, partial RoPE,
 * scales, experts, and what travels behind a row. */
Test(opencl, gives_the_same_bytes_for_each_family)
{
    static const char *const shapes[] = {
        "tiny-biases",   "tiny-qwen2",  "tiny-qwen3",   "tiny-phi3",       "tiny-gemma",
        "tiny-gemma2",   "tiny-gemma3", "tiny-granite", "tiny-glm4",       "tiny-olmo2",
        "tiny-long",     "tiny-head24", "tiny-mixtral", "tiny-qwen3moe",   "tiny-gpt-oss",
        "tiny-gpt-oss",  "tiny-olmoe",  "tiny-cohere2", "tiny-mistral3",   "tiny-phi2",
        "tiny-nemotron", "tiny-falcon", "tiny-gptneox", "tiny-starcoder2",
    };
    need_device();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        pair_expect_same(
            (struct rig_options){.shape = shapes[i],
                                 .type = i % 2 ? HD_Q8_0 : HD_F32,
                                 .kv = i % 2 ? HD_KV_F16 : HD_KV_F32,
                                 .activations = i % 2 ? HD_ACTIVATIONS_Q8 : HD_ACTIVATIONS_F32},
            &hd_opencl_device);
}

Test(opencl, gives_the_same_bytes_far_into_a_sequence)
{
    need_device();
    pair_expect_same_far((struct rig_options){.shape = "tiny", .type = HD_Q8_0}, &hd_opencl_device);
    pair_expect_same_far(
        (struct rig_options){.shape = "tiny-gemma2", .type = HD_F32, .kv = HD_KV_F32},
        &hd_opencl_device);
}

Test(opencl, gives_the_same_compact_sums)
{
    need_device();
    pair_expect_same((struct rig_options){.shape = "tiny",
                                          .type = HD_Q8_0,
                                          .activations = HD_ACTIVATIONS_Q8,
                                          .wire = HD_WIRE_COMPACT},
                     &hd_opencl_device);
}

Test(opencl, finds_the_same_best_logits)
{
    need_device();
    pair_expect_same_best((struct rig_options){.shape = "tiny", .type = HD_F32}, &hd_opencl_device);
    pair_expect_same_best((struct rig_options){.shape = "tiny-gemma2", .type = HD_F32},
                          &hd_opencl_device);
    pair_expect_same_best((struct rig_options){.shape = "tiny-granite", .type = HD_F32},
                          &hd_opencl_device);
}

Test(opencl, finds_the_same_rows_bad)
{
    need_device();
    pair_expect_same_bad_rows(&hd_opencl_device);
}

RIG_TEST(opencl, rebuilds_the_same_rows)
{
    need_device();
    pair_expect_same_rebuild(
        (struct rig_options){.shape = "tiny", .type = HD_Q8_0, .activations = *activations},
        &hd_opencl_device);
}

/* The digest is that of every machine. */
Test(opencl, knows_the_answer)
{
    struct pair p;
    struct hd_self_test mine, right;
    need_device();
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_Q8_0}, &hd_opencl_device);
    cr_assert_eq(hd_kernels_self_test(hd_kernels_get(HD_ISA_PORTABLE), 11, NULL, &right), 0);
    cr_assert_eq(p.other.device->ops->self_test(p.other.device, 11, &mine), 0);
    cr_assert_eq(mine.digest, right.digest);
    pair_close(&p);
}

Test(opencl, is_chosen_by_its_name)
{
    const struct hd_device_kind *kind = NULL;
    struct hd_error err = {0};
    struct hd_device_options o = {.threads = 1, .isa = hd_isa_best(), .where = "no such/thing"};
    need_device();
    cr_assert_eq(hd_device_choose(&kind, "opencl:no such/thing", &o, &err), HD_E_CONFIG);
    cr_assert_not_null(strstr(err.text, "no such/thing"), "%s", err.text);
    o.where = "";
    cr_assert_eq(hd_device_choose(&kind, "opencl", &o, &err), 0, "%s", err.text);
    cr_assert_eq(kind, &hd_opencl_device);
}

#ifdef CL_VERSION_1_2

static cl_int CL_API_CALL launches_nothing(cl_command_queue q, cl_kernel k, cl_uint dims,
                                           const size_t *offset, const size_t *global,
                                           const size_t *local, cl_uint n, const cl_event *list,
                                           cl_event *event)
{
    return CL_OUT_OF_RESOURCES; /* what a reset looks like */
}

static cl_mem CL_API_CALL has_no_memory(cl_context c, cl_mem_flags f, size_t bytes, void *host,
                                        cl_int *rc)
{
    *rc = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static cl_mem CL_API_CALL has_no_resources(cl_context c, cl_mem_flags f, size_t bytes, void *host,
                                           cl_int *rc)
{
    *rc = CL_OUT_OF_RESOURCES;
    return NULL;
}

static cl_int CL_API_CALL finishes_nothing(cl_command_queue q)
{
    return CL_OUT_OF_RESOURCES;
}

/* The session ends with that code and the worker with it: whoever started it starts it again. What
 * fails afterwards says the same, also where a driver's code may mean that memory is short. */
Test(opencl, says_that_it_is_lost)
{
    struct pair p;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err = {0}, again = {0};
    uint64_t bytes = 0;
    need_device();
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_F32}, &hd_opencl_device);
    float *x = rig_random(3, p.cpu.model->shape.dim, 5);
    rig_rows_of(&rows, 0, 0, 3, x);
    pair_expect_same_answer(&p, &rows, HD_UNIT_FFN, 0);
    hd_opencl(p.other.device)->cl->call.EnqueueNDRangeKernel = launches_nothing;
    struct hd_half_step step = rig_step(&p.other, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(hd_node_step(p.other.node, &step, &out, &err), HD_E_DEVICE);
    cr_assert_not_null(strstr(err.text, "is lost"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "CL_OUT_OF_RESOURCES (-5)"), "%s", err.text);
    struct hd_device *d = p.other.device;
    cr_assert_eq(d->ops->lost(d, &again), HD_E_DEVICE);
    cr_assert_str_eq(again.text, err.text);
    hd_opencl(d)->cl->call.CreateBuffer = has_no_resources;
    cr_assert_eq(d->ops->reserve(hd_kv_memory(p.other.node->kv), (struct hd_kv_at){.sequence = 1},
                                 1 << 20, &bytes),
                 HD_E_DEVICE);
    free(x);
    pair_close(&p);
}

/* A driver may say that it is out of resources when memory is short: then all else goes on. */
Test(opencl, tells_short_memory_from_a_loss)
{
    struct pair p;
    int rc;
    need_device();
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_F32}, &hd_opencl_device);
    struct hd_device *d = p.other.device;
    struct hd_cl *cl = hd_opencl(d)->cl;
    cl->call.CreateBuffer = has_no_resources;
    cr_assert_null(hd_cl_buffer(cl, 1 << 20, &rc, NULL));
    cr_assert_eq(rc, HD_E_NOMEM);
    cr_assert_eq(d->ops->lost(d, NULL), 0);
    cl->call.Finish = finishes_nothing;
    cr_assert_null(hd_cl_buffer(cl, 1 << 20, &rc, NULL));
    cr_assert_eq(rc, HD_E_DEVICE);
    cr_assert_eq(d->ops->lost(d, NULL), HD_E_DEVICE);
    pair_close(&p);
}

/* What the card has no room for is an error of that call, and no loss of the device. */
Test(opencl, refuses_rows_that_do_not_fit)
{
    struct pair p;
    struct hd_cl *cl;
    uint64_t bytes = 0;
    need_device();
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_F32}, &hd_opencl_device);
    struct hd_device *d = p.other.device;
    struct hd_device_kv *kv;
    struct hd_kv_at at = {0};
    cl = hd_opencl(d)->cl;
    cr_assert_eq(d->ops->kv_new(d, &kv), 0);
    cl_mem(CL_API_CALL * right)(cl_context, cl_mem_flags, size_t, void *, cl_int *) =
        cl->call.CreateBuffer;
    cl->call.CreateBuffer = has_no_memory;
    cr_assert_eq(d->ops->reserve(kv, at, 64, &bytes), HD_E_NOMEM);
    cr_assert_eq(bytes, 0);
    cl->call.CreateBuffer = right;
    cr_assert_eq(d->ops->reserve(kv, at, 64, &bytes), 0);
    cr_assert_gt(bytes, 0);
    d->ops->kv_free(kv);
    pair_close(&p);
}

static cl_mem(CL_API_CALL *create_any)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
static size_t largest;

static cl_mem CL_API_CALL has_some_memory(cl_context c, cl_mem_flags f, size_t bytes, void *host,
                                          cl_int *rc)
{
    return bytes > largest ? has_no_memory(c, f, bytes, host, rc)
                           : create_any(c, f, bytes, host, rc);
}

/* Nor are weights; where a slab for many does not fit, a smaller one may. */
Test(opencl, refuses_weights_that_do_not_fit)
{
    struct pair p;
    struct hd_device_weights *w;
    struct hd_piece_at at = {.kind = HD_UNIT_FFN};
    need_device();
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_F32}, &hd_opencl_device);
    struct hd_device *d = p.other.device;
    struct hd_cl *cl = hd_opencl(d)->cl;
    uint64_t bytes = d->ops->piece_bytes(hd_shard_memory(p.other.node->shard), at);
    cr_assert_eq(d->ops->weights_new(d, &w), 0);
    create_any = cl->call.CreateBuffer;
    cl->call.CreateBuffer = has_some_memory;
    largest = bytes - 1;
    cr_assert_eq(d->ops->load(w, at, NULL), HD_E_NOMEM);
    cr_assert_eq(d->ops->piece_bytes(w, at), 0);
    largest = bytes;
    cr_assert_eq(d->ops->load(w, at, NULL), 0);
    cr_assert_eq(d->ops->piece_bytes(w, at), bytes);
    cr_assert_eq(d->ops->lost(d, NULL), 0);
    cl->call.CreateBuffer = create_any;
    d->ops->weights_free(w);
    pair_close(&p);
}

/* No steps without room for them; with fewer rows there may be. */
Test(opencl, refuses_steps_that_do_not_fit)
{
    struct pair p;
    need_device();
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_F32}, &hd_opencl_device);
    struct hd_device *d = p.other.device;
    struct hd_cl *cl = hd_opencl(d)->cl;
    struct hd_device_sizes sizes = d->sizes;
    create_any = cl->call.CreateBuffer;
    cl->call.CreateBuffer = has_some_memory;
    largest = 1 << 20;
    sizes.max_rows = 512;
    cr_assert_eq(d->ops->resize(d, &sizes), HD_E_NOMEM);
    sizes.max_rows = 16;
    cr_assert_eq(d->ops->resize(d, &sizes), 0);
    cr_assert_eq(d->ops->lost(d, NULL), 0);
    cl->call.CreateBuffer = create_any;
    pair_close(&p);
}

#endif
