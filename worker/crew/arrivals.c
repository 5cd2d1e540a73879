/* arrivals.c - between the supply of weights, which the compute thread asks, and the connection:
 * requests go out as replies do, answers pass by the queue of jobs, since the job in hand may be
 * what waits for them. */
#include "common/model/files.h"
#include "common/util/clock.h"
#include "worker/crew/crew_impl.h"
#include "worker/share/hold.h"
#include "worker/trust/scrub.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void ask(void *arg, const struct hd_weights_ask *a)
{
    struct hd_crew *c = arg;
    struct hd_reply *r = hd_reply_new(c->joined);
    c->asked_us = hd_now_us();
    hd_crew_finish(c, r, r ? hd_reply_weights_request(r, a) : 0);
}

void hd_crew_forget_supply(struct hd_crew *c)
{
    c->look_ahead = false;
    hd_supply_begin(c->supply);
}

static int take_one(struct hd_crew *c, const struct hd_job *job, struct hd_error *err)
{
    const Hydac__V1__Weights *m = (const Hydac__V1__Weights *)job->message;
    struct hd_weights_answer a = {
        .at = {(enum hd_unit_kind)m->kind, m->unit, m->layer},
        .offset = m->offset,
        .digest = m->digest,
        .data = job->frame.payload,
        .n = job->frame.payload_len,
    };
    return job->session == c->joined ? hd_supply_take(c->supply, &a, err) : 0;
}

static int take_all(struct hd_crew *c, struct hd_job *list, struct hd_error *err)
{
    int rc = 0;
    while (list) {
        struct hd_job *job = list;
        list = job->next;
        if (rc == 0)
            rc = take_one(c, job, err);
        hd_crew_free_job(job);
    }
    return rc;
}

/* The job in hand waits for weights. */
static int wait_for_weights(void *arg, struct hd_error *err)
{
    struct hd_crew *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->arrived.first && !c->stop && atomic_load(&c->session) == c->joined)
        pthread_cond_wait(&c->changed, &c->lock);
    bool over = c->stop || atomic_load(&c->session) != c->joined;
    struct hd_job *list = hd_jobs_take_all(&c->arrived);
    pthread_mutex_unlock(&c->lock);
    int rc = take_all(c, list, err);
    return over ? hd_fail(err, HD_E_STATE, "the leader is gone; its weights do not come") : rc;
}

/* ---- Bytes that are not the leader's ----*/

#define TOLD_ONE_BY_ONE 16 /* pieces with a log line of their own; the others are counted */

/* Where the piece lies, for a person. */
static void say_where(const struct hd_crew *c, struct hd_piece_at at, enum hd_supply_source from,
                      char *text, size_t size)
{
    const struct hd_units *u = hd_shard_units(c->node->shard);
    struct hd_cuts cuts = hd_piece_cuts(c->o.model, u, at);
    uint64_t offset;
    const char *path = hd_model_where(c->o.model, hd_piece_first_byte(&cuts), &offset);
    if (from == HD_SUPPLY_FILE && path)
        snprintf(text, size, "%s %u of layer %u is not the leader's: %s, from byte %" PRIu64 " on",
                 hd_unit_kind_name(at.kind), at.unit, at.layer, path, offset);
    else
        snprintf(text, size, "what was kept of %s %u of layer %u is not the leader's",
                 hd_unit_kind_name(at.kind), at.unit, at.layer);
}

static void on_refused(void *arg, struct hd_piece_at at, enum hd_supply_source from)
{
    struct hd_crew *c = arg;
    struct hd_finding f = {
        .kind = HD_DAMAGE_FILE,
        .unit = {at.kind, at.unit},
        .layer = at.layer,
        .repaired = true,
    };
    struct hd_supply_totals t;
    hd_supply_totals(c->supply, &t);
    say_where(c, at, from, f.text, sizeof f.text);
    if (t.refused <= TOLD_ONE_BY_ONE)
        hd_warn(c->o.log, "piece_refused", "reason=\"%s\" effect=\"it is fetched from the leader\"",
                f.text);
    struct hd_reply *r = hd_reply_new(c->joined);
    hd_crew_finish(c, r, r ? hd_reply_damage(r, &f) : 0);
}

void hd_crew_learn_digests(struct hd_crew *c, const struct hd_job *job)
{
    const Hydac__V1__PieceDigests *m = (const Hydac__V1__PieceDigests *)job->message;
    const uint64_t *digests = (const uint64_t *)job->frame.payload; /* 64 bytes aligned */
    const struct hd_units *u = hd_shard_units(c->node->shard);
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t before = hd_supply_digest(c->supply, m->first + i);
        if (before == 0 || before == digests[i])
            continue;
        struct hd_piece_at at = hd_piece_nth(c->o.model, u, m->first + i);
        hd_shard_release_piece(c->node->shard, (struct hd_shard_unit){at.kind, at.unit}, at.layer);
    }
    hd_supply_learn(c->supply, m->first, digests, m->count);
}

int hd_crew_new_supply(struct hd_crew *c)
{
    return hd_supply_new(&c->supply, &(struct hd_supply_options){.model = c->o.model,
                                                                 .cache = c->o.cache,
                                                                 .refused = on_refused,
                                                                 .ask = ask,
                                                                 .wait = wait_for_weights,
                                                                 .arg = c});
}

void hd_crew_take_arrived(struct hd_crew *c)
{
    struct hd_error err = {0};
    pthread_mutex_lock(&c->lock);
    struct hd_job *list = hd_jobs_take_all(&c->arrived);
    pthread_mutex_unlock(&c->lock);
    if (!list)
        return;
    if (take_all(c, list, &err) < 0) {
        hd_crew_send_error(c, c->joined, &err);
        return;
    }
    uint64_t now = hd_now_us(); /* what was asked for took so long */
    c->supply_us = hd_pace_next(&c->pace, now, now - c->asked_us);
    c->hold_us = c->supply_us > c->hold_us ? c->supply_us : c->hold_us;
    c->hold_pending = c->audit_pending = true;
}

/* ---- Beside the steps ----*/

uint64_t hd_crew_supply_at(const struct hd_crew *c)
{
    bool idle = !c->hold_pending && !hd_supply_on_the_way(c->supply);
    return hd_supply_wants_more(c->supply) || (c->look_ahead && idle) ? c->supply_us : UINT64_MAX;
}

void hd_crew_run_supply(struct hd_crew *c)
{
    hd_supply_set_window(c->supply, 1);
    hd_supply_pump(c->supply);
    if (hd_supply_on_the_way(c->supply) || c->hold_pending || !c->look_ahead)
        return;
    c->look_ahead = hd_supply_ahead(c->supply);
    if (c->look_ahead)
        return;
    struct hd_supply_totals t;
    hd_supply_totals(c->supply, &t);
    if (c->told_complete && t.fetched == c->told_fetched)
        return;
    c->told_complete = true;
    c->told_fetched = t.fetched;
    hd_info(c->o.log, "weights_complete",
            "fetched=%" PRIu64 " fetched_bytes=%" PRIu64 " kept=%" PRIu64 " kept_bytes=%" PRIu64,
            t.fetched, t.fetched_bytes, t.kept, hd_weights_cache_bytes(c->o.cache));
}

static void want_lists(struct hd_crew *c, const struct hd_unit_list *lists)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        uint32_t layers = k == HD_UNIT_VOCAB ? 1 : c->o.model->shape.n_layers;
        for (size_t i = 0; i < lists[k].n; i++)
            for (uint32_t l = 0; l < layers; l++)
                hd_supply_want(c->supply,
                               (struct hd_piece_at){(enum hd_unit_kind)k, lists[k].list[i], l});
    }
}

void hd_crew_want(struct hd_crew *c, const struct hd_assignment *a)
{
    hd_supply_set_window(c->supply, HD_WEIGHTS_IN_FLIGHT);
    hd_supply_unwant_all(c->supply);
    want_lists(c, a->want);
    want_lists(c, a->hold);
    hd_supply_look_again(c->supply);
    c->look_ahead = c->o.cache != NULL; /* there is where to keep what comes ahead */
}

void hd_crew_log_weights(const struct hd_crew *c, const struct hd_supply_totals *before)
{
    struct hd_supply_totals t;
    hd_supply_totals(c->supply, &t);
    if (t.refused > before->refused)
        hd_warn(c->o.log, "weights_refused", "pieces=%" PRIu64 " since_start=%" PRIu64,
                t.refused - before->refused, t.refused);
    if (c->o.cache || t.fetched > before->fetched)
        hd_info(c->o.log, "weights", "fetched=%" PRIu64 " fetched_bytes=%" PRIu64 " kept=%" PRIu64,
                t.fetched - before->fetched, t.fetched_bytes - before->fetched_bytes,
                t.kept - before->kept);
}
