/* Speculation: tokens are the same with and without, whatever is asked for and whatever happens,
 * and where a text repeats itself there are fewer steps. */
#include "leader/engine/engine_impl.h"
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

enum { PROMPT = 9, ANSWER = 180, STREAMS = 3 };

/* ---- Guesses ----*/

/* Behind the longest of the places where the end has come before, the latest of equals. */
Test(drafts, guesses_follow_the_longest_match)
{
    static const int32_t text[] = {1, 2, 3, 4, 9, 2, 3, 5, 8, 2, 3};
    struct hd_ngrams g = {0};
    int32_t out[6];
    uint32_t length;
    cr_assert(hd_ngrams_reserve(&g, 40));
    cr_assert_eq(hd_ngrams_guess(&g, text, 4, out, 6, &length), 0, "nothing has come twice");
    cr_assert_eq(hd_ngrams_guess(&g, text, 6, out, 2, &length), 2);
    cr_assert_eq(length, 1);
    cr_assert_arr_eq(out, ((int32_t[]){3, 4}), 2 * sizeof *out);
    cr_assert_eq(hd_ngrams_guess(&g, text, 7, out, 6, &length), 6);
    cr_assert_eq(length, 2);
    cr_assert_arr_eq(out, ((int32_t[]){4, 9, 2, 3, 4, 9}), sizeof out, "and that again");
    cr_assert_eq(hd_ngrams_guess(&g, text, 11, out, 2, &length), 2);
    cr_assert_arr_eq(out, ((int32_t[]){5, 8}), 2 * sizeof *out, "the latest");
    static const int32_t longer[] = {1, 2, 3, 4, 9, 2, 3, 5, 8, 2, 3, 7, 1, 2, 3};
    cr_assert_eq(hd_ngrams_guess(&g, longer, 15, out, 2, &length), 2);
    cr_assert_eq(length, 3);
    cr_assert_arr_eq(out, ((int32_t[]){4, 9}), 2 * sizeof *out, "the longest");
    hd_ngrams_deinit(&g);
}

/* ---- The same tokens ----*/

struct way {
    const char *name;
    struct hd_sampling sampling;
    bool repeats; /* its answers repeat themselves: guesses must save steps */
};

static const struct hd_token_bias liked[] = {{17, 9}, {23, 9}, {42, 8.5}};

static const struct way ways[] = {
    {"greedy", {.top_p = 1}, true},
    {"of two", {.temperature = 1, .top_k = 2, .top_p = 1, .seed = 4}, false},
    {"flat", {.temperature = 3, .top_p = 0.98, .seed = 7}, false}, /* every logit is asked for */
    {"penalties",
     {.temperature = 1,
      .top_p = 1,
      .repetition_penalty = 1.1,
      .presence_penalty = 0.1,
      .frequency_penalty = 0.01,
      .bias = liked,
      .n_bias = 3,
      .seed = 8},
     false},
    {"typical", {.temperature = 1, .top_p = 1, .typical_p = 0.4, .seed = 5}, false},
    {"xtc",
     {.temperature = 0.7, .top_p = 0.95, .xtc_probability = 0.5, .xtc_threshold = 0.05, .seed = 6},
     false},
    {"bias", {.top_p = 1, .bias = liked, .n_bias = 2}, true},
};

ParameterizedTestParameters(drafts, tokens_are_the_same)
{
    static size_t which[sizeof ways / sizeof *ways];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        which[i] = i;
    return cr_make_param_array(size_t, which, sizeof ways / sizeof *ways, NULL);
}

static struct hd_engine_stats stats_of(const struct solo *f)
{
    struct hd_engine_stats s;
    hd_engine_get_stats(f->engine, &s);
    return s;
}

/* Several streams; in the middle the step in hand is given up now and then, with and without a
 * replay. */
static void run(struct solo *f, const struct way *w, struct solo_client *c, unsigned disturbed)
{
    for (int i = 0; i < STREAMS; i++)
        solo_ask_so(f, &c[i], 10 * i + 1, PROMPT, ANSWER - 20 * (unsigned)i, w->sampling);
    hd_engine_kick(f->engine);
    for (unsigned n = 1; f->wanted; n++) {
        solo_answer_half(f);
        if (disturbed == 0 || n % disturbed != 0 || !f->wanted)
            continue;
        uint64_t again = n % (3 * disturbed) == 0 && n < 300 ? f->open & -f->open : 0;
        f->wanted = false;
        for (uint32_t s = 0; s < 64; s++)
            if (again >> s & 1)
                f->positions[s] = f->shared[s] = 0;
        hd_engine_replay(f->engine, again);
        hd_engine_kick(f->engine);
    }
}

static void expect_same(const struct solo_client *a, const struct solo_client *b, const char *name)
{
    for (int i = 0; i < STREAMS; i++) {
        cr_assert(b[i].ended && b[i].finish == a[i].finish, "%s", name);
        cr_assert_eq(a[i].n, b[i].n, "%s: %u tokens, %u with guesses", name, a[i].n, b[i].n);
        for (unsigned t = 0; t < a[i].n; t++)
            cr_assert_eq(a[i].tokens[t], b[i].tokens[t], "%s: token %u of %d", name, t, i);
    }
}

ParameterizedTest(size_t *which, drafts, tokens_are_the_same)
{
    const struct way *w = &ways[*which];
    struct solo f;
    struct solo_client without[STREAMS], with[STREAMS];
    solo_open_drafting(&f, 48, 0);
    run(&f, w, without, 0);
    struct hd_engine_stats plain = stats_of(&f);
    cr_assert_eq(plain.drafted, 0);
    cr_assert_eq(f.cuts, 0);
    solo_close(&f);
    for (unsigned disturbed = 0; disturbed < 40; disturbed += 13) {
        solo_open_drafting(&f, 48, 32);
        run(&f, w, with, disturbed);
        expect_same(without, with, w->name);
        struct hd_engine_stats s = stats_of(&f);
        cr_assert_gt(s.drafted, 0, "%s", w->name);
        cr_assert_leq(s.accepted, s.drafted);
        cr_assert(s.accepted == s.drafted || f.cuts > 0);
        if (disturbed == 0 && w->repeats)
            cr_assert_lt(2 * s.steps, plain.steps, "%s: %lu steps, %lu without", w->name,
                         (unsigned long)s.steps, (unsigned long)plain.steps);
        solo_close(&f);
    }
}

/* A number that is not finite in the row of a guess is not the request's: it is looked at when that
 * token has come. */
Test(drafts, a_guess_that_cannot_be_computed_is_wrong)
{
    static const uint32_t second = 1;
    struct way greedy = ways[0];
    struct solo f;
    struct solo_client a, b;
    solo_open_drafting(&f, 48, 0);
    solo_ask_so(&f, &a, 1, PROMPT, ANSWER, greedy.sampling);
    solo_run(&f);
    solo_close(&f);
    solo_open_drafting(&f, 48, 32);
    solo_ask_so(&f, &b, 1, PROMPT, ANSWER, greedy.sampling);
    hd_engine_kick(f.engine);
    while (f.wanted) {
        const struct hd_half_work *w = hd_engine_work(f.engine, 0);
        f.bad_logits = w->half == HD_HALF_LOGITS && w->rows > 1 ? &second : NULL;
        solo_answer_half(&f);
    }
    cr_assert(b.ended && b.finish == HD_FINISH_LENGTH, "%s", b.error);
    cr_assert_arr_eq(a.tokens, b.tokens, sizeof a.tokens);
    cr_assert_gt(stats_of(&f).drafted, 0);
    cr_assert_eq(stats_of(&f).accepted, 0);
    solo_close(&f);
}

/* One stream: each guess that was right is a step less. */
Test(drafts, steps_that_are_saved_are_counted)
{
    struct solo f;
    struct solo_client c;
    uint64_t steps[2];
    for (unsigned drafts = 0; drafts < 2; drafts++) {
        solo_open_drafting(&f, 48, 16 * drafts);
        solo_ask_so(&f, &c, 1, PROMPT, ANSWER, ways[0].sampling);
        solo_run(&f);
        struct hd_engine_stats s = stats_of(&f);
        cr_assert_eq(s.steps_saved, s.accepted);
        cr_assert((s.accepted > 0) == (drafts > 0));
        steps[drafts] = s.steps + s.steps_saved;
        solo_close(&f);
    }
    cr_assert_eq(steps[0], steps[1]);
}

/* ---- What they cost ----*/

/* A row more takes as long as a step: no guess is worth it, but for the try now and then. */
Test(drafts, what_does_not_pay_is_left)
{
    struct solo f;
    struct solo_client c;
    solo_open_drafting(&f, 48, 32);
    f.engine->o.draft_always = false;
    solo_ask_so(&f, &c, 1, PROMPT, 190, ways[0].sampling);
    hd_engine_kick(f.engine);
    while (f.wanted) {
        for (uint32_t i = 1; i <= HD_DRAFT_ROWS; i++) {
            f.engine->speculation.us[i] = 1e6 * i * i;
            f.engine->speculation.at[i] = f.engine->stats.steps;
        }
        solo_answer_half(&f);
    }
    cr_assert(c.ended);
    cr_assert_leq(stats_of(&f).drafted, 1 + 190 / HD_DRAFT_PATIENCE, "%lu in %lu steps",
                  stats_of(&f).drafted, stats_of(&f).steps);
    solo_close(&f);
}

/* Nor is there one where an audit waits for a step without. */
static bool never(void *arg)
{
    return false;
}

Test(drafts, none_where_none_may_be)
{
    struct solo f;
    struct solo_client c;
    solo_open_drafting(&f, 48, 32);
    f.engine->o.ops.may_draft = never;
    solo_ask_so(&f, &c, 1, PROMPT, 100, ways[0].sampling);
    solo_run(&f);
    cr_assert_eq(stats_of(&f).drafted, 0);
    solo_close(&f);
}
