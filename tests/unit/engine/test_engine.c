/* Requests through the engine: batches, chunks, replays, the queue, the end. */
#include "common/model/files.h"
#include "leader/engine/engine_impl.h"
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* The distributions here are flat: the best few of each block are not always enough, and then every
 * logit is asked for, of these rows only. Others in the batch, and a reset in between, change
 * nothing. */
Test(engine, every_logit_is_asked_for_when_the_best_few_do_not_do)
{
    struct hd_sampling whole = {.temperature = 0.7, .top_p = 1, .seed = 3};
    struct hd_sampling nucleus = {.temperature = 1, .top_p = 0.7, .seed = 4};
    struct solo_client alone[2], together[2], other;
    struct hd_engine_stats stats;
    struct solo f;
    solo_open_with(&f, 8, HD_ACTIVATIONS_F32, 3);
    solo_ask_so(&f, &alone[0], 10, 5, 30, whole);
    solo_run(&f);
    solo_ask_so(&f, &alone[1], 11, 5, 30, nucleus);
    solo_run(&f);
    hd_engine_get_stats(f.engine, &stats);
    cr_assert(stats.logits_again > 0 && stats.logits_again < 60, "%u of 60 steps",
              (unsigned)stats.logits_again);
    solo_ask_so(&f, &together[0], 10, 5, 30, whole);
    solo_ask_so(&f, &together[1], 11, 5, 30, nucleus);
    solo_ask(&f, &other, 12, 5, 30);
    hd_engine_kick(f.engine);
    for (unsigned i = 0; f.wanted; i++) {
        const struct hd_half_work *w = hd_engine_work(f.engine, 0);
        if (w->half == HD_HALF_LOGITS && i % 2)
            hd_engine_reset_half(f.engine, 0);
        solo_answer_half(&f);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(alone[i].n, 30);
        cr_assert_eq(memcmp(alone[i].tokens, together[i].tokens, sizeof alone[i].tokens), 0);
    }
    cr_assert_eq(other.n, 30);
    solo_close(&f);
}

Test(engine, tokens_do_not_depend_on_the_batch_or_the_chunks)
{
    struct solo_client alone[5], together[5];
    struct solo f;
    solo_open(&f, 64);
    for (int i = 0; i < 5; i++) {
        if (i == 4)
            solo_run(&f); /* the queue holds four */
        solo_ask(&f, &alone[i], 10 + i, 5 + 7 * (unsigned)i, 12);
        solo_run(&f);
        cr_assert(alone[i].ended && alone[i].n == 12 && alone[i].finish == HD_FINISH_LENGTH);
    }
    cr_assert_eq(f.open, 0);
    solo_close(&f);
    static const unsigned rows[] = {8, 3, 2, 1}; /* prompts come in chunks */
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        solo_open(&f, rows[k]); /* at most three sequences live */
        for (int i = 0; i < 4; i++)
            solo_ask(&f, &together[i], 10 + i, 5 + 7 * (unsigned)i, 12);
        solo_run(&f);
        solo_ask(&f, &together[4], 14, 5 + 28, 12);
        solo_run(&f);
        cr_assert_leq(f.largest, rows[k]);
        for (int i = 0; i < 5; i++)
            cr_assert_eq(memcmp(alone[i].tokens, together[i].tokens, sizeof alone[i].tokens), 0,
                         "%u rows", rows[k]);
        solo_close(&f);
    }
}

Test(engine, a_replay_or_a_reset_changes_no_token)
{
    struct solo_client plain, shaken;
    struct solo f;
    solo_open(&f, 8);
    solo_ask(&f, &plain, 20, 21, 16);
    solo_run(&f);
    solo_ask(&f, &shaken, 20, 21, 16);
    hd_engine_kick(f.engine);
    for (unsigned i = 0; f.wanted; i++) {
        if (i % 5 == 2)
            hd_engine_reset_half(f.engine, 0);
        if (i % 23 == 22) {
            uint64_t again = f.positions[0];
            cr_assert_eq(hd_engine_replay(f.engine, 1), again);
            f.positions[0] = 0;
            cr_assert_null(hd_engine_work(f.engine, 0));
            hd_engine_kick(f.engine);
        }
        if (i > 2000)
            break;
        solo_answer_half(&f);
        if (i > 60) { /* enough shaking */
            while (f.wanted)
                solo_answer_half(&f);
        }
    }
    cr_assert(shaken.ended);
    cr_assert_eq(memcmp(plain.tokens, shaken.tokens, sizeof plain.tokens), 0);
    /* What is run again is neither sampled nor counted again. */
    cr_assert_eq(hd_histogram_count(&f.serving.queue), 2);
    cr_assert_eq(hd_histogram_count(&f.serving.first_token), 2);
    cr_assert_eq(hd_histogram_count(&f.serving.inter_token), 2 * 15);
    solo_close(&f);
}

Test(engine, the_queue_is_bounded_and_options_are_checked)
{
    struct solo f;
    struct solo_client c[8];
    struct hd_request *r;
    struct hd_error err = {0};
    int32_t id = 5, wrong = 512;
    solo_open(&f, 8);
    hd_engine_set_ready(f.engine, false);
    for (int i = 0; i < 4; i++)
        solo_ask(&f, &c[i], 10, 3, 2);
    struct hd_request_options o = {.tokens = &id, .n_tokens = 1, .max_tokens = 1};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c[5], &r, &err), HD_E_LIMIT);
    hd_engine_set_ready(f.engine, true);
    solo_run(&f);
    for (int i = 0; i < 4; i++)
        cr_assert(c[i].ended && c[i].n == 2);
    o.tokens = &wrong;
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c[5], &r, &err), HD_E_RANGE);
    o.tokens = &id;
    o.n_tokens = 0;
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c[5], &r, &err), HD_E_RANGE);
    o.n_tokens = 1;
    o.max_tokens = 0;
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c[5], &r, &err), HD_E_RANGE);
    int32_t many[60] = {0};
    o = (struct hd_request_options){.tokens = many, .n_tokens = 60, .max_tokens = 1};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c[5], &r, &err), HD_E_RANGE);
    o.n_tokens = 59; /* fits the context of 60 with one token */
    o.max_tokens = 30;
    o.ignore_eos = true;
    c[5] = (struct solo_client){0};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c[5], &r, &err), 0, "%s", err.text);
    solo_run(&f);
    cr_assert(c[5].ended && c[5].n == 1 && c[5].finish == HD_FINISH_LENGTH);
    solo_close(&f);
}

Test(engine, a_prompt_is_scored_in_order)
{
    struct solo f;
    struct solo_client c = {0};
    struct hd_request *r;
    struct hd_error err = {0};
    int32_t ids[40];
    solo_open(&f, 24);
    for (int i = 0; i < 40; i++)
        ids[i] = 3 * i + 1;
    struct hd_request_options o = {.tokens = ids,
                                   .n_tokens = 40,
                                   .logprobs = true,
                                   .top_logprobs = 5,
                                   .prompt_logprobs = true};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &solo_events, &c, &r, &err), 0, "%s", err.text);
    solo_run(&f);
    cr_assert(c.ended);
    cr_assert_eq(c.n, 0);
    cr_assert_eq(c.n_scored, 40);
    cr_assert_eq(c.n_logits, 40);
    cr_assert_eq(memcmp(c.scored, ids, sizeof ids), 0);
    cr_assert(c.logprob < 0 && isfinite(c.logprob));
    cr_assert_leq(f.largest, 16, "rows with every logit are limited");
    solo_close(&f);
}

Test(engine, a_cancelled_request_hears_nothing_more)
{
    struct solo f;
    struct solo_client a, b;
    solo_open(&f, 8);
    struct hd_request *r = solo_ask(&f, &a, 30, 10, 20);
    solo_ask(&f, &b, 31, 10, 20);
    hd_engine_kick(f.engine);
    while (f.wanted && a.n < 4)
        solo_answer_half(&f);
    hd_engine_cancel(f.engine, r);
    while (f.wanted)
        solo_answer_half(&f);
    cr_assert_eq(a.n, 4);
    cr_assert_not(a.ended);
    cr_assert(b.ended && b.n == 20);
    cr_assert_eq(f.open, 0);
    solo_close(&f);
}

Test(engine, old_requests_fail_with_the_reason_and_young_ones_stay)
{
    struct solo f;
    struct solo_client a, b;
    solo_open(&f, 8);
    solo_ask(&f, &a, 30, 10, 20);
    hd_engine_kick(f.engine);
    solo_answer_half(&f);
    hd_engine_fail(f.engine, 0, "nobody is as old as that");
    cr_assert_not(a.ended);
    hd_engine_fail(f.engine, UINT64_MAX, "no worker");
    cr_assert(a.ended && a.finish == HD_FINISH_ERROR);
    cr_assert_str_eq(a.error, "no worker");
    cr_assert_eq(f.abandoned, 1);
    cr_assert_null(hd_engine_work(f.engine, 0));
    solo_ask(&f, &b, 30, 10, 20);
    solo_run(&f);
    cr_assert(b.ended && b.n == 20);
    solo_close(&f);
}

/* The leader's file is overwritten while it runs: who needs what was there ends with the reason,
 * all others get their tokens. */
Test(engine, a_wrong_row_of_the_embedding_ends_its_request_only)
{
    struct solo_client plain, wrong, beside;
    struct solo f;
    uint64_t offset;
    solo_open(&f, 64);
    solo_ask(&f, &plain, 10, 5, 12);
    solo_run(&f);
    cr_assert_eq(f.wrong_rows, 0);
    struct hd_request *r = solo_ask(&f, &wrong, 40, 9, 12);
    solo_ask(&f, &beside, 10, 5, 12);
    const struct hd_tensor *t = &f.tiny.model->embedding;
    const uint8_t *row = t->data + (size_t)r->tokens[8] * t->row_bytes;
    cr_assert_not_null(hd_model_where(f.tiny.model, row, &offset));
    int fd = open(f.tiny.path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "wrong", 5, (off_t)offset), 5);
    close(fd);
    solo_run(&f);
    cr_assert_eq(f.wrong_rows, 1);
    cr_assert(wrong.ended && wrong.finish == HD_FINISH_ERROR && wrong.n == 0);
    cr_assert_str_eq(wrong.error, "the file has changed");
    cr_assert(beside.ended && beside.finish == HD_FINISH_LENGTH);
    cr_assert_eq(memcmp(beside.tokens, plain.tokens, sizeof plain.tokens), 0);
    cr_assert_eq(f.open, 0);
    solo_close(&f);
}
