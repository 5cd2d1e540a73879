/* trust.c - the known answer that every worker must give, and what follows when somebody's bits
 * were wrong: requests end, those that have ended are named, a person can read why. */
#include "common/math/self_test.h"
#include "common/model/digests.h"
#include "common/util/clock.h"
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#define TRUST_DEADLINE_US 10000000 /* of an audit or a self test: far more than either takes */

/* ---- The known answer ----*/

/* Another seed with each start of the leader, so that nobody can know the answer without computing;
 * its answer is computed once, before anybody connects. */
int hd_trust_init(struct hd_leader *l, struct hd_error *err)
{
    struct hd_self_test t;
    if (getrandom(&l->self_test.seed, sizeof l->self_test.seed, 0) != sizeof l->self_test.seed)
        l->self_test.seed = hd_now_us();
    int rc = hd_kernels_self_test(hd_kernels_get(hd_isa_best()), l->self_test.seed, NULL, &t);
    if (rc < 0)
        return hd_fail(err, rc, "no memory for the self test");
    l->self_test.digest = t.digest;
    return 0;
}

/* What else the bits of an answer are a function of: the settings of the arithmetic, and the
 * arithmetic itself, which a later release may have changed. */
void hd_trust_name_model(struct hd_leader *l)
{
    struct hd_self_test t;
    if (l->wire != HD_WIRE_EXACT ||
        hd_kernels_self_test(hd_kernels_get(hd_isa_best()), 0, NULL, &t) < 0)
        return;
    const uint64_t all[] = {hd_digests_whole(l->digests), t.digest, (uint64_t)l->activations,
                            (uint64_t)l->o.config->kv_type};
    snprintf(l->model_digest, sizeof l->model_digest, "%016" PRIx64, XXH3_64bits(all, sizeof all));
}

void hd_trust_options(const struct hd_leader *l, struct hd_trust_options *o)
{
    const struct hd_leader_config *c = l->o.config;
    *o = (struct hd_trust_options){
        .audit_every = (uint32_t)c->audit_every,
        .seed = l->self_test.seed,
        .deadline_us = TRUST_DEADLINE_US,
        .quarantine_us = c->quarantine_s * 1000000,
        .drain_after = (unsigned)c->drain_after,
        .self_test = true,
        .self_test_digest = l->self_test.digest,
    };
}

int hd_send_self_test(struct hd_leader *l, struct hd_peer *p)
{
    Hydac__V1__SelfTest m = HYDAC__V1__SELF_TEST__INIT;
    m.seed = l->self_test.seed;
    return hd_peer_send(p, HD_FRAME_SELF_TEST, &m.base, NULL);
}

void hd_peer_self_test_result(struct hd_peer *p, const struct hd_frame *f)
{
    struct hd_leader *l = p->leader;
    Hydac__V1__SelfTestResult *m = hydac__v1__self_test_result__unpack(NULL, f->body_len, f->body);
    if (!m || m->seed != l->self_test.seed) {
        hd_peer_broke_rules(p,
                            m ? "SelfTestResult of another seed" : "SelfTestResult cannot be read");
        goto out;
    }
    struct hd_event ev = {.type = HD_EV_SELF_TEST, .slot = (unsigned)p->slot, .digest = m->digest};
    if (m->digest != l->self_test.digest)
        hd_errlog(l->o.log, "self_test_failed",
                  "slot=%d seed=%016" PRIx64 " digest=%016" PRIx64 " expected=%016" PRIx64, p->slot,
                  m->seed, m->digest, l->self_test.digest);
    hd_leader_event(l, &ev);
out:
    if (m)
        hydac__v1__self_test_result__free_unpacked(m, NULL);
}

void hd_trust_welcome(struct hd_leader *l, unsigned slot)
{
    struct hd_worker_view v;
    if (hd_core_worker(l->core, slot, hd_now_us(), &v) && v.joins > 1)
        return; /* the same name again */
    memset(l->damages[slot], 0, sizeof l->damages[slot]);
}

/* ---- Who was wrong ----*/

struct names {
    struct hd_leader *l;
    char *text;
    size_t n, count;
};

static void name_ended(void *arg, const struct hd_ended_request *r)
{
    struct names *names = arg;
    uint64_t now = hd_now_us();
    hd_warn(names->l->o.log, "ended_request_suspect",
            "id=%s started_ms_ago=%" PRIu64 " ended_ms_ago=%" PRIu64, r->id,
            (now - r->started_us) / 1000, (now - r->ended_us) / 1000);
    size_t left = HD_EVENT_TEXT - names->n, len = strlen(r->id) + 2;
    if (len + sizeof ", ..." < left)
        names->n +=
            (size_t)snprintf(names->text + names->n, left, "%s%s", names->count ? ", " : "", r->id);
    else if (names->n + sizeof ", ..." <= HD_EVENT_TEXT && names->text[names->n - 1] != '.')
        names->n += (size_t)snprintf(names->text + names->n, left, ", ...");
    names->count++;
}

void hd_trust_name_ended(struct hd_leader *l, uint64_t since_us, uint32_t sequence,
                         char text[HD_EVENT_TEXT])
{
    struct names names = {.l = l, .text = text};
    text[0] = 0;
    if (!hd_engine_ended(l->engine, since_us, sequence, name_ended, &names))
        hd_warn(l->o.log, "ended_requests_suspect",
                "ended_ms_ago=%" PRIu64
                " reason=\"of those that ended so long ago or earlier only the "
                "latest %d are remembered by name\"",
                (hd_now_us() - since_us) / 1000, HD_ENDED_REQUESTS);
}

static const char *name_of(const struct hd_leader *l, unsigned slot)
{
    struct hd_worker_view v;
    return hd_core_worker(l->core, slot, hd_now_us(), &v) ? v.name : "?";
}

static double seconds_ago(uint64_t since_us)
{
    uint64_t now = hd_now_us();
    return now > since_us ? (double)(now - since_us) / 1e6 : 0;
}

static void do_wrong(struct hd_leader *l, const struct hd_action *a)
{
    struct hd_state_change *e = hd_leader_note(l, a->wrong.name, "wrong", "");
    char why[256];
    hd_errlog(l->o.log, "worker_wrong",
              "worker=%s unconfirmed_s=%.3f quarantine_s=%" PRIu64
              " effect=\"cut off; requests that have heard of tokens since then end, others begin "
              "anew\"",
              a->wrong.name, seconds_ago(a->wrong.since_us), l->o.config->quarantine_s);
    hd_trust_name_ended(l, a->wrong.since_us, HD_ALL_SEQUENCES, e->text);
    snprintf(why, sizeof why,
             "worker %s computed wrong bits, and what it gave in the %.1f s before they were found "
             "may be part of this answer; send the request again",
             a->wrong.name, seconds_ago(a->wrong.since_us));
    hd_engine_fail_told(l->engine, a->wrong.since_us, why);
}

static void do_doubt(struct hd_leader *l, const struct hd_action *a)
{
    const char *one = name_of(l, a->slot), *other = name_of(l, a->doubt.subject);
    struct hd_state_change *e = hd_leader_note(l, one, "doubted", other);
    char why[256];
    hd_errlog(l->o.log, "workers_contradict",
              "worker=%s other=%s unconfirmed_s=%.3f reason=\"both stay with their bits and there "
              "is no third to ask; add a worker, or take one of them away\"",
              one, other, seconds_ago(a->doubt.since_us));
    hd_trust_name_ended(l, a->doubt.since_us, HD_ALL_SEQUENCES, e->text);
    snprintf(why, sizeof why,
             "workers %.60s and %.60s compute different bits and there is no third that could say "
             "who is wrong; this answer cannot be trusted",
             one, other);
    hd_engine_fail_running(l->engine, why);
}

/* Their answers say it. Those that have ended are not concerned: rows are compared while their
 * sequence lives. */
static void do_rows_differ(struct hd_leader *l, const struct hd_action *a)
{
    unsigned suspect = 0;
    for (uint64_t left = a->rows.sequences; left; left &= left - 1)
        suspect += hd_engine_suspect(l->engine, (uint32_t)__builtin_ctzll(left));
    hd_errlog(l->o.log, "rows_differ",
              "worker=%s other=%s sequences=%016" PRIx64 " suspect_requests=%u "
              "reason=\"they have computed other K/V rows from the same inputs\"",
              name_of(l, a->slot), name_of(l, a->rows.subject), a->rows.sequences, suspect);
    hd_leader_note(l, name_of(l, a->slot), "rows_differ", name_of(l, a->rows.subject));
}

void hd_trust_act(struct hd_leader *l, const struct hd_action *a)
{
    switch (a->type) {
    case HD_ACT_DIFFER:
        hd_warn(l->o.log, "audit_differs", "audit=%" PRIu64 " worker=%s auditor=%s",
                a->differ.round, name_of(l, a->slot), name_of(l, a->differ.subject));
        break;
    case HD_ACT_ROWS_DIFFER:
        do_rows_differ(l, a);
        break;
    case HD_ACT_WRONG:
        do_wrong(l, a);
        break;
    case HD_ACT_DOUBT:
        do_doubt(l, a);
        break;
    default: /* HD_ACT_FAILING */
        hd_errlog(l->o.log, "memory_fails",
                  "worker=%s damages=%" PRIu64 " effect=\"drained; hydac drain --undo lets it work "
                  "again\"",
                  name_of(l, a->slot), l->o.config->drain_after);
        hd_leader_note(l, name_of(l, a->slot), "failing", "");
        break;
    }
}

/* ---- For the status ----*/

json_t *hd_trust_json(const struct hd_leader *l)
{
    const struct hd_leader_config *c = l->o.config;
    const struct hd_audit_totals *t = hd_core_audit_totals(l->core);
    json_t *names = json_array();
    uint64_t left;
    const char *name;
    for (size_t i = 0; (name = hd_core_quarantined(l->core, i, hd_now_us(), &left)); i++)
        json_array_append_new(names,
                              json_pack("{ss sf}", "worker", name, "left_s", (double)left / 1e6));
    return json_pack("{sI sI sI s{sI sI sI sI sI sI sI} s{sI sI} so}", "scrub_s",
                     (json_int_t)c->scrub_s, "audit", (json_int_t)c->audit_every, "wrong_workers",
                     (json_int_t)t->wrong, "audits", "half_steps", (json_int_t)t->rounds, "equal",
                     (json_int_t)t->equal, "unequal", (json_int_t)t->unequal, "undecided",
                     (json_int_t)t->undecided, "not_audited", (json_int_t)t->not_audited, "late",
                     (json_int_t)t->late, "skipped", (json_int_t)t->skipped, "rows_compared",
                     "equal", (json_int_t)t->rows_equal, "unequal", (json_int_t)t->rows_unequal,
                     "quarantined", names);
}

json_t *hd_trust_worker_json(const struct hd_leader *l, unsigned slot,
                             const struct hd_worker_view *v)
{
    json_t *damages = json_object();
    for (int k = 0; k < HD_DAMAGE_KINDS; k++)
        json_object_set_new(damages, hd_damage_name((enum hd_damage)k),
                            json_integer((json_int_t)l->damages[slot][k]));
    json_t *o =
        json_pack("{so sb sb}", "damages", damages, "failing", v->failing, "testing", v->testing);
    if (l->slots[slot])
        hd_beats_json(&l->slots[slot]->seen, true, o);
    return o;
}
