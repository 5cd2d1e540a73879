/* The engine against a backend without workers: partial sums are zero, so that a row's logits
 * depend on its token alone, and they are made here. */
#include "common/math/q8.h"
#include "common/model/synth.h"
#include "leader/engine/engine.h"
#include "leader/engine/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TOKENS = 64 };

struct fixture {
    char path[64];
    struct hd_model *model;
    struct hd_units units;
    struct hd_engine *engine;
    uint64_t open;          /* sequences */
    uint32_t positions[64]; /* committed by sequence */
    unsigned abandoned, largest, halves;
    bool wanted;                /* a half-step waits to be answered */
    uint32_t rows[64];          /* of it, by sequence */
    const uint32_t *bad_logits; /* the LOGITS row that is called bad; NULL: none */
    struct hd_serving serving;
};

/* What one client saw. */
struct client {
    int32_t tokens[MAX_TOKENS];
    unsigned n;
    int32_t scored[MAX_TOKENS];
    unsigned n_scored, n_logits;
    float logprob;
    bool ended;
    enum hd_finish finish;
    char error[200];
};

static void op_open(void *arg, uint32_t sequence, uint32_t max_positions)
{
    struct fixture *f = arg;
    cr_assert_not(f->open >> sequence & 1);
    f->open |= UINT64_C(1) << sequence;
    f->positions[sequence] = 0;
}

static void op_close(void *arg, uint32_t sequence)
{
    struct fixture *f = arg;
    cr_assert(f->open >> sequence & 1);
    f->open &= ~(UINT64_C(1) << sequence);
}

static void op_half(void *arg, const struct hd_half_work *work)
{
    struct fixture *f = arg;
    f->wanted = true;
    f->halves++;
    memset(f->rows, 0, sizeof f->rows);
    for (size_t i = 0; i < work->n_sequences; i++)
        f->rows[work->by_sequence[i].sequence] = work->by_sequence[i].rows;
    if (work->rows > f->largest)
        f->largest = (unsigned)work->rows;
}

static void op_done(void *arg, uint64_t step)
{
    struct fixture *f = arg;
    for (size_t i = 0; i < 64; i++)
        f->positions[i] += f->rows[i];
}

static void op_abandoned(void *arg)
{
    struct fixture *f = arg;
    f->abandoned++;
    f->wanted = false;
}

/* blocks: of the vocabulary, 0 = as many as the model's */
static void setup_with(struct fixture *f, unsigned max_rows, enum hd_activations activations,
                       uint32_t blocks)
{
    *f = (struct fixture){0};
    struct hd_error err = {0};
    snprintf(f->path, sizeof f->path, "/tmp/hydac-engine-XXXXXX");
    int fd = mkstemp(f->path);
    cr_assert_geq(fd, 0);
    close(fd);
    struct hd_synth_options so = {.shape = "tiny", .type = HD_F32, .seed = 3, .out = f->path};
    cr_assert_eq(hd_synth_write(&so, &err), 0, "%s", err.text);
    cr_assert_eq(hd_model_open(&f->model, f->path, &err), 0, "%s", err.text);
    hd_model_units(f->model, &f->units);
    if (blocks > 0) {
        f->units.vocab_width = (f->model->shape.vocab + blocks - 1) / blocks;
        f->units.vocab_blocks = blocks;
    }
    struct hd_engine_options o = {
        .model = f->model,
        .units = &f->units,
        .kernels = hd_kernels_get(HD_ISA_PORTABLE),
        .activations = activations,
        .ops = {f, op_open, op_close, op_half, op_done, op_abandoned},
        .max_sequences = 3,
        .max_rows = max_rows,
        .max_queue = 4,
        .context = 60,
        .max_live_positions = UINT64_MAX,
        .serving = &f->serving,
    };
    hd_serving_init(&f->serving);
    cr_assert_eq(hd_engine_new(&f->engine, &o, &err), 0, "%s", err.text);
    hd_engine_set_ready(f->engine, true);
}

static void setup(struct fixture *f, unsigned max_rows)
{
    setup_with(f, max_rows, HD_ACTIVATIONS_F32, 0);
}

static void teardown(struct fixture *f)
{
    hd_engine_free(f->engine);
    hd_model_close(f->model);
    unlink(f->path);
}

static float logit_of(uint32_t hash, uint32_t id)
{
    uint64_t x = (hash ^ id * 2654435761u) * UINT64_C(0x9e3779b97f4a7c15);
    return (float)(x >> 40) / (float)(1 << 24) * 8.0f;
}

static uint32_t hash_row(const uint8_t *x, size_t bytes)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ x[i]) * 16777619u;
    return h;
}

static void put_block(uint8_t **p, const struct fixture *f, uint32_t hash, uint32_t block,
                      uint32_t want, float temperature)
{
    uint32_t width = f->units.vocab_width, first = block * width;
    uint32_t n = f->model->shape.vocab - first < width ? f->model->shape.vocab - first : width;
    struct hd_candidate *c = calloc(n, sizeof *c);
    double sum = 0, sum_t = 0;
    for (uint32_t i = 0; i < n; i++) {
        c[i] = (struct hd_candidate){(int32_t)(first + i), logit_of(hash, first + i)};
        sum += exp((double)c[i].logit);
        sum_t += temperature > 0 ? exp((double)c[i].logit / (double)temperature) : 0;
    }
    float lse[] = {(float)log(sum), (float)log(sum_t)};
    memcpy(*p, lse, temperature > 0 ? 8 : 4);
    *p += temperature > 0 ? 8 : 4;
    if (want)
        hd_candidates_best(c, n, want);
    for (uint32_t i = 0; i < (want && want < n ? want : n); i++) {
        memcpy(*p, &c[i].id, 4);
        *p += want ? 4 : 0;
        memcpy(*p, &c[i].logit, 4);
        *p += 4;
    }
    free(c);
}

/* Answer the half-step in hand as one worker that owns everything. */
static void answer_half(struct fixture *f)
{
    const struct hd_half_work *w = hd_engine_work(f->engine, 0);
    cr_assert_not_null(w);
    struct hd_error err = {0};
    struct hd_half_result r = {0};
    uint32_t *blocks = calloc(f->units.vocab_blocks, sizeof *blocks);
    size_t dim = f->model->shape.dim;
    size_t room = w->rows * (dim * 4 + f->model->shape.vocab * 8 + f->units.vocab_blocks * 8);
    uint8_t *payload = calloc(1, room), *p = payload;
    if (w->half == HD_HALF_LOGITS) {
        for (uint32_t b = 0; b < f->units.vocab_blocks; b++)
            blocks[b] = b;
        r.vocab_blocks = blocks;
        r.n_vocab_blocks = f->units.vocab_blocks;
        for (size_t i = 0; i < w->rows; i++)
            for (uint32_t b = 0; b < f->units.vocab_blocks; b++)
                put_block(&p, f, hash_row(w->x + i * w->row_bytes, w->row_bytes), b, w->want[i],
                          w->temperatures[i]);
    } else {
        p += w->rows * dim * 4;
    }
    r.payload = payload;
    r.payload_len = (size_t)(p - payload);
    if (w->half == HD_HALF_LOGITS && f->bad_logits) {
        r.bad = f->bad_logits;
        r.n_bad = 1;
    }
    f->wanted = false;
    cr_assert_eq(hd_engine_use_result(f->engine, &r, &err), 0, "%s", err.text);
    free(payload);
    free(blocks);
    hd_engine_half_done(f->engine, 0);
}

static void run(struct fixture *f)
{
    hd_engine_kick(f->engine);
    while (f->wanted)
        answer_half(f);
}

static void on_token(void *arg, const struct hd_token_event *t)
{
    struct client *c = arg;
    if (t->prompt) {
        cr_assert_eq(t->index, c->n_scored);
        c->scored[c->n_scored++] = t->id;
    } else {
        cr_assert_eq(t->index, c->n);
        c->tokens[c->n++] = t->id;
    }
    c->logprob = t->logprob;
}

static void on_end(void *arg, const struct hd_request_end *end)
{
    struct client *c = arg;
    cr_assert_not(c->ended, "ended twice");
    c->ended = true;
    c->finish = end->finish;
    snprintf(c->error, sizeof c->error, "%s", end->error ? end->error : "");
}

static void on_logits(void *arg, uint32_t position, const struct hd_candidate *row, size_t n)
{
    struct client *c = arg;
    cr_assert_eq(position, c->n_logits++);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(row[i].id, (int32_t)i);
}

static const struct hd_request_events events = {on_token, on_end, on_logits};

static struct hd_request *ask_so(struct fixture *f, struct client *c, int32_t first,
                                 unsigned prompt, unsigned answer, struct hd_sampling sampling)
{
    int32_t ids[MAX_TOKENS];
    struct hd_request *r = NULL;
    struct hd_error err = {0};
    for (unsigned i = 0; i < prompt; i++)
        ids[i] = first + (int32_t)i * 7 % 100;
    struct hd_request_options o = {.tokens = ids,
                                   .n_tokens = prompt,
                                   .max_tokens = answer,
                                   .sampling = sampling,
                                   .ignore_eos = true};
    *c = (struct client){0};
    cr_assert_eq(hd_engine_submit(f->engine, &o, &events, c, &r, &err), 0, "%s", err.text);
    return r;
}

static struct hd_request *ask(struct fixture *f, struct client *c, int32_t first, unsigned prompt,
                              unsigned answer)
{
    struct hd_sampling s = {.temperature = 0.8, .top_k = 30, .top_p = 0.9, .seed = (uint64_t)first};
    return ask_so(f, c, first, prompt, answer, s);
}

/* The distributions here are flat: the best few of each block are not always enough, and then every
 * logit is asked for, of these rows only. Others in the batch, and a reset in between, change
 * nothing. */
Test(engine, every_logit_is_asked_for_when_the_best_few_do_not_do)
{
    struct hd_sampling whole = {.temperature = 0.7, .top_p = 1, .seed = 3};
    struct hd_sampling nucleus = {.temperature = 1, .top_p = 0.7, .seed = 4};
    struct client alone[2], together[2], other;
    struct hd_engine_stats stats;
    struct fixture f;
    setup_with(&f, 8, HD_ACTIVATIONS_F32, 3);
    ask_so(&f, &alone[0], 10, 5, 30, whole);
    run(&f);
    ask_so(&f, &alone[1], 11, 5, 30, nucleus);
    run(&f);
    hd_engine_get_stats(f.engine, &stats);
    cr_assert(stats.logits_again > 0 && stats.logits_again < 60, "%u of 60 steps",
              (unsigned)stats.logits_again);
    ask_so(&f, &together[0], 10, 5, 30, whole);
    ask_so(&f, &together[1], 11, 5, 30, nucleus);
    ask(&f, &other, 12, 5, 30);
    hd_engine_kick(f.engine);
    for (unsigned i = 0; f.wanted; i++) {
        const struct hd_half_work *w = hd_engine_work(f.engine, 0);
        if (w->half == HD_HALF_LOGITS && i % 2)
            hd_engine_reset_half(f.engine, 0);
        answer_half(&f);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(alone[i].n, 30);
        cr_assert_eq(memcmp(alone[i].tokens, together[i].tokens, sizeof alone[i].tokens), 0);
    }
    cr_assert_eq(other.n, 30);
    teardown(&f);
}

Test(engine, tokens_do_not_depend_on_the_batch_or_the_chunks)
{
    struct client alone[5], together[5];
    struct fixture f;
    setup(&f, 64);
    for (int i = 0; i < 5; i++) {
        if (i == 4)
            run(&f); /* the queue holds four */
        ask(&f, &alone[i], 10 + i, 5 + 7 * (unsigned)i, 12);
        run(&f);
        cr_assert(alone[i].ended && alone[i].n == 12 && alone[i].finish == HD_FINISH_LENGTH);
    }
    cr_assert_eq(f.open, 0);
    teardown(&f);
    setup(&f, 8); /* prompts come in chunks, at most three sequences live */
    for (int i = 0; i < 4; i++)
        ask(&f, &together[i], 10 + i, 5 + 7 * (unsigned)i, 12);
    run(&f);
    ask(&f, &together[4], 14, 5 + 28, 12);
    run(&f);
    cr_assert_leq(f.largest, 8);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(memcmp(alone[i].tokens, together[i].tokens, sizeof alone[i].tokens), 0);
    teardown(&f);
}

Test(engine, a_replay_or_a_reset_changes_no_token)
{
    struct client plain, shaken;
    struct fixture f;
    setup(&f, 8);
    ask(&f, &plain, 20, 21, 16);
    run(&f);
    ask(&f, &shaken, 20, 21, 16);
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
        answer_half(&f);
        if (i > 60) { /* enough shaking */
            while (f.wanted)
                answer_half(&f);
        }
    }
    cr_assert(shaken.ended);
    cr_assert_eq(memcmp(plain.tokens, shaken.tokens, sizeof plain.tokens), 0);
    /* What is run again is neither sampled nor counted again. */
    cr_assert_eq(hd_histogram_count(&f.serving.queue), 2);
    cr_assert_eq(hd_histogram_count(&f.serving.first_token), 2);
    cr_assert_eq(hd_histogram_count(&f.serving.inter_token), 2 * 15);
    teardown(&f);
}

Test(engine, the_queue_is_bounded_and_options_are_checked)
{
    struct fixture f;
    struct client c[8];
    struct hd_request *r;
    struct hd_error err = {0};
    int32_t id = 5, wrong = 512;
    setup(&f, 8);
    hd_engine_set_ready(f.engine, false);
    for (int i = 0; i < 4; i++)
        ask(&f, &c[i], 10, 3, 2);
    struct hd_request_options o = {.tokens = &id, .n_tokens = 1, .max_tokens = 1};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c[5], &r, &err), HD_E_LIMIT);
    hd_engine_set_ready(f.engine, true);
    run(&f);
    for (int i = 0; i < 4; i++)
        cr_assert(c[i].ended && c[i].n == 2);
    o.tokens = &wrong;
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c[5], &r, &err), HD_E_RANGE);
    o.tokens = &id;
    o.n_tokens = 0;
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c[5], &r, &err), HD_E_RANGE);
    o.n_tokens = 1;
    o.max_tokens = 0;
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c[5], &r, &err), HD_E_RANGE);
    int32_t many[60] = {0};
    o = (struct hd_request_options){.tokens = many, .n_tokens = 60, .max_tokens = 1};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c[5], &r, &err), HD_E_RANGE);
    o.n_tokens = 59; /* fits the context of 60 with one token */
    o.max_tokens = 30;
    o.ignore_eos = true;
    c[5] = (struct client){0};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c[5], &r, &err), 0, "%s", err.text);
    run(&f);
    cr_assert(c[5].ended && c[5].n == 1 && c[5].finish == HD_FINISH_LENGTH);
    teardown(&f);
}

Test(engine, a_prompt_is_scored_in_order)
{
    struct fixture f;
    struct client c = {0};
    struct hd_request *r;
    struct hd_error err = {0};
    int32_t ids[40];
    setup(&f, 24);
    for (int i = 0; i < 40; i++)
        ids[i] = 3 * i + 1;
    struct hd_request_options o = {.tokens = ids,
                                   .n_tokens = 40,
                                   .logprobs = true,
                                   .top_logprobs = 5,
                                   .prompt_logprobs = true};
    cr_assert_eq(hd_engine_submit(f.engine, &o, &events, &c, &r, &err), 0, "%s", err.text);
    run(&f);
    cr_assert(c.ended);
    cr_assert_eq(c.n, 0);
    cr_assert_eq(c.n_scored, 40);
    cr_assert_eq(c.n_logits, 40);
    cr_assert_eq(memcmp(c.scored, ids, sizeof ids), 0);
    cr_assert(c.logprob < 0 && isfinite(c.logprob));
    cr_assert_leq(f.largest, 16, "rows with every logit are limited");
    teardown(&f);
}

Test(engine, a_cancelled_request_hears_nothing_more)
{
    struct fixture f;
    struct client a, b;
    setup(&f, 8);
    struct hd_request *r = ask(&f, &a, 30, 10, 20);
    ask(&f, &b, 31, 10, 20);
    hd_engine_kick(f.engine);
    while (f.wanted && a.n < 4)
        answer_half(&f);
    hd_engine_cancel(f.engine, r);
    while (f.wanted)
        answer_half(&f);
    cr_assert_eq(a.n, 4);
    cr_assert_not(a.ended);
    cr_assert(b.ended && b.n == 20);
    cr_assert_eq(f.open, 0);
    teardown(&f);
}

Test(engine, old_requests_fail_with_the_reason_and_young_ones_stay)
{
    struct fixture f;
    struct client a, b;
    setup(&f, 8);
    ask(&f, &a, 30, 10, 20);
    hd_engine_kick(f.engine);
    answer_half(&f);
    hd_engine_fail(f.engine, 0, "nobody is as old as that");
    cr_assert_not(a.ended);
    hd_engine_fail(f.engine, UINT64_MAX, "no worker");
    cr_assert(a.ended && a.finish == HD_FINISH_ERROR);
    cr_assert_str_eq(a.error, "no worker");
    cr_assert_eq(f.abandoned, 1);
    cr_assert_null(hd_engine_work(f.engine, 0));
    ask(&f, &b, 30, 10, 20);
    run(&f);
    cr_assert(b.ended && b.n == 20);
    teardown(&f);
}

Test(engine, a_malformed_or_bad_result_harms_nobody_else)
{
    struct fixture f;
    struct client a, b;
    struct hd_error err = {0};
    setup(&f, 16);
    ask(&f, &a, 30, 3, 20);
    ask(&f, &b, 31, 3, 20);
    hd_engine_kick(f.engine);
    size_t dim = f.model->shape.dim, rows = hd_engine_work(f.engine, 0)->rows;
    uint8_t *zero = calloc(rows + 1, dim * 8);
    uint32_t twice[] = {1, 1}, beyond[] = {6}, first[] = {0};
    struct hd_half_result r = {.payload = zero, .payload_len = rows * dim * 4 - 1};
    cr_assert_eq(rows, 6);
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, (rows + 2) * dim * 4, twice, 2, NULL, 0, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, (rows + 1) * dim * 4, beyond, 1, NULL, 0, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, rows * dim * 4, NULL, 0, beyond, 1, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
    r = (struct hd_half_result){0, zero, (rows + 1) * dim * 4, first, 1, first, 1, NULL, 0};
    cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), 0, "%s", err.text);
    free(zero);
    f.wanted = false;
    hd_engine_half_done(f.engine, 0);
    while (f.wanted)
        answer_half(&f);
    cr_assert(a.ended && a.finish == HD_FINISH_ERROR && a.n == 0);
    cr_assert(b.ended && b.finish == HD_FINISH_LENGTH && b.n == 20);
    teardown(&f);
}

/* The rows of the LOGITS half are numbered among those that are sampled. */
Test(engine, bad_logits_end_their_own_request)
{
    static const uint32_t second[] = {1};
    struct fixture f;
    struct client a, b;
    setup(&f, 16);
    ask(&f, &a, 30, 3, 20);
    ask(&f, &b, 31, 3, 20);
    hd_engine_kick(f.engine);
    cr_assert_eq(hd_engine_work(f.engine, 0)->rows, 6);
    f.bad_logits = second;
    while (!b.ended)
        answer_half(&f);
    f.bad_logits = NULL;
    while (f.wanted)
        answer_half(&f);
    cr_assert(b.finish == HD_FINISH_ERROR && b.n == 0);
    cr_assert(a.ended && a.finish == HD_FINISH_LENGTH && a.n == 20);
    teardown(&f);
}

/* ---- Rows ----*/

/* The row of a token in the half-step in hand, as the options say, when all sums have been zero:
 * its embedding, normalised. */
static void expect_row(const struct fixture *f, int32_t token, size_t i)
{
    const struct hd_half_work *w = hd_engine_work(f->engine, 0);
    const struct hd_model *m = f->model;
    const struct hd_kernels *k = hd_kernels_get(HD_ISA_PORTABLE);
    const struct hd_tensor *norm = w->half == HD_HALF_LOGITS ? &m->output_norm
                                   : w->half == HD_HALF_FFN  ? &m->layers[w->layer].ffn_norm
                                                             : &m->layers[w->layer].attn_norm;
    size_t dim = m->shape.dim;
    float x[256], weight[256];
    uint8_t row[256 / HD_Q8_BLOCK * HD_Q8_BLOCK_BYTES];
    cr_assert_eq(dim, 256);
    hd_dequant(&m->embedding, (size_t)token, 0, dim, x);
    hd_dequant(norm, 0, 0, dim, weight);
    hd_rms_norm(k, x, weight, m->shape.norm_eps, x, dim);
    hd_q8_encode(k, x, dim, row);
    bool q8 = w->row_bytes == sizeof row;
    cr_assert_arr_eq(w->x + i * w->row_bytes, q8 ? (const void *)row : (const void *)x,
                     q8 ? sizeof row : sizeof x, "half %d, layer %u, row %zu", (int)w->half,
                     w->layer, i);
}

/* Every half of every step: the prompt of three in one step, then one row a step; logits are wanted
 * of each step's last row. */
static void expect_rows(enum hd_activations activations, size_t row_bytes)
{
    struct fixture f;
    struct client c;
    int32_t prompt[] = {30, 37, 44};
    setup_with(&f, 8, activations, 0);
    ask(&f, &c, 30, 3, 3);
    hd_engine_kick(f.engine);
    for (; f.wanted; answer_half(&f)) {
        const struct hd_half_work *w = hd_engine_work(f.engine, 0);
        cr_assert_eq(w->row_bytes, row_bytes);
        bool first = c.n == 0, last_row = w->half == HD_HALF_LOGITS;
        cr_assert_eq(w->rows, first && !last_row ? 3 : 1);
        for (size_t i = 0; i < w->rows; i++)
            expect_row(&f, first ? prompt[last_row ? 2 : i] : c.tokens[c.n - 1], i);
    }
    cr_assert(c.ended && c.n == 3);
    cr_assert_eq(f.halves, 3 * (2 * f.model->shape.n_layers + 1));
    teardown(&f);
}

Test(engine, rows_are_the_normalised_residual_in_every_half)
{
    expect_rows(HD_ACTIVATIONS_F32, 256 * sizeof(float));
}

Test(engine, rows_are_q8_rows_of_it_when_the_options_say_so)
{
    expect_rows(HD_ACTIVATIONS_Q8, hd_q8_row_bytes(256));
}

/* A partial sum of 64 bits and one of 32 are the same numbers. */
Test(engine, the_width_of_a_row_changes_nothing)
{
    struct fixture f;
    struct client c;
    uint32_t got[2];
    for (int wide = 0; wide < 2; wide++) {
        struct hd_error err = {0};
        setup(&f, 4);
        ask(&f, &c, 30, 1, 2);
        hd_engine_kick(f.engine);
        size_t dim = f.model->shape.dim;
        int64_t *v64 = calloc(dim, 8);
        int32_t *v32 = calloc(dim, 4);
        uint32_t row[] = {0};
        for (size_t i = 0; i < dim; i++)
            v64[i] = v32[i] = (int32_t)(i * 7919) - 400000;
        struct hd_half_result r = {.payload = wide ? (uint8_t *)v64 : (uint8_t *)v32,
                                   .payload_len = dim * (wide ? 8 : 4),
                                   .wide = row,
                                   .n_wide = (size_t)wide};
        cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), 0, "%s", err.text);
        f.wanted = false;
        hd_engine_half_done(f.engine, 0);
        got[wide] = hash_row(hd_engine_work(f.engine, 0)->x, dim * sizeof(float));
        free(v64);
        free(v32);
        teardown(&f);
    }
    cr_assert_eq(got[0], got[1]);
}
