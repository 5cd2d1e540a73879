/* Biases and penalties: what they do to logits, and that tokens stay a function of the request. */
#include "leader/engine/adjust.h"
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { VOCAB = 6 };

static void adjusted(const struct hd_sampling *s, const int32_t *tokens, size_t n_prompt, size_t n,
                     float out[VOCAB])
{
    struct hd_candidate c[VOCAB];
    struct hd_distribution d = {.c = c, .n = VOCAB};
    struct hd_adjust a = {0};
    for (int i = 0; i < VOCAB; i++)
        c[i] = (struct hd_candidate){.id = i, .logit = (float)(i - 2)};
    cr_assert_eq(hd_adjust_reserve(&a, VOCAB), 0);
    for (int twice = 0; twice < 2; twice++) { /* nothing is left from the first time */
        d.c = c;
        hd_adjust_apply(&a, s, NULL, tokens, n_prompt, n, &d);
    }
    for (int i = 0; i < VOCAB; i++) {
        cr_assert_eq(d.c[i].id, i);
        cr_assert_eq(c[i].logit, (float)(i - 2), "the row itself is as it was");
        out[i] = d.c[i].logit;
    }
    hd_adjust_deinit(&a);
}

/* Values as vLLM's: repetition for prompt and answer once a token, by the sign of the logit; the
 * others for the answer, by how often. */
Test(adjust, penalties)
{
    const int32_t tokens[] = {0, 4, 5, 5, 5, 1};
    struct hd_sampling s = {
        .repetition_penalty = 2, .presence_penalty = 0.5, .frequency_penalty = 0.25};
    static const float want[VOCAB] = {-4, -2 - 0.75f, 0, 1, 1, 1.5f - 0.5f - 0.5f};
    float got[VOCAB];
    adjusted(&s, tokens, 3, 6, got); /* the answer: 5 5 1 */
    for (int i = 0; i < VOCAB; i++)
        cr_assert_eq(got[i], want[i], "token %d: %g", i, (double)got[i]);
}

Test(adjust, bias)
{
    const struct hd_token_bias bias[] = {{1, 100}, {5, -100}};
    struct hd_sampling s = {.bias = bias, .n_bias = 2};
    const int32_t tokens[] = {0};
    float got[VOCAB];
    adjusted(&s, tokens, 1, 1, got);
    cr_assert_eq(got[1], 99);
    cr_assert_eq(got[5], -97);
    cr_assert_eq(got[0], -2);
}

Test(adjust, what_adjusts)
{
    const struct hd_token_bias bias = {1, 1};
    cr_assert_not(hd_sampling_adjusts(&(struct hd_sampling){.top_p = 1, .min_p = 0.5}));
    cr_assert_not(hd_sampling_adjusts(&(struct hd_sampling){.repetition_penalty = 1}));
    cr_assert(hd_sampling_adjusts(&(struct hd_sampling){.repetition_penalty = 1.1}));
    cr_assert(hd_sampling_adjusts(&(struct hd_sampling){.presence_penalty = -1}));
    cr_assert(hd_sampling_adjusts(&(struct hd_sampling){.bias = &bias, .n_bias = 1}));
    cr_assert_eq(hd_sampling_want(&(struct hd_sampling){.presence_penalty = -1}, 0), 0);
}

/* ---- Among what a grammar allows ----*/

enum { TOKENS = 400, BLOCK = 100, EACH = 16 };

/* Logits of a few likely tokens and many others; a bit for about one of `of`. */
static void make_row(struct hd_candidate c[TOKENS], uint32_t mask[], uint64_t seed, unsigned of)
{
    memset(mask, 0, (TOKENS + 31) / 32 * sizeof *mask);
    for (int i = 0; i < TOKENS; i++) {
        double u = hd_sample_uniform(seed, 2 * (uint64_t)i);
        c[i] = (struct hd_candidate){.id = i, .logit = (float)(3 * u + 12 * pow(u, 30))};
        if (hd_sample_uniform(seed, 2 * (uint64_t)i + 1) * of < 1)
            mask[i / 32] |= UINT32_C(1) << (i % 32);
    }
    mask[seed % TOKENS / 32] |= UINT32_C(1) << (seed % TOKENS % 32);
}

/* What workers send of such a row: the best few of each block, and the sum of all. */
static struct hd_distribution send_few(struct hd_candidate few[], const struct hd_candidate *c,
                                       double temperature)
{
    struct hd_distribution d = {.c = few, .each = EACH, .bound = -INFINITY};
    double sum = 0;
    for (size_t first = 0; first < TOKENS; first += BLOCK) {
        struct hd_candidate block[BLOCK];
        memcpy(block, c + first, sizeof block);
        hd_candidates_best(block, BLOCK, EACH);
        memcpy(few + d.n, block, EACH * sizeof *few);
        d.n += EACH;
        d.bound = block[EACH - 1].logit > d.bound ? block[EACH - 1].logit : d.bound;
    }
    for (int i = 0; i < TOKENS && temperature > 0; i++)
        sum += exp(c[i].logit / temperature);
    d.lse = temperature > 0 ? (float)log(sum) : NAN;
    return d;
}

/* The few decide only what all would decide likewise; how often, the mask says. */
Test(adjust, what_few_show_of_the_allowed_is_what_all_show)
{
    static const struct hd_sampling ways[] = {
        {.top_p = 1},
        {.temperature = 0.7, .top_p = 1},
        {.temperature = 1, .top_p = 0.9},
        {.temperature = 0.8, .top_k = 5, .top_p = 1},
        {.temperature = 0.6, .top_p = 1, .min_p = 0.05},
        {.temperature = 0.5, .top_k = 40, .top_p = 0.8, .min_p = 0.01},
    };
    struct hd_adjust a = {0};
    cr_assert_eq(hd_adjust_reserve(&a, TOKENS), 0);
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        unsigned decided = 0;
        for (uint64_t seed = 0; seed < 3000; seed++) {
            struct hd_candidate c[TOKENS], few[TOKENS];
            uint32_t mask[(TOKENS + 31) / 32];
            struct hd_sampling s = ways[w];
            make_row(c, mask, seed, 1 + seed % 40);
            s.seed = seed;
            struct hd_distribution d = send_few(few, c, s.top_k == 0 ? s.temperature : 0);
            int32_t token = hd_sample_allowed(&a, &s, mask, seed, &d);
            struct hd_distribution all = {.c = c, .n = TOKENS, .bound = NAN, .lse = NAN};
            int32_t right = hd_sample_allowed(&a, &s, mask, seed, &all);
            cr_assert(mask[right / 32] >> (right % 32) & 1);
            cr_assert(token == right || token == HD_SAMPLE_MORE, "way %zu, seed %lu: %d, not %d", w,
                      seed, token, right);
            decided += token == right;
        }
        cr_expect(decided > 50, "way %zu: %u", w, decided);
    }
    hd_adjust_deinit(&a);
}

static const struct hd_token_bias up = {33, 100};

/* A request's tokens in company and with a half-step lost now and then are those alone. */
Test(adjust, tokens_do_not_depend_on_the_batch)
{
    const struct hd_sampling how[] = {
        {.top_p = 1, .presence_penalty = 2, .frequency_penalty = 2},
        {.temperature = 1, .top_p = 0.9, .repetition_penalty = 1.5, .seed = 3},
        {.temperature = 0.8, .top_p = 1, .min_p = 0.2, .seed = 4},
    };
    enum { N = sizeof how / sizeof how[0] };
    struct solo_client alone[N], together[N], plain;
    struct solo f;
    solo_open_with(&f, 8, HD_ACTIVATIONS_F32, 3);
    solo_ask_so(&f, &plain, 10, 5, 30, (struct hd_sampling){.top_p = 1});
    solo_run(&f);
    for (int i = 0; i < N; i++) {
        solo_ask_so(&f, &alone[i], 10, 5, 30, how[i]);
        solo_run(&f);
        cr_assert_eq(alone[i].n, 30);
    }
    cr_assert_neq(memcmp(alone[0].tokens, plain.tokens, sizeof plain.tokens), 0);
    for (int i = 0; i < N; i++)
        solo_ask_so(&f, &together[i], 10, 5, 30, how[i]);
    hd_engine_kick(f.engine);
    for (unsigned i = 0; f.wanted; i++) {
        if (hd_engine_work(f.engine, 0)->half == HD_HALF_LOGITS && i % 2)
            hd_engine_reset_half(f.engine, 0);
        solo_answer_half(&f);
    }
    for (int i = 0; i < N; i++)
        cr_assert_eq(memcmp(alone[i].tokens, together[i].tokens, sizeof alone[i].tokens), 0);
    solo_close(&f);
}

/* A presence penalty that nothing outweighs: no token comes twice. */
Test(adjust, a_bias_wins_and_a_penalty_forbids)
{
    struct solo_client c;
    struct solo f;
    solo_open_with(&f, 8, HD_ACTIVATIONS_F32, 3);
    solo_ask_so(&f, &c, 10, 5, 8, (struct hd_sampling){.top_p = 1, .bias = &up, .n_bias = 1});
    solo_run(&f);
    cr_assert_eq(c.n, 8);
    for (unsigned i = 0; i < c.n; i++)
        cr_assert_eq(c.tokens[i], up.id);
    solo_ask_so(&f, &c, 10, 5, 30, (struct hd_sampling){.top_p = 1, .presence_penalty = 1e6});
    solo_run(&f);
    for (unsigned i = 0; i < c.n; i++)
        for (unsigned j = 0; j < i; j++)
            cr_assert_neq(c.tokens[i], c.tokens[j]);
    solo_close(&f);
}
