/* status.c - GET /hydac/status: what the core, the engine and the workers know, as one object.
 *
 * Happy path: ask every connected worker for its cache counters -> all answered -> build the
 * object -> done. A worker that is gone or does not answer within HD_STATS_WAIT_MS is reported
 * without its cache counters. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"
#include "leader/api/failover_json.h"

#include <stdlib.h>

struct hd_status_query {
    struct hd_status_query *next;
    uint64_t id, deadline_us;
    uint64_t waiting; /* mask of slots that have not answered */
    json_t *cache[HD_MAX_WORKERS];
    void (*done)(void *arg, json_t *status);
    void *arg;
};

static json_t *unit_list(const struct hd_plan *plan, enum hd_unit_kind kind, unsigned slot)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < plan->count[kind]; i++)
        if (plan->owner[kind][i] == slot)
            json_array_append_new(list, json_integer(i));
    return list;
}

static json_t *cache_json(const struct hd_leader *l, const Hydac__V1__Stats *s)
{
    json_t *layers = json_array();
    for (uint32_t i = 0; i < l->model->shape.n_layers; i++)
        json_array_append_new(layers, json_array());
    for (size_t i = 0; i < s->n_heads; i++) {
        const Hydac__V1__HeadStats *h = s->heads[i];
        json_array_append_new(json_array_get(layers, h->layer),
                              json_pack("{sI sb sI sI sI sI sI sI}", "head", (json_int_t)h->head,
                                        "held", h->held, "hits", (json_int_t)h->hits, "misses",
                                        (json_int_t)h->misses, "rebuilt", (json_int_t)h->rebuilt,
                                        "standby", (json_int_t)h->standby, "bytes",
                                        (json_int_t)h->bytes, "valid", (json_int_t)h->valid));
    }
    return json_pack("{sI so}", "log_rows", (json_int_t)s->log_rows, "layers", layers);
}

static json_t *units_json(const uint32_t *list, uint32_t n)
{
    json_t *o = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(o, json_integer(list[i]));
    return o;
}

/* What the worker holds ready beside what it owns; of `bare_heads` the weights alone. */
static json_t *held_json(const struct hd_leader *l, unsigned slot)
{
    const struct hd_holds *held = hd_core_held(l->core);
    uint32_t *list = malloc((held->count[HD_UNIT_HEAD] + 1) * sizeof *list);
    if (!list)
        return json_null();
    json_t *heads = units_json(list, hd_holds_list(held, HD_HOLD_KV, slot, list));
    json_t *bare = units_json(list, hd_holds_bare(held, slot, list));
    free(list);
    return json_pack("{so so si si}", "heads", heads, "bare_heads", bare, "ffn_blocks",
                     (int)hd_holds_list(held, HD_UNIT_FFN, slot, NULL), "vocab_blocks",
                     (int)hd_holds_list(held, HD_UNIT_VOCAB, slot, NULL));
}

static void add_connection(json_t *o, const struct hd_peer *p)
{
    json_object_set_new(o, "address", json_string(hd_conn_peer(p->conn)));
    json_object_set_new(o, "software", json_string(p->software));
    hd_beats_json(&p->seen, false, o);
    json_object_set_new(o, "weights_sent_bytes", json_integer((json_int_t)p->weights_sent));
    json_object_set_new(o, "weights_from",
                        json_string(!p->weights_asked      ? "file"
                                    : p->wrong_pieces == 0 ? "leader"
                                                           : "file and leader"));
    json_object_set_new(o, "bytes_in", json_integer((json_int_t)hd_conn_bytes_in(p->conn)));
    json_object_set_new(o, "bytes_out", json_integer((json_int_t)hd_conn_bytes_out(p->conn)));
}

static json_t *worker_json(const struct hd_leader *l, unsigned slot, const struct hd_worker_view *v,
                           uint64_t now)
{
    const struct hd_plan *plan = hd_core_plan(l->core);
    json_t *o = json_pack(
        "{ss ss so sI sI sf sf sf sI sI sf sI sI sI sf sI}", "name", v->name, "state",
        hd_worker_state_name(v->state), "heads", unit_list(plan, HD_UNIT_HEAD, slot), "ffn_blocks",
        (json_int_t)hd_plan_owned(plan, HD_UNIT_FFN, slot, NULL), "vocab_blocks",
        (json_int_t)hd_plan_owned(plan, HD_UNIT_VOCAB, slot, NULL), "last_seen_ms",
        (double)(now - v->last_seen_us) / 1e3, "rtt_ms", v->rtt_ms, "link_bytes_per_s", v->rate,
        "memory_bytes", (json_int_t)v->memory_bytes, "multiply_adds_per_s",
        (json_int_t)v->multiply_adds_per_s, "phi", v->phi, "steps", (json_int_t)v->steps,
        "answered", (json_int_t)v->answered, "failures", (json_int_t)v->failures, "success_rate",
        v->success_rate, "joins", (json_int_t)v->joins);
    json_object_set_new(o, "weights_owned_bytes",
                        json_integer((json_int_t)hd_leader_owned_weights(l, slot)));
    json_object_set_new(o, "held", held_json(l, slot));
    json_object_set_new(o, "draining", json_boolean(v->draining));
    json_object_set_new(o, "log_complete", json_boolean(v->covers));
    json_object_set_new(o, "logs_filled", json_integer(v->logs_filled));
    hd_share_json(l, slot, o);
    json_object_set_new(o, "integrity", hd_trust_worker_json(l, slot, v));
    if (l->slots[slot])
        add_connection(o, l->slots[slot]);
    return o;
}

static json_t *workers_json(const struct hd_leader *l, struct hd_status_query *q)
{
    json_t *list = json_array();
    uint64_t now = hd_now_us();
    for (unsigned i = 0; i < HD_MAX_WORKERS; i++) {
        struct hd_worker_view v;
        if (!hd_core_worker(l->core, i, now, &v))
            continue;
        json_t *o = worker_json(l, i, &v, now);
        if (q && q->cache[i])
            json_object_set(o, "cache", q->cache[i]);
        json_array_append_new(list, o);
    }
    return list;
}

/* How many rows took each expert since the start, in all layers together. */
static json_t *experts_json(const struct hd_leader *l, const struct hd_engine_stats *s)
{
    const struct hd_model_shape *m = &l->model->shape;
    json_t *rows = json_array();
    for (uint32_t e = 0; e < m->n_experts; e++)
        json_array_append_new(rows, json_integer((json_int_t)s->expert_rows[e]));
    return json_pack("{si si so}", "count", (int)m->n_experts, "used", (int)m->n_used, "rows",
                     rows);
}

static json_t *engine_json(const struct hd_leader *l)
{
    struct hd_engine_stats s;
    hd_engine_get_stats(l->engine, &s);
    json_t *experts = l->model->shape.n_experts ? experts_json(l, &s) : NULL;
    json_t *cache = json_pack("{sI sI sI sI sI sI}", "queries", (json_int_t)s.asked_tokens, "hits",
                              (json_int_t)s.reused_tokens, "sequences", (json_int_t)s.kept,
                              "positions", (json_int_t)s.kept_positions, "limit",
                              (json_int_t)hd_engine_live_limit(l->engine)->cached, "evictions",
                              (json_int_t)s.evictions);
    json_t *speculation =
        json_pack("{sI sI sI}", "drafted", (json_int_t)s.drafted, "accepted",
                  (json_int_t)s.accepted, "steps_saved", (json_int_t)s.steps_saved);
    return json_pack("{si si sI sI sI sI sI sI sI sI so so so*}", "waiting", (int)s.waiting,
                     "running", (int)s.running, "requests", (json_int_t)s.requests, "tokens",
                     (json_int_t)s.tokens, "prompt_tokens", (json_int_t)s.prompt_tokens, "steps",
                     (json_int_t)s.steps, "rows", (json_int_t)s.rows, "wide_rows",
                     (json_int_t)s.wide_rows, "logits_again", (json_int_t)s.logits_again,
                     "leader_us", (json_int_t)s.leader_us, "prefix_cache", cache, "speculation",
                     speculation, "experts", experts);
}

/* Oldest first, as many as the ring still holds. */
static json_t *events_json(const struct hd_leader *l)
{
    json_t *list = json_array();
    uint64_t now = hd_now_us(), first = l->n_events > HD_EVENTS ? l->n_events - HD_EVENTS : 0;
    for (uint64_t i = first; i < l->n_events; i++) {
        const struct hd_state_change *e = &l->events[i % HD_EVENTS];
        json_array_append_new(list, json_pack("{sf ss ss ss ss*}", "at_ms_ago",
                                              (double)(now - e->at_us) / 1e3, "worker", e->worker,
                                              "state", e->state, "cause", e->cause, "requests",
                                              e->text[0] ? e->text : NULL));
    }
    return list;
}

static json_t *failovers_json(const struct hd_leader *l)
{
    json_t *list = json_array();
    uint64_t first = l->n_failovers > HD_FAILOVERS ? l->n_failovers - HD_FAILOVERS : 0;
    for (uint64_t i = first; i < l->n_failovers; i++)
        json_array_append_new(list, hd_failover_json(&l->failovers[i % HD_FAILOVERS]));
    return list;
}

static json_t *move_json(const struct hd_leader *l)
{
    struct hd_move_view v;
    hd_core_move_view(l->core, &v);
    return json_pack("{sb si si si sI}", "moving", v.moving, "preparing", (int)v.preparing,
                     "standby_copies", v.kv ? (int)v.copies : 0, "standby_weights",
                     v.kv ? 0 : (int)v.copies, "units_without_copy", (json_int_t)v.missing);
}

static json_t *model_json(const struct hd_leader *l)
{
    const struct hd_model_shape *m = &l->model->shape;
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)l->model->digest);
    return json_pack("{ss ss si si si sI si ss}", "name", l->model->name, "digest", digest,
                     "layers", (int)m->n_layers, "heads", (int)m->n_heads, "kv_heads",
                     (int)m->n_kv_heads, "context", (json_int_t)l->context, "vocab", (int)m->vocab,
                     "activations", l->activations == HD_ACTIVATIONS_Q8 ? "q8" : "f32");
}

static json_t *totals_json(const struct hd_half_totals *t)
{
    return json_pack("{sI sI sI sI}", "done", (json_int_t)t->done, "waited_us",
                     (json_int_t)t->waited_us, "compute_us", (json_int_t)t->compute_us, "flops",
                     (json_int_t)t->flops);
}

/* By what their steps are: answers only, or prompts too. */
static json_t *half_steps_json(const struct hd_core *core)
{
    return json_pack("{so so}", "decode", totals_json(hd_core_half_totals(core, true)), "prefill",
                     totals_json(hd_core_half_totals(core, false)));
}

static json_t *cluster_json(const struct hd_leader *l)
{
    const struct hd_leader_config *c = l->o.config;
    json_t *o = json_pack(
        "{ss ss sI ss ss ss sI sI so so so so so ss ss sb}", "state",
        hd_cluster_state_name(hd_core_state(l->core)), "reason", hd_core_reason(l->core), "epoch",
        (json_int_t)hd_core_epoch(l->core), "recovery", hd_policies[c->recovery].name, "strategy",
        hd_strategies[c->strategy]->name, "wire", hd_wires[l->wire], "min_workers",
        (json_int_t)c->min_workers, "results_dropped", (json_int_t)l->results_dropped, "moves",
        move_json(l), "half_steps", half_steps_json(l->core), "traffic",
        hd_traffic_json(&l->traffic), "limits", hd_limits_json(l), "notes", hd_notes_json(l),
        "rebalance", c->rebalance == HD_REBALANCE_AUTO ? "auto" : "manual", "software",
        "hydac " HYDAC_VERSION, "tls", l->tls != NULL);
    const char *why = hd_digests_not_ready(l);
    if (o && why) {
        json_object_set_new(o, "state",
                            json_string(l->changed[0] ? "model_changed" : "model_touched"));
        json_object_set_new(o, "reason", json_string(why));
    }
    return o;
}

/* q: NULL, no worker was asked. */
static json_t *present_json(const struct hd_leader *l, struct hd_status_query *q)
{
    return json_pack("{so so s{si si si} so so so}", "model", model_json(l), "cluster",
                     cluster_json(l), "units", "heads", (int)l->units.heads, "ffn_blocks",
                     (int)l->units.ffn_blocks, "vocab_blocks", (int)l->units.vocab_blocks,
                     "workers", workers_json(l, q), "engine", engine_json(l), "integrity",
                     hd_trust_json(l));
}

static json_t *status_json(const struct hd_leader *l, struct hd_status_query *q)
{
    json_t *o = present_json(l, q);
    if (!o)
        return NULL;
    json_object_set_new(o, "failovers", failovers_json(l));
    json_object_set_new(o, "advice", hd_advice_json(l));
    json_object_set_new(o, "events", events_json(l));
    if (l->role.n > 0)
        json_object_set_new(o, "leaders", hd_leaders_json(l));
    if (l->role.n > 0 || l->o.config->journal)
        json_object_set_new(o, "records", hd_follow_json(l));
    return o;
}

json_t *hd_status_overview(void *leader, bool whole)
{
    return whole ? status_json(leader, NULL) : present_json(leader, NULL);
}

/* ---- Queries ----*/

static void finish(struct hd_leader *l, struct hd_status_query *q)
{
    struct hd_status_query **at = &l->queries;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    json_t *status = status_json(l, q);
    for (unsigned i = 0; i < HD_MAX_WORKERS; i++)
        json_decref(q->cache[i]);
    q->done(q->arg, status);
    free(q);
}

void hd_status_get(void *leader, void (*done)(void *arg, json_t *status), void *arg)
{
    struct hd_leader *l = leader;
    struct hd_status_query *q = calloc(1, sizeof *q);
    if (!q) {
        done(arg, json_pack("{ss}", "error", "out of memory"));
        return;
    }
    q->id = ++l->next_query;
    q->deadline_us = hd_now_us() + HD_STATS_WAIT_MS * 1000u;
    q->done = done;
    q->arg = arg;
    q->next = l->queries;
    l->queries = q;
    Hydac__V1__StatsRequest m = HYDAC__V1__STATS_REQUEST__INIT;
    m.id = q->id;
    for (unsigned i = 0; i < HD_MAX_WORKERS; i++)
        if (l->slots[i] && hd_peer_send(l->slots[i], HD_FRAME_STATS_REQUEST, &m.base, NULL) == 0)
            q->waiting |= UINT64_C(1) << i;
    if (q->waiting == 0)
        finish(l, q);
}

static void answered(struct hd_leader *l, struct hd_status_query *q, unsigned slot)
{
    q->waiting &= ~(UINT64_C(1) << slot);
    if (q->waiting == 0)
        finish(l, q);
}

void hd_status_stats(struct hd_leader *l, struct hd_peer *p, const Hydac__V1__Stats *s)
{
    struct hd_status_query *q = l->queries;
    while (q && q->id != s->id)
        q = q->next;
    if (!q || !(q->waiting >> p->slot & 1))
        return; /* came too late */
    q->cache[p->slot] = cache_json(l, s);
    answered(l, q, (unsigned)p->slot);
}

void hd_status_peer_gone(struct hd_leader *l, struct hd_peer *p)
{
    if (p->slot < 0)
        return;
    struct hd_status_query *next;
    for (struct hd_status_query *q = l->queries; q; q = next) {
        next = q->next;
        if (q->waiting >> p->slot & 1)
            answered(l, q, (unsigned)p->slot);
    }
}

void hd_status_tick(struct hd_leader *l, uint64_t now_us)
{
    struct hd_status_query *next;
    for (struct hd_status_query *q = l->queries; q; q = next) {
        next = q->next;
        if (now_us > q->deadline_us)
            finish(l, q);
    }
}

void hd_status_close(struct hd_leader *l)
{
    while (l->queries)
        finish(l, l->queries);
}
