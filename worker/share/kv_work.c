/* kv_work.c - rows are cut into items of the same size for all threads, each checked before it is
 * used. */
#include "worker/share/kv_work.h"

#include "common/util/clock.h"
#include "worker/share/damage.h"

#include <stdlib.h>

#define FIRST_ITEMS 64

void hd_kv_list_deinit(struct hd_kv_list *l)
{
    free(l->work);
    free(l->bad);
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
        uint32_t *bad = realloc(l->bad, cap * sizeof *bad);
        if (!bad)
            return HD_E_NOMEM;
        l->bad = bad;
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
    l->logged = true;
    while (rc == 0 && p < rows->end && l->n < rows->max) {
        struct hd_kv_work w = {.at = at, .position = p};
        w.x = hd_input_log_rows(n->input_log, (struct hd_log_at){at.sequence, at.layer, p}, &w.n);
        if (w.n > rows->end - p)
            w.n = rows->end - p;
        rc = hd_kv_list_add(l, &w);
        p += (uint32_t)w.n;
    }
    return rc < 0 ? HD_E_NOMEM : 0;
}

struct check {
    const struct hd_kv_list *list;
    const struct hd_input_log *log;
};

static void check_item(void *arg, size_t index, unsigned thread)
{
    const struct check *c = arg;
    const struct hd_kv_work *w = &c->list->work[index];
    struct hd_log_at at = {w->at.sequence, w->at.layer, w->position};
    (void)thread;
    c->list->bad[index] = hd_input_log_bad_row(c->log, at, w->position + (uint32_t)w->n);
}

/* Several heads' items may have met the same row: it is cut out once. */
static int cut_bad_rows(const struct hd_kv_list *l, struct hd_node *n)
{
    int rc = HD_KV_DONE;
    for (size_t i = 0; i < l->n; i++) {
        struct hd_kv_at lane = l->work[i].at;
        struct hd_log_at at = {lane.sequence, lane.layer, l->bad[i]};
        if (l->bad[i] == UINT32_MAX)
            continue;
        rc = HD_KV_AGAIN;
        if (hd_input_log_bad_row(n->input_log, at, at.position + 1) == at.position)
            hd_damage_log_row(n, at, hd_now_us());
    }
    return rc;
}

/* Rows of the log are looked at just before they are used: HD_KV_DONE or HD_KV_AGAIN. */
static int check_log(struct hd_kv_list *l, struct hd_node *n)
{
    struct check check = {l, n->input_log};
    if (!l->logged)
        return HD_KV_DONE;
    hd_team_run(n->team, l->n, check_item, &check);
    return cut_bad_rows(l, n);
}

int hd_kv_list_run(struct hd_kv_list *l, struct hd_node *n)
{
    struct hd_stores to = stores_of(l, n);
    struct hd_device_stores memory = {hd_shard_memory(to.shard), hd_kv_memory(to.kv)};
    if (check_log(l, n) == HD_KV_AGAIN)
        return HD_KV_AGAIN;
    int rc = n->device->ops->rows(n->device, &memory, l->work, l->n);
    for (size_t i = 0; i < l->n && rc == 0; i++)
        hd_kv_commit(to.kv, l->work[i].at, l->work[i].position + (uint32_t)l->work[i].n);
    return rc < 0 ? rc : HD_KV_DONE;
}

uint64_t hd_kv_list_rows(const struct hd_kv_list *l)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < l->n; i++)
        rows += l->work[i].n;
    return rows;
}
