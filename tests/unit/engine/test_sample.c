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
