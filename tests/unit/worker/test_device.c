/* test_device.c - the contract of worker/device.h: devices that have nothing in common but it, the
 * CPU's, tests/device/reference.c and worker/opencl, give the same bytes for the same task. */
#include "pair.h"
#include "tests/device/reference.h"

#include <string.h>

RIG_TEST(device, gives_the_same_bytes)
{
    static const enum hd_dtype types[] = {HD_F32, HD_BF16, HD_Q8_0, HD_Q4_0, HD_Q4_1};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        bool quantized = hd_dtype_block(types[t]) > 1;
        if (quantized || *activations == HD_ACTIVATIONS_F32)
            pair_expect_same((struct rig_options){.shape = t % 2 ? "tiny-gqa3" : "tiny",
                                                  .type = types[t],
                                                  .kv = t % 2 ? HD_KV_F16 : HD_KV_F32,
                                                  .activations = *activations},
                             &hd_reference_device);
    }
}

/* Biases, norms of q and k, by head or of all, windows, caps, tanh-GELU, partial RoPE, scales, and
 * what travels behind a row. */
Test(device, gives_the_same_bytes_for_each_family)
{
    static const char *const shapes[] = {
        "tiny-biases", "tiny-qwen2",    "tiny-qwen3",    "tiny-phi3",         "tiny-gemma",
        "tiny-gemma2", "tiny-gemma3",   "tiny-granite",  "tiny-glm4",         "tiny-olmo2",
        "tiny-phi2",   "tiny-nemotron", "tiny-falcon",   "tiny-gptneox",      "tiny-long",
        "tiny-head24", "tiny-mixtral",  "tiny-qwen3moe", "tiny-gpt-oss",      "tiny-gpt-oss",
        "tiny-olmoe",  "tiny-cohere2",  "tiny-mistral3", "tiny-stablelm-12b", "tiny-command-r-plus",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        pair_expect_same(
            (struct rig_options){.shape = shapes[i],
                                 .type = i % 2 ? HD_Q8_0 : HD_F32,
                                 .kv = i % 2 ? HD_KV_F16 : HD_KV_F32,
                                 .activations = i % 2 ? HD_ACTIVATIONS_Q8 : HD_ACTIVATIONS_F32},
            &hd_reference_device);
}

Test(device, gives_the_same_bytes_far_into_a_sequence)
{
    pair_expect_same_far((struct rig_options){.shape = "tiny", .type = HD_F32, .kv = HD_KV_F32},
                         &hd_reference_device);
    pair_expect_same_far((struct rig_options){.shape = "tiny-gpt-oss", .type = HD_F32},
                         &hd_reference_device);
}

Test(device, gives_the_same_compact_sums)
{
    pair_expect_same((struct rig_options){.shape = "tiny",
                                          .type = HD_Q8_0,
                                          .activations = HD_ACTIVATIONS_Q8,
                                          .wire = HD_WIRE_COMPACT},
                     &hd_reference_device);
}

Test(device, finds_the_same_rows_bad)
{
    pair_expect_same_bad_rows(&hd_reference_device);
}

RIG_TEST(device, rebuilds_the_same_rows)
{
    pair_expect_same_rebuild(
        (struct rig_options){.shape = "tiny", .type = HD_Q8_0, .activations = *activations},
        &hd_reference_device);
}

/* Digests are a device's own; that memory is what it was is found with any of them. */
Test(device, finds_its_own_memory_whole_or_not)
{
    struct pair p;
    pair_open(
        &p,
        (struct rig_options){.shape = "tiny", .type = HD_Q8_0, .activations = HD_ACTIVATIONS_Q8},
        &hd_reference_device);
    struct hd_node *n = p.other.node;
    struct hd_shard_unit u = {HD_UNIT_FFN, 1};
    struct hd_piece_walk walk = {0};
    size_t bytes = 0, run;
    while ((run = hd_shard_walk(n->shard, u, 1, &walk)) > 0)
        bytes += run;
    cr_assert_eq(bytes, p.other.device->ops->piece_bytes(hd_shard_memory(n->shard),
                                                         (struct hd_piece_at){u.kind, u.unit, 1}));
    cr_assert_eq(walk.digest, hd_shard_seal_of(n->shard, u, 1)->digest);
    rig_feed(&p.other, (struct rig_feed){0, PAIR_LAYERS, 0, PAIR_ROWS});
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
    pair_close(&p);
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
