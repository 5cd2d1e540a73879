/* shares.c - who limits what. A worker's log, memory and pace set its own share; what they mean for
 * all is worked out here, and said with the worker's name.
 *
 * Logs: the cluster's soft limit is the room of the best of them, so that at least one worker
 * covers what is alive; what the others cannot hold they do not cover. Requests beyond it wait
 * until they are alone, and are served then. Memory: K/V has to be where its heads are, so the
 * positions that the tightest owner has memory for are a hard limit. What ended requests leave
 * behind is kept within both, and goes first. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"
#include "leader/api/failover_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIB 1048576.0

/* Positions that a worker's memory has room for beside the weights of what it owns and holds;
 * UINT64_MAX: its memory is not known, or it keeps no K/V. */
static uint64_t kv_room(const struct hd_leader *l, unsigned slot, double memory)
{
    struct hd_unit_cost unit[HD_UNIT_KINDS];
    uint32_t heads = 0;
    hd_leader_unit_costs(l, unit);
    unit[HD_UNIT_HEAD].bytes -= hd_leader_kv_bytes(l);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        uint32_t n = hd_plan_owned(hd_core_plan(l->core), k, slot, NULL) +
                     hd_holds_list(hd_core_hold(l->core), k, slot, NULL);
        memory -= n * unit[k].bytes;
        heads += k == HD_UNIT_HEAD ? n : 0;
    }
    heads -= hd_holds_bare(hd_core_hold(l->core), slot, NULL);
    if (heads == 0)
        return UINT64_MAX;
    double positions = memory / (heads * hd_leader_kv_position_bytes(l));
    return positions < 0 ? 0 : (uint64_t)positions;
}

unsigned hd_leader_sequences(const struct hd_leader *l)
{
    const struct hd_leader_config *c = l->o.config;
    bool keeps = c->cache_memory > 0 && l->wire == HD_WIRE_EXACT;
    return keeps ? HD_MAX_SEQUENCES : (unsigned)c->max_sequences;
}

/* Positions of ended requests that may stay. With compact sums none: their rows are a function of
 * the plan of then. Half of any memory and of any log is for those that run. */
static uint64_t cached(const struct hd_leader *l, uint64_t held)
{
    double bytes = (double)l->units.heads * hd_leader_kv_position_bytes(l);
    uint64_t most = (uint64_t)((double)l->o.config->cache_memory / bytes);
    if (l->wire != HD_WIRE_EXACT)
        return 0;
    most = most < held / 2 ? most : held / 2;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct hd_log_view log;
        if (!l->slots[s])
            continue;
        hd_core_log_view(l->core, s, &log);
        if (log.positions > 0 && log.positions / 2 < most)
            most = log.positions / 2;
    }
    return most;
}

void hd_leader_update_limits(struct hd_leader *l)
{
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    struct hd_live_limit limit = {.logged = hd_core_log_room(l->core), .held = UINT64_MAX};
    hd_core_measured(l->core, measured);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct hd_worker_view v;
        if (!l->slots[s] || measured[s].memory <= 0)
            continue;
        uint64_t room = kv_room(l, s, measured[s].memory);
        if (room >= limit.held || !hd_core_worker(l->core, s, hd_now_us(), &v))
            continue;
        limit.held = room;
        snprintf(limit.by, sizeof limit.by, "%s", v.name);
    }
    limit.cached = cached(l, limit.held);
    hd_engine_set_live_limit(l->engine, &limit);
}

/* ---- Said ----*/

static json_t *positions_json(uint64_t positions)
{
    return positions == UINT64_MAX ? json_null() : json_integer((json_int_t)positions);
}

json_t *hd_limits_json(const struct hd_leader *l)
{
    const struct hd_live_limit *limit = hd_engine_live_limit(l->engine);
    return json_pack("{so so so}", "positions_logged", positions_json(limit->logged), "positions",
                     positions_json(limit->held), "by",
                     limit->held == UINT64_MAX ? json_null() : json_string(limit->by));
}

void hd_share_json(const struct hd_leader *l, unsigned slot, json_t *worker)
{
    struct hd_worker_view v;
    struct hd_log_view log;
    uint64_t now = hd_now_us();
    if (!hd_core_worker(l->core, slot, now, &v))
        return;
    hd_core_log_view(l->core, slot, &log);
    json_object_set_new(worker, "pace", json_string(hd_pace_name(v.pace)));
    json_object_set_new(worker, "slowness", hd_real_json(v.slowness));
    json_object_set_new(worker, "share", hd_real_json(v.share));
    json_object_set_new(worker, "slow_for_ms",
                        v.slow_since_us ? hd_real_json((double)(now - v.slow_since_us) / 1e3)
                                        : json_null());
    json_object_set_new(worker, "log_limit_bytes", json_integer((json_int_t)log.limit_bytes));
    json_object_set_new(worker, "log_positions", positions_json(log.positions));
    json_object_set_new(worker, "log_covers", json_integer(log.covers));
}

static void note(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(json_t *list, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(list, json_string(text));
}

/* Logs that hold less than one sequence may have, or not all that is alive. */
static void note_log(const struct hd_leader *l, unsigned slot, const char *name, json_t *list)
{
    struct hd_log_view v;
    hd_core_log_view(l->core, slot, &v);
    double mib = (double)v.limit_bytes / MIB;
    if (v.limit_bytes == 0)
        return; /* it was asked to keep none */
    if (v.positions == 0)
        note(list, "log: %s covers nothing, its limit of %.0f MiB holds less than %d positions",
             name, mib, HD_LOG_CHUNK);
    else if (v.too_large > 0)
        note(list, "log: %s covers %u of %u sequences (limit %.0f MiB, %llu positions)", name,
             v.covers, v.sequences, mib, (unsigned long long)v.positions);
    else if (v.positions < l->context)
        note(list, "log: %s covers sequences of up to %llu positions together (limit %.0f MiB)",
             name, (unsigned long long)v.positions, mib);
}

static void note_pace(const struct hd_leader *l, const struct hd_worker_view *v, json_t *list)
{
    double seconds = (double)(hd_now_us() - v->slow_since_us) / 1e6;
    if (v->pace == HD_PACE_RELIEVED && v->share > 0)
        note(list, "slow: %s, %.1f times as slow as usual for %.0f s, keeps %.0f %% of its share",
             v->name, v->slowness, seconds, v->share * 100);
    else if (v->pace == HD_PACE_RELIEVED)
        note(list, "slow: %s is relieved since %.0f s, until it has been well for a while", v->name,
             seconds);
    else if (v->pace == HD_PACE_SLOW && l->o.config->rebalance == HD_REBALANCE_MANUAL)
        note(list, "slow: %s, %.1f times as slow as usual for %.0f s: hydac drain %s", v->name,
             v->slowness, seconds, v->name);
    else if (v->pace == HD_PACE_SLOW)
        note(list, "slow: %s, %.1f times as slow as usual for %.0f s, and nobody can take over",
             v->name, v->slowness, seconds);
}

json_t *hd_notes_json(const struct hd_leader *l)
{
    const struct hd_live_limit *limit = hd_engine_live_limit(l->engine);
    json_t *list = json_array();
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct hd_worker_view v;
        if (!l->slots[s] || !hd_core_worker(l->core, s, hd_now_us(), &v))
            continue;
        note_pace(l, &v, list);
        note_log(l, s, v.name, list);
    }
    if (limit->held < l->context)
        note(list, "memory: requests are limited to %llu positions by the memory of %s",
             (unsigned long long)limit->held, limit->by);
    else if (limit->held / l->context < l->o.config->max_sequences)
        note(list, "memory: %llu positions can be alive at once, by the memory of %s",
             (unsigned long long)limit->held, limit->by);
    if (limit->logged < l->context)
        note(list,
             "log: requests of more than %llu positions are served alone, and no log covers "
             "them: a loss costs their replay",
             (unsigned long long)limit->logged);
    return list;
}
