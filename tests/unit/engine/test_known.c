/* An answer of which the client has the beginning already: the rest is the same. */
#include "leader/engine/engine_impl.h"
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <string.h>

#define ANSWER 12

static const struct hd_sampling sampled = {.temperature = 0.8,
                                           .top_p = 0.9,
                                           .repetition_penalty = 1.3,
                                           .presence_penalty = 0.5,
                                           .seed = 7};

/* The client has what is known: tokens go on behind it. */
static int submit(struct solo *f, struct solo_client *c, const int32_t *known, size_t n,
                  struct hd_request_options o)
{
    static const int32_t prompt[] = {3, 1, 4, 1, 5};
    struct hd_request *r;
    struct hd_error err = {0};
    *c = (struct solo_client){.n = (unsigned)n};
    for (size_t i = 0; i < n; i++)
        c->tokens[i] = known[i];
    o.tokens = prompt;
    o.n_tokens = sizeof prompt / sizeof prompt[0];
    o.known = known;
    o.n_known = n;
    return hd_engine_submit(f->engine, &o, &solo_events, c, &r, &err);
}

Test(known, what_follows_is_the_same_wherever_it_broke_off)
{
    const struct hd_request_options o = {
        .max_tokens = ANSWER, .sampling = sampled, .ignore_eos = true};
    struct solo_client whole, rest;
    struct solo f;
    solo_open(&f, 4);
    cr_assert_eq(submit(&f, &whole, NULL, 0, o), 0);
    solo_run(&f);
    cr_assert_eq(whole.n, ANSWER);
    for (unsigned k = 0; k <= ANSWER; k++) {
        cr_assert_eq(submit(&f, &rest, whole.tokens, k, o), 0);
        solo_run(&f);
        cr_assert(rest.ended && rest.finish == HD_FINISH_LENGTH);
        cr_assert_eq(rest.n, ANSWER);
        cr_assert_eq(memcmp(rest.tokens, whole.tokens, sizeof whole.tokens), 0, "behind %u tokens",
                     k);
    }
    solo_close(&f);
}

Test(known, what_cannot_stand_there_is_refused)
{
    struct hd_request_options o = {.max_tokens = 2, .sampling = sampled, .ignore_eos = true};
    struct solo_client c;
    struct solo f;
    solo_open(&f, 4);
    const int32_t eos = f.tiny.model->eos, three[] = {1, 2, 3},
                  strange = (int32_t)f.tiny.model->shape.vocab;
    cr_assert_eq(submit(&f, &c, three, 3, o), HD_E_RANGE); /* more than are wanted */
    cr_assert_eq(submit(&f, &c, &strange, 1, o), HD_E_RANGE);
    cr_assert_eq(submit(&f, &c, &eos, 1, o), 0);
    o.ignore_eos = false;
    cr_assert_eq(submit(&f, &c, &eos, 1, o), HD_E_RANGE); /* it had ended */
    o.prompt_logprobs = true;
    cr_assert_eq(submit(&f, &c, three, 1, o), HD_E_RANGE);
    solo_run(&f);
    solo_close(&f);
}
