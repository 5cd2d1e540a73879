/* rebuild.c - what is missing becomes a list of K/V rows, which the team computes in one loop. */
#include "worker/share/rebuild.h"

#include "common/util/clock.h"
#include "worker/share/kv_work.h"

#include <stdlib.h>

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

void hd_need_cut(struct hd_sequence_need *need, uint32_t positions)
{
    need->base = need->base < positions ? need->base : positions;
    uint32_t left = positions - need->base;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++) {
        need->inflight[g] = need->inflight[g] < left ? need->inflight[g] : left;
        left -= need->inflight[g];
    }
}

/* ---- Which units move ----*/

/* All of its weights are there. */
static bool is_loaded(const struct rebuild *r, struct hd_shard_unit u)
{
    for (uint32_t l = 0; l < r->node->model->shape.n_layers; l++)
        if (!hd_shard_has(r->node->shard, u, l))
            return false;
    return true;
}

/* Of those that may be ready it is not known yet whether their rows are. */
static int list_new_heads(struct rebuild *r)
{
    struct hd_unit_list want = r->a->want[HD_UNIT_HEAD];
    struct hd_kv_report *report = r->report;
    report->heads = malloc((want.n + 1) * sizeof *report->heads);
    report->ready = malloc((want.n + 1) * sizeof *report->ready);
    if (!report->heads || !report->ready)
        return HD_E_NOMEM;
    for (size_t i = 0; i < want.n; i++) {
        struct hd_shard_unit u = {HD_UNIT_HEAD, want.list[i]};
        if (r->node->assigned && hd_shard_owns(r->node->shard, u))
            continue;
        report->heads[report->n_heads++] = u.unit;
        if (is_loaded(r, u))
            report->ready[report->n_ready++] = u.unit;
    }
    return 0;
}

void hd_note_shares(struct hd_node *n, const struct hd_assignment *a)
{
    for (size_t i = 0; i < a->n_needs; i++)
        hd_node_share(n, a->needs[i].sequence, a->needs[i].share);
}

static void drop_lost(struct rebuild *r)
{
    struct hd_node *n = r->node;
    if (r->a->clear)
        hd_node_clear(n);
    for (size_t i = 0; i < r->a->n_needs; i++)
        if (r->a->needs[i].replayed)
            hd_node_clear_sequence(n, r->a->needs[i].sequence);
    hd_note_shares(n, r->a);
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
        uint32_t needed = hd_needed(a, need, 0), shared = need->share.shared;
        report->positions += needed > shared ? needed - shared : 0;
    }
    return gaps;
}

/* All that is needed of this sequence is there of this head. */
static bool has_all(const struct rebuild *r, const struct hd_sequence_need *need, uint32_t head)
{
    for (uint32_t l = 0; l < r->node->model->shape.n_layers; l++) {
        struct hd_kv_at at = {need->sequence, l, head};
        if (hd_kv_valid(r->node->kv, at) < hd_needed(r->a, need, l))
            return false;
    }
    return true;
}

static bool is_ready(const struct rebuild *r, uint32_t head)
{
    for (size_t i = 0; i < r->a->n_needs; i++)
        if (r->a->needs[i].replayed || !has_all(r, &r->a->needs[i], head))
            return false;
    return true;
}

/* Leaves those whose rows are there as well. */
static void keep_ready(struct hd_kv_report *report, const struct rebuild *r)
{
    size_t loaded = report->n_ready;
    report->n_ready = 0;
    for (size_t i = 0; i < loaded; i++)
        if (is_ready(r, report->ready[i]))
            report->ready[report->n_ready++] = report->ready[i];
}

static int add_lane(struct rebuild *r, const struct hd_lane_rows *rows)
{
    r->report->rows_kept += hd_kv_own(r->node->kv, rows->at);
    return hd_kv_list_add_lane(&r->list, r->node, rows);
}

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

void hd_kv_report_size(const struct hd_node *n, struct hd_kv_report *report)
{
    const struct hd_model_shape *m = &n->model->shape;
    report->bytes = report->rows_rebuilt * 2 * hd_kv_row_bytes(n->kv);
    /* K and V: two products of [head_dim][dim], a multiply and an add each. */
    report->flops = report->rows_rebuilt * 4 * m->head_dim * m->dim;
}

static int compute(struct rebuild *r)
{
    uint64_t t0 = hd_now_us();
    int rc = hd_kv_list_run(&r->list, r->node);
    if (rc != HD_KV_DONE)
        return rc;
    for (size_t i = 0; i < r->list.n; i++) {
        const struct hd_kv_work *w = &r->list.work[i];
        hd_kv_counters(r->node->kv, w->at.layer, w->at.head)->rebuilt += w->n;
    }
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

/* ---- What others may have computed as well ----*/

static uint64_t digest_of(const struct rebuild *r, const struct hd_sequence_need *need,
                          uint32_t head)
{
    uint64_t digest = 0;
    for (uint32_t l = 0; l < r->node->model->shape.n_layers; l++) {
        struct hd_kv_at at = {need->sequence, l, head};
        digest = hd_kv_digest(r->node->kv, at, hd_needed(r->a, need, l), digest);
    }
    return digest;
}

static int list_digests(struct rebuild *r)
{
    struct hd_kv_report *report = r->report;
    uint32_t heads = r->node->model->shape.n_kv_heads;
    report->digests = malloc((r->a->n_needs * heads + 1) * sizeof *report->digests);
    if (!report->digests)
        return HD_E_NOMEM;
    for (size_t i = 0; i < r->a->n_needs; i++) {
        const struct hd_sequence_need *need = &r->a->needs[i];
        for (uint32_t h = 0; h < heads && hd_needed(r->a, need, 0) > need->share.shared; h++)
            if (has_all(r, need, h))
                report->digests[report->n_digests++] =
                    (struct hd_rows_digest){need->sequence, h, digest_of(r, need, h)};
    }
    return 0;
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
    n->assigned = n->goes_on = false; /* until everything below has succeeded */
    int rc = load(&r, err);
    if (rc < 0)
        return rc;
    keep_ready(report, &r);
    rc = list_and_compute(&r);
    if (rc == 0)
        rc = list_digests(&r);
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
    free(report->digests);
    report->heads = report->ready = NULL;
    report->digests = NULL;
}
