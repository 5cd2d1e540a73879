/* rebuild.c - see rebuild.h. One work item is up to HD_LOG_CHUNK positions of one lane: they need
 * nothing of one another, so a rebuild is a single parallel loop. */
#include "worker/rebuild.h"

#include "common/util/clock.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct rebuild {
    struct hd_node *node;
    const struct hd_assignment *a;
    struct hd_kv_report *report;
    uint64_t gaps; /* mask of sequences */
    struct hd_kv_work *work;
    size_t n, cap;
};

static uint32_t needed(const struct hd_assignment *a, const struct hd_sequence_need *need,
                       uint32_t layer)
{
    return need->replayed ? 0 : need->base + (layer < a->layers_done ? need->inflight : 0);
}

/* ---- Which units move ----*/

static int list_new_heads(struct rebuild *r)
{
    struct hd_unit_list want = r->a->want[HD_SHARD_HEAD];
    r->report->heads = malloc((want.n + 1) * sizeof *r->report->heads);
    if (!r->report->heads)
        return HD_E_NOMEM;
    for (size_t i = 0; i < want.n; i++)
        if (!r->node->assigned || !hd_shard_owns(r->node->shard, HD_SHARD_HEAD, want.list[i]))
            r->report->heads[r->report->n_heads++] = want.list[i];
    return 0;
}

static bool is_wanted(const struct hd_assignment *a, uint32_t head)
{
    struct hd_unit_list want = a->want[HD_SHARD_HEAD];
    for (size_t i = 0; i < want.n; i++)
        if (want.list[i] == head)
            return true;
    return false;
}

static void drop_lost(struct rebuild *r)
{
    struct hd_node *n = r->node;
    if (r->a->clear)
        hd_node_forget(n);
    for (size_t i = 0; i < r->a->n_needs; i++)
        if (r->a->needs[i].replayed)
            hd_node_drop(n, r->a->needs[i].sequence);
    struct hd_unit_list owned = hd_shard_owned(n->shard, HD_SHARD_HEAD);
    for (size_t i = 0; i < owned.n; i++)
        if (!is_wanted(r->a, owned.list[i]))
            hd_kv_drop_head(n->kv, owned.list[i]);
}

/* ---- Which rows are missing ----*/

static bool has_gap(const struct rebuild *r, const struct hd_sequence_need *need)
{
    const struct hd_node *n = r->node;
    struct hd_unit_list heads = r->a->want[HD_SHARD_HEAD];
    for (uint32_t l = 0; l < n->o.model->shape.n_layers; l++) {
        uint32_t end = needed(r->a, need, l);
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

static int add_work(struct rebuild *r, const struct hd_kv_work *w)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 256;
        struct hd_kv_work *work = realloc(r->work, cap * sizeof *work);
        if (!work)
            return HD_E_NOMEM;
        r->work = work;
        r->cap = cap;
    }
    r->work[r->n++] = *w;
    return 0;
}

/* Rows [valid, end) of a lane, in pieces that lie in one chunk of the log. */
static int add_lane(struct rebuild *r, struct hd_kv_at at, uint32_t end)
{
    struct hd_node *n = r->node;
    uint32_t valid = hd_kv_valid(n->kv, at);
    r->report->rows_kept += valid;
    if (valid >= end)
        return 0;
    int rc = hd_kv_reserve(n->kv, at, end);
    for (uint32_t p = valid; p < end && rc == 0;) {
        struct hd_kv_work w = {.at = at, .position = p};
        w.x = hd_input_log_rows(n->input_log, (struct hd_log_at){at.sequence, at.layer, p}, &w.n);
        if (w.n > end - p)
            w.n = end - p;
        rc = add_work(r, &w);
        p += (uint32_t)w.n;
    }
    return rc;
}

static void find_gaps(struct rebuild *r)
{
    for (size_t i = 0; i < r->a->n_needs; i++) {
        const struct hd_sequence_need *need = &r->a->needs[i];
        if (has_gap(r, need)) {
            r->gaps |= UINT64_C(1) << need->sequence;
            r->report->gaps[r->report->n_gaps++] = need->sequence;
            continue;
        }
        r->report->positions += needed(r->a, need, 0);
    }
}

static int list_work(struct rebuild *r)
{
    struct hd_unit_list heads = r->a->want[HD_SHARD_HEAD];
    int rc = 0;
    for (uint32_t l = 0; l < r->node->o.model->shape.n_layers; l++)
        for (size_t h = 0; h < heads.n; h++)
            for (size_t i = 0; i < r->a->n_needs && rc == 0; i++) {
                const struct hd_sequence_need *need = &r->a->needs[i];
                struct hd_kv_at at = {need->sequence, l, heads.list[h]};
                if (!(r->gaps >> need->sequence & 1))
                    rc = add_lane(r, at, needed(r->a, need, l));
            }
    return rc;
}

/* ---- Computing them ----*/

static void rebuild_item(void *arg, size_t index, unsigned thread)
{
    struct rebuild *r = arg;
    hd_compute_kv(r->node->compute, thread, &r->work[index]);
}

static void account(struct rebuild *r, const struct hd_kv_work *w, XXH3_state_t *hash)
{
    struct hd_kv *kv = r->node->kv;
    size_t row = hd_kv_row_bytes(kv);
    for (uint32_t p = w->position; p < w->position + w->n; p++) {
        XXH3_64bits_update(hash, hd_kv_k(kv, w->at, p), row);
        XXH3_64bits_update(hash, hd_kv_v(kv, w->at, p), row);
    }
    hd_kv_commit(kv, w->at, w->position + (uint32_t)w->n);
    hd_kv_counters(kv, w->at.layer, w->at.head)->rebuilt += w->n;
    r->report->rows_rebuilt += w->n;
}

static int compute(struct rebuild *r)
{
    const struct hd_model_shape *m = &r->node->o.model->shape;
    uint32_t end = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->work[i].position + r->work[i].n > end)
            end = r->work[i].position + (uint32_t)r->work[i].n;
    if (hd_compute_positions(r->node->compute, end) < 0)
        return HD_E_NOMEM;
    XXH3_state_t *hash = XXH3_createState();
    if (!hash)
        return HD_E_NOMEM;
    XXH3_64bits_reset(hash);
    hd_team_run(r->node->o.team, r->n, rebuild_item, r);
    for (size_t i = 0; i < r->n; i++)
        account(r, &r->work[i], hash);
    r->report->digest = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    r->report->bytes = r->report->rows_rebuilt * 2 * hd_kv_row_bytes(r->node->kv);
    /* K and V: two products of [head_dim][dim], a multiply and an add each. */
    r->report->flops = r->report->rows_rebuilt * 4 * m->head_dim * m->dim;
    return 0;
}

int hd_rebuild(struct hd_node *n, const struct hd_assignment *a, struct hd_kv_report *report,
               struct hd_error *err)
{
    struct rebuild r = {.node = n, .a = a, .report = report};
    memset(report, 0, sizeof *report);
    uint64_t t0 = hd_now_us();
    if (list_new_heads(&r) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for an assignment");
    drop_lost(&r);
    n->assigned = false; /* until everything below has succeeded */
    int rc = hd_shard_assign(n->shard, a->want, err);
    if (rc < 0)
        return rc;
    uint64_t t1 = hd_now_us();
    report->weights_us = t1 - t0;
    find_gaps(&r);
    rc = list_work(&r);
    if (rc == 0)
        rc = compute(&r);
    free(r.work);
    report->rebuild_us = hd_now_us() - t1;
    if (rc < 0)
        return hd_fail(err, rc, "out of memory for rebuilding K/V");
    n->assigned = true;
    return 0;
}

void hd_kv_report_deinit(struct hd_kv_report *report)
{
    free(report->heads);
    report->heads = NULL;
}
