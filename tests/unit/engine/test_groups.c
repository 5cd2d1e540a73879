/* A step in two groups of rows, against a backend of two workers that are hashes: a partial sum
 * depends on the row's bytes and, in attention, on all K/V rows of its sequence so far. So a row
 * that is computed early, late, twice or from other sums shows in the tokens. */
#include "leader/engine/engine.h"
#include "tests/unit/engine/tiny_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 60, CLIENTS = 4, LAYERS = 8, PARTS = 2, SEQUENCES = 3 };

struct client {
    int32_t tokens[CONTEXT];
    unsigned n;
    bool ended;
    enum hd_finish finish;
};

struct fixture {
    struct tiny_model tiny;
    struct hd_engine *engine;
    struct client clients[CLIENTS];
    uint32_t kv[SEQUENCES][LAYERS][CONTEXT]; /* a hash of each row */
    uint32_t valid[SEQUENCES][LAYERS];
    unsigned answered[HD_MAX_GROUPS]; /* mask of parts */
    unsigned at[HD_MAX_GROUPS];       /* half-steps of the step asked for so far */
    unsigned pairs, cuts, singles; /* steps in two groups; of these with a cut sequence; others */
    int bad_group;                 /* the first row of its first half-step is bad; -1: of none */
    uint64_t random;
};

/* ---- The backend ----*/

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 2654435761u;
    return h ^ h >> 15;
}

static uint32_t hash_row(const struct hd_half_work *w, size_t row)
{
    uint32_t h = (uint32_t)w->half + 7;
    for (size_t i = 0; i < w->row_bytes; i++)
        h = mix(h, w->x[row * w->row_bytes + i]);
    return h;
}

/* What all workers do as soon as the attention half reaches them. */
static void store_rows(struct fixture *f, const struct hd_half_work *w)
{
    for (size_t i = 0; i < w->rows; i++) {
        uint32_t s = w->sequences[i], p = w->positions[i], *valid = &f->valid[s][w->layer];
        cr_assert_leq(p, *valid, "a row before those that it sees");
        if (p == *valid)
            f->kv[s][w->layer][(*valid)++] = hash_row(w, i);
        cr_assert_eq(f->kv[s][w->layer][p], hash_row(w, i), "a row was another one before");
    }
}

static void note_step(struct fixture *f, const struct hd_half_work *w)
{
    f->at[0] = f->at[1] = 0;
    f->pairs += w->groups == 2;
    f->singles += w->groups == 1;
}

static void op_half(void *arg, const struct hd_half_work *w)
{
    struct fixture *f = arg;
    if (w->half == HD_HALF_ATTENTION && w->layer == 0 && w->group == 0)
        note_step(f, w);
    const struct hd_half_work *first = hd_engine_work(f->engine, 0);
    if (w->half == HD_HALF_ATTENTION && w->layer == 0 && w->group == 1)
        f->cuts += first->sequences[first->rows - 1] == w->sequences[0];
    f->at[w->group]++;
    cr_assert(w->groups == 1 || f->at[0] == f->at[1] || f->at[0] == f->at[1] + 1, "not in turn");
    f->answered[w->group] = 0;
    if (w->half == HD_HALF_ATTENTION)
        store_rows(f, w);
}

static void op_open(void *arg, uint32_t sequence, uint32_t max_positions)
{
    struct fixture *f = arg;
    (void)max_positions;
    memset(f->valid[sequence], 0, sizeof f->valid[sequence]);
}

static void op_close(void *arg, uint32_t sequence)
{
    (void)arg, (void)sequence;
}

static void op_done(void *arg, uint64_t step)
{
    (void)arg, (void)step;
}

static void op_abandoned(void *arg)
{
    (void)arg;
}

static uint32_t seen(const struct fixture *f, const struct hd_half_work *w, size_t row)
{
    uint32_t h = hash_row(w, row);
    for (uint32_t p = 0; p <= w->positions[row] && w->half == HD_HALF_ATTENTION; p++)
        h = mix(h, f->kv[w->sequences[row]][w->layer][p]);
    return h;
}

static uint8_t *put(uint8_t *to, const void *v)
{
    memcpy(to, v, 4);
    return to + 4;
}

/* A part owns every other vocab block; of each the best candidate is some token. */
static uint8_t *put_logits(const struct fixture *f, const struct hd_half_result *r, uint32_t hash,
                           uint8_t *p)
{
    for (size_t i = 0; i < r->n_vocab_blocks; i++) {
        uint32_t first = r->vocab_blocks[i] * f->tiny.units.vocab_width, left;
        uint32_t h = mix(hash, first);
        left = f->tiny.model->shape.vocab - first;
        uint32_t id =
            first + h % (left < f->tiny.units.vocab_width ? left : f->tiny.units.vocab_width);
        float logit = (float)(h >> 8) / (float)(1 << 20), lse = logit + 1;
        p = put(put(put(p, &lse), &id), &logit);
    }
    return p;
}

static uint8_t *put_sums(const struct fixture *f, uint32_t hash, uint8_t *p)
{
    for (size_t i = 0; i < f->tiny.model->shape.dim; i++) {
        int32_t v = (int32_t)(mix(hash, (uint32_t)i) % 2000001) - 1000000;
        p = put(p, &v);
    }
    return p;
}

/* Adds one worker's part; the last one ends the half-step. */
static void answer(struct fixture *f, unsigned group, unsigned part)
{
    static const uint32_t bad[] = {0};
    const struct hd_half_work *w = hd_engine_work(f->engine, group);
    struct hd_half_result r = {.group = group};
    struct hd_error err = {0};
    uint32_t blocks[64];
    for (uint32_t b = part; b < f->tiny.units.vocab_blocks; b += PARTS)
        blocks[r.n_vocab_blocks++] = b;
    uint8_t *payload = malloc(w->rows * (f->tiny.model->shape.dim * 4 + 64 * 12)), *p = payload;
    r.vocab_blocks = blocks;
    for (size_t i = 0; i < w->rows; i++) {
        uint32_t h = mix(seen(f, w, i), w->half == HD_HALF_LOGITS ? 0 : part);
        p = w->half == HD_HALF_LOGITS ? put_logits(f, &r, h, p) : put_sums(f, h, p);
    }
    if (f->bad_group == (int)group && w->groups == 2) {
        r.bad = bad;
        r.n_bad = 1;
        f->bad_group = -1;
    }
    r.payload = payload;
    r.payload_len = (size_t)(p - payload);
    cr_assert_eq(hd_engine_use_result(f->engine, &r, &err), 0, "%s", err.text);
    free(payload);
    f->answered[group] |= 1u << part;
    if (f->answered[group] == (1u << PARTS) - 1)
        hd_engine_half_done(f->engine, group);
}

static unsigned below(struct fixture *f, unsigned n)
{
    f->random = f->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(f->random >> 33) % n;
}

/* Any answer that is to come; now and then all sums, or sequences, are to be made anew. */
static void run(struct fixture *f, bool shaken)
{
    for (;;) {
        unsigned group = below(f, HD_MAX_GROUPS), part = below(f, PARTS);
        const struct hd_half_work *w = hd_engine_work(f->engine, group);
        if (!w && !hd_engine_work(f->engine, !group))
            return;
        if (shaken && below(f, 11) == 0) {
            hd_engine_reset_half(f->engine, 0);
            hd_engine_reset_half(f->engine, 1);
            f->answered[0] = f->answered[1] = 0;
        }
        if (shaken && below(f, 211) == 0) {
            uint32_t sequence = below(f, SEQUENCES);
            hd_engine_replay(f->engine, UINT64_C(1) << sequence);
            memset(f->valid[sequence], 0, sizeof f->valid[sequence]);
            hd_engine_kick(f->engine);
            continue;
        }
        if (w && !(f->answered[group] >> part & 1))
            answer(f, group, part);
    }
}

/* ---- The clients ----*/

static void on_token(void *arg, const struct hd_token_event *t)
{
    struct client *c = arg;
    c->tokens[c->n++] = t->id;
}

static void on_end(void *arg, const struct hd_request_end *end)
{
    struct client *c = arg;
    c->ended = true;
    c->finish = end->finish;
}

static void ask(struct fixture *f, unsigned client, unsigned prompt, unsigned tokens)
{
    static const struct hd_request_events events = {.on_token = on_token, .on_end = on_end};
    int32_t ids[CONTEXT];
    struct hd_request *r;
    struct hd_error err = {0};
    for (unsigned i = 0; i < prompt; i++)
        ids[i] = (int32_t)(mix(client, i) % 500);
    struct hd_request_options o = {
        .tokens = ids, .n_tokens = prompt, .max_tokens = tokens, .ignore_eos = true};
    struct client *c = &f->clients[client];
    cr_assert_eq(hd_engine_submit(f->engine, &o, &events, c, &r, &err), 0, "%s", err.text);
}

static void open_fixture(struct fixture *f, unsigned overlap_rows, uint64_t seed)
{
    struct hd_error err = {0};
    *f = (struct fixture){.random = seed, .bad_group = -1};
    tiny_model_open(&f->tiny, HD_Q4_0);
    cr_assert_leq(f->tiny.model->shape.n_layers, LAYERS);
    cr_assert_leq(f->tiny.units.vocab_blocks, 64);
    struct hd_engine_options o = {
        .model = f->tiny.model,
        .units = &f->tiny.units,
        .kernels = hd_kernels_get(HD_ISA_PORTABLE),
        .activations = HD_ACTIVATIONS_Q8,
        .overlap_rows = overlap_rows,
        .ops = {f, op_open, op_close, op_half, op_done, op_abandoned},
        .max_sequences = SEQUENCES,
        .max_rows = 9,
        .max_queue = CLIENTS,
        .context = CONTEXT,
    };
    cr_assert_eq(hd_engine_new(&f->engine, &o, &err), 0, "%s", err.text);
    hd_engine_set_ready(f->engine, true);
}

static void close_fixture(struct fixture *f)
{
    hd_engine_free(f->engine);
    tiny_model_close(&f->tiny);
}

static void ask_all(struct fixture *f)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        ask(f, i, 3 + 11 * i, 12);
    hd_engine_kick(f->engine);
}

/* The clients' tokens; all of them were served. */
static void expect_same(const struct fixture *a, const struct fixture *b)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        cr_assert(a->clients[i].ended && b->clients[i].ended);
        cr_assert(a->clients[i].n == 12 && b->clients[i].n == 12);
        cr_assert_arr_eq(a->clients[i].tokens, b->clients[i].tokens, sizeof a->clients[i].tokens,
                         "client %u", i);
    }
}

/* ---- Tests ----*/

Test(engine_groups, two_give_the_tokens_of_one)
{
    static struct fixture one, two;
    open_fixture(&one, 0, 1);
    ask_all(&one);
    run(&one, false);
    cr_assert_eq(one.pairs, 0);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        open_fixture(&two, 2 + (unsigned)seed % 3, seed);
        ask_all(&two);
        run(&two, seed > 2);
        cr_assert_gt(two.pairs, 0);
        cr_assert_gt(two.cuts, 0);
        cr_assert_gt(two.singles, 0, "steps that decode are not cut");
        expect_same(&one, &two);
        close_fixture(&two);
    }
    close_fixture(&one);
}

Test(engine_groups, the_first_goes_on_alone_for_one_half_step)
{
    static struct fixture f;
    open_fixture(&f, 2, 1);
    ask(&f, 0, 9, 1);
    hd_engine_kick(f.engine);
    cr_assert_eq(hd_engine_work(f.engine, 0)->rows, 5);
    cr_assert_eq(hd_engine_work(f.engine, 1)->rows, 4);
    cr_assert_eq(hd_engine_work(f.engine, 1)->positions[0], 5);
    answer(&f, 0, 0);
    answer(&f, 0, 1);
    cr_assert_eq(hd_engine_work(f.engine, 0)->half, HD_HALF_FFN);
    answer(&f, 0, 0);
    answer(&f, 0, 1);
    cr_assert_null(hd_engine_work(f.engine, 0), "it waits for its turn");
    cr_assert_eq(hd_engine_work(f.engine, 1)->half, HD_HALF_ATTENTION);
    answer(&f, 1, 0);
    hd_engine_reset_half(f.engine, 0); /* has nothing in hand */
    answer(&f, 1, 1);
    cr_assert_eq(hd_engine_work(f.engine, 1)->half, HD_HALF_FFN);
    cr_assert_eq(hd_engine_work(f.engine, 0)->layer, 1);
    run(&f, false);
    cr_assert(f.clients[0].ended);
    close_fixture(&f);
}

Test(engine_groups, a_result_needs_a_half_step)
{
    static struct fixture f;
    struct hd_error err = {0};
    struct hd_half_result r = {.group = 1};
    open_fixture(&f, 0, 1);
    ask(&f, 0, 9, 1);
    hd_engine_kick(f.engine);
    for (; r.group < 4; r.group++) {
        cr_assert_eq(hd_engine_use_result(f.engine, &r, &err), HD_E_PROTO);
        cr_assert_null(hd_engine_work(f.engine, r.group));
    }
    close_fixture(&f);
}

/* A bad row ends its own request, in whichever group it is. */
Test(engine_groups, bad_rows)
{
    static struct fixture f;
    for (int group = 0; group < HD_MAX_GROUPS; group++) {
        open_fixture(&f, 2, 1);
        f.bad_group = group;
        ask(&f, 0, 4, 8);
        ask(&f, 1, 4, 8);
        hd_engine_kick(f.engine);
        run(&f, false);
        const struct client *hit = &f.clients[group], *other = &f.clients[!group];
        cr_assert(hit->ended && hit->finish == HD_FINISH_ERROR && hit->n == 0);
        cr_assert(other->ended && other->finish == HD_FINISH_LENGTH && other->n == 8);
        close_fixture(&f);
    }
}
