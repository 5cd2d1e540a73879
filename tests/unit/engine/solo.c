/* solo.c - the backend answers at once, with zeros or with what the test asks for. */
#include "tests/unit/engine/solo.h"

#include "common/model/digests.h"
#include "leader/engine/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void op_open(void *arg, uint32_t sequence, uint32_t max_positions)
{
    struct solo *f = arg;
    cr_assert_not(f->open >> sequence & 1);
    f->open |= UINT64_C(1) << sequence;
    f->positions[sequence] = f->shared[sequence] = 0;
}

static void op_close(void *arg, uint32_t sequence)
{
    struct solo *f = arg;
    cr_assert(f->open >> sequence & 1);
    for (uint32_t s = 0; s < 64; s++)
        cr_assert_not(f->open >> s & 1 && f->shared[s] > 0 && f->parent[s] == sequence);
    f->open &= ~(UINT64_C(1) << sequence);
    f->kept &= ~(UINT64_C(1) << sequence);
}

static void op_fork(void *arg, uint32_t sequence, uint32_t parent, uint32_t shared)
{
    struct solo *f = arg;
    cr_assert(f->open >> parent & 1 && f->positions[parent] >= shared);
    op_open(arg, sequence, 0);
    f->positions[sequence] = shared;
    f->shared[sequence] = shared;
    f->parent[sequence] = parent;
}

static void op_kept(void *arg, uint32_t sequence, bool kept)
{
    struct solo *f = arg;
    cr_assert(f->open >> sequence & 1);
    cr_assert_neq(f->kept >> sequence & 1, kept);
    f->kept ^= UINT64_C(1) << sequence;
}

static void op_cut(void *arg, uint32_t sequence, uint32_t positions)
{
    struct solo *f = arg;
    cr_assert(f->open >> sequence & 1);
    cr_assert_geq(positions, f->shared[sequence]);
    if (f->positions[sequence] > positions)
        f->positions[sequence] = positions;
    f->cuts++;
}

static void op_adopt(void *arg, const struct hd_kept_rows *k)
{
    struct solo *f = arg;
    if (!(f->open >> k->sequence & 1))
        f->kept |= UINT64_C(1) << k->sequence;
    f->open |= UINT64_C(1) << k->sequence;
    f->positions[k->sequence] = k->positions;
    f->shared[k->sequence] = k->shared;
    f->parent[k->sequence] = k->parent;
}

static void op_half(void *arg, const struct hd_half_work *work)
{
    struct solo *f = arg;
    f->wanted = true;
    f->halves++;
    for (size_t i = 0; i < work->rows && f->drafts > 0 && work->half == HD_HALF_ATTENTION; i++) {
        uint32_t s = work->sequences[i];
        bool first = i == 0 || work->sequences[i - 1] != s;
        cr_assert_eq(work->positions[i], first ? f->positions[s] : work->positions[i - 1] + 1);
    }
    memset(f->rows, 0, sizeof f->rows);
    for (size_t i = 0; i < work->n_sequences; i++)
        f->rows[work->by_sequence[i].sequence] = work->by_sequence[i].rows;
    if (work->rows > f->largest)
        f->largest = (unsigned)work->rows;
}

static void op_done(void *arg, uint64_t step)
{
    struct solo *f = arg;
    for (size_t i = 0; i < 64; i++)
        f->positions[i] += f->rows[i];
}

static void op_abandoned(void *arg)
{
    struct solo *f = arg;
    f->abandoned++;
    f->wanted = false;
}

static const char *op_wrong_row(void *arg, int32_t token)
{
    struct solo *f = arg;
    f->wrong_rows++;
    return "the file has changed";
}

static struct hd_digests *digests_of(const struct hd_model *m)
{
    static const _Atomic bool go_on;
    struct hd_digests *d;
    struct hd_error err = {0};
    cr_assert_eq(hd_digests_new(&d, m), 0);
    cr_assert_eq(hd_digests_make(d, 1, &go_on, &err), 0, "%s", err.text);
    return d;
}

static void open_solo(struct solo *f, unsigned max_rows, enum hd_activations activations,
                      uint32_t blocks, uint64_t cached)
{
    unsigned drafts = f->drafts;
    *f = (struct solo){.drafts = drafts};
    struct hd_error err = {0};
    tiny_model_open(&f->tiny, HD_F32);
    f->digests = digests_of(f->tiny.model);
    if (blocks > 0) {
        f->tiny.units.vocab_width = (f->tiny.model->shape.vocab + blocks - 1) / blocks;
        f->tiny.units.vocab_blocks = blocks;
    }
    struct hd_engine_options o = {
        .model = f->tiny.model,
        .units = &f->tiny.units,
        .kernels = hd_kernels_get(HD_ISA_PORTABLE),
        .activations = activations,
        .digests = f->digests,
        .ops = {f, op_open, op_close, op_half, op_done, op_abandoned, op_wrong_row, op_fork,
                op_kept, op_cut, NULL, op_adopt},
        .max_sequences = 3,
        .sequences = cached ? 5 : 3,
        .max_rows = max_rows,
        .max_queue = 4,
        .max_drafts = drafts,
        .draft_always = true,
        .context = cached ? SOLO_CONTEXT : 60,
        .serving = &f->serving,
    };
    hd_serving_init(&f->serving);
    cr_assert_eq(hd_engine_new(&f->engine, &o, &err), 0, "%s", err.text);
    hd_engine_set_live_limit(
        f->engine,
        &(struct hd_live_limit){.logged = UINT64_MAX, .held = UINT64_MAX, .cached = cached});
    hd_engine_set_ready(f->engine, true);
}

void solo_open_with(struct solo *f, unsigned max_rows, enum hd_activations activations,
                    uint32_t blocks)
{
    f->drafts = 0;
    open_solo(f, max_rows, activations, blocks, 0);
}

void solo_open_cached(struct solo *f, unsigned max_rows, uint64_t cached)
{
    f->drafts = 0;
    open_solo(f, max_rows, HD_ACTIVATIONS_F32, 0, cached);
}

void solo_open_drafting(struct solo *f, unsigned max_rows, unsigned drafts)
{
    f->drafts = drafts;
    open_solo(f, max_rows, HD_ACTIVATIONS_F32, 0, 10000);
}

void solo_open(struct solo *f, unsigned max_rows)
{
    solo_open_with(f, max_rows, HD_ACTIVATIONS_F32, 0);
}

void solo_close(struct solo *f)
{
    hd_engine_free(f->engine);
    hd_digests_free(f->digests);
    tiny_model_close(&f->tiny);
}

static float logit_of(uint32_t hash, uint32_t id)
{
    uint64_t x = (hash ^ id * 2654435761u) * UINT64_C(0x9e3779b97f4a7c15);
    return (float)(x >> 40) / (float)(1 << 24) * 8.0f;
}

uint32_t solo_hash_row(const uint8_t *x, size_t bytes)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ x[i]) * 16777619u;
    return h;
}

static void put_block(uint8_t **p, const struct solo *f, uint32_t hash, uint32_t block,
                      uint32_t want, float temperature)
{
    uint32_t width = f->tiny.units.vocab_width, first = block * width;
    uint32_t n =
        f->tiny.model->shape.vocab - first < width ? f->tiny.model->shape.vocab - first : width;
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

void solo_answer_half(struct solo *f)
{
    const struct hd_half_work *w = hd_engine_work(f->engine, 0);
    cr_assert_not_null(w);
    struct hd_error err = {0};
    struct hd_half_result r = {0};
    uint32_t *blocks = calloc(f->tiny.units.vocab_blocks, sizeof *blocks);
    size_t dim = f->tiny.model->shape.dim;
    size_t room =
        w->rows * (dim * 4 + f->tiny.model->shape.vocab * 8 + f->tiny.units.vocab_blocks * 8);
    uint8_t *payload = calloc(1, room), *p = payload;
    if (w->half == HD_HALF_LOGITS) {
        for (uint32_t b = 0; b < f->tiny.units.vocab_blocks; b++)
            blocks[b] = b;
        r.vocab_blocks = blocks;
        r.n_vocab_blocks = f->tiny.units.vocab_blocks;
        for (size_t i = 0; i < w->rows; i++)
            for (uint32_t b = 0; b < f->tiny.units.vocab_blocks; b++)
                put_block(&p, f, solo_hash_row(w->x + i * w->row_bytes, w->row_bytes), b,
                          w->want[i], w->temperatures[i]);
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

void solo_run(struct solo *f)
{
    hd_engine_kick(f->engine);
    while (f->wanted)
        solo_answer_half(f);
}

static void on_token(void *arg, const struct hd_token_event *t)
{
    struct solo_client *c = arg;
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
    struct solo_client *c = arg;
    cr_assert_not(c->ended, "ended twice");
    c->ended = true;
    c->finish = end->finish;
    c->suspect = end->suspect;
    c->cached = end->cached_tokens;
    snprintf(c->error, sizeof c->error, "%s", end->error ? end->error : "");
}

static void on_logits(void *arg, uint32_t position, const struct hd_candidate *row, size_t n)
{
    struct solo_client *c = arg;
    cr_assert_eq(position, c->n_logits++);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(row[i].id, (int32_t)i);
}

const struct hd_request_events solo_events = {on_token, on_end, on_logits};

struct hd_request *solo_ask_so(struct solo *f, struct solo_client *c, int32_t first,
                               unsigned prompt, unsigned answer, struct hd_sampling sampling)
{
    int32_t ids[SOLO_TOKENS];
    struct hd_request *r = NULL;
    struct hd_error err = {0};
    for (unsigned i = 0; i < prompt; i++)
        ids[i] = first + (int32_t)i * 7 % 100;
    struct hd_request_options o = {.tokens = ids,
                                   .n_tokens = prompt,
                                   .max_tokens = answer,
                                   .sampling = sampling,
                                   .ignore_eos = true};
    snprintf(o.id, sizeof o.id, "r%d", (int)first);
    *c = (struct solo_client){0};
    cr_assert_eq(hd_engine_submit(f->engine, &o, &solo_events, c, &r, &err), 0, "%s", err.text);
    return r;
}

struct hd_request *solo_ask(struct solo *f, struct solo_client *c, int32_t first, unsigned prompt,
                            unsigned answer)
{
    struct hd_sampling s = {.temperature = 0.8, .top_k = 30, .top_p = 0.9, .seed = (uint64_t)first};
    return solo_ask_so(f, c, first, prompt, answer, s);
}
