/* rebuild.c - what is missing becomes a list of K/V rows, which the team computes in one loop. */
#include "worker/share/rebuild.h"

#include "common/util/clock.h"
#include "worker/share/kv_work.h"

#include <stdlib.h>
#include <xxhash.h>

struct rebuild {
    struct hd_node *node;
    const struct hd_assignment *a;
    struct hd_kv_report *report;
    uint64_t gaps;      /* mask of sequences */
    uint64_t sequences; /* mask of those that need something; the needs by their numbers: */
    const struct hd_sequence_need *need[HD_MAX_SEQUENCES];
    struct hd_kv_list list;
};

uint32_t hd_needed(const struct hd_assignment *a, const struct hd_sequence_need *need,
                   uint32_t layer)
{
    uint32_t rows = need->base;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        rows += layer < a->layers_done[g] ? need->inflight[g] : 0;
    return need->replayed ? 0 : rows;
}

/* ---- Which units move ----*/

static int list_new_heads(struct rebuild *r)
{
    struct hd_unit_list want = r->a->want[HD_UNIT_HEAD];
    r->report->heads = malloc((want.n + 1) * sizeof *r->report->heads);
    r->report->ready = malloc((want.n + 1) * sizeof *r->report->ready);
    if (!r->report->heads || !r->report->ready)
        return HD_E_NOMEM;
    for (size_t i = 0; i < want.n; i++) {
        struct hd_shard_unit u = {HD_UNIT_HEAD, want.list[i]};
        if (!r->node->assigned || !hd_shard_owns(r->node->shard, u))
            r->report->heads[r->report->n_heads++] = u.unit;
    }
    return 0;
}

static void drop_lost(struct rebuild *r)
{
    struct hd_node *n = r->node;
    if (r->a->clear)
        hd_node_clear(n);
    for (size_t i = 0; i < r->a->n_needs; i++)
        if (r->a->needs[i].replayed)
            hd_node_clear_sequence(n, r->a->needs[i].sequence);
}

/* ---- Which rows are missing ----*/

static bool has_gap(const struct hd_node *n, const struct hd_assignment *a,
                    const struct hd_sequence_need *need, struct hd_unit_list heads)
{
    for (uint32_t l = 0; l < n->model->shape.n_layers; l++) {
        uint32_t end = hd_needed(a, need, l);
        if (hd_input_log_count(n->input_log, need->sequence, l) >= end)
            continue;
        for (size_t h = 0; h < heads.n; h++) {
            struct hd_kv_at at = {need->sequence, l, heads.list[h]};
            if (hd_kv_valid(n->kv, at) < end)
                return true;
        }
    }
    return false;
}

uint64_t hd_find_gaps(const struct hd_node *n, const struct hd_assignment *a,
                      struct hd_unit_list heads, struct hd_kv_report *report)
{
    uint64_t gaps = 0;
    report->n_gaps = 0;
    report->positions = 0;
    for (size_t i = 0; i < a->n_needs; i++) {
        const struct hd_sequence_need *need = &a->needs[i];
        if (has_gap(n, a, need, heads)) {
            gaps |= UINT64_C(1) << need->sequence;
            report->gaps[report->n_gaps++] = need->sequence;
            continue;
        }
        report->positions += hd_needed(a, need, 0);
    }
    return gaps;
}

/* All that is needed of this head is there. */
static bool is_ready(const struct rebuild *r, uint32_t head)
{
    for (size_t i = 0; i < r->a->n_needs; i++) {
        const struct hd_sequence_need *need = &r->a->needs[i];
        for (uint32_t l = 0; l < r->node->model->shape.n_layers; l++) {
            struct hd_kv_at at = {need->sequence, l, head};
            if (hd_kv_valid(r->node->kv, at) < hd_needed(r->a, need, l))
                return false;
        }
    }
    return true;
}

static void list_ready(struct rebuild *r)
{
    struct hd_kv_report *report = r->report;
    for (size_t i = 0; i < report->n_heads; i++)
        if (is_ready(r, report->heads[i]))
            report->ready[report->n_ready++] = report->heads[i];
}

static int add_lane(struct rebuild *r, const struct hd_lane_rows *rows)
{
    r->report->rows_kept += hd_kv_valid(r->node->kv, rows->at);
    return hd_kv_list_add_lane(&r->list, r->node, rows);
}

/* In the order of the report's digest. */
static int list_work(struct rebuild *r)
{
    struct hd_unit_list heads = r->a->want[HD_UNIT_HEAD];
    int rc = 0;
    for (size_t i = 0; i < r->a->n_needs; i++) {
        r->need[r->a->needs[i].sequence] = &r->a->needs[i];
        r->sequences |= UINT64_C(1) << r->a->needs[i].sequence;
    }
    r->list.n = 0;
    r->report->rows_kept = 0;
    for (uint32_t l = 0; l < r->node->model->shape.n_layers; l++)
        for (size_t h = 0; h < heads.n; h++)
            for (uint64_t left = r->sequences & ~r->gaps; left && rc == 0; left &= left - 1) {
                uint32_t s = (uint32_t)__builtin_ctzll(left);
                struct hd_kv_at at = {s, l, heads.list[h]};
                rc = add_lane(r,
                              &(struct hd_lane_rows){at, hd_needed(r->a, r->need[s], l), SIZE_MAX});
            }
    return rc;
}

/* ---- Computing them ----*/

static bool is_new(const struct hd_kv_report *report, uint32_t head)
{
    for (size_t i = 0; i < report->n_heads; i++)
        if (report->heads[i] == head)
            return true;
    return false;
}

/* `row`: room for a K and a V row. */
static void account(struct rebuild *r, const struct hd_kv_work *w, XXH3_state_t *hash, uint8_t *row)
{
    struct hd_kv *kv = r->node->kv;
    size_t bytes = hd_kv_row_bytes(kv);
    uint32_t end = is_new(r->report, w->at.head) ? w->position + (uint32_t)w->n : 0;
    for (uint32_t p = w->position; p < end; p++) {
        hd_kv_read(kv, w->at, p, row, row + bytes);
        XXH3_64bits_update(hash, row, 2 * bytes);
    }
    hd_kv_counters(kv, w->at.layer, w->at.head)->rebuilt += w->n;
}

void hd_kv_report_size(const struct hd_node *n, struct hd_kv_report *report)
{
    const struct hd_model_shape *m = &n->model->shape;
    report->bytes = report->rows_rebuilt * 2 * hd_kv_row_bytes(n->kv);
    /* K and V: two products of [head_dim][dim], a multiply and an add each. */
    report->flops = report->rows_rebuilt * 4 * m->head_dim * m->dim;
}

static int hash_rows(struct rebuild *r)
{
    XXH3_state_t *hash = XXH3_createState();
    uint8_t *row = malloc(2 * hd_kv_row_bytes(r->node->kv));
    bool ok = hash && row;
    if (ok) {
        XXH3_64bits_reset(hash);
        for (size_t i = 0; i < r->list.n; i++)
            account(r, &r->list.work[i], hash, row);
        r->report->digest = XXH3_64bits_digest(hash);
    }
    XXH3_freeState(hash);
    free(row);
    return ok ? 0 : HD_E_NOMEM;
}

static int compute(struct rebuild *r)
{
    uint64_t t0 = hd_now_us();
    int rc = hd_kv_list_run(&r->list, r->node);
    if (rc == HD_KV_DONE)
        rc = hash_rows(r);
    if (rc != 0)
        return rc;
    r->report->rows_rebuilt = hd_kv_list_rows(&r->list);
    hd_kv_report_size(r->node, r->report);
    if (r->list.n > 0)
        r->report->rebuild_us = hd_now_us() - t0;
    return 0;
}

/* Once more for each row of the log that turns out to be damaged. */
static int list_and_compute(struct rebuild *r)
{
    int rc;
    do {
        r->gaps = hd_find_gaps(r->node, r->a, r->a->want[HD_UNIT_HEAD], r->report);
        rc = list_work(r);
        if (rc == 0)
            rc = compute(r);
    } while (rc == HD_KV_AGAIN);
    return rc;
}

static int load(struct rebuild *r, struct hd_error *err)
{
    uint64_t t0 = hd_now_us();
    int rc = hd_shard_assign(r->node->shard, r->a->want, err);
    if (rc == HD_SHARD_LOADED)
        r->report->weights_us = hd_now_us() - t0;
    return rc < 0 ? rc : 0;
}

int hd_rebuild(struct hd_node *n, const struct hd_assignment *a, struct hd_kv_report *report,
               struct hd_error *err)
{
    struct rebuild r = {.node = n, .a = a, .report = report};
    *report = (struct hd_kv_report){.epoch = a->epoch};
    if (list_new_heads(&r) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for an assignment");
    drop_lost(&r);
    n->assigned = false; /* until everything below has succeeded */
    int rc = load(&r, err);
    if (rc < 0)
        return rc;
    list_ready(&r);
    rc = list_and_compute(&r);
    hd_kv_list_deinit(&r.list);
    if (rc < 0)
        return hd_fail(err, rc, "out of memory for rebuilding K/V");
    n->assigned = true;
    n->lost &= r.gaps;
    return 0;
}

void hd_kv_report_deinit(struct hd_kv_report *report)
{
    free(report->heads);
    free(report->ready);
    report->heads = report->ready = NULL;
}
