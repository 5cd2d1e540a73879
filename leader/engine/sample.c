/* sample.c - a heap of the best candidates, then one number from (seed, index): no state between
 * tokens. */
#include "leader/engine/adjust.h"
#include "leader/engine/typical.h"

#include <math.h>

/* Candidates wanted of each vocab block: at most so many, and so many when the options name no
 * number. A block has up to 1,024 tokens: 16 of each are some hundred to two thousand, among which
 * the token is but for the tail of a flat distribution. */
#define MAX_WANT 64
#define FEW      16
/* Below it logit / temperature may leave the range of f32: every logit comes, and no sums are made.
 */
#define MIN_TEMPERATURE 1e-3

bool hd_candidate_before(const struct hd_candidate *a, const struct hd_candidate *b)
{
    if (a->logit != b->logit) {
        if (isnan(a->logit) || isnan(b->logit))
            return !isnan(a->logit);
        return a->logit > b->logit;
    }
    return a->id < b->id;
}

static void swap(struct hd_candidate *a, struct hd_candidate *b)
{
    struct hd_candidate t = *a;
    *a = *b;
    *b = t;
}

/* Heap with the best candidate at its root. */
static void sift_down(struct hd_candidate *h, size_t n, size_t i)
{
    for (;;) {
        size_t best = i, left = 2 * i + 1, right = left + 1;
        if (left < n && hd_candidate_before(&h[left], &h[best]))
            best = left;
        if (right < n && hd_candidate_before(&h[right], &h[best]))
            best = right;
        if (best == i)
            return;
        swap(&h[i], &h[best]);
        i = best;
    }
}

static void heapify(struct hd_candidate *h, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(h, n, i);
}

/* Take the root out of a heap of n: it is moved to h[n - 1]. */
static void pop(struct hd_candidate *h, size_t n)
{
    swap(&h[0], &h[n - 1]);
    sift_down(h, n - 1, 0);
}

static void reverse(struct hd_candidate *c, size_t n)
{
    for (size_t i = 0; i < n / 2; i++)
        swap(&c[i], &c[n - 1 - i]);
}

static void bring_best(struct hd_candidate *c, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (hd_candidate_before(&c[i], &c[0]))
            swap(&c[0], &c[i]);
}

void hd_candidates_best(struct hd_candidate *c, size_t n, size_t k)
{
    if (k > n)
        k = n;
    if (k == 1) {
        bring_best(c, n);
        return;
    }
    heapify(c, n);
    for (size_t i = 0; i < k; i++)
        pop(c, n - i);
    reverse(c, n); /* the popped ones stood at the end, best last */
}

bool hd_sampling_wants_all(const struct hd_sampling *s)
{
    return hd_sampling_adjusts(s) || hd_sampling_is_typical(s) || s->xtc_probability > 0;
}

uint32_t hd_sampling_want(const struct hd_sampling *s, uint32_t top_logprobs)
{
    uint32_t want = 1;
    if (hd_sampling_wants_all(s))
        return 0;
    if (s->temperature > 0 && s->temperature < MIN_TEMPERATURE && s->top_k == 0)
        return 0;
    if (s->temperature > 0)
        want = s->top_k == 0 ? FEW : s->top_k < MAX_WANT ? s->top_k : MAX_WANT;
    if (s->grammar && want < FEW)
        want = FEW; /* the best are not always allowed */
    return want > top_logprobs ? want : top_logprobs;
}

float hd_sampling_temperature(const struct hd_sampling *s)
{
    bool summed = s->temperature >= MIN_TEMPERATURE && s->top_k == 0 && !hd_sampling_wants_all(s);
    return summed ? (float)s->temperature : 0;
}

double hd_sample_uniform(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* Weight of a token with this logit against the best one. */
static double weight_of(const struct hd_sampling *s, float logit, float best)
{
    return isnan(logit) ? 0 : exp(((double)logit - (double)best) / s->temperature);
}

static double weight(const struct hd_sampling *s, const struct hd_candidate *c, float best)
{
    return weight_of(s, c->logit, best);
}

/* Takes candidates off the heap c[0..n), best first (they end up at c[n - 1], c[n - 2], ...), until
 * their weight passes `limit` or the next one's is less than min_p; returns how many and sets *sum
 * to their weight. 0: the next one may not be the next best of all, as its logit is not above
 * `bound`. */
static size_t pop_until(const struct hd_sampling *s, struct hd_candidate *c, size_t n, double limit,
                        float bound, double *sum)
{
    float best = c[0].logit;
    *sum = 0;
    for (size_t m = 0; m < n; m++) {
        if (m > 0 && weight(s, &c[0], best) < s->min_p &&
            (isnan(bound) || weight_of(s, bound, best) < s->min_p))
            return m;
        if (c[0].logit <= bound)
            return 0;
        pop(c, n - m);
        *sum += weight(s, &c[n - 1 - m], best);
        if (*sum > limit)
            return m + 1;
    }
    return isnan(bound) ? n : 0;
}

/* The best top_k in front; false: they may not all be here. */
static bool cut_to_top_k(uint32_t top_k, struct hd_distribution *d)
{
    size_t k = top_k < d->n ? top_k : d->n;
    hd_candidates_best(d->c, d->n, k);
    if (d->each > 0 && top_k > d->each && d->c[k - 1].logit <= d->bound)
        return false;
    d->n = k;
    d->lse = NAN;
    d->bound = NAN;
    return true;
}

/* The weight of all tokens against the best one. */
static double total_weight(const struct hd_sampling *s, const struct hd_distribution *d)
{
    double total = 0;
    if (!isnan(d->lse))
        return exp(d->lse - (double)d->c[0].logit / s->temperature);
    for (size_t i = 0; i < d->n; i++)
        total += weight(s, &d->c[i], d->c[0].logit);
    return total;
}

/* Leads to a number that is none of hd_sample's own. */
#define XTC_SEED 0x7874632d73656564u

static bool excludes(const struct hd_sampling *s, uint64_t index)
{
    return hd_sample_uniform(s->seed ^ XTC_SEED, index) < s->xtc_probability;
}

/* The weight of the tokens [n], `whole` together, that XTC leaves out. */
static double excluded(const struct hd_sampling *s, const struct hd_candidate *c, size_t n,
                       float best, double whole)
{
    double sum = 0, least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        double w = weight(s, &c[i], best);
        if (w < s->xtc_threshold * whole)
            continue;
        sum += w;
        least = fmin(least, w);
    }
    return sum > least ? sum - least : 0;
}

int32_t hd_sample(const struct hd_sampling *s, uint64_t index, struct hd_distribution *d)
{
    if (s->temperature <= 0 || s->top_k == 1) {
        hd_candidates_best(d->c, d->n, 1);
        return d->c[0].id;
    }
    if (s->top_k > 0 && !cut_to_top_k(s->top_k, d))
        return HD_SAMPLE_MORE;
    if (hd_sampling_is_typical(s))
        hd_cut_to_typical(s, d);
    struct hd_candidate *c = d->c;
    size_t n = d->n;
    heapify(c, n);
    double total = total_weight(s, d), sum, out = 0;
    double u = hd_sample_uniform(s->seed, index);
    bool cut = s->top_p < 1 || s->min_p > 0; /* then what is kept is the whole */
    bool without = excludes(s, index);
    if (without && !cut)
        out = excluded(s, c, n, c[0].logit, total);
    double limit = s->top_p < 1 ? s->top_p * total : cut ? INFINITY : out + u * (total - out);
    size_t kept = pop_until(s, c, n, limit, d->bound, &sum);
    if (kept == 0)
        return HD_SAMPLE_MORE;
    if (without && cut)
        out = excluded(s, c + n - kept, kept, c[n - 1].logit, sum);
    double target = cut ? out + u * (sum - out) : limit, walked = 0;
    for (size_t i = 0; i + 1 < kept; i++) {
        walked += weight(s, &c[n - 1 - i], c[n - 1].logit);
        if (target < walked)
            return c[n - 1 - i].id;
    }
    return c[n - kept].id;
}
