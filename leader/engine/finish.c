/* finish.c - what a finished step means to its requests: tokens, scores, ends. */
#include "leader/engine/engine_impl.h"

#include "common/text/grammar.h"
#include "common/util/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill_timings(const struct hd_request *r, struct hd_timings *t)
{
    uint32_t answer = r->n_tokens - r->n_prompt - r->n_known;
    uint64_t started = r->started_us ? r->started_us : hd_now_us();
    t->queue_ms = (double)(started - r->submitted_us) / 1e3;
    if (!r->first_us)
        return;
    t->prefill_ms = (double)(r->first_us - started) / 1e3;
    t->decode_ms = (double)(r->last_us - r->first_us) / 1e3;
    t->max_gap_ms = (double)r->max_gap_us / 1e3;
    if (answer > 1 && r->last_us > r->first_us)
        t->tokens_per_second = (answer - 1) * 1e3 / t->decode_ms;
}

void hd_request_end(struct hd_engine *e, struct hd_request *r, enum hd_finish how,
                    const char *error)
{
    struct hd_request_end end = {
        .finish = how,
        .error = error,
        .prompt_tokens = r->n_prompt,
        .completion_tokens = r->n_tokens - r->n_prompt,
        .failovers = r->failovers,
        .n_failovers = r->n_failovers,
        .cached_tokens = hd_request_cached(r),
        .suspect = r->suspect,
        .pooled = how == HD_FINISH_ERROR ? NULL : r->pooled,
    };
    fill_timings(r, &end.timings);
    r->ended = true;
    r->failed = how == HD_FINISH_ERROR;
    e->stats.requests++;
    r->ev.on_end(r->arg, &end);
}

/* Report token `id` with what the options ask of the row's logits. Candidates are reordered. */
static void report(struct hd_engine *e, struct hd_request *r, size_t row, bool prompt, int32_t id)
{
    struct hd_token_event t = {.prompt = prompt,
                               .id = id,
                               .logprob = NAN,
                               .suspect = r->suspect,
                               .cached = hd_request_cached(r)};
    r->told_us = hd_now_us();
    t.index = prompt ? r->scored + 1 : r->n_tokens - r->n_prompt;
    struct hd_logprob top[HD_MAX_TOP_LOGPROBS];
    if (r->o.logprobs || r->o.top_logprobs) {
        struct hd_candidate *c;
        size_t n = hd_logits_candidates(&e->logits, row, &c);
        double lse = hd_logits_lse(&e->logits, row);
        hd_candidates_best(c, n, r->o.top_logprobs);
        for (size_t i = 0; i < n; i++)
            if (c[i].id == id)
                t.logprob = (float)(c[i].logit - lse);
        t.n_top = r->o.top_logprobs < n ? r->o.top_logprobs : (uint32_t)n;
        for (uint32_t i = 0; i < t.n_top; i++)
            top[i] = (struct hd_logprob){c[i].id, (float)(c[i].logit - lse)};
        t.top = top;
    }
    r->ev.on_token(r->arg, &t);
}

static void note_time(const struct hd_engine *e, struct hd_request *r)
{
    uint64_t now = hd_now_us();
    hd_serving_token(e->o.serving, r->submitted_us, r->last_us, now);
    if (!r->first_us)
        r->first_us = now;
    else if (now - r->last_us > r->max_gap_us)
        r->max_gap_us = now - r->last_us;
    r->last_us = now;
}

bool hd_request_stops(const struct hd_engine *e, const struct hd_request_options *o, int32_t id)
{
    const struct hd_grammar *g = o->sampling.grammar;
    if (o->ignore_eos && !(g && hd_grammar_holds(g))) /* nothing goes on what matches one whole */
        return false;
    return e->o.tokenizer ? hd_tokenizer_is_stop(e->o.tokenizer, id) : id == e->o.model->eos;
}

/* Is the row the last of what its request knows, or of a guess behind it, and is another token
 * wanted? */
static bool is_answered(const struct hd_row *row)
{
    const struct hd_request *r = row->r;
    return row->sampled && !r->cancelled && !r->ended && !r->bad &&
           row->position + 1 >= r->n_tokens && row->position + 1 - r->n_prompt < r->o.max_tokens;
}

/* The grammar, if there is one, hears of the token; false: the request has ended. */
static bool take(struct hd_engine *e, struct hd_request *r, int32_t id)
{
    struct hd_error err = {0};
    if (!r->o.sampling.grammar || hd_grammar_take(r->o.sampling.grammar, id, &err) == 0)
        return true;
    hd_request_end(e, r, HD_FINISH_ERROR, err.text);
    return false;
}

/* Of what is known of how often the best few do: the newest's share, and what an answer by all
 * logits leaves of it, so that they are tried again. */
#define FADE   0.1
#define FORGET 0.03

/* The token at `index` of the answer, behind `n_tokens`. HD_SAMPLE_MORE: every logit is needed. */
static int32_t sample(struct hd_engine *e, const struct hd_row *row, size_t at)
{
    struct hd_request *r = row->r;
    const uint32_t *mask = hd_masks_of(&e->masks, row);
    uint64_t index = row->position + 1 - r->n_prompt;
    struct hd_distribution d;
    hd_logits_distribution(&e->logits, at, &d);
    if (!mask)
        return hd_sample(&r->o.sampling, index, &d);
    bool all = isnan(d.bound);
    int32_t token = hd_sample_allowed(&e->adjust, &r->o.sampling, mask, index, &d);
    r->unclear += all ? -FORGET * r->unclear : FADE * ((token == HD_SAMPLE_MORE) - r->unclear);
    return token;
}

/* ... of what the tokens so far change, which is known when its turn comes; all logits are there.
 * False: there is none, the request ends with why. */
static bool sample_adjusted(struct hd_engine *e, struct hd_row *row, size_t at)
{
    struct hd_request *r = row->r;
    struct hd_distribution d;
    struct hd_error err = {0};
    if (row->barred) {
        hd_masks_why(e, r, &err);
        hd_request_end(e, r, HD_FINISH_ERROR, err.text);
        return false;
    }
    hd_logits_distribution(&e->logits, at, &d);
    hd_adjust_apply(&e->adjust, &r->o.sampling, hd_masks_of(&e->masks, row), r->tokens, r->n_prompt,
                    r->n_tokens, &d);
    row->token = hd_sample(&r->o.sampling, r->n_tokens - r->n_prompt, &d);
    return true;
}

/* What comes before a guess, in the row before it, is what was guessed. */
static bool goes_on(const struct hd_row *row)
{
    return !row->drafted || (!row->spoiled && row[-1].decided && row[-1].token == row->input);
}

bool hd_step_decide(struct hd_engine *e)
{
    bool decided = true;
    size_t at = 0;
    hd_masks_make(e);
    for (size_t i = 0; i < e->n_rows; i++) {
        struct hd_row *row = &e->rows[i];
        size_t logits = at;
        at += row->sampled;
        row->decided = is_answered(row) && goes_on(row) && !row->barred &&
                       !hd_sampling_adjusts(&row->r->o.sampling);
        if (!row->decided)
            continue;
        row->token = sample(e, row, logits);
        row->all = row->all || row->token == HD_SAMPLE_MORE;
        decided &= row->token != HD_SAMPLE_MORE;
    }
    if (!decided) {
        e->stats.logits_again++;
        hd_logits_deinit(&e->logits);
    }
    return decided;
}

/* The next token of a request from the logits of its last row, which hd_step_decide has chosen. */
static void answer(struct hd_engine *e, struct hd_request *r, size_t row, int32_t id)
{
    uint32_t index = r->n_tokens - r->n_prompt;
    if (index >= r->o.max_tokens || r->n_tokens == r->capacity) {
        hd_request_end(e, r, HD_FINISH_LENGTH, NULL);
        return;
    }
    note_time(e, r);
    if (hd_request_stops(e, &r->o, id)) {
        hd_request_end(e, r, HD_FINISH_STOP, NULL);
        return;
    }
    if (!take(e, r, id))
        return;
    report(e, r, row, false, id);
    r->tokens[r->n_tokens++] = id;
    e->stats.tokens++;
    if (index + 1 == r->o.max_tokens || r->n_tokens == r->capacity)
        hd_request_end(e, r, HD_FINISH_LENGTH, NULL);
    else if (e->o.model->long_from != 0 && r->n_tokens == e->o.model->long_from + 1)
        hd_request_again(e, r);
}

static void first_prompt_token(struct hd_request *r)
{
    struct hd_token_event t = {.prompt = true, .id = r->tokens[0], .logprob = NAN};
    r->ev.on_token(r->arg, &t);
}

/* A guess was right if it is the token that has come since: its row counts. */
static bool was_right(struct hd_engine *e, const struct hd_row *row)
{
    struct hd_request *r = row->r;
    if (row->spoiled || row->position + 1 != r->n_tokens || r->tokens[row->position] != row->input)
        return false;
    r->done = row->position + 1;
    hd_cache_committed(e, r);
    return true;
}

static void use_row(struct hd_engine *e, struct hd_row *row, size_t at)
{
    struct hd_request *r = row->r;
    if (r->cancelled || r->ended || (row->drafted && !was_right(e, row)))
        return;
    if (r->ev.on_logits && r->o.prompt_logprobs) {
        struct hd_candidate *c;
        size_t n = hd_logits_candidates(&e->logits, at, &c);
        r->ev.on_logits(r->arg, row->position, c, n);
    }
    if (row->position + 1 < r->n_tokens) { /* a prompt row that is scored */
        if (r->scored == 0)
            first_prompt_token(r);
        report(e, r, at, true, r->tokens[row->position + 1]);
        r->scored = row->position + 1;
        return;
    }
    if (r->o.prompt_logprobs && r->n_prompt == 1 && r->scored == 0 && r->n_tokens == 1)
        first_prompt_token(r);
    if (row->decided || !is_answered(row) || sample_adjusted(e, row, at))
        answer(e, r, at, row->token);
}

/* How far the prompt is, behind the last of the step's rows of it. */
static void tell_prompt(struct hd_request *r)
{
    uint32_t done = r->done < r->n_prompt ? r->done : r->n_prompt, cached = hd_request_cached(r);
    if (!r->ev.on_prompt || r->cancelled || r->ended || done <= r->prompted)
        return;
    if (r->prompted == 0)
        r->ev.on_prompt(r->arg, cached, cached, r->n_prompt);
    r->ev.on_prompt(r->arg, done, cached, r->n_prompt);
    r->prompted = done;
}

static void commit(struct hd_engine *e)
{
    for (size_t i = 0; i < e->n_rows; i++) {
        struct hd_request *r = e->rows[i].r;
        if (e->rows[i].drafted)
            continue;
        if (e->rows[i].position < r->n_prompt && r->done <= e->rows[i].position)
            e->stats.prompt_tokens++;
        r->done = e->rows[i].position + 1;
        hd_cache_committed(e, r);
        if (r->bad && !r->ended && !r->cancelled)
            hd_request_end(e, r, HD_FINISH_ERROR, HD_NOT_FINITE);
    }
}

/* Of each request that had guesses: how many were right; the others are cut. Each that was right is
 * a step less for one of those that answer. */
static void settle_drafts(struct hd_engine *e)
{
    uint32_t all = 0, answering = 0;
    for (size_t i = 0; i < e->n_rows; i++) {
        struct hd_request *r = e->rows[i].r;
        answering += e->rows[i].sampled && !e->rows[i].drafted;
        if (!e->rows[i].drafted || (i + 1 < e->n_rows && e->rows[i + 1].r == r))
            continue;
        uint32_t first = e->rows[i].position + 1 - r->drafts.n;
        uint32_t right = r->done > first ? r->done - first : 0;
        hd_drafts_judge(e, r, right, r->ended || r->cancelled);
        hd_request_cut(e, r, r->done);
        all += right;
    }
    e->speculation.saved += answering > 0 ? (double)all / answering : 0;
}

void hd_step_finish(struct hd_engine *e)
{
    size_t at = 0;
    e->stats.steps++;
    e->stats.rows += e->n_rows;
    hd_pace_end(&e->pace, e->answering, e->prompts, hd_now_us());
    hd_drafts_ended(e);
    e->o.ops.step_done(e->o.ops.arg, e->step);
    commit(e);
    for (size_t i = 0; i < e->n_rows; i++)
        if (i + 1 == e->n_rows || e->rows[i + 1].r != e->rows[i].r)
            tell_prompt(e->rows[i].r);
    hd_pool_rows(e);
    for (size_t i = 0; i < e->n_rows; i++)
        if (e->rows[i].sampled)
            use_row(e, &e->rows[i], at++);
    settle_drafts(e);
    hd_step_abandon(e);
    hd_requests_sweep(e);
    hd_engine_kick(e);
}
