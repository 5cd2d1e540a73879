/* test_trust.c - what becomes of requests when something turns out to have been wrong. */
#include "tests/unit/engine/solo.h"

#include "common/util/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Answers until the client has heard of so many tokens. */
static void until_told(struct solo *f, const struct solo_client *c, unsigned n)
{
    hd_engine_kick(f->engine);
    while (c->n < n)
        solo_answer_half(f);
}

Test(engine_trust, who_has_heard_of_tokens_since_ends)
{
    struct solo f;
    struct solo_client told, early, waits, alone;
    solo_open(&f, 2);
    solo_ask(&f, &alone, 50, 30, 8);
    solo_run(&f);
    solo_ask(&f, &told, 30, 2, 20);
    until_told(&f, &told, 3);
    uint64_t later = hd_now_us() + 1;
    solo_ask(&f, &waits, 50, 30, 8);
    hd_engine_fail_told(f.engine, later, "nobody has heard of any since");
    cr_assert_not(told.ended || waits.ended);
    until_told(&f, &told, 5);
    hd_engine_fail_told(f.engine, later, "w2 was wrong");
    cr_assert(told.ended && told.finish == HD_FINISH_ERROR && f.abandoned == 1);
    cr_assert_str_eq(told.error, "w2 was wrong");
    cr_assert_not(waits.ended);
    solo_run(&f);
    cr_assert(waits.ended && waits.finish == HD_FINISH_LENGTH);
    cr_assert_arr_eq(waits.tokens, alone.tokens, sizeof alone.tokens);
    solo_ask(&f, &early, 30, 2, 20);
    hd_engine_fail_running(f.engine, "no one knows"); /* it has not begun */
    cr_assert_not(early.ended);
    until_told(&f, &early, 1);
    hd_engine_fail_running(f.engine, "no one knows");
    cr_assert(early.ended && early.finish == HD_FINISH_ERROR && f.open == 0);
    solo_close(&f);
}

Test(engine_trust, what_runs_is_marked)
{
    struct solo f;
    struct solo_client a, b, c;
    solo_open(&f, 8);
    solo_ask(&f, &a, 30, 2, 6);
    solo_ask(&f, &b, 40, 2, 6);
    until_told(&f, &a, 1);
    solo_ask(&f, &c, 60, 2, 6); /* not begun */
    cr_assert_eq(hd_engine_suspect(f.engine, 1), 1);
    cr_assert_eq(hd_engine_suspect(f.engine, HD_ALL_SEQUENCES), 1);
    cr_assert_eq(hd_engine_suspect(f.engine, HD_ALL_SEQUENCES), 0);
    solo_run(&f);
    cr_assert(a.ended && b.ended && c.ended);
    cr_assert(a.suspect && b.suspect && !c.suspect);
    solo_close(&f);
}

/* Whose client leaves now would never know. */
Test(engine_trust, a_suspect_request_that_is_cancelled_is_untold)
{
    struct solo f;
    struct solo_client a, b;
    solo_open(&f, 8);
    struct hd_request *first = solo_ask(&f, &a, 30, 2, 6);
    until_told(&f, &a, 1);
    struct hd_request *second = solo_ask(&f, &b, 60, 2, 6); /* not begun */
    cr_assert_null(hd_engine_untold(first));
    cr_assert_eq(hd_engine_suspect(f.engine, HD_ALL_SEQUENCES), 1);
    cr_assert_str_eq(hd_engine_untold(first), "r30");
    cr_assert_null(hd_engine_untold(second));
    solo_run(&f);
    solo_close(&f);
}

static void list(void *arg, const struct hd_ended_request *r)
{
    cr_assert(r->started_us > 0 && r->ended_us >= r->started_us);
    strcat(strcat(arg, " "), r->id);
}

static bool all_named; /* by the last look */

static const char *ended(const struct solo *f, uint64_t since, uint32_t sequence)
{
    static char text[8 * HD_ENDED_REQUESTS];
    text[0] = 0;
    all_named = hd_engine_ended(f->engine, since, sequence, list, text);
    return text;
}

Test(engine_trust, those_that_have_ended_are_remembered)
{
    struct solo f;
    struct solo_client c;
    solo_open(&f, 8);
    cr_assert_str_eq(ended(&f, 0, HD_ALL_SEQUENCES), "");
    solo_ask(&f, &c, 30, 2, 3);
    solo_run(&f);
    uint64_t later = hd_now_us() + 1;
    while (hd_now_us() < later)
        ;
    solo_ask(&f, &c, 31, 2, 3);
    solo_run(&f);
    cr_assert_str_eq(ended(&f, 0, HD_ALL_SEQUENCES), " r31 r30");
    cr_assert_str_eq(ended(&f, later, HD_ALL_SEQUENCES), " r31");
    cr_assert_str_eq(ended(&f, 0, 0), " r31 r30");
    cr_assert_str_eq(ended(&f, 0, 1), "");
    cr_assert(all_named);
    for (int i = 0; i < HD_ENDED_REQUESTS; i++) {
        solo_ask(&f, &c, 100 + i % 64, 2, 1);
        solo_run(&f);
    }
    later = hd_now_us() + 1;
    cr_assert_null(strstr(ended(&f, 0, HD_ALL_SEQUENCES), " r30 "));
    cr_assert_eq(strncmp(ended(&f, 0, HD_ALL_SEQUENCES), " r163 r162 ", 11), 0);
    cr_assert_not(all_named, "there were more");
    cr_assert_str_eq(ended(&f, later, HD_ALL_SEQUENCES), "");
    cr_assert(all_named);
    solo_close(&f);
}
