/* typical.c - a token's surprise, log(total) - x with x = logit / temperature, is as far from the
 * mean one, the entropy, as x is from the mean of x: no logarithm is needed. */
#include "leader/engine/typical.h"

#include <math.h>

struct middle {
    float best;
    double temperature, x; /* the mean of (logit - best) / temperature */
};

bool hd_sampling_is_typical(const struct hd_sampling *s)
{
    return s->typical_p > 0 && s->typical_p < 1;
}

static double x_of(const struct middle *m, const struct hd_candidate *c)
{
    return ((double)c->logit - (double)m->best) / m->temperature;
}

static double weight_of(const struct middle *m, const struct hd_candidate *c)
{
    return isnan(c->logit) ? 0 : exp(x_of(m, c));
}

static bool is_nearer(const struct middle *m, const struct hd_candidate *a,
                      const struct hd_candidate *b)
{
    double da = fabs(x_of(m, a) - m->x), db = fabs(x_of(m, b) - m->x);
    return da != db && !isnan(da) && !isnan(db) ? da < db : hd_candidate_before(a, b);
}

/* Heap with the nearest at its root. */
static void sift_down(const struct middle *m, struct hd_candidate *h, size_t n, size_t i)
{
    for (;;) {
        size_t near = i, left = 2 * i + 1, right = left + 1;
        if (left < n && is_nearer(m, &h[left], &h[near]))
            near = left;
        if (right < n && is_nearer(m, &h[right], &h[near]))
            near = right;
        if (near == i)
            return;
        struct hd_candidate t = h[i];
        h[i] = h[near];
        h[near] = t;
        i = near;
    }
}

/* The weight of all. */
static double find_middle(struct middle *m, const struct hd_distribution *d)
{
    double total = 0, sum = 0;
    m->best = d->c[0].logit;
    for (size_t i = 1; i < d->n; i++)
        if (!(d->c[i].logit <= m->best)) /* or that was NaN */
            m->best = isnan(d->c[i].logit) ? m->best : d->c[i].logit;
    for (size_t i = 0; i < d->n; i++) {
        double w = weight_of(m, &d->c[i]);
        total += w;
        sum += w > 0 ? w * x_of(m, &d->c[i]) : 0;
    }
    m->x = sum / total;
    return total;
}

void hd_cut_to_typical(const struct hd_sampling *s, struct hd_distribution *d)
{
    struct middle m = {.temperature = s->temperature};
    double limit = s->typical_p * find_middle(&m, d), sum = 0;
    size_t n = d->n;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(&m, d->c, n, i);
    do { /* the nearest ones gather at the end */
        struct hd_candidate near = d->c[0];
        d->c[0] = d->c[--n];
        d->c[n] = near;
        sum += weight_of(&m, &near);
        sift_down(&m, d->c, n, 0);
    } while (n > 0 && sum < limit);
    d->c += n;
    d->n -= n;
}
