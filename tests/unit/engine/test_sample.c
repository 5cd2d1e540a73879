/* Sampling: the best by definition, top-k and top-p at their edges, the same seed the same token.
 */
#include "leader/engine/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t make(struct hd_candidate *c, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        c[i] = (struct hd_candidate){.id = (int32_t)i,
                                     .logit = (float)(8 * hd_sample_uniform(seed, i) - 4)};
    return n;
}

/* The token when c holds every token. */
static int32_t of_all(const struct hd_sampling *s, uint64_t index, struct hd_candidate *c, size_t n)
{
    struct hd_distribution d = {.c = c, .n = n, .bound = NAN, .lse = NAN};
    return hd_sample(s, index, &d);
}

static int by_order(const void *a, const void *b)
{
    return hd_candidate_before(a, b) ? -1 : 1;
}

Test(sample, ties_go_to_the_lower_id_and_nan_is_last)
{
    struct hd_candidate a = {.id = 3, .logit = 1}, b = {.id = 7, .logit = 1};
    struct hd_candidate nan = {.id = 0, .logit = NAN};
    cr_assert(hd_candidate_before(&a, &b));
    cr_assert_not(hd_candidate_before(&b, &a));
    cr_assert(hd_candidate_before(&b, &nan));
    cr_assert_not(hd_candidate_before(&nan, &a));
}

Test(sample, best_equals_a_full_sort)
{
    enum { N = 1000 };
    struct hd_candidate c[N], sorted[N];
    for (size_t k = 0; k <= N; k += 37) {
        make(c, N, k);
        make(sorted, N, k);
        c[5].logit = sorted[5].logit = c[900].logit; /* a tie */
        sorted[900].logit = c[900].logit;
        qsort(sorted, N, sizeof *sorted, by_order);
        hd_candidates_best(c, N, k);
        for (size_t i = 0; i < k; i++)
            cr_assert_eq(c[i].id, sorted[i].id, "k %zu place %zu", k, i);
    }
}

Test(sample, uniform_is_reproducible_and_spread)
{
    double sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        double u = hd_sample_uniform(42, i);
        cr_assert(u >= 0 && u < 1);
        cr_assert_eq(u, hd_sample_uniform(42, i));
        sum += u;
    }
    cr_assert(fabs(sum / 10000 - 0.5) < 0.02, "mean %g", sum / 10000);
    cr_assert_neq(hd_sample_uniform(42, 0), hd_sample_uniform(43, 0));
}

Test(sample, greedy_takes_the_best_whatever_the_order)
{
    struct hd_candidate c[] = {{4, 1.0f}, {2, 3.0f}, {9, 3.0f}, {1, -1.0f}};
    struct hd_candidate d[] = {{9, 3.0f}, {1, -1.0f}, {2, 3.0f}, {4, 1.0f}};
    struct hd_sampling s = {.temperature = 0, .top_p = 1};
    cr_assert_eq(of_all(&s, 0, c, 4), 2);
    cr_assert_eq(of_all(&s, 5, d, 4), 2);
}

/* The sampled token must not depend on the order in which candidates came, nor on candidates
 * beyond the best top_k: workers send only those. */
Test(sample, depends_on_the_set_only)
{
    enum { N = 300, K = 20 };
    struct hd_candidate all[N], best[N];
    struct hd_sampling s = {.temperature = 0.9, .top_k = K, .top_p = 0.95, .seed = 7};
    for (uint64_t i = 0; i < 200; i++) {
        make(all, N, i);
        make(best, N, i);
        hd_candidates_best(best, N, K);
        for (size_t j = 0; j < K / 2; j++) {
            struct hd_candidate t = best[j];
            best[j] = best[K - 1 - j];
            best[K - 1 - j] = t;
        }
        cr_assert_eq(of_all(&s, i, all, N), of_all(&s, i, best, K));
    }
}

Test(sample, frequencies_follow_the_softmax)
{
    /* logits log(1), log(2), log(5) at temperature 1: probabilities 1/8, 2/8, 5/8 */
    struct hd_sampling s = {.temperature = 1, .top_p = 1, .seed = 11};
    unsigned count[3] = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        struct hd_candidate c[] = {{0, 0}, {1, logf(2)}, {2, logf(5)}};
        count[of_all(&s, i, c, 3)]++;
    }
    cr_assert(abs((int)count[0] - 2500) < 250, "%u", count[0]);
    cr_assert(abs((int)count[1] - 5000) < 300, "%u", count[1]);
    cr_assert(abs((int)count[2] - 12500) < 350, "%u", count[2]);
}

/* Only tokens with at least min_p of the best one's probability, and each of them. */
Test(sample, min_p_cuts)
{
    enum { N = 100 };
    struct hd_sampling s = {.temperature = 1, .top_p = 1, .min_p = 0.25, .seed = 3};
    unsigned seen[N] = {0};
    struct hd_candidate c[N], best[N];
    for (uint64_t i = 0; i < 2000; i++) {
        make(c, N, 5);
        seen[of_all(&s, i, c, N)]++;
    }
    make(best, N, 5);
    hd_candidates_best(best, N, N);
    for (size_t i = 0; i < N; i++) {
        bool kept = exp((double)best[i].logit - (double)best[0].logit) >= s.min_p;
        cr_assert_eq(seen[best[i].id] > 0, kept, "place %zu: %u times", i, seen[best[i].id]);
    }
}

Test(sample, top_p_and_top_k_cut)
{
    struct hd_sampling p = {.temperature = 1, .top_p = 0.6, .seed = 3};
    struct hd_sampling k = {.temperature = 1, .top_p = 1, .top_k = 2, .seed = 3};
    bool second = false;
    for (uint64_t i = 0; i < 2000; i++) {
        struct hd_candidate c[] = {{0, 0}, {1, logf(2)}, {2, logf(5)}};
        cr_assert_eq(of_all(&p, i, c, 3), 2); /* 5/8 alone reaches 0.6 */
        struct hd_candidate d[] = {{0, 0}, {1, logf(2)}, {2, logf(5)}};
        int32_t id = of_all(&k, i, d, 3);
        cr_assert_neq(id, 0);
        second |= id == 1;
    }
    cr_assert(second);
}

enum { VOCAB = 512, WIDTH = 64, EACH = 4, BLOCKS = VOCAB / WIDTH };

/* What a leader knows when workers send the best EACH of each block, and the sum at the
 * temperature. */
static struct hd_distribution few_of(const struct hd_sampling *s, const struct hd_candidate *all,
                                     struct hd_candidate *few)
{
    struct hd_distribution d = {
        .c = few, .each = EACH, .n = (size_t)EACH * BLOCKS, .bound = -INFINITY};
    double sum = 0;
    for (size_t b = 0; b < BLOCKS; b++) {
        struct hd_candidate block[WIDTH];
        memcpy(block, all + b * WIDTH, sizeof block);
        hd_candidates_best(block, WIDTH, EACH);
        memcpy(few + b * EACH, block, EACH * sizeof *few);
        d.bound = fmaxf(d.bound, block[EACH - 1].logit);
    }
    for (size_t i = 0; i < VOCAB; i++)
        sum += exp((double)all[i].logit / s->temperature);
    d.lse = log(sum);
    return d;
}

/* With the best few of each block the token is the one that all logits give, or more is asked for:
 * and this seldom when the distribution is what a model's is, always when it is flat. */
Test(sample, the_best_few_give_the_same_token_or_none)
{
    static const struct hd_sampling options[] = {
        {.temperature = 1, .top_p = 1, .seed = 5},
        {.temperature = 0.7, .top_p = 1, .seed = 6},
        {.temperature = 1, .top_p = 0.9, .seed = 7},
        {.temperature = 1.2, .top_p = 0.95, .seed = 8},
        {.temperature = 1, .top_p = 1, .top_k = 10, .seed = 9},
        {.temperature = 1, .top_p = 0.8, .top_k = 4, .seed = 10},
        {.temperature = 1, .top_p = 1, .min_p = 0.3, .seed = 11},
        {.temperature = 1.5, .top_p = 0.9, .min_p = 0.1, .seed = 12},
    };
    for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
        unsigned more[2] = {0};
        for (uint64_t i = 0; i < 1000; i++) {
            struct hd_candidate all[VOCAB], few[EACH * BLOCKS];
            bool flat = i % 2;
            make(all, VOCAB, i);
            for (size_t t = 0; t < VOCAB; t++)
                all[t].logit *= flat ? 0.01f : 60;
            struct hd_distribution d = few_of(&options[o], all, few);
            struct hd_distribution whole = {.c = all, .n = VOCAB, .bound = NAN, .lse = d.lse};
            int32_t token = hd_sample(&options[o], i, &d);
            more[flat] += token == HD_SAMPLE_MORE;
            if (token != HD_SAMPLE_MORE)
                cr_assert_eq(token, hd_sample(&options[o], i, &whole), "options %zu, %u", o,
                             (unsigned)i);
        }
        cr_assert_lt(more[0], options[o].top_k ? 200 : 100, "options %zu: %u of 500 peaked ones", o,
                     more[0]);
        if (options[o].top_k == 4)
            cr_assert_eq(more[1], 0, "four of each block hold the best four");
        else if (options[o].top_k == 0)
            cr_assert_gt(more[1], 250, "options %zu: %u of 500 flat ones", o, more[1]);
    }
}

/* Minus infinity is a logit of a token that never comes, and ends no walk. */
Test(sample, tokens_that_never_come)
{
    struct hd_sampling s = {.temperature = 1, .top_p = 1, .seed = 3};
    for (uint64_t i = 0; i < 1000; i++) {
        struct hd_candidate c[] = {{0, -INFINITY}, {1, 0}, {2, -INFINITY}};
        struct hd_distribution d = {.c = c, .n = 3, .bound = NAN, .lse = 1e-7};
        cr_assert_neq(hd_sample(&s, i, &d), HD_SAMPLE_MORE);
    }
}

/* ---- By the whole distribution ----
 *
 * The expected values are those of a few lines of Python:
 *   x = [l / T for l in LOGITS]; z = log(sum(map(exp, x))); lp = [v - z for v in x]
 *   typical: H = -sum(exp(v) * v for v in lp); the first of sorted(range(8), key=lambda i:
 *       abs(-lp[i] - H)) whose sum(exp(lp[i])) reaches p
 *   XTC: of those with exp(lp[i]) >= threshold all but the least probable are out; the others'
 *       exp(lp[i]), divided by their sum */

enum { FEW_TOKENS = 8, DRAWS = 40000 };
static const float few_logits[FEW_TOKENS] = {2, 1.5f, 1.25f, 0, -1, 3, -2.5f, 0.5f};

static void draw(const struct hd_sampling *s, double share[FEW_TOKENS])
{
    memset(share, 0, FEW_TOKENS * sizeof *share);
    for (uint64_t i = 0; i < DRAWS; i++) {
        struct hd_candidate c[FEW_TOKENS];
        for (int32_t t = 0; t < FEW_TOKENS; t++)
            c[t] = (struct hd_candidate){t, few_logits[t]};
        share[of_all(s, i, c, FEW_TOKENS)] += 1.0 / DRAWS;
    }
}

Test(sample, typical_p_keeps_what_is_expected)
{
    static const struct {
        double temperature, p;
        unsigned kept; /* a bit for each token */
    } ways[] = {{1, 0.2, 0x03}, {1, 0.5, 0x23}, {1, 0.9, 0x27}, {0.5, 0.5, 0x20}, {2, 0.3, 0x03}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct hd_sampling s = {
            .temperature = ways[w].temperature, .top_p = 1, .typical_p = ways[w].p, .seed = 3};
        double share[FEW_TOKENS], sum = 0;
        draw(&s, share);
        for (unsigned t = 0; t < FEW_TOKENS; t++)
            sum += ways[w].kept >> t & 1 ? exp(few_logits[t] / s.temperature) : 0;
        for (unsigned t = 0; t < FEW_TOKENS; t++) {
            double want = ways[w].kept >> t & 1 ? exp(few_logits[t] / s.temperature) / sum : 0;
            cr_expect(want == 0 ? share[t] == 0 : fabs(share[t] - want) < 0.015,
                      "%zu: token %u comes %g of the time, not %g", w, t, share[t], want);
        }
    }
}

Test(sample, xtc_leaves_the_most_probable_out)
{
    static const struct {
        double temperature, threshold, want[FEW_TOKENS];
    } ways[] = {
        {1, 0.1, {0, 0.4048, 0.3153, 0.0903, 0.0332, 0, 0.0074, 0.1489}},
        {1, 0.2, {0.1917, 0.1163, 0.0906, 0.0259, 0.0095, 0.5211, 0.0021, 0.0428}},
        {1, 0.05, {0, 0, 0.5297, 0.1518, 0.0558, 0, 0.0125, 0.2502}},
        {2, 0.1, {0, 0, 0.3703, 0.1982, 0.1202, 0, 0.0568, 0.2545}},
        {1, 0.6, {0.1917, 0.1163, 0.0906, 0.0259, 0.0095, 0.5211, 0.0021, 0.0428}},
    };
    for (size_t w = 0; w < 2 * sizeof ways / sizeof *ways; w++) {
        size_t i = w / 2;
        struct hd_sampling s = {.temperature = ways[i].temperature,
                                .top_p = 1,
                                .min_p = w % 2 ? 1e-9 : 0, /* the other way, to the same end */
                                .xtc_probability = 1,
                                .xtc_threshold = ways[i].threshold,
                                .seed = 9};
        double share[FEW_TOKENS];
        draw(&s, share);
        for (unsigned t = 0; t < FEW_TOKENS; t++)
            cr_expect(
                ways[i].want[t] == 0 ? share[t] == 0 : fabs(share[t] - ways[i].want[t]) < 0.015,
                "%zu: token %u comes %g of the time, not %g", w, t, share[t], ways[i].want[t]);
    }
}

Test(sample, xtc_comes_as_often_as_it_is_asked_for)
{
    struct hd_sampling s = {
        .temperature = 1, .top_p = 1, .xtc_probability = 0.25, .xtc_threshold = 0.1, .seed = 4};
    double share[FEW_TOKENS];
    draw(&s, share);
    cr_expect_float_eq(share[5], 0.75 * 0.5211, 0.015);
    cr_expect_float_eq(share[1], 0.75 * 0.1163 + 0.25 * 0.4048, 0.015);
    s.xtc_probability = 0;
    draw(&s, share);
    cr_expect_float_eq(share[5], 0.5211, 0.015);
}

Test(sample, what_wants_every_logit)
{
    cr_expect_gt(hd_sampling_want(&(struct hd_sampling){.temperature = 1, .typical_p = 1}, 0), 0);
    cr_expect_eq(hd_sampling_want(&(struct hd_sampling){.temperature = 1, .typical_p = 0.9}, 0), 0);
    cr_expect_eq(hd_sampling_want(&(struct hd_sampling){.temperature = 1, .xtc_probability = 1}, 5),
                 0);
    cr_expect_eq(hd_sampling_temperature(&(struct hd_sampling){.temperature = 1, .typical_p = 0.9}),
                 0);
}

/* NaN and minus infinity never come. */
Test(sample, typical_tokens_that_never_come)
{
    struct hd_sampling s = {.temperature = 1, .top_p = 1, .typical_p = 0.99, .seed = 3};
    for (uint64_t i = 0; i < 1000; i++) {
        struct hd_candidate c[] = {{0, NAN}, {1, 0}, {2, -INFINITY}, {3, 1}, {4, NAN}};
        int32_t id = of_all(&s, i, c, 5);
        cr_assert(id == 1 || id == 3, "%d", id);
    }
}
