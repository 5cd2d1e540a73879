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
        cr_assert_eq(hd_adjust_apply(&a, s, tokens, n_prompt, n, &d, NULL), 0);
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
