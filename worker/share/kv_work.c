/* kv_work.c - rows are cut into items of the same size for all threads, each checked before it is
 * used. */
#include "worker/share/kv_work.h"

#include "common/util/clock.h"
#include "worker/trust/scrub.h"

#include <stdlib.h>

#define FIRST_ITEMS 64

void hd_kv_list_deinit(struct hd_kv_list *l)
{
    free(l->work);
    *l = (struct hd_kv_list){0};
}

int hd_kv_list_add(struct hd_kv_list *l, const struct hd_kv_work *w)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : FIRST_ITEMS;
        struct hd_kv_work *work = realloc(l->work, cap * sizeof *work);
        if (!work)
            return HD_E_NOMEM;
        l->work = work;
        l->cap = cap;
    }
    l->work[l->n++] = *w;
    return 0;
}

static struct hd_stores stores_of(const struct hd_kv_list *l, const struct hd_node *n)
{
    return l->to.kv ? l->to : hd_node_stores(n);
}

/* In pieces that lie in one chunk of the log. */
int hd_kv_list_add_lane(struct hd_kv_list *l, struct hd_node *n, const struct hd_lane_rows *rows)
{
    struct hd_kv_at at = rows->at;
    struct hd_kv *kv = stores_of(l, n).kv;
    uint32_t p = hd_kv_valid(kv, at);
    if (p >= rows->end || l->n >= rows->max)
        return 0;
    int rc = hd_kv_reserve(kv, at, rows->end);
    while (rc == 0 && p < rows->end && l->n < rows->max) {
        struct hd_kv_work w = {.at = at, .position = p, .logged = true};
        w.x = hd_input_log_rows(n->input_log, (struct hd_log_at){at.sequence, at.layer, p}, &w.n);
        if (w.n > rows->end - p)
            w.n = rows->end - p;
        rc = hd_kv_list_add(l, &w);
        p += (uint32_t)w.n;
    }
    return rc < 0 ? HD_E_NOMEM : 0;
}

struct run {
    struct hd_kv_list *list;
    struct hd_node *node;
    struct hd_stores to;
};

static void compute_item(void *arg, size_t index, unsigned thread)
{
    const struct run *r = arg;
    struct hd_kv_work *w = &r->list->work[index];
    struct hd_log_at at = {w->at.sequence, w->at.layer, w->position};
    w->bad = UINT32_MAX;
    if (w->logged)
        w->bad = hd_input_log_bad_row(r->node->input_log, at, w->position + (uint32_t)w->n);
    if (w->bad == UINT32_MAX)
        hd_compute_kv(r->node->compute, &r->to, thread, w);
}

/* Several heads' items may have met the same row: it is cut out once. */
static int cut_bad_rows(const struct hd_kv_list *l, struct hd_node *n)
{
    int rc = HD_KV_DONE;
    for (size_t i = 0; i < l->n; i++) {
        struct hd_kv_at lane = l->work[i].at;
        struct hd_log_at at = {lane.sequence, lane.layer, l->work[i].bad};
        if (l->work[i].bad == UINT32_MAX)
            continue;
        rc = HD_KV_AGAIN;
        if (hd_input_log_bad_row(n->input_log, at, at.position + 1) == at.position)
            hd_scrub_log_row(n, at, hd_now_us());
    }
    return rc;
}

int hd_kv_list_run(struct hd_kv_list *l, struct hd_node *n)
{
    struct run run = {l, n, stores_of(l, n)};
    uint32_t end = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->work[i].position + l->work[i].n > end)
            end = l->work[i].position + (uint32_t)l->work[i].n;
    if (hd_compute_positions(n->compute, end) < 0)
        return HD_E_NOMEM;
    hd_team_run(n->o.team, l->n, compute_item, &run);
    if (cut_bad_rows(l, n) == HD_KV_AGAIN)
        return HD_KV_AGAIN;
    for (size_t i = 0; i < l->n; i++)
        hd_kv_commit(run.to.kv, l->work[i].at, l->work[i].position + (uint32_t)l->work[i].n);
    return HD_KV_DONE;
}

uint64_t hd_kv_list_rows(const struct hd_kv_list *l)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < l->n; i++)
        rows += l->work[i].n;
    return rows;
}
