/* test_device.c - the contract of worker/device.h: two devices that have nothing in common but it,
 * the CPU's and tests/device/reference.c, give the same bytes for the same task. */
#include "rig.h"
#include "tests/device/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 70, OTHERS = 3, LAYERS = 2 }; /* more than a block of positions; a second sequence */

struct pair {
    struct rig cpu, plain;
};

static void open_pair(struct pair *p, struct rig_options o)
{
    o.threads = 2;
    rig_open(&p->cpu, &o);
    char path[128];
    rig_model_path(&p->cpu, path, sizeof path);
    o.model = path;
    o.threads = 1;
    o.device = &hd_reference_device;
    rig_open(&p->plain, &o);
    rig_own_part(&p->cpu, 0, 1);
    rig_own_part(&p->plain, 0, 1);
}

static void close_pair(struct pair *p)
{
    rig_close(&p->plain);
    rig_close(&p->cpu);
}

static struct hd_half_output answer(struct rig *r, const struct rig_rows *rows,
                                    enum hd_unit_kind units, uint32_t layer)
{
    struct hd_half_step step = rig_step(r, rows, units, layer);
    struct hd_half_output out;
    struct hd_error err = {0};
    if (units == HD_UNIT_HEAD)
        hd_node_log_inputs(r->node, layer, &step.rows);
    cr_assert_eq(hd_node_step(r->node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    return out;
}

static void expect_same_answer(struct pair *p, const struct rig_rows *rows, enum hd_unit_kind units,
                               uint32_t layer)
{
    struct hd_half_output a = answer(&p->cpu, rows, units, layer);
    struct hd_half_output b = answer(&p->plain, rows, units, layer);
    cr_assert_eq(hd_shared_len(a.payload), hd_shared_len(b.payload));
    cr_assert_arr_eq(hd_shared_data(a.payload), hd_shared_data(b.payload), hd_shared_len(a.payload),
                     "%s, layer %u", hd_unit_kind_name(units), layer);
    cr_assert_eq(a.n_wide, b.n_wide);
    cr_assert_eq(a.n_bad, b.n_bad);
    for (size_t i = 0; i < a.n_wide; i++)
        cr_assert_eq(a.wide[i], b.wide[i]);
    for (size_t i = 0; i < a.n_bad; i++)
        cr_assert_eq(a.bad[i], b.bad[i]);
    cr_assert_eq(a.flops, b.flops);
    hd_shared_unref(a.payload);
    hd_shared_unref(b.payload);
}

/* Rows of two sequences; the last one is asked again, as in a retry. */
static void expect_same(struct rig_options o)
{
    struct pair p;
    struct rig_rows rows;
    open_pair(&p, o);
    size_t dim = p.cpu.model->shape.dim;
    float *x = rig_random(N + OTHERS, dim, 17);
    rig_rows_of(&rows, 0, 0, N, x);
    rows.n += OTHERS;
    for (size_t i = 0; i < OTHERS; i++) {
        rows.sequences[N + i] = 1;
        rows.positions[N + i] = (uint32_t)i;
        rows.shifts[N + i] = i ? RIG_SHIFT : 40; /* one that does not fit 32 bits */
        rows.temperatures[N + i] = 0.7f * (float)i;
        rows.want[N + i] = (uint32_t)(7 * i);
    }
    for (uint32_t l = 0; l < LAYERS; l++) {
        expect_same_answer(&p, &rows, HD_UNIT_HEAD, l);
        expect_same_answer(&p, &rows, HD_UNIT_FFN, l);
    }
    struct rig_rows last = rows;
    last.n = 1;
    expect_same_answer(&p, &last, HD_UNIT_HEAD, 0);
    expect_same_answer(&p, &rows, HD_UNIT_VOCAB, 0);
    for (uint32_t h = 0; h < p.cpu.units.heads; h++)
        rig_expect_same_lane(&p.cpu, &p.plain, (struct hd_kv_at){0, 1, h}, N);
    free(x);
    close_pair(&p);
}

RIG_TEST(device, gives_the_same_bytes)
{
    static const enum hd_dtype types[] = {HD_F32, HD_BF16, HD_Q8_0, HD_Q4_0, HD_Q4_1};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        bool quantized = hd_dtype_block(types[t]) > 1;
        if (quantized || *activations == HD_ACTIVATIONS_F32)
            expect_same((struct rig_options){.shape = t % 2 ? "tiny-gqa3" : "tiny",
                                             .type = types[t],
                                             .kv = t % 2 ? HD_KV_F16 : HD_KV_F32,
                                             .activations = *activations});
    }
}

/* Biases, norms of q and k, by head or of all, windows, caps, tanh-GELU, partial RoPE, scales, and
 * what travels behind a row. */
Test(device, gives_the_same_bytes_for_each_family)
{
    static const char *const shapes[] = {
        "tiny-biases", "tiny-qwen2",  "tiny-qwen3",   "tiny-phi3",     "tiny-gemma",
        "tiny-gemma2", "tiny-gemma3", "tiny-granite", "tiny-glm4",     "tiny-olmo2",
        "tiny-long",   "tiny-head24", "tiny-mixtral", "tiny-qwen3moe",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        expect_same(
            (struct rig_options){.shape = shapes[i],
                                 .type = i % 2 ? HD_Q8_0 : HD_F32,
                                 .kv = i % 2 ? HD_KV_F16 : HD_KV_F32,
                                 .activations = i % 2 ? HD_ACTIVATIONS_Q8 : HD_ACTIVATIONS_F32});
}

Test(device, gives_the_same_compact_sums)
{
    expect_same((struct rig_options){.shape = "tiny",
                                     .type = HD_Q8_0,
                                     .activations = HD_ACTIVATIONS_Q8,
                                     .wire = HD_WIRE_COMPACT});
}

/* What is not finite is named by both, and is zeros. */
Test(device, finds_the_same_rows_bad)
{
    struct pair p;
    struct rig_rows rows;
    open_pair(&p, (struct rig_options){.shape = "tiny", .type = HD_F32});
    float *x = rig_random(3, p.cpu.model->shape.dim, 4);
    x[p.cpu.model->shape.dim + 5] = INFINITY;
    rig_rows_of(&rows, 0, 0, 3, x);
    expect_same_answer(&p, &rows, HD_UNIT_FFN, 0);
    struct hd_half_output out = answer(&p.plain, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(out.n_bad, 1);
    cr_assert_eq(out.bad[0], 1);
    hd_shared_unref(out.payload);
    free(x);
    close_pair(&p);
}

/* A head that moves is rebuilt from the log: the same rows, and the same digest of them. */
RIG_TEST(device, rebuilds_the_same_rows)
{
    struct pair p;
    struct rig *both[2] = {&p.cpu, &p.plain};
    struct hd_kv_report report[2];
    struct hd_sequence_need need = {.sequence = 0, .base = N};
    struct hd_assignment a = {.needs = &need, .n_needs = 1};
    open_pair(&p,
              (struct rig_options){.shape = "tiny", .type = HD_Q8_0, .activations = *activations});
    for (int i = 0; i < 2; i++) {
        uint32_t layers = both[i]->model->shape.n_layers;
        cr_assert_eq(rig_own_heads(both[i], 0x1, &(struct hd_assignment){0}, &report[i]), 0);
        hd_kv_report_deinit(&report[i]);
        hd_kv_clear(both[i]->node->kv);
        rig_feed(both[i], (struct rig_feed){0, layers, 0, N});
        cr_assert_eq(rig_own_heads(both[i], 0xf, &a, &report[i]), 0);
    }
    cr_assert_eq(report[0].rows_rebuilt, report[1].rows_rebuilt);
    cr_assert_gt(report[0].rows_rebuilt, 0);
    cr_assert_eq(report[0].n_digests, report[1].n_digests);
    cr_assert_eq(report[0].n_digests, 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(report[0].digests[i].digest, report[1].digests[i].digest);
    for (size_t i = 0; i < 2; i++)
        hd_kv_report_deinit(&report[i]);
    rig_expect_same_lane(&p.cpu, &p.plain, (struct hd_kv_at){0, 1, 3}, N);
    close_pair(&p);
}

/* Digests are a device's own; that memory is what it was is found with any of them. */
Test(device, finds_its_own_memory_whole_or_not)
{
    struct pair p;
    open_pair(&p, (struct rig_options){
                      .shape = "tiny", .type = HD_Q8_0, .activations = HD_ACTIVATIONS_Q8});
    struct hd_node *n = p.plain.node;
    struct hd_shard_unit u = {HD_UNIT_FFN, 1};
    struct hd_piece_walk walk = {0};
    size_t bytes = 0, run;
    while ((run = hd_shard_walk(n->shard, u, 1, &walk)) > 0)
        bytes += run;
    cr_assert_eq(bytes, p.plain.device->ops->piece_bytes(hd_shard_memory(n->shard),
                                                         (struct hd_piece_at){u.kind, u.unit, 1}));
    cr_assert_eq(walk.digest, hd_shard_seal_of(n->shard, u, 1)->digest);
    rig_feed(&p.plain, (struct rig_feed){0, LAYERS, 0, N});
    struct hd_kv_at at = {0, 1, 2};
    cr_assert_eq(hd_kv_bad_row(n->kv, at, 1), UINT32_MAX);
    uint64_t held = hd_kv_bytes(n->kv);
    hd_kv_keep_dropped(n->kv, true);
    hd_node_drop(n, 0);
    cr_assert_eq(hd_kv_bytes(n->kv), held);
    struct hd_kv_dropped d;
    while (hd_kv_prove_dropped(n->kv, &d) > 0)
        cr_assert_eq(d.bad, UINT32_MAX);
    cr_assert_eq(hd_kv_bytes(n->kv), 0);
    close_pair(&p);
}

Test(device, is_chosen_by_its_name)
{
    const struct hd_device_kind *kind = NULL;
    struct hd_device_options o = {.threads = 1, .isa = hd_isa_best()};
    struct hd_error err = {0};
    cr_assert_eq(hd_device_choose(&kind, "auto", &o, &err), 0);
    cr_assert_eq(kind, &hd_cpu_device);
    cr_assert_eq(hd_device_choose(&kind, "cpu", &o, &err), 0);
    cr_assert_eq(kind, &hd_cpu_device);
    cr_assert_eq(hd_device_choose(&kind, "abacus", &o, &err), HD_E_CONFIG);
    cr_assert(strstr(err.text, "abacus") && strstr(err.text, "cpu"), "%s", err.text);
}
