/* watch.c - what those who watch the cluster are told, in addition to its status. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"
#include "leader/api/failover_json.h"
#include "leader/api/feed.h"

static json_t *owners_json(const struct hd_plan *plan, enum hd_unit_kind kind,
                           const int number[HD_MAX_WORKERS])
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < plan->count[kind]; i++) {
        uint8_t owner = plan->owner[kind][i];
        json_array_append_new(list, json_integer(owner < HD_MAX_WORKERS ? number[owner] : -1));
    }
    return list;
}

/* Owners are numbers of "workers", which has those with a name; -1: nobody. */
json_t *hd_watch_plan(void *leader)
{
    const struct hd_leader *l = leader;
    const struct hd_plan *plan = hd_core_plan(l->core);
    int number[HD_MAX_WORKERS], n = 0;
    json_t *workers = json_array();
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct hd_worker_view v;
        bool there = hd_core_worker(l->core, s, hd_now_us(), &v);
        number[s] = there ? n++ : -1;
        if (there)
            json_array_append_new(workers, json_string(v.name));
    }
    return json_pack("{sI so so so so}", "epoch", (json_int_t)hd_core_epoch(l->core), "workers",
                     workers, "heads", owners_json(plan, HD_UNIT_HEAD, number), "ffn_blocks",
                     owners_json(plan, HD_UNIT_FFN, number), "vocab_blocks",
                     owners_json(plan, HD_UNIT_VOCAB, number));
}

void hd_watch_epoch(struct hd_leader *l, uint64_t epoch)
{
    if (l->told_epoch == epoch)
        return;
    l->told_epoch = epoch;
    if (hd_feed_is_watched(l->api))
        hd_feed_tell(l->api, "plan", hd_watch_plan(l));
}

void hd_watch_change(struct hd_leader *l, const char *worker, const char *state, const char *cause)
{
    if (hd_feed_is_watched(l->api))
        hd_feed_tell(l->api, "change",
                     json_pack("{ss ss ss sI}", "worker", worker, "state", state, "cause", cause,
                               "epoch", (json_int_t)hd_core_epoch(l->core)));
}

void hd_watch_ready(struct hd_leader *l)
{
    if (hd_feed_is_watched(l->api))
        hd_feed_tell(l->api, "cluster",
                     json_pack("{ss ss sI}", "state", hd_cluster_state_name(hd_core_state(l->core)),
                               "reason", hd_core_reason(l->core), "epoch",
                               (json_int_t)hd_core_epoch(l->core)));
}

void hd_watch_confirmed(struct hd_peer *p, const Hydac__V1__KvResult *m)
{
    struct hd_leader *l = p->leader;
    struct hd_worker_view v;
    if (!hd_feed_is_watched(l->api) || p->slot < 0 || m->round != 0 ||
        !hd_core_worker(l->core, (unsigned)p->slot, hd_now_us(), &v))
        return;
    json_t *heads = json_array();
    for (size_t i = 0; i < m->n_heads; i++)
        json_array_append_new(heads, json_integer(m->heads[i]));
    hd_feed_tell(l->api, "confirmed",
                 json_pack("{ss sI so si sI sf sf}", "worker", v.name, "epoch",
                           (json_int_t)m->epoch, "heads", heads, "ready", (int)m->n_ready_heads,
                           "rows_rebuilt", (json_int_t)m->rows_rebuilt, "weights_ms",
                           (double)m->weights_us / 1e3, "rebuild_ms", (double)m->rebuild_us / 1e3));
}

void hd_watch_failover(struct hd_leader *l, const struct hd_failover *f)
{
    if (hd_feed_is_watched(l->api))
        hd_feed_tell(l->api, "failover", hd_failover_json(f));
}
