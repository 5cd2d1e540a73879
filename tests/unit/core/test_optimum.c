/* test_optimum.c - strategies against brute force, on small random cases. */
#include "tests/unit/core/plans.h"

#include <criterion/criterion.h>
#include <float.h>
#include <stdio.h>
#include <string.h>

#define SEEDS 2000

/* ---- A random case ----*/

struct example {
    struct hd_plan_worker workers[HD_MAX_WORKERS];
    struct hd_plan_input in;
    struct hd_plan plan; /* some units are owned already */
};

struct example_options {
    unsigned max_workers;
    uint32_t max_units[HD_UNIT_KINDS];
    bool links;
    bool tight; /* memory that may be just enough, or not */
    bool alike; /* nothing is known of the workers, and costs put the kinds apart */
};

static void make_costs(struct example *x, uint64_t *seed, bool tight)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        x->in.unit[k] = (struct hd_unit_cost){
            .work = 1e6 * (1 + plans_random(seed, 50)),
            .bytes = tight ? 1 + plans_random(seed, k == HD_UNIT_HEAD ? 8 : 3) : 1,
            .trips = 1 + plans_random(seed, 30),
            .trip_bytes = 100 * (1 + plans_random(seed, 100)),
        };
    memcpy(x->in.cost, (const double[]){1, 1e5, 1e10}, sizeof x->in.cost);
}

static void make_workers(struct example *x, uint64_t *seed, const struct example_options *o)
{
    double need = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        need += x->plan.count[k] * x->in.unit[k].bytes;
    unsigned n = 1 + plans_random(seed, o->max_workers);
    for (unsigned s = 0; s < n; s++) {
        x->in.workers |= UINT64_C(1) << s;
        if (o->alike)
            continue;
        struct hd_plan_worker *w = &x->workers[s];
        w->speed = plans_random(seed, 8) ? 1e9 * (1 + plans_random(seed, 20)) : 0;
        w->memory = o->tight ? 1 + need * (0.3 + plans_random(seed, 100) / 60.0) / n : 0;
        if (o->links) {
            w->rtt_s = plans_random(seed, 8) ? 1e-5 * (1 + plans_random(seed, 200)) : 0;
            w->rate = plans_random(seed, 4) ? 1e6 * (1 + plans_random(seed, 1000)) : 0;
        }
    }
}

static void make_example(struct example *x, uint64_t seed, const struct example_options *o)
{
    uint32_t count[HD_UNIT_KINDS];
    seed = seed * 977 + 13;
    *x = (struct example){0};
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        count[k] = plans_random(&seed, o->max_units[k] + 1);
    cr_assert(hd_plan_init(&x->plan, count) == 0);
    make_costs(x, &seed, o->tight);
    make_workers(x, &seed, o);
    x->in.measured = x->workers;
    bool fresh = plans_random(&seed, 2);
    for (int k = 0; k < HD_UNIT_KINDS && !fresh; k++)
        for (uint32_t i = 0; i < count[k]; i++)
            if (plans_random(&seed, 2)) /* of a worker that is there, or of one that died */
                x->plan.owner[k][i] = (uint8_t)plans_random(&seed, o->max_workers);
}

/* ---- Brute force ----*/

static double mean_of(const struct example *x, double (*of)(const struct hd_plan_worker *))
{
    double sum = 0, n = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (x->in.workers >> s & 1 && of(&x->workers[s]) > 0) {
            sum += of(&x->workers[s]);
            n++;
        }
    return n > 0 ? sum / n : 0;
}

static double speed_of(const struct hd_plan_worker *w)
{
    return w->speed;
}

static double rtt_of(const struct hd_plan_worker *w)
{
    return w->rtt_s;
}

static double rate_of(const struct hd_plan_worker *w)
{
    return w->rate;
}

/* Seconds that `n` units of a kind take worker s, written from the definition. */
static double seconds(const struct example *x, int kind, unsigned s, uint32_t n, bool links)
{
    const struct hd_unit_cost *c = &x->in.unit[kind];
    const struct hd_plan_worker *w = &x->workers[s];
    double speed = w->speed > 0 ? w->speed : mean_of(x, speed_of);
    double rtt = w->rtt_s > 0 ? w->rtt_s : mean_of(x, rtt_of);
    double rate = w->rate > 0 ? w->rate : mean_of(x, rate_of);
    double trip = rtt + (rate > 0 ? c->trip_bytes / rate : 0);
    if (speed <= 0)
        speed = 1e9;
    return n ? (links ? c->trips * trip : 0) + n * c->work / speed : 0;
}

struct brute {
    const struct example *x;
    bool links;
    double table[HD_UNIT_KINDS][4][8]; /* seconds of [kind][worker][units] */
    uint32_t n[HD_UNIT_KINDS][4], kept[HD_UNIT_KINDS][4], orphans[HD_UNIT_KINDS + 1];
    unsigned workers;
    double memory, best;
};

static bool fits(const struct brute *b)
{
    for (unsigned s = 0; s < b->workers; s++) {
        double now = 0, kept = 0, memory = b->x->workers[s].memory * b->memory;
        for (int k = 0; k < HD_UNIT_KINDS; k++) {
            now += b->n[k][s] * b->x->in.unit[k].bytes;
            kept += b->kept[k][s] * b->x->in.unit[k].bytes;
        }
        if (memory > 0 && now > memory && now > kept)
            return false;
    }
    return true;
}

static double makespan(const struct brute *b, int kind)
{
    double slowest = 0;
    for (unsigned s = 0; s < b->workers; s++) {
        double t = b->table[kind][s][b->n[kind][s]];
        slowest = t > slowest ? t : slowest;
    }
    return slowest;
}

/* Every way to give `left` orphans of `kind` to the workers up to s; then the next kind. */
static void try_all(struct brute *b, int kind, unsigned s, uint32_t left, double before)
{
    if (before >= b->best)
        return;
    if (kind == HD_UNIT_KINDS) {
        b->best = fits(b) ? before : b->best;
        return;
    }
    for (uint32_t give = s > 0 ? 0 : left; give <= left; give++) {
        b->n[kind][s] = b->kept[kind][s] + give;
        if (s > 0)
            try_all(b, kind, s - 1, left - give, before);
        else
            try_all(b, kind + 1, b->workers - 1, b->orphans[kind + 1], before + makespan(b, kind));
    }
}

static void brute_init(struct brute *b, const struct example *x, bool links)
{
    *b = (struct brute){.x = x, .links = links, .best = DBL_MAX};
    b->workers = (unsigned)__builtin_popcountll(x->in.workers);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        b->orphans[k] = x->plan.count[k];
        for (unsigned s = 0; s < b->workers; s++) {
            b->kept[k][s] = hd_plan_owned(&x->plan, k, s, NULL);
            b->orphans[k] -= b->kept[k][s];
            for (uint32_t n = 0; n <= x->plan.count[k]; n++)
                b->table[k][s][n] = seconds(x, k, s, n, links);
        }
    }
}

/* With `memory` of the workers' memory; DBL_MAX when nothing fits it. */
static double best_time(const struct example *x, bool links, double memory)
{
    struct brute b;
    brute_init(&b, x, links);
    b.memory = memory;
    try_all(&b, 0, b.workers - 1, b.orphans[0], 0);
    return b.best;
}

static double time_of(const struct example *x, const struct hd_plan *p, bool links)
{
    double total = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        double slowest = 0;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
            double t = seconds(x, k, s, hd_plan_owned(p, k, s, NULL), links);
            slowest = t > slowest ? t : slowest;
        }
        total += slowest;
    }
    return total;
}

static void assert_fits(const struct example *x, const struct hd_plan *before)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double now = 0, kept = 0, memory = x->workers[s].memory;
        for (int k = 0; k < HD_UNIT_KINDS; k++) {
            now += hd_plan_owned(&x->plan, k, s, NULL) * x->in.unit[k].bytes;
            kept += hd_plan_owned(before, k, s, NULL) * x->in.unit[k].bytes;
        }
        cr_assert(memory <= 0 || now <= memory || now <= kept, "worker %u holds too much", s);
    }
}

/* One case: as the promises say, and within `slack` of the best time there is. Where plans fit only
 * when nearly all memory is used, none may be found. */
static void check_case(const char *strategy, uint64_t seed, const struct example_options *o,
                       double slack)
{
    struct example x;
    struct hd_plan before, again;
    make_example(&x, seed, o);
    double best = best_time(&x, o->links, 1);
    cr_assert(hd_plan_init(&before, x.plan.count) == 0 && hd_plan_init(&again, x.plan.count) == 0);
    hd_plan_copy(&before, &x.plan);
    hd_plan_copy(&again, &x.plan);
    int rc = plans_fill(strategy, &x.plan, &x.in);
    if (rc < 0) {
        cr_assert(rc == HD_E_LIMIT && best_time(&x, o->links, 0.9) == DBL_MAX,
                  "seed %llu: a plan there is was not found", (unsigned long long)seed);
    } else {
        cr_assert(hd_plan_complete(&x.plan, x.in.workers));
        plans_assert_kept(&x.plan, &before, x.in.workers);
        assert_fits(&x, &before);
        double t = time_of(&x, &x.plan, o->links);
        cr_assert(t <= best * slack + 1e-15, "seed %llu: %g s, the best is %g s",
                  (unsigned long long)seed, t, best);
        plans_fill_well(strategy, &again, &x.in);
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            cr_assert(memcmp(again.owner[k], x.plan.owner[k], again.count[k]) == 0);
    }
    hd_plan_deinit(&x.plan);
    hd_plan_deinit(&before);
    hd_plan_deinit(&again);
}

/* Without limits to memory the plan is the best there is, not only close to it. */
Test(core_optimum, weighted_is_optimal)
{
    static const struct example_options o = {4, {5, 7, 4}, false, false};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        check_case("weighted", seed, &o, 1 + 1e-9);
}

Test(core_optimum, bandwidth_is_optimal)
{
    static const struct example_options o = {4, {5, 7, 4}, true, false};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        check_case("bandwidth", seed, &o, 1 + 1e-9);
}

Test(core_optimum, within_a_tenth_when_memory_is_short)
{
    static const struct example_options plain = {4, {5, 6, 3}, false, true};
    static const struct example_options links = {4, {5, 6, 3}, true, true};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        check_case("weighted", seed, &plain, 1.1);
        check_case("bandwidth", seed, &links, 1.1);
    }
}

Test(core_optimum, even_is_optimal)
{
    static const struct example_options o = {.max_workers = 4, {5, 7, 4}, .alike = true};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        check_case("even", seed, &o, 1 + 1e-9);
}
