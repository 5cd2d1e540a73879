/* Rows that sequences share: there once, seen by all, rebuilt once; on each device the bits are
 * those of a sequence that has all of its rows itself. */
#include "common/net/answer_digest.h"
#include "common/net/conn.h"
#include "rig.h"
#include "tests/device/reference.h"
#include "worker/trust/audit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N = 150, LAYERS = 2, BLOCK = HD_ATTN_BLOCK };

static void open_rig(struct rig *r, const struct hd_device_kind *device, uint64_t heads)
{
    struct hd_kv_report report;
    struct rig_options o = {
        .shape = "tiny", .type = HD_F32, .kv = HD_KV_F16, .threads = 2, .device = device};
    rig_open(r, &o);
    cr_assert_eq(rig_own_heads(r, heads, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
}

/* The inputs of positions [first, end) in all layers that are looked at; the last one's sums. */
static void step(struct rig *r, uint32_t sequence, uint32_t first, uint32_t end, int64_t *sums)
{
    size_t dim = r->model->shape.dim;
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint32_t p = first; p < end; p++) {
            struct rig_rows rows;
            float *x = rig_random(1, dim, 100 * p + l);
            rig_rows_of(&rows, sequence, p, 1, x);
            rig_sums(r, HD_UNIT_HEAD, l, &rows, sums);
            free(x);
        }
}

static void expect_same(struct rig *r, uint32_t one, uint32_t other, uint32_t first, uint32_t end)
{
    size_t dim = r->model->shape.dim;
    int64_t *a = calloc(dim, sizeof *a), *b = calloc(dim, sizeof *b);
    for (uint32_t p = first; p < end; p++) {
        step(r, one, p, p + 1, a);
        step(r, other, p, p + 1, b);
        cr_assert_arr_eq(a, b, dim * sizeof *a, "position %u", p);
    }
    free(a);
    free(b);
}

static void shares_and_is_the_same(const struct hd_device_kind *device)
{
    struct rig r;
    open_rig(&r, device, 0xf);
    int64_t *sums = calloc(r.model->shape.dim, sizeof *sums);
    step(&r, 0, 0, N, sums);
    uint64_t alone = hd_kv_bytes(r.node->kv);
    hd_node_share(r.node, 1, (struct hd_kv_share){0, 2 * BLOCK});
    expect_same(&r, 0, 1, 2 * BLOCK, 3 * BLOCK + 2); /* asked again; then both go on */
    uint64_t two = hd_kv_bytes(r.node->kv);
    cr_assert_eq(two, alone / 3 * (4 + 2), "blocks of its own only");
    hd_node_share(r.node, 2, (struct hd_kv_share){1, 3 * BLOCK});
    expect_same(&r, 1, 2, 3 * BLOCK, 3 * BLOCK + 9);
    cr_assert_eq(hd_kv_bytes(r.node->kv), two + alone / 3);
    cr_assert_eq(hd_kv_lineage(r.node->kv, 2), 0x7);
    cr_assert_eq(hd_kv_valid_total(r.node->kv, 1, 3), 3 * BLOCK + 2 + BLOCK + 9 + 9);
    cr_assert_eq(hd_input_log_count(r.node->input_log, 2, 0), 3 * BLOCK + 9);
    hd_node_clear_sequence(r.node, 0);
    cr_assert_eq(hd_kv_bytes(r.node->kv), 0, "whoever shared has nothing without it");
    cr_assert_eq(hd_kv_lineage(r.node->kv, 2), 0x4);
    cr_assert_eq(hd_input_log_bytes(r.node->input_log), 0);
    free(sums);
    rig_close(&r);
}

Test(share, on_the_cpu)
{
    shares_and_is_the_same(NULL);
}

Test(share, on_another_device)
{
    shares_and_is_the_same(&hd_reference_device);
}

/* A head that comes anew: rows of the parent once, those of the others from where they begin. */
Test(share, is_rebuilt_once)
{
    static const struct hd_sequence_need needs[] = {
        {.sequence = 0, .base = N},
        {.sequence = 1, .base = N + 5, .share = {0, 2 * BLOCK}},
        {.sequence = 2, .base = 2 * BLOCK, .share = {0, 2 * BLOCK}}, /* it has not begun */
    };
    struct rig r, all;
    struct hd_kv_report report;
    struct hd_assignment a = {.needs = needs, .n_needs = 3};
    open_rig(&r, NULL, 0xe);
    open_rig(&all, NULL, 0xf);
    struct rig *both[] = {&r, &all};
    int64_t *sums = calloc(r.model->shape.dim, sizeof *sums), *other;
    other = calloc(r.model->shape.dim, sizeof *other);
    for (int i = 0; i < 2; i++) {
        for (uint32_t p = 0; p < N; p += BLOCK)
            rig_feed(both[i], (struct rig_feed){0, r.model->shape.n_layers, p,
                                                p + BLOCK < N ? p + BLOCK : N});
        hd_node_share(both[i]->node, 1, needs[1].share);
        rig_feed(both[i], (struct rig_feed){1, r.model->shape.n_layers, 2 * BLOCK, N + 5});
    }
    cr_assert_eq(rig_own_heads(&r, 0xf, &a, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.rows_rebuilt, (uint64_t)r.model->shape.n_layers * (N + N + 5 - 2 * BLOCK));
    cr_assert_eq(report.positions, N + N + 5 - 2 * BLOCK);
    hd_kv_report_deinit(&report);
    cr_assert_eq(hd_kv_shared(r.node->kv, 2).shared, 2 * BLOCK, "told by the need");
    hd_node_share(all.node, 2, needs[2].share);
    for (uint32_t s = 1; s < 3; s++) {
        uint32_t p = s == 1 ? N + 5 : 2 * BLOCK;
        step(&r, s, p, p + 1, sums);
        step(&all, s, p, p + 1, other);
        cr_assert_arr_eq(sums, other, r.model->shape.dim * sizeof *sums);
    }
    free(sums);
    free(other);
    rig_close(&r);
    rig_close(&all);
}

/* Nothing is computed from rows that are not there. */
Test(share, needs_its_parent)
{
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err = {0};
    open_rig(&r, NULL, 0xf);
    float *x = rig_random(1, r.model->shape.dim, 1);
    hd_node_share(r.node, 1, (struct hd_kv_share){0, BLOCK});
    rig_rows_of(&rows, 1, BLOCK, 1, x);
    struct hd_half_step half = rig_step(&r, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(r.node, &half, &out, &err), HD_E_PROTO);
    r.node->lost = 1;
    cr_assert_eq(hd_node_step(r.node, &half, &out, &err), HD_STEP_NOT_OURS, "lost with its parent");
    /* Two that share with each other: neither is believed. */
    r.node->lost = 0;
    hd_node_share(r.node, 0, (struct hd_kv_share){1, BLOCK});
    cr_assert_eq(hd_kv_lineage(r.node->kv, 1), 0x2);
    cr_assert_eq(hd_node_step(r.node, &half, &out, &err), HD_E_PROTO);
    free(x);
    rig_close(&r);
}

Test(share, a_log_begins_behind_what_is_shared)
{
    struct rig r;
    struct hd_error err;
    size_t n;
    open_rig(&r, NULL, 0xf);
    struct hd_input_log *log = r.node->input_log;
    uint8_t *row = calloc(1, hd_node_row_bytes(r.node));
    hd_input_log_start_at(log, 1, BLOCK);
    cr_assert_eq(hd_input_log_count(log, 1, 0), BLOCK);
    cr_assert_eq(hd_input_log_append(log, (struct hd_log_at){1, 0, BLOCK + 1}, row, &err),
                 HD_LOG_KEPT, "a tail");
    cr_assert_eq(hd_input_log_count(log, 1, 0), BLOCK);
    cr_assert_eq(hd_input_log_append(log, (struct hd_log_at){1, 0, BLOCK}, row, &err), HD_LOG_KEPT);
    cr_assert_eq(hd_input_log_count(log, 1, 0), BLOCK + 2);
    cr_assert_not_null(hd_input_log_rows(log, (struct hd_log_at){1, 0, BLOCK}, &n));
    cr_assert_eq(n, 2);
    cr_assert_null(hd_input_log_rows(log, (struct hd_log_at){1, 0, 3}, &n), "another one's");
    cr_assert_eq(hd_input_log_bad_row(log, (struct hd_log_at){1, 0, 0}, 2 * BLOCK), UINT32_MAX);
    hd_input_log_give_up(log, 1);
    hd_input_log_try_again(log, 1);
    cr_assert_eq(hd_input_log_count(log, 1, 0), BLOCK, "it is still the same sequence");
    hd_input_log_drop(log, 1);
    cr_assert_eq(hd_input_log_count(log, 1, 0), 0);
    free(row);
    rig_close(&r);
}

/* The auditor has none of the rows; it computes those of the parent, too. */
static void audit(struct rig *r, const struct hd_half_step *half, bool fresh, uint64_t want)
{
    static const uint32_t heads[] = {0, 1, 2, 3};
    struct hd_audit_order order = {.id = 1, .fresh = fresh, .units = {heads, 4}, .step = *half};
    struct hd_audit_answer answer;
    int rc = hd_audit_add(r->node, &order);
    while (rc != HD_AUDIT_DONE && rc >= 0)
        rc = hd_audit_slice(r->node, &answer);
    cr_assert_eq(rc, HD_AUDIT_DONE);
    cr_assert_not(answer.cannot, "%s", answer.why.text);
    cr_assert_eq(answer.digest, want);
}

Test(share, is_audited_with_the_parents_rows)
{
    struct rig r, auditor;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err = {0};
    open_rig(&r, NULL, 0xf);
    open_rig(&auditor, NULL, 0);
    for (uint32_t p = 0; p < N; p += BLOCK) {
        struct rig_feed feed = {0, LAYERS, p, p + BLOCK < N ? p + BLOCK : N};
        rig_feed(&r, feed);
        rig_feed(&auditor, feed);
    }
    hd_node_share(r.node, 1, (struct hd_kv_share){0, 2 * BLOCK});
    hd_node_share(auditor.node, 1, (struct hd_kv_share){0, 2 * BLOCK});
    float *x = rig_random(3, r.model->shape.dim, 9);
    rig_rows_of(&rows, 1, 2 * BLOCK, 3, x);
    struct hd_half_step half = rig_step(&r, &rows, HD_UNIT_HEAD, 1);
    cr_assert_eq(hd_node_step(r.node, &half, &out, &err), HD_STEP_DONE);
    uint64_t digest = hd_answer_digest(&(struct hd_answer){
        .payload = hd_shared_data(out.payload), .payload_len = hd_shared_len(out.payload)});
    cr_assert_eq(out.n_wide + out.n_bad, 0);
    hd_shared_unref(out.payload);
    audit(&auditor, &half, false, digest);
    audit(&auditor, &half, true, digest);
    free(x);
    rig_close(&r);
    rig_close(&auditor);
}
