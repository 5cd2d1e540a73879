#include "leader/engine/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static size_t make(struct hd_candidate *c, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        c[i] = (struct hd_candidate){.id = (int32_t)i,
                                     .logit = (float)(8 * hd_sample_uniform(seed, i) - 4)};
    return n;
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
    cr_assert_eq(hd_sample(&s, 0, c, 4), 2);
    cr_assert_eq(hd_sample(&s, 5, d, 4), 2);
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
        cr_assert_eq(hd_sample(&s, i, all, N), hd_sample(&s, i, best, K));
    }
}

Test(sample, frequencies_follow_the_softmax)
{
    /* logits log(1), log(2), log(5) at temperature 1: probabilities 1/8, 2/8, 5/8 */
    struct hd_sampling s = {.temperature = 1, .top_p = 1, .seed = 11};
    unsigned count[3] = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        struct hd_candidate c[] = {{0, 0}, {1, logf(2)}, {2, logf(5)}};
        count[hd_sample(&s, i, c, 3)]++;
    }
    cr_assert(abs((int)count[0] - 2500) < 250, "%u", count[0]);
    cr_assert(abs((int)count[1] - 5000) < 300, "%u", count[1]);
    cr_assert(abs((int)count[2] - 12500) < 350, "%u", count[2]);
}

Test(sample, top_p_and_top_k_cut)
{
    struct hd_sampling p = {.temperature = 1, .top_p = 0.6, .seed = 3};
    struct hd_sampling k = {.temperature = 1, .top_p = 1, .top_k = 2, .seed = 3};
    bool second = false;
    for (uint64_t i = 0; i < 2000; i++) {
        struct hd_candidate c[] = {{0, 0}, {1, logf(2)}, {2, logf(5)}};
        cr_assert_eq(hd_sample(&p, i, c, 3), 2); /* 5/8 alone reaches 0.6 */
        struct hd_candidate d[] = {{0, 0}, {1, logf(2)}, {2, logf(5)}};
        int32_t id = hd_sample(&k, i, d, 3);
        cr_assert_neq(id, 0);
        second |= id == 1;
    }
    cr_assert(second);
}
