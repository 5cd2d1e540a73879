/* Vectors of texts: here a row's residual is its token's embedding, so each is known. */
#include "tests/unit/engine/solo.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST 256 /* values of a vector */

struct asker {
    double vector[MOST];
    bool ended, pooled;
    char error[200];
    struct solo *f;
};

static void on_end(void *arg, const struct hd_request_end *end)
{
    struct asker *a = arg;
    a->ended = true;
    a->pooled = end->pooled != NULL;
    cr_assert_eq(end->completion_tokens, 0);
    snprintf(a->error, sizeof a->error, "%s", end->error ? end->error : "");
    if (end->pooled)
        memcpy(a->vector, end->pooled, a->f->tiny.model->shape.dim * sizeof *a->vector);
}

static const struct hd_request_events events = {.on_end = on_end};

static void ask(struct solo *f, struct asker *a, enum hd_pooling pooling, int32_t first, size_t n)
{
    int32_t tokens[SOLO_TOKENS];
    struct hd_request *r;
    struct hd_error err = {0};
    *a = (struct asker){.f = f};
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(((size_t)first + 3 * i) % f->tiny.model->shape.vocab);
    struct hd_request_options o = {
        .tokens = tokens, .n_tokens = n, .pooling = pooling, .sampling = {.top_p = 1}};
    cr_assert_eq(hd_engine_submit(f->engine, &o, &events, a, &r, &err), 0, "%s", err.text);
    hd_engine_kick(f->engine);
}

/* What a text of one token gives is added up. */
static void expect_mean(struct solo *f, const double *got, int32_t first, size_t n, size_t from)
{
    double sum[MOST] = {0};
    size_t dim = f->tiny.model->shape.dim;
    for (size_t i = from; i < n; i++) {
        struct asker one;
        ask(f, &one, HD_POOLING_LAST,
            (int32_t)(((size_t)first + 3 * i) % f->tiny.model->shape.vocab), 1);
        solo_run(f);
        cr_assert(one.pooled);
        for (size_t k = 0; k < dim; k++)
            sum[k] += one.vector[k];
    }
    for (size_t k = 0; k < dim; k++)
        cr_expect_float_eq(got[k], sum[k] / (double)(n - from), 1e-9);
}

Test(pool, last_and_mean)
{
    struct solo f;
    struct asker last, mean;
    struct solo_client c;
    solo_open(&f, 5); /* in pieces, beside an answer */
    solo_ask(&f, &c, 1, 4, 10);
    ask(&f, &last, HD_POOLING_LAST, 7, 13);
    ask(&f, &mean, HD_POOLING_MEAN, 9, 17);
    solo_run(&f);
    cr_assert(c.ended && last.pooled && mean.pooled);
    expect_mean(&f, last.vector, 7, 13, 12);
    expect_mean(&f, mean.vector, 9, 17, 0);
    cr_expect_eq(f.open, 0);
    solo_close(&f);
}

/* A replay begins the sum again. */
Test(pool, again)
{
    struct solo f;
    struct asker mean;
    solo_open(&f, 5);
    ask(&f, &mean, HD_POOLING_MEAN, 9, 17);
    while (f.positions[0] < 10)
        solo_answer_half(&f);
    cr_assert_gt(hd_engine_replay(f.engine, 1), 0);
    f.positions[0] = 0;
    f.wanted = false;
    hd_engine_kick(f.engine);
    solo_run(&f);
    cr_assert(mean.pooled);
    expect_mean(&f, mean.vector, 9, 17, 0);
    solo_close(&f);
}

/* Rows that are kept serve the last one's vector, and none of them is missing in a mean. */
Test(pool, behind_rows_that_are_kept)
{
    struct solo f;
    struct asker last, mean;
    solo_open_cached(&f, 50, 1000);
    ask(&f, &last, HD_POOLING_LAST, 9, 150);
    solo_run(&f);
    struct hd_engine_stats before, after;
    hd_engine_get_stats(f.engine, &before);
    ask(&f, &last, HD_POOLING_LAST, 9, 150);
    solo_run(&f);
    hd_engine_get_stats(f.engine, &after);
    cr_expect_lt(after.prompt_tokens - before.prompt_tokens, 65);
    ask(&f, &mean, HD_POOLING_MEAN, 9, 150);
    solo_run(&f);
    cr_assert(last.pooled && mean.pooled);
    expect_mean(&f, last.vector, 9, 150, 149);
    expect_mean(&f, mean.vector, 9, 150, 0);
    solo_close(&f);
}

Test(pool, nothing_beside_it)
{
    struct solo f;
    struct hd_request *r;
    struct hd_error err = {0};
    int32_t token = 1;
    solo_open(&f, 5);
    struct hd_request_options o = {.tokens = &token,
                                   .n_tokens = 1,
                                   .max_tokens = 1,
                                   .pooling = HD_POOLING_LAST,
                                   .sampling = {.top_p = 1}};
    cr_expect_eq(hd_engine_submit(f.engine, &o, &events, NULL, &r, &err), HD_E_RANGE);
    solo_close(&f);
}
