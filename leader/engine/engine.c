/* engine.c - requests in, cancelled, failed; the half-steps themselves are in step.c and finish.c.
 */
#include "leader/engine/engine_impl.h"

#include "common/math/team.h"
#include "common/util/clock.h"
#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

static bool alloc_rows(struct hd_engine *e, size_t threads)
{
    size_t n = e->o.max_rows, dim = e->o.model->shape.dim;
    e->rows = calloc(n, sizeof *e->rows);
    e->residual = calloc(n * dim, sizeof *e->residual);
    bool two_norms = e->o.model->block.parallel && hd_slot_layers(e->o.model, HD_SLOT_FFN_NORM);
    e->before = two_norms ? calloc(n * dim, sizeof *e->before) : NULL;
    e->row_bytes = hd_model_row_bytes(e->o.model, e->o.activations);
    e->sum_bytes = hd_model_sum_bytes(e->o.model, e->o.wire);
    e->embedding = aligned_alloc(64, (e->o.model->embedding.row_bytes + 63) / 64 * 64);
    e->scratch_floats = (dim + 15) / 16 * 16;
    e->scratch = aligned_alloc(64, threads * e->scratch_floats * sizeof *e->scratch);
    e->row_at = calloc(n, sizeof *e->row_at);
    e->sums_at = calloc(n, sizeof *e->sums_at);
    e->x = aligned_alloc(64, (n * e->row_bytes + 63) / 64 * 64);
    e->acc = calloc(n * dim, sizeof *e->acc);
    e->sequences = calloc(n, sizeof *e->sequences);
    e->positions = calloc(n, sizeof *e->positions);
    e->want = calloc(n, sizeof *e->want);
    e->tokens = calloc(n, sizeof *e->tokens);
    e->temperatures = calloc(n, sizeof *e->temperatures);
    e->shifts = calloc(n, sizeof *e->shifts);
    e->by_sequence = calloc(n, sizeof *e->by_sequence);
    e->experts = calloc(n * e->o.model->shape.n_used + 1, sizeof *e->experts);
    e->weights = calloc(n * e->o.model->shape.n_used + 1, sizeof *e->weights);
    return e->rows && e->residual && (e->before || !two_norms) && e->embedding && e->scratch &&
           e->row_at && e->sums_at && e->x && e->acc && e->sequences && e->positions && e->want &&
           e->tokens && e->temperatures && e->shifts && e->by_sequence && e->experts && e->weights;
}

static bool load_vector(struct hd_engine *e, enum hd_slot_id slot)
{
    const struct hd_model *m = e->o.model;
    size_t dim = m->shape.dim, layers = hd_slot_layers(m, slot);
    if (layers == 0)
        return true;
    e->own[slot] = calloc(layers * dim, sizeof *e->own[slot]);
    if (!e->own[slot])
        return false;
    for (uint32_t l = 0; l < layers; l++)
        hd_dequant(hd_slot_of(m, slot, l), 0, 0, dim, e->own[slot] + l * dim);
    for (size_t i = 0; i < layers * dim && hd_slots[slot].norm; i++)
        e->own[slot][i] += m->block.norm_offset;
    return true;
}

/* Norms, and what else is added to or multiplied with the whole residual. */
static bool load_vectors(struct hd_engine *e)
{
    bool good = true;
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        if (!hd_slot_is_units(s) && hd_slots[s].rows == HD_SIZE_ONE &&
            hd_slots[s].cols == HD_SIZE_DIM)
            good = good && load_vector(e, s);
    return good;
}

int hd_engine_new(struct hd_engine **out, const struct hd_engine_options *o, struct hd_error *err)
{
    struct hd_engine *e = calloc(1, sizeof *e);
    if (!e)
        return hd_fail(err, HD_E_NOMEM, "no memory for the engine");
    e->o = *o;
    e->speculation.max_rows = o->max_drafts;
    e->limit = (struct hd_live_limit){.logged = UINT64_MAX, .held = UINT64_MAX};
    if (e->o.max_sequences > HD_MAX_SEQUENCES)
        e->o.max_sequences = HD_MAX_SEQUENCES;
    if (e->o.sequences < e->o.max_sequences)
        e->o.sequences = e->o.max_sequences;
    unsigned threads = o->team ? hd_team_threads(o->team) : 1;
    if (!alloc_rows(e, threads) || !load_vectors(e) || hd_whole_norms_new(&e->whole, e) < 0 ||
        hd_route_init(&e->route, o->model, o->kernels, threads) < 0) {
        hd_engine_free(e);
        return hd_fail(err, HD_E_NOMEM, "no memory for a step of %u rows", o->max_rows);
    }
    *out = e;
    return 0;
}

static void free_list(struct hd_request *r)
{
    while (r) {
        struct hd_request *next = r->next;
        hd_request_free(r);
        r = next;
    }
}

void hd_engine_free(struct hd_engine *e)
{
    if (!e)
        return;
    hd_logits_deinit(&e->logits);
    hd_adjust_deinit(&e->adjust);
    hd_masks_deinit(&e->masks);
    hd_cache_free(e);
    free_list(e->waiting);
    free_list(e->running);
    free(e->rows);
    free(e->residual);
    free(e->embedding);
    free(e->scratch);
    free(e->row_at);
    free(e->sums_at);
    free(e->before);
    free(e->x);
    free(e->acc);
    free(e->sequences);
    free(e->positions);
    free(e->want);
    free(e->tokens);
    free(e->temperatures);
    free(e->shifts);
    free(e->by_sequence);
    hd_whole_norms_free(e->whole);
    free(e->experts);
    free(e->weights);
    hd_route_deinit(&e->route);
    for (int s = 0; s < HD_SLOTS; s++)
        free(e->own[s]);
    free(e);
}

/* ---- Requests ----*/

/* All are in the vocabulary. */
static int check_tokens(const struct hd_engine *e, const int32_t *ids, size_t n,
                        struct hd_error *err)
{
    uint32_t vocab = e->o.model->shape.vocab;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab)
            return hd_fail(err, HD_E_RANGE, "token %d at %zu is outside the vocabulary of %u",
                           ids[i], i, vocab);
    return 0;
}

/* Tokens of the answer that its client has already. */
static int check_known(const struct hd_engine *e, const struct hd_request_options *o,
                       struct hd_error *err)
{
    if (o->n_known > o->max_tokens || o->n_known > e->o.context - o->n_tokens)
        return hd_fail(err, HD_E_RANGE,
                       "%zu tokens of the answer are there already; it has room for %u", o->n_known,
                       o->max_tokens);
    if (o->n_known > 0 && o->prompt_logprobs)
        return hd_fail(err, HD_E_RANGE, "an answer that goes on cannot score its prompt");
    int rc = check_tokens(e, o->known, o->n_known, err);
    for (size_t i = 0; rc == 0 && i < o->n_known; i++)
        if (hd_request_stops(e, o, o->known[i]))
            rc = hd_fail(err, HD_E_RANGE, "token %d at %zu of the answer ends it: nothing follows",
                         o->known[i], i);
    return rc;
}

static int check_options(const struct hd_engine *e, const struct hd_request_options *o,
                         struct hd_error *err)
{
    uint32_t vocab = e->o.model->shape.vocab;
    if (o->n_tokens == 0)
        return hd_fail(err, HD_E_RANGE, "the prompt is empty: give at least one token");
    if (o->n_tokens + (o->max_tokens > 0) > e->o.context)
        return hd_fail(err, HD_E_RANGE, "the prompt of %zu tokens does not fit a context of %u",
                       o->n_tokens, e->o.context);
    int rc = check_tokens(e, o->tokens, o->n_tokens, err);
    if (rc == 0)
        rc = check_known(e, o, err);
    if (rc < 0)
        return rc;
    if (o->pooling != HD_POOLING_NONE && (o->max_tokens > 0 || o->prompt_logprobs))
        return hd_fail(err, HD_E_RANGE, "a text's vector is asked for, and an answer");
    if (o->max_tokens == 0 && !o->prompt_logprobs && o->pooling == HD_POOLING_NONE)
        return hd_fail(err, HD_E_RANGE, "nothing is asked for: max_tokens is 0");
    if (o->top_logprobs > HD_MAX_TOP_LOGPROBS)
        return hd_fail(err, HD_E_RANGE, "top_logprobs is %u; at most %d", o->top_logprobs,
                       HD_MAX_TOP_LOGPROBS);
    for (size_t i = 0; i < o->sampling.n_bias; i++)
        if (o->sampling.bias[i].id < 0 || (uint32_t)o->sampling.bias[i].id >= vocab)
            return hd_fail(err, HD_E_RANGE, "logit_bias: token %d is outside the vocabulary of %u",
                           o->sampling.bias[i].id, vocab);
    if (e->n_waiting >= e->o.max_queue)
        return hd_fail(err, HD_E_LIMIT, "%u requests wait already; try again later", e->n_waiting);
    return 0;
}

bool hd_request_too_large(const struct hd_engine *e, const struct hd_request *r,
                          struct hd_error *err)
{
    if (r->capacity <= e->limit.held)
        return false;
    hd_fail(err, HD_E_RANGE,
            "%u positions of prompt and answer are more than the memory of worker %s has room for "
            "(%llu); ask for fewer tokens, or add memory or a worker",
            r->capacity, e->limit.by, (unsigned long long)e->limit.held);
    return true;
}

static struct hd_request *request_new(const struct hd_engine *e, const struct hd_request_options *o)
{
    struct hd_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    uint32_t room = e->o.context - (uint32_t)o->n_tokens;
    r->o = *o;
    r->o.tokens = r->o.known = NULL;
    r->o.sampling.bias = NULL;
    r->capacity = (uint32_t)o->n_tokens + (o->max_tokens < room ? o->max_tokens : room);
    r->tokens = calloc(r->capacity, sizeof *r->tokens);
    r->bias = calloc(o->sampling.n_bias + 1, sizeof *r->bias);
    if (o->pooling != HD_POOLING_NONE)
        r->pooled = calloc(e->o.model->shape.dim, sizeof *r->pooled);
    if (!r->tokens || !r->bias || (o->pooling != HD_POOLING_NONE && !r->pooled)) {
        hd_request_free(r);
        return NULL;
    }
    memcpy(r->tokens, o->tokens, o->n_tokens * sizeof *r->tokens);
    for (size_t i = 0; i < o->n_known; i++)
        r->tokens[o->n_tokens + i] = o->known[i];
    for (size_t i = 0; i < o->sampling.n_bias; i++)
        r->bias[i] = o->sampling.bias[i];
    r->o.sampling.bias = r->bias;
    r->n_prompt = (uint32_t)o->n_tokens;
    r->n_known = (uint32_t)o->n_known;
    r->n_tokens = r->n_prompt + r->n_known;
    r->sequence = HD_NO_SEQUENCE;
    return r;
}

int hd_engine_submit(struct hd_engine *e, const struct hd_request_options *o,
                     const struct hd_request_events *ev, void *arg, struct hd_request **out,
                     struct hd_error *err)
{
    int rc = check_options(e, o, err);
    if (rc < 0)
        return rc;
    struct hd_request *r = request_new(e, o);
    if (r && (o->sampling.grammar || hd_sampling_adjusts(&o->sampling)) &&
        hd_adjust_reserve(&e->adjust, e->o.model->shape.vocab) < 0) {
        hd_request_free(r);
        r = NULL;
    }
    if (!r)
        return hd_fail(err, HD_E_NOMEM, "no memory for a request of %zu tokens", o->n_tokens);
    if (hd_request_too_large(e, r, err)) {
        free_list(r);
        return err->code;
    }
    r->ev = *ev;
    r->arg = arg;
    r->submitted_us = hd_now_us();
    struct hd_request **tail = &e->waiting;
    while (*tail)
        tail = &(*tail)->next;
    *tail = r;
    e->n_waiting++;
    *out = r;
    return 0;
}

const char *hd_engine_untold(const struct hd_request *r)
{
    return r->suspect && !r->ended && r->told_us > 0 ? r->o.id : NULL;
}

void hd_engine_cancel(struct hd_engine *e, struct hd_request *r)
{
    r->cancelled = true;
    if (e->n_rows == 0)
        hd_requests_sweep(e);
}

static bool submitted_before(const struct hd_request *r, uint64_t before_us)
{
    return r->submitted_us < before_us;
}

void hd_engine_fail(struct hd_engine *e, uint64_t before_us, const char *why)
{
    hd_requests_fail(e, submitted_before, before_us, why);
}

/* ---- Steps ----*/

void hd_engine_kick(struct hd_engine *e)
{
    bool begun = false;
    while (!begun && e->ready && e->n_rows == 0) {
        hd_schedule_admit(e);
        hd_schedule_rows(e);
        begun = e->n_rows == 0 || hd_step_begin(e);
    }
}

void hd_engine_set_ready(struct hd_engine *e, bool ready)
{
    e->ready = ready;
}

void hd_engine_set_live_limit(struct hd_engine *e, const struct hd_live_limit *limit)
{
    e->limit = *limit;
    hd_cache_trim(e);
}

const struct hd_live_limit *hd_engine_live_limit(const struct hd_engine *e)
{
    return &e->limit;
}

uint64_t hd_engine_replay(struct hd_engine *e, uint64_t mask)
{
    uint64_t again = 0;
    hd_step_abandon(e);
    for (struct hd_request *r = e->running; r; r = r->next)
        if (mask >> r->sequence & 1) {
            again += r->done;
            r->done = 0;
            hd_cache_restart(e, r);
        }
    hd_requests_sweep(e);
    hd_engine_forget(e, mask);
    return again;
}

void hd_engine_failover(struct hd_engine *e, const struct hd_failover *f)
{
    for (struct hd_request *r = e->running; r; r = r->next) {
        struct hd_failover *list =
            realloc(r->failovers, (r->n_failovers + 1) * sizeof *r->failovers);
        if (!list)
            continue; /* the report is lost, the answer is not */
        r->failovers = list;
        list[r->n_failovers++] = *f;
    }
}

void hd_engine_get_stats(const struct hd_engine *e, struct hd_engine_stats *s)
{
    *s = e->stats;
    s->steps_saved = (uint64_t)e->speculation.saved;
    s->waiting = e->n_waiting;
    s->running = e->n_running;
    s->expert_rows = e->route.rows;
    s->kept = (unsigned)__builtin_popcountll(hd_prefixes_in(&e->prefixes, HD_BRANCH_KEPT));
    s->kept_positions = e->prefixes.kept;
}
