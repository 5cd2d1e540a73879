/* kv_work.h - a list of K/V rows to compute from attention inputs. One item is up to HD_LOG_CHUNK
 * positions of one lane: items need nothing of one another, so a list is a single parallel loop. */
#ifndef HD_WORKER_KV_WORK_H
#define HD_WORKER_KV_WORK_H

#include "worker/share/node.h"

struct hd_kv_list {
    struct hd_kv_work *work; /* [n], room for cap; hd_kv_list_deinit frees it */
    uint32_t *bad;           /* [n]: the first position whose row of the log is damaged */
    size_t n, cap;
    bool logged;         /* the inputs lie in the input log; else they are a step's */
    struct hd_stores to; /* of the rows; no kv: the node's own */
};
void hd_kv_list_deinit(struct hd_kv_list *l);

/* Appends an item; its lane must be reserved. 0 or HD_E_NOMEM. */
int hd_kv_list_add(struct hd_kv_list *l, const struct hd_kv_work *w);
/* Reserves the lane and appends its rows [valid, end) out of the input log, which has them, until
 * the list has `max` items. 0 or HD_E_NOMEM. */
struct hd_lane_rows {
    struct hd_kv_at at;
    uint32_t end;
    size_t max;
};
int hd_kv_list_add_lane(struct hd_kv_list *l, struct hd_node *n, const struct hd_lane_rows *rows);
enum { HD_KV_DONE = 0, HD_KV_AGAIN = 1 };
/* Computes all rows, on the team, and declares them valid: HD_KV_DONE. Rows of the log are looked
 * at just before they are used: HD_KV_AGAIN, some were damaged, are cut out of the log and told of
 * (damage.h); none of the list is valid, and it is to be made anew. Or HD_E_NOMEM, likewise. */
int hd_kv_list_run(struct hd_kv_list *l, struct hd_node *n);
/* Rows of all items. */
uint64_t hd_kv_list_rows(const struct hd_kv_list *l);

#endif
