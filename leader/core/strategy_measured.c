/* strategy_measured.c - weighted and bandwidth: plans from what was measured of each worker.
 *
 * A half-step takes as long as its slowest worker, and the kinds of half-steps follow one another.
 * So what a plan takes for one row is the sum over kinds of the slowest worker's
 *
 *     trips x (round trip + bytes / rate)  +  units x work / speed       (0 with no unit)
 *
 * of which `weighted` leaves out the first half. Within a kind, units are alike; giving each to the
 * worker that would then be done first is optimal. Only memory ties the kinds together: when the
 * plan that is best for time does not fit, units move between workers, at first to where they cost
 * the least time for the bytes they relieve, then wherever time is gained. */
#include "leader/core/strategy_impl.h"

#include <float.h>

#define USUAL_SPEED 1e9 /* multiply-adds a second, when no worker's speed is known */
#define EXCHANGE    3   /* most units that one move takes either way */

struct counts {
    uint32_t n[HD_UNIT_KINDS][HD_MAX_WORKERS];
};

struct problem {
    const struct hd_plan_input *in;
    uint64_t takers[HD_UNIT_KINDS];
    uint32_t orphans[HD_UNIT_KINDS];
    struct counts kept; /* units that do not move */
    double fixed_s[HD_UNIT_KINDS][HD_MAX_WORKERS];
    double unit_s[HD_UNIT_KINDS][HD_MAX_WORKERS];
    double room[HD_MAX_WORKERS]; /* bytes; what it keeps always fits */
};

/* Of two plans the one with less overflow is better, then the faster, then the more balanced. */
struct score {
    double over; /* bytes that do not fit */
    double time_s;
    double squares; /* of the workers' times: tells plans apart whose slowest worker is the same */
};

/* `count` units of `kind` go from one worker to the other, `back` of kind `other` the other way. */
struct move {
    int kind, other;
    uint32_t count, back;
    unsigned from, to;
};

/* ---- What is known ----*/

static double mean_known(const struct hd_plan_input *in, size_t field)
{
    double sum = 0;
    unsigned n = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS && in->measured; s++) {
        double v = *(const double *)((const char *)&in->measured[s] + field);
        if (strategy_in(in->workers, s) && v > 0) {
            sum += v;
            n++;
        }
    }
    return n ? sum / n : 0;
}

static double known(const struct hd_plan_input *in, unsigned slot, size_t field, double otherwise)
{
    if (!in->measured)
        return otherwise;
    double v = *(const double *)((const char *)&in->measured[slot] + field);
    return v > 0 ? v : otherwise;
}

#define FIELD(name) offsetof(struct hd_plan_worker, name)

/* Times of one kind on each worker. */
static void set_times(struct problem *q, int kind, bool links)
{
    const struct hd_unit_cost *c = &q->in->unit[kind];
    double work = c->work > 0 ? c->work : 1, trips = c->trips > 0 ? c->trips : 1;
    double usual_speed = mean_known(q->in, FIELD(speed));
    double usual_rtt = mean_known(q->in, FIELD(rtt_s));
    double usual_rate = mean_known(q->in, FIELD(rate));
    if (usual_speed <= 0)
        usual_speed = USUAL_SPEED;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double rate = known(q->in, s, FIELD(rate), usual_rate);
        double transfer = rate > 0 ? c->trip_bytes / rate : 0;
        q->unit_s[kind][s] = work / known(q->in, s, FIELD(speed), usual_speed);
        q->fixed_s[kind][s] =
            links ? trips * (known(q->in, s, FIELD(rtt_s), usual_rtt) + transfer) : 0;
    }
}

static double bytes_of(const struct problem *q, const struct counts *c, unsigned slot)
{
    double bytes = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        bytes += c->n[k][slot] * q->in->unit[k].bytes;
    return bytes;
}

static void set_problem(struct problem *q, const struct strategy_fill *f, bool links)
{
    *q = (struct problem){.in = f->in};
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        q->takers[k] = k == HD_UNIT_HEAD ? strategy_head_takers(f) : f->takers;
        q->orphans[k] = strategy_orphans(f, k);
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            if (strategy_in(f->in->workers, s))
                q->kept.n[k][s] = hd_plan_owned(f->p, k, s, NULL);
        set_times(q, k, links);
    }
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double kept = bytes_of(q, &q->kept, s), room = known(f->in, s, FIELD(memory), DBL_MAX);
        q->room[s] = room > kept ? room : kept;
    }
}

/* ---- What a plan takes ----*/

static double time_of(const struct problem *q, int kind, unsigned slot, uint32_t n)
{
    return n ? q->fixed_s[kind][slot] + n * q->unit_s[kind][slot] : 0;
}

static struct score score_of(const struct problem *q, const struct counts *c)
{
    struct score out = {0};
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        double slowest = 0;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
            double t = time_of(q, k, s, c->n[k][s]);
            slowest = t > slowest ? t : slowest;
            out.squares += t * t;
        }
        out.time_s += slowest;
    }
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double over = bytes_of(q, c, s) - q->room[s];
        out.over += over > 0 ? over : 0;
    }
    return out;
}

/* Whether `a` is better by more than rounding, so that moves cannot go round in circles. */
static bool is_less(double a, double b)
{
    return a < b - b * 1e-9;
}

static bool is_better(const struct score *a, const struct score *b)
{
    if (is_less(a->over, b->over) || is_less(b->over, a->over))
        return a->over < b->over;
    if (is_less(a->time_s, b->time_s) || is_less(b->time_s, a->time_s))
        return a->time_s < b->time_s;
    return is_less(a->squares, b->squares);
}

/* ---- The best for time ----*/

/* Total time of a worker: among those that would be done at the same time, who has less to do
 * otherwise goes first. */
static double busy(const struct problem *q, const struct counts *c, unsigned slot)
{
    double t = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        t += time_of(q, k, slot, c->n[k][slot]);
    return t;
}

static bool is_done_first(const struct problem *q, const struct counts *c, int kind,
                          const unsigned slot[2])
{
    double a = time_of(q, kind, slot[0], c->n[kind][slot[0]] + 1);
    double b = time_of(q, kind, slot[1], c->n[kind][slot[1]] + 1);
    if (is_less(a, b) || is_less(b, a))
        return a < b;
    return is_less(busy(q, c, slot[0]), busy(q, c, slot[1]));
}

/* The orphans of a kind; with `rooms`, to where there is room as long as there is any. */
static void grow(const struct problem *q, struct counts *c, int kind, bool rooms)
{
    for (uint32_t i = 0; i < q->orphans[kind]; i++) {
        int best = -1;
        bool best_fits = false;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
            if (!strategy_in(q->takers[kind], s))
                continue;
            bool fits = !rooms || bytes_of(q, c, s) + q->in->unit[kind].bytes <= q->room[s];
            if (best < 0 || (fits && !best_fits) ||
                (fits == best_fits &&
                 is_done_first(q, c, kind, (const unsigned[]){s, (unsigned)best}))) {
                best = (int)s;
                best_fits = fits;
            }
        }
        c->n[kind][best]++;
    }
}

/* ---- Moves ----*/

static bool is_possible(const struct problem *q, const struct counts *c, const struct move *m)
{
    if (m->from == m->to || !strategy_in(q->takers[m->kind], m->to))
        return false;
    if (c->n[m->kind][m->from] < q->kept.n[m->kind][m->from] + m->count)
        return false;
    if (m->back == 0)
        return true;
    return m->other != m->kind && strategy_in(q->takers[m->other], m->from) &&
           c->n[m->other][m->to] >= q->kept.n[m->other][m->to] + m->back;
}

static void apply(struct counts *c, const struct move *m)
{
    c->n[m->kind][m->from] -= m->count;
    c->n[m->kind][m->to] += m->count;
    c->n[m->other][m->to] -= m->back;
    c->n[m->other][m->from] += m->back;
}

static void undo(struct counts *c, const struct move *m)
{
    struct move back = *m;
    back.from = m->to;
    back.to = m->from;
    apply(c, &back);
}

struct search {
    const struct problem *q;
    struct counts *c;
    struct score now, best;
    struct move move;
    bool found;
};

/* While something does not fit: what relieves the most for its price in time. Later: the best. */
static bool is_preferable(const struct search *s, const struct score *a)
{
    if (!is_better(a, &s->now))
        return false;
    if (!s->found || s->now.over <= 0)
        return !s->found || is_better(a, &s->best);
    double relief = s->now.over - a->over, price = a->time_s - s->now.time_s;
    double best_relief = s->now.over - s->best.over, best_price = s->best.time_s - s->now.time_s;
    return price * best_relief < best_price * relief;
}

static void try_move(struct search *s, const struct move *m)
{
    if (!is_possible(s->q, s->c, m))
        return;
    apply(s->c, m);
    struct score score = score_of(s->q, s->c);
    undo(s->c, m);
    if (is_preferable(s, &score)) {
        s->found = true;
        s->best = score;
        s->move = *m;
    }
}

static void try_exchanges(struct search *s, struct move m)
{
    for (m.count = 1; m.count <= EXCHANGE; m.count++) {
        m.other = m.kind;
        m.back = 0;
        try_move(s, &m);
        for (m.other = 0; m.other < HD_UNIT_KINDS; m.other++)
            for (m.back = 1; m.back <= EXCHANGE; m.back++)
                try_move(s, &m);
    }
}

/* Workers from which something has to move for the plan to get better. */
static uint64_t critical(const struct search *s)
{
    const struct problem *q = s->q;
    uint64_t set = 0;
    for (unsigned w = 0; w < HD_MAX_WORKERS && s->now.over > 0; w++)
        if (bytes_of(q, s->c, w) > q->room[w])
            return UINT64_C(1) << w;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        unsigned slowest = 0;
        for (unsigned w = 1; w < HD_MAX_WORKERS; w++)
            if (time_of(q, k, w, s->c->n[k][w]) > time_of(q, k, slowest, s->c->n[k][slowest]))
                slowest = w;
        set |= UINT64_C(1) << slowest;
    }
    return set;
}

static bool improve(const struct problem *q, struct counts *c)
{
    struct search s = {.q = q, .c = c, .now = score_of(q, c)};
    uint64_t from = critical(&s);
    for (unsigned a = 0; a < HD_MAX_WORKERS; a++)
        for (unsigned b = 0; strategy_in(from, a) && b < HD_MAX_WORKERS; b++)
            for (int k = 0; strategy_in(q->in->workers, b) && k < HD_UNIT_KINDS; k++)
                try_exchanges(&s, (struct move){.kind = k, .from = a, .to = b});
    if (s.found)
        apply(c, &s.move);
    return s.found;
}

/* ---- The two strategies ----*/

static void grow_all(const struct problem *q, struct counts *c, const int *order, bool rooms)
{
    *c = q->kept;
    for (int i = 0; i < HD_UNIT_KINDS; i++)
        grow(q, c, order[i], rooms);
}

static struct score improve_all(const struct problem *q, struct counts *c)
{
    uint32_t moves = 2 * (q->orphans[0] + q->orphans[1] + q->orphans[2]);
    while (moves-- > 0 && improve(q, c))
        ;
    return score_of(q, c);
}

/* When the fastest plan does not fit it is approached from several sides: by making it fit, and by
 * making plans that fit faster, in each of which another kind had the first choice. */
static struct score solve(const struct problem *q, struct counts *c)
{
    static const int orders[][HD_UNIT_KINDS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                                {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    grow_all(q, c, orders[0], false);
    struct score best = score_of(q, c);
    if (best.over <= 0)
        return best;
    best = improve_all(q, c);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        struct counts other;
        grow_all(q, &other, orders[i], true);
        struct score score = improve_all(q, &other);
        if (is_better(&score, &best)) {
            best = score;
            *c = other;
        }
    }
    return best;
}

/* The heads' logs matter less than that there is room for them at all, and so does suspicion. */
static int solve_for(const struct strategy_fill *f, bool links, struct counts *c,
                     struct hd_error *err)
{
    struct problem q;
    struct score score = {0};
    uint64_t wider[] = {0, f->takers, f->in->workers};
    for (size_t i = 0; i < sizeof wider / sizeof *wider; i++) {
        set_problem(&q, f, links);
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            q.takers[k] |= wider[i];
        score = solve(&q, c);
        if (score.over <= 0)
            return 0;
    }
    return hd_fail(err, HD_E_LIMIT,
                   "the model needs %.0f MiB more than the workers' memory holds; add a worker",
                   score.over / (1 << 20) + 1);
}

static int measured_fill(struct hd_plan *p, const struct hd_plan_input *in, bool links,
                         struct hd_error *err)
{
    struct strategy_fill f;
    struct counts c;
    int rc = strategy_begin(&f, p, in, err);
    if (rc == 0)
        rc = solve_for(&f, links, &c, err);
    if (rc < 0)
        return rc;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        strategy_count_owned(&f, k);
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            if (strategy_in(in->workers, s))
                f.quota[s] = c.n[k][s] - f.owned[s];
        strategy_hand_out(&f, k);
    }
    return 0;
}

static int weighted_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    return measured_fill(p, in, false, err);
}

static int bandwidth_fill(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err)
{
    return measured_fill(p, in, true, err);
}

const struct hd_strategy strategy_weighted = {.name = "weighted", .fill = weighted_fill};
const struct hd_strategy strategy_bandwidth = {
    .name = "bandwidth", .wants_links = true, .fill = bandwidth_fill};
