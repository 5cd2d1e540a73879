/* test_sim.c - thousands of clusters, each with its own misfortune.
 *
 *   test_sim [--seeds N] [--seed FIRST] [--leaders] [--trace]
 *
 * Each seed is a cluster of 1 to 6 workers that answers some requests while workers die, restart,
 * stop, join late or cannot be reached, and while the leader itself is late. After every event the
 * core's invariants hold; in the end every request has ended once, with exactly the tokens of the
 * reference. With --leaders there are several (leaders.c). The first seed that fails is named with
 * the command that runs it again. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_END_US 1200000
#define SIM_LIMIT_US  30000000 /* virtual: by then everything must have come to an end */

/* ---- Faults ----*/

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Something stands still from now on for up to `most_us`. Never cut short: what waits for the end
 * would be overtaken by what comes after it. */
static void hold(struct sim *s, uint64_t *until, uint64_t most_us)
{
    *until = later(*until, s->now + sim_below(s, most_us));
}

static unsigned running(const struct sim *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_workers; i++)
        n += s->workers[i].running;
    return n;
}

static void kill_worker(struct sim *s, unsigned i, bool comes_back)
{
    sim_worker_kill(s, i);
    if (comes_back)
        sim_at(s, s->now + 1000 + sim_below(s, 400000), CONNECT, i, NULL);
}

static void random_fault(struct sim *s, unsigned i)
{
    struct sim_worker *w = &s->workers[i];
    switch (sim_below(s, 9)) {
    case 0:
    case 1:
        kill_worker(s, i, sim_chance(s, 70));
        break;
    case 2: /* SIGSTOP, SIGCONT */
        hold(s, &w->stopped_until, 600000);
        break;
    case 3: /* the network loses it for a while */
        hold(s, &w->blocked_until, 600000);
        break;
    case 4:
        sim_worker_leave(s, i);
        break;
    case 5:
        sim_leader_operate(s, i);
        break;
    case 6:
        sim_trust_damage(s, i);
        break;
    case 7: /* it hangs: heartbeats are answered, nothing else */
        w->busy_until = s->now + 700000;
        break;
    default:
        hold(s, &s->leader_stalled_until, 400000);
        break;
    }
}

static void fault(struct sim *s, unsigned i)
{
    if (s->kind == SIM_JITTER && sim_chance(s, 30)) {
        hold(s, &s->leader_stalled_until, 900000);
        return;
    }
    if (!s->workers[i].running)
        return;
    if (s->kind == SIM_ONE_DEATH)
        kill_worker(s, i, false);
    else if (s->kind == SIM_JITTER && sim_chance(s, 50))
        hold(s, &s->workers[i].stopped_until, 120000);
    else if (s->kind == SIM_JITTER)
        hold(s, &s->workers[i].blocked_until, 120000);
    else
        random_fault(s, i);
}

/* Slow for a while, once or by fits and starts: it stands still for nine tenths of the time, or all
 * that it computes takes so many times as long. */
static void plan_slowness(struct sim *s)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (!sim_chance(s, 30))
            continue;
        bool stops = s->kind != SIM_JITTER && sim_chance(s, 50); /* there it would look lost */
        s->workers[i].slow_times = stops ? 0 : 3 + (unsigned)sim_below(s, 8);
        for (unsigned n = 1 + (unsigned)sim_below(s, 4); n > 0; n--)
            sim_at(s, 20000 + sim_below(s, 900000), PULSE, i, NULL);
    }
}

static void pulse(struct sim *s, unsigned i)
{
    struct sim_worker *w = &s->workers[i];
    if (s->now >= w->slow_until)
        w->slow_until = s->now + 100000 + sim_below(s, 900000);
    else if (w->slow_until - s->now < 40000 || s->now != w->pulse_at)
        return; /* it is over, or begins while it is slow already */
    w->stopped_until = later(w->stopped_until, s->now + (w->slow_times ? 0 : 36000));
    w->pulse_at = s->now + 40000;
    sim_at(s, w->pulse_at, PULSE, i, NULL);
}

static void plan_faults(struct sim *s)
{
    unsigned n =
        s->kind == SIM_MIXED || s->kind == SIM_LIAR_STORM ? 1 + (unsigned)sim_below(s, 3) : 0;
    if (s->kind == SIM_STORM)
        n = 4 + (unsigned)sim_below(s, 12);
    if (s->kind == SIM_ONE_DEATH && s->n_workers > 1)
        n = 1;
    uint64_t from = s->kind == SIM_ONE_DEATH ? 60000 : 5000; /* all must have come to lose one */
    for (unsigned i = 0; i < n; i++) { /* one draw after the other: a seed is the same everywhere */
        unsigned worker = (unsigned)sim_below(s, s->n_workers);
        sim_at(s, from + sim_below(s, sim_chance(s, 50) ? 200000 : 800000), FAULT, worker, NULL);
    }
    for (unsigned i = 0; i < s->n_workers && s->kind == SIM_JITTER; i++)
        sim_at(s, 100000 + sim_below(s, 600000), FAULT, i, NULL);
    for (unsigned i = 0;
         i < 3 && s->kind != SIM_ONE_DEATH && s->kind != SIM_LIAR && sim_chance(s, 50); i++) {
        unsigned worker = (unsigned)sim_below(s, s->n_workers);
        sim_at(s, 5000 + sim_below(s, 900000), OPERATOR, worker, NULL);
    }
    sim_at(s, FAULTS_END_US, HEAL, 0, NULL);
}

/* From now on all is well; some may be gone for good, unless there are too few to begin with. */
static void heal(struct sim *s)
{
    unsigned refused = s->liar < s->n_workers && s->workers[s->liar].running;
    bool enough = running(s) >= s->options.min_workers + refused;
    for (unsigned i = 0; i < s->n_leaders; i++)
        sim_leaders_rise(s, i);
    for (unsigned i = 0; i < s->n_workers; i++)
        if (!s->workers[i].running && !enough && s->kind != SIM_ONE_DEATH)
            sim_at(s, s->now, CONNECT, i, NULL);
}

/* ---- A seed's cluster ----*/

static const struct hd_strategy *pick_strategy(struct sim *s, uint32_t heads)
{
    if (!sim_chance(s, 15))
        return hd_strategy_find("even");
    s->fixed.n = s->n_workers < heads ? s->n_workers : heads;
    for (size_t i = 0; i < s->fixed.n; i++)
        snprintf(s->fixed.entries[i].name, sizeof s->fixed.entries[i].name, "w%zu", i);
    for (uint32_t h = 0; h < heads; h++) {
        struct hd_fixed_entry *e = &s->fixed.entries[h % s->fixed.n];
        e->heads[e->n_heads++] = h;
    }
    return hd_strategy_find("fixed");
}

static void start(struct sim *s)
{
    struct hd_error err;
    uint32_t heads = 1 + (uint32_t)sim_below(s, SIM_HEADS);
    s->n_workers = 1 + (unsigned)sim_below(s, SIM_WORKERS);
    s->kind = (enum sim_class)(s->seed % SIM_CLASSES);
    if (s->n_leaders > 0)
        s->kind = s->seed % 2 ? SIM_MIXED : SIM_STORM;
    s->options = (struct hd_core_options){
        .units = {heads, heads + (uint32_t)sim_below(s, 8), 1 + (uint32_t)sim_below(s, 6)},
        .n_layers = SIM_LAYERS,
        .min_workers = s->n_workers,
        .policy = &hd_policies[sim_chance(s, 20)   ? HD_POLICY_FULL
                               : sim_chance(s, 50) ? HD_POLICY_STANDBY
                                                   : HD_POLICY_REUSE],
        .standby = 1 + (unsigned)sim_below(s, 2),
        .strategy = pick_strategy(s, heads),
        .fixed = &s->fixed,
        .detector = hd_detector_defaults(50000),
        .relief = {.automatic = !sim_chance(s, 20), .slice_us = 20000, .hold_us = 60000},
        .step_deadline_us = 400000,
        .assign_deadline_us = 400000,
        .forget_after_us = s->seed / SIM_CLASSES % 2 ? 200000 : 0,
        .model_digest = 42,
    };
    if (!s->options.policy->copies && s->seed / SIM_CLASSES % 3 != 2)
        s->options.standby = 0; /* else the weights alone are held */
    if (s->kind >= SIM_MIXED)
        s->options.min_workers = 1 + (unsigned)sim_below(s, s->n_workers);
    sim_trust_options(s);
    if (hd_core_new(&s->core, &s->options, &err) < 0)
        sim_fail(s, "%s", err.text);
    s->engine.n_requests = 2 + (unsigned)sim_below(s, SIM_REQUESTS - 1);
    for (unsigned i = 0; i < s->engine.n_requests; i++) {
        sim_request_init(s, &s->engine.requests[i]);
        sim_at(s, 1000 + sim_below(s, 500000), SUBMIT, i, NULL);
        if (sim_chance(s, 10))
            sim_at(s, 1000 + sim_below(s, 600000), CANCEL, i, NULL);
    }
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct sim_worker *w = &s->workers[i];
        w->keeps_log = !(s->kind >= SIM_MIXED && sim_chance(s, 5));
        w->log_most = SIM_POSITIONS;
        if (s->kind >= SIM_MIXED && sim_chance(s, 8))
            w->log_most = (uint32_t)sim_below(s, SIM_POSITIONS);
    }
    for (unsigned i = 0; i < s->n_workers; i++)
        sim_at(s, sim_below(s, s->kind >= SIM_MIXED && sim_chance(s, 30) ? 400000 : 900), CONNECT,
               i, NULL);
    s->tick_due = 50000;
    sim_at(s, s->tick_due, TICK, 0, &(struct sim_msg){0});
    plan_faults(s);
    if (sim_chance(s, 40))
        plan_slowness(s);
    if (s->n_leaders > 0)
        sim_leaders_start(s);
}

/* ---- Running it ----*/

/* When it can happen: not while its place is stopped or cannot be reached. */
static uint64_t leader_of(const struct sim *s, unsigned leader)
{
    return later(sim_leaders_stalled(s, leader), sim_leaders_isolated(s, leader));
}

static uint64_t possible_at(const struct sim *s, const struct sim_event *e)
{
    const struct sim_worker *w = s->workers;
    switch (e->type) {
    case TICK:
        return later(s->leader_stalled_until, sim_leaders_stalled(s, e->worker));
    case AT_LEADER:
        return later(later(s->leader_stalled_until, w[e->worker].blocked_until),
                     later(leader_of(s, s->conn_leader[e->msg.conn]),
                           sim_leaders_cut(s, s->conn_leader[e->msg.conn], e->worker)));
    case AT_WORKER:
        return later(later(w[e->worker].stopped_until, w[e->worker].blocked_until),
                     later(sim_leaders_isolated(s, s->conn_leader[e->msg.conn]),
                           sim_leaders_cut(s, s->conn_leader[e->msg.conn], e->worker)));
    case HANGS_UP:
        return leader_of(s, e->msg.group);
    case EMIT:
    case CONNECT:
    case BACKGROUND:
    case AUDITING:
    case WATCH:
        return w[e->worker].stopped_until;
    default:
        return 0;
    }
}

static void submit(struct sim *s, struct sim_request *r)
{
    r->submitted = true;
    sim_engine_kick(s);
}

static void happen(struct sim *s, struct sim_event *e)
{
    const struct sim_worker *w = s->workers;
    switch (e->type) {
    case AT_LEADER:
        sim_leaders_at(s, s->conn_leader[e->msg.conn]);
        sim_leader_receive(s, &e->msg);
        break;
    case AT_WORKER:
        if (e->msg.conn == w[e->worker].conn)
            sim_worker_receive(s, e->worker, &e->msg);
        break;
    case EMIT:
        if (e->msg.conn == w[e->worker].conn)
            sim_send_to_leader(s, e->worker, &e->msg);
        break;
    case TICK:
        sim_leaders_at(s, e->worker);
        if (s->core && s->places[s->leader].lives == e->msg.seq)
            sim_leader_tick(s);
        break;
    case SUBMIT:
        if (s->n_leaders == 0)
            submit(s, &s->engine.requests[e->worker]);
        break;
    case CANCEL:
        if (s->n_leaders == 0 && s->engine.requests[e->worker].submitted)
            sim_engine_cancel(s, &s->engine.requests[e->worker]);
        break;
    case CONNECT:
        if (w[e->worker].conn == 0)
            sim_worker_connect(s, e->worker);
        break;
    case FAULT:
        fault(s, e->worker);
        break;
    case PULSE:
        pulse(s, e->worker);
        break;
    case BACKGROUND:
        sim_worker_background(s, e->worker);
        break;
    case AUDITING:
        sim_trust_work(s, e->worker);
        break;
    case OPERATOR:
        sim_leader_operate(s, e->worker);
        break;
    case HEAL:
        heal(s);
        break;
    case LEADER_FAULT:
        sim_leaders_fault(s, e->worker);
        break;
    case LEADER_STARTS:
        sim_leaders_rise(s, e->worker);
        break;
    case CLIENT:
        sim_leaders_client(s, e->worker);
        break;
    case HANGS_UP:
        sim_leaders_hangs_up(s, e->worker, &e->msg);
        break;
    case WATCH:
        sim_leaders_watch(s, e->worker);
        break;
    }
}

static bool is_over(struct sim *s)
{
    if (s->n_leaders > 0)
        return s->now > FAULTS_END_US + 400000 && sim_leaders_over(s);
    for (unsigned i = 0; i < s->engine.n_requests; i++)
        if (s->engine.requests[i].ends == 0)
            return false;
    return s->now > FAULTS_END_US + 400000 && hd_core_state(s->core) == HD_CLUSTER_READY;
}

static void check_ends(struct sim *s)
{
    for (unsigned i = 0; i < s->n_clients; i++) {
        const struct sim_request *r = &s->clients[i].r;
        if (r->ends != 1 || memcmp(r->tokens, r->expected, r->n_tokens * sizeof *r->tokens) != 0)
            sim_fail(s, "client %u: ended %u times, or with other tokens", i, r->ends);
    }
    if (s->n_leaders > 0)
        return;
    for (unsigned i = 0; i < s->engine.n_requests; i++)
        if (s->engine.requests[i].ends != 1)
            sim_fail(s, "request %u ended %u times", i, s->engine.requests[i].ends);
    if (s->kind == SIM_ONE_DEATH && s->n_workers > 1 && s->losses != 1)
        sim_fail(s, "one worker died and %u were lost", s->losses);
    sim_trust_check(s);
    if (s->options.policy != &hd_policies[HD_POLICY_FULL] && !s->joined_late && !s->all_lost &&
        !s->gave_up_log && s->engine.rows_replayed)
        sim_fail(s, "%llu rows were replayed", (unsigned long long)s->engine.rows_replayed);
}

static void run(struct sim *s)
{
    while (!is_over(s)) {
        struct sim_event *e = sim_next(s);
        if (!e || e->at > SIM_LIMIT_US)
            sim_fail(s, "it hangs: %s", s->core ? hd_core_reason(s->core) : "no leader");
        s->now = later(s->now, e->at);
        uint64_t at = possible_at(s, e);
        if (at > s->now) {
            sim_again(s, e, at);
            continue;
        }
        happen(s, e);
        free(e);
    }
    check_ends(s);
}

static void finish(struct sim *s)
{
    while (s->n_heap > 0)
        free(sim_next(s));
    free(s->heap);
    sim_leaders_finish(s);
    hd_actions_deinit(&s->actions);
    hd_core_free(s->core);
}

struct totals {
    unsigned long asked, equal, blamed, doubts, ended_wrong, failing, liars;
    unsigned long rows_equal, rows_unequal;
    unsigned long losses, forgotten, recoveries, replays, moves, fills, drained, standby_used,
        pairs, pairs_lost, relieved, returned, forks, resumed, evicted, forgot, drafted, accepted,
        cuts;
    unsigned long leader_deaths, adopted, taken_up, packed, loaded;
};

static void run_seed(uint64_t seed, bool leaders, bool trace, struct totals *t)
{
    static struct sim s; /* large; one at a time */
    memset(&s, 0, sizeof s);
    s.seed = s.random = seed;
    s.trace = trace;
    s.n_leaders = leaders;
    start(&s);
    run(&s);
    t->asked += s.asked;
    t->equal += s.equal;
    t->rows_equal += s.rows_equal;
    t->rows_unequal += s.rows_unequal;
    t->blamed += s.blamed;
    t->doubts += s.doubts;
    t->ended_wrong += s.ended_wrong;
    t->failing += s.failing;
    t->liars += s.liar < s.n_workers;
    t->losses += s.losses;
    t->forgotten += s.forgotten;
    t->recoveries += s.recoveries;
    t->replays += s.replays;
    t->moves += s.moves;
    t->fills += s.fills;
    t->drained += s.drained;
    t->standby_used += s.standby_used;
    t->pairs += s.pairs;
    t->pairs_lost += s.pairs_lost;
    t->relieved += s.relieved;
    t->returned += s.returned;
    t->forks += s.forks;
    t->resumed += s.resumed;
    t->evicted += s.evicted;
    t->forgot += s.forgot;
    t->drafted += s.drafted;
    t->accepted += s.accepted;
    t->cuts += s.cuts;
    t->leader_deaths += s.leader_deaths;
    t->adopted += s.adopted;
    t->taken_up += s.taken_up;
    t->packed += s.packed;
    t->loaded += s.loaded;
    finish(&s);
}

int main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 2000;
    bool trace = false, leaders = false;
    struct totals t = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            first = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[i], "--leaders") == 0)
            leaders = true;
        else
            return fprintf(stderr,
                           "usage: test_sim [--seeds N] [--seed FIRST] [--leaders] [--trace]\n"),
                   2;
    }
    for (uint64_t seed = first; seed < first + seeds; seed++)
        run_seed(seed, leaders, trace, &t);
    printf("%llu seeds: %lu losses (%lu for so long that they were forgotten), %lu recoveries (%lu "
           "heads from standby), %lu replays, %lu "
           "preparations, %lu logs filled, %lu workers drained, %lu steps in two groups (%lu times "
           "the second's half-step was lost), %lu workers relieved for being slow, %lu got their "
           "share "
           "back\n",
           (unsigned long long)seeds, t.losses, t.forgotten, t.recoveries, t.standby_used,
           t.replays, t.moves, t.fills, t.drained, t.pairs, t.pairs_lost, t.relieved, t.returned);
    printf(
        "%lu requests began with rows of others, %lu went on with those of one; of others %lu were "
        "closed for a number, %lu forgotten\n",
        t.forks, t.resumed, t.evicted, t.forgot);
    printf("of the units that were given to a worker %lu had to be packed, of %lu the weights were "
           "there\n",
           t.packed, t.loaded);
    printf("%lu rows were guesses, %lu of them right; %lu times rows were cut\n", t.drafted,
           t.accepted, t.cuts);
    printf("%lu liars: %lu blamed, %lu times nobody could be, %lu audits, %lu of them equal; %lu "
           "answers ended wrong before that; %lu workers drained for their memory; rows that two "
           "had: %lu times equal, %lu times not\n",
           t.liars, t.blamed, t.doubts, t.asked, t.equal, t.ended_wrong, t.failing, t.rows_equal,
           t.rows_unequal);
    if (leaders)
        printf("%lu leaders died; %lu times a sequence was taken over, %lu answers were taken up\n",
               t.leader_deaths, t.adopted, t.taken_up);
    return 0;
}
