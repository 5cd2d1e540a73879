/* What workers say of the sampled rows: any order and any cut gives the same candidates and sum. */
#include "leader/engine/logits.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 100, WIDTH = 32, BLOCKS = 4 };

static const float no_temperatures[3];

static const struct hd_units units = {.vocab_blocks = BLOCKS, .vocab_width = WIDTH};

static float logit(size_t row, uint32_t id)
{
    return (float)((id * 37 + row * 11) % 101) / 7.0f;
}

static void put(uint8_t **p, const void *v)
{
    memcpy(*p, v, 4);
    *p += 4;
}

/* One block of one row as a worker sends it. */
static void put_block(uint8_t **p, size_t row, uint32_t block, uint32_t want)
{
    struct hd_candidate c[WIDTH];
    uint32_t first = block * WIDTH, n = VOCAB - first < WIDTH ? VOCAB - first : WIDTH;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        c[i] = (struct hd_candidate){(int32_t)(first + i), logit(row, first + i)};
        sum += exp((double)c[i].logit);
    }
    float lse = (float)log(sum);
    put(p, &lse);
    if (want)
        hd_candidates_best(c, n, want);
    for (uint32_t i = 0; i < (want && want < n ? want : n); i++) {
        if (want)
            put(p, &c[i].id);
        put(p, &c[i].logit);
    }
}

struct reply {
    uint8_t bytes[8192];
    struct hd_half_result r;
};

static void make_reply(struct reply *out, const uint32_t *want, size_t rows, const uint32_t *blocks,
                       size_t n)
{
    uint8_t *p = out->bytes;
    for (size_t i = 0; i < rows; i++)
        for (size_t b = 0; b < n; b++)
            put_block(&p, i, blocks[b], want[i]);
    out->r = (struct hd_half_result){.payload = out->bytes,
                                     .payload_len = (size_t)(p - out->bytes),
                                     .vocab_blocks = blocks,
                                     .n_vocab_blocks = n};
}

static void collect(struct hd_logits *l, const uint32_t *want, size_t rows, bool split)
{
    static const uint32_t all[] = {0, 1, 2, 3}, even[] = {0, 2}, odd[] = {1, 3};
    struct hd_half_work work = {.rows = rows, .want = want, .temperatures = no_temperatures};
    struct reply a, b;
    struct hd_error err = {0};
    cr_assert_eq(hd_logits_init(l, &units, VOCAB, &work), 0);
    if (!split) {
        make_reply(&a, want, rows, all, 4);
        cr_assert_eq(hd_logits_add(l, &a.r, &err), 0, "%s", err.text);
        return;
    }
    make_reply(&a, want, rows, odd, 2);
    make_reply(&b, want, rows, even, 2);
    cr_assert_eq(hd_logits_add(l, &a.r, &err), 0, "%s", err.text);
    cr_assert_eq(hd_logits_add(l, &b.r, &err), 0, "%s", err.text);
}

Test(logits, fold_does_not_depend_on_owners)
{
    static const uint32_t want[] = {0, 5, 64};
    struct hd_logits one, two;
    collect(&one, want, 3, false);
    collect(&two, want, 3, true);
    for (size_t row = 0; row < 3; row++) {
        double lse = hd_logits_lse(&one, row), sum = 0;
        cr_assert_eq(lse, hd_logits_lse(&two, row));
        for (uint32_t id = 0; id < VOCAB; id++)
            sum += exp((double)logit(row, id));
        cr_assert(fabs(lse - log(sum)) < 1e-5);
        struct hd_candidate *a, *b;
        size_t n = hd_logits_candidates(&one, row, &a);
        cr_assert_eq(n, hd_logits_candidates(&two, row, &b));
        cr_assert_eq(memcmp(a, b, n * sizeof *a), 0);
        cr_assert_eq(n, hd_logits_candidates(&one, row, &a), "asking twice changed it");
    }
    hd_logits_deinit(&one);
    hd_logits_deinit(&two);
}

Test(logits, candidates_hold_the_best)
{
    static const uint32_t want[] = {3};
    struct hd_logits l;
    struct hd_candidate *c, all[VOCAB];
    collect(&l, want, 1, true);
    size_t n = hd_logits_candidates(&l, 0, &c);
    cr_assert_eq(n, 3 * BLOCKS);
    for (uint32_t id = 0; id < VOCAB; id++)
        all[id] = (struct hd_candidate){(int32_t)id, logit(0, id)};
    hd_candidates_best(all, VOCAB, 3);
    hd_candidates_best(c, n, 3);
    cr_assert_eq(memcmp(c, all, 3 * sizeof *c), 0);
    hd_logits_deinit(&l);
}

/* What is no number cannot be chosen by: only with a row that is called bad it may come. */
Test(logits, what_is_no_number_is_refused)
{
    static const uint32_t wants[] = {0, 2}, blocks[] = {1}, called[] = {0};
    for (int w = 0; w < 2; w++)
        for (size_t at = 0; at <= 8; at += w == 0 ? 4 : 8) { /* the log-sum-exp, then a logit */
            struct hd_half_work work = {
                .rows = 1, .want = &wants[w], .temperatures = no_temperatures};
            struct hd_logits l;
            struct reply a;
            struct hd_error err = {0};
            float nan = NAN, never = -INFINITY;
            cr_assert_eq(hd_logits_init(&l, &units, VOCAB, &work), 0);
            make_reply(&a, &wants[w], 1, blocks, 1);
            memcpy(a.bytes + at, &nan, 4);
            cr_assert_eq(hd_logits_add(&l, &a.r, &err), HD_E_PROTO);
            cr_assert_not_null(strstr(err.text, "no numbers"), "%s", err.text);
            a.r.bad = called;
            a.r.n_bad = 1;
            cr_assert_eq(hd_logits_add(&l, &a.r, &err), 0);
            a.r.n_bad = 0;
            memcpy(a.bytes + at, &never, 4);
            cr_assert_eq(hd_logits_add(&l, &a.r, &err), at == 0 ? HD_E_PROTO : 0);
            hd_logits_deinit(&l);
        }
}

Test(logits, wrong_answers_are_refused)
{
    static const uint32_t want[] = {2}, blocks[] = {1}, nowhere[] = {9};
    struct hd_half_work work = {.rows = 1, .want = want, .temperatures = no_temperatures};
    struct hd_logits l;
    struct reply a;
    struct hd_error err = {0};
    cr_assert_eq(hd_logits_init(&l, &units, VOCAB, &work), 0);
    make_reply(&a, want, 1, blocks, 1);
    a.r.payload_len--;
    cr_assert_eq(hd_logits_add(&l, &a.r, &err), HD_E_PROTO);
    a.r.payload_len++;
    int32_t foreign = 99;
    memcpy(a.bytes + 4, &foreign, 4);
    cr_assert_eq(hd_logits_add(&l, &a.r, &err), HD_E_PROTO);
    a.r.vocab_blocks = nowhere;
    cr_assert_eq(hd_logits_add(&l, &a.r, &err), HD_E_PROTO);
    hd_logits_deinit(&l);
}

/* The second sum, of the temperature, is another's; both are folded in the order of the blocks. */
Test(logits, a_row_with_a_temperature_has_two_sums)
{
    static const uint32_t want[] = {2}, all[] = {0, 1, 2, 3};
    static const float temperatures[] = {0.5f};
    struct hd_half_work work = {.rows = 1, .want = want, .temperatures = temperatures};
    struct hd_logits l;
    struct hd_distribution d;
    struct hd_error err = {0};
    uint8_t bytes[4096], *p = bytes;
    double sum = 0;
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint8_t block[1024], *end = block;
        float lse_t = 0.25f * (float)b;
        put_block(&end, 0, b, 2);
        sum += exp((double)lse_t);
        memcpy(p, block, 4);
        memcpy(p + 4, &lse_t, 4);
        memcpy(p + 8, block + 4, (size_t)(end - block) - 4);
        p += 4 + (end - block);
    }
    struct hd_half_result r = {.payload = bytes,
                               .payload_len = (size_t)(p - bytes),
                               .vocab_blocks = all,
                               .n_vocab_blocks = 4};
    float nan = NAN;
    cr_assert_eq(hd_logits_init(&l, &units, VOCAB, &work), 0);
    cr_assert_eq(hd_logits_add(&l, &r, &err), 0, "%s", err.text);
    hd_logits_distribution(&l, 0, &d);
    cr_assert_float_eq(d.lse, log(sum), 1e-9);
    cr_assert_eq(d.each, 2);
    cr_assert_eq(d.n, 2 * BLOCKS);
    hd_logits_deinit(&l);
    cr_assert_eq(hd_logits_init(&l, &units, VOCAB, &work), 0);
    memcpy(bytes + 4, &nan, 4);
    cr_assert_eq(hd_logits_add(&l, &r, &err), HD_E_PROTO);
    hd_logits_deinit(&l);
}

/* No token that was kept back is better than the bound; of all logits nothing is kept back. */
Test(logits, the_bound_is_the_best_of_the_last)
{
    static const uint32_t want[] = {0, 3, 64};
    struct hd_logits l;
    struct hd_distribution d;
    collect(&l, want, 3, true);
    hd_logits_distribution(&l, 0, &d);
    cr_assert(isnan(d.bound) && d.each == 0 && d.n == VOCAB);
    hd_logits_distribution(&l, 2, &d); /* 64 of blocks of 32: all */
    cr_assert(isnan(d.bound) && d.each == 0 && d.n == VOCAB);
    hd_logits_distribution(&l, 1, &d);
    cr_assert_eq(d.each, 3);
    for (uint32_t id = 0; id < VOCAB; id++) {
        bool here = false;
        for (size_t i = 0; i < d.n; i++)
            here |= d.c[i].id == (int32_t)id;
        cr_assert(here || logit(1, id) <= d.bound, "token %u", id);
    }
    hd_logits_deinit(&l);
}
