/* schedule.c - which rows make the next step. */
#include "leader/engine/engine_impl.h"

#include <stdlib.h>

static void append(struct hd_request **list, struct hd_request *r)
{
    while (*list)
        list = &(*list)->next;
    *list = r;
    r->next = NULL;
}

/* When the first of the queue came there was memory for it, and now there is less. */
static bool refuse_first(struct hd_engine *e)
{
    struct hd_error err = {0};
    if (!hd_request_too_large(e, e->waiting, &err))
        return false;
    hd_request_end(e, e->waiting, HD_FINISH_ERROR, err.text);
    hd_requests_sweep(e);
    return true;
}

/* Takes one that has begun out of the queue. */
static void run(struct hd_engine *e, struct hd_request **at)
{
    struct hd_request *r = *at;
    *at = r->next;
    e->n_waiting--;
    append(&e->running, r);
    e->n_running++;
}

/* First come, first served: who comes first waits until there is room for it. Alone it is served
 * also without a log that could hold it: then a loss costs its replay. Who waits for rows that
 * another one computes lets others pass. */
void hd_schedule_admit(struct hd_engine *e)
{
    struct hd_request **at = &e->waiting;
    while (*at && e->n_running < e->o.max_sequences) {
        if (at == &e->waiting && refuse_first(e))
            continue;
        enum hd_cache_begins how = hd_cache_begin(e, *at);
        if (how == HD_CACHE_FULL)
            return;
        if (how == HD_CACHE_BEGUN)
            run(e, at);
        else
            at = &(*at)->next;
    }
}

/* True when the logits of the row at `position` are wanted. */
static bool is_sampled(const struct hd_request *r, uint32_t position)
{
    if (position + 1 == r->n_tokens)
        return r->o.max_tokens > 0 || r->o.prompt_logprobs;
    return r->o.prompt_logprobs && position + 1 < r->n_prompt && position >= r->scored;
}

static void take_rows(struct hd_engine *e, struct hd_request *r, size_t most)
{
    size_t full = 0;
    for (uint32_t p = r->done; p < r->n_tokens && most > 0; p++, most--) {
        bool sampled = is_sampled(r, p);
        if (sampled && r->o.prompt_logprobs && ++full > HD_MAX_FULL_ROWS)
            return;
        e->rows[e->n_rows++] =
            (struct hd_row){.r = r, .position = p, .input = r->tokens[p], .sampled = sampled};
    }
}

/* Behind the last that is known. */
static void take_drafts(struct hd_engine *e, struct hd_request *r)
{
    r->drafts.sent = r->drafts.n > 0;
    for (uint32_t i = 0; i < r->drafts.n; i++)
        e->rows[e->n_rows++] = (struct hd_row){.r = r,
                                               .position = r->n_tokens + i,
                                               .input = r->tokens[r->n_tokens + i],
                                               .drafted = true,
                                               .sampled = true};
}

/* One row of every answering sequence and guesses of what follows, then prompt rows in order of
 * arrival, as many as do not keep those that answer waiting (pace.h). */
void hd_schedule_rows(struct hd_engine *e)
{
    e->n_rows = 0;
    hd_masks_forget(&e->masks);
    for (struct hd_request *r = e->running; r; r = r->next)
        if (r->drafts.sent)
            hd_request_cut(e, r, r->done); /* of a step that was given up, or whose end was */
    hd_drafts_plan(e);
    e->answering = 0;
    for (struct hd_request *r = e->running; r; r = r->next)
        if (hd_request_answers(r) && e->n_rows < e->o.max_rows) {
            take_rows(e, r, 1);
            take_drafts(e, r);
            e->answering++;
        }
    e->prompts = hd_pace_room(&e->pace, e->answering, e->o.max_rows - e->n_rows);
    size_t end = e->n_rows + e->prompts;
    bool scoring = false; /* one prompt with all its logits at a time */
    for (struct hd_request *r = e->running; r; r = r->next) {
        if (r->cancelled || hd_request_answers(r) || (scoring && r->o.prompt_logprobs))
            continue;
        scoring |= r->o.prompt_logprobs;
        take_rows(e, r, end - e->n_rows);
    }
    e->prompts -= end - e->n_rows;
}

void hd_request_cut(struct hd_engine *e, struct hd_request *r, uint32_t positions)
{
    r->drafts.sent = false;
    if (r->sent <= positions)
        return;
    e->o.ops.sequence_cut(e->o.ops.arg, r->sequence, positions);
    r->sent = positions;
}

/* It has just become so long that all of its positions rotate by other angles: none of its K/V is
 * good any more, and it begins again from its first token. */
void hd_request_again(struct hd_engine *e, struct hd_request *r)
{
    r->done = r->sent = 0;
    e->o.ops.sequence_close(e->o.ops.arg, r->sequence);
    e->o.ops.sequence_open(e->o.ops.arg, r->sequence, r->capacity);
}

void hd_request_free(struct hd_request *r)
{
    free(r->tokens);
    free(r->bias);
    free(r->pooled);
    hd_drafts_deinit(&r->drafts);
    free(r->failovers);
    free(r);
}

void hd_request_release(struct hd_engine *e, struct hd_request *r)
{
    if (r->sequence != HD_NO_SEQUENCE) {
        hd_request_note_end(e, r);
        hd_cache_end(e, r);
    }
    hd_request_free(r);
}

static unsigned sweep(struct hd_engine *e, struct hd_request **list)
{
    unsigned gone = 0;
    while (*list) {
        struct hd_request *r = *list;
        if (!r->cancelled && !r->ended) {
            list = &r->next;
            continue;
        }
        *list = r->next;
        gone++;
        hd_request_release(e, r);
    }
    return gone;
}

/* Free what was cancelled or has ended; only while no step is in hand. */
void hd_requests_sweep(struct hd_engine *e)
{
    e->n_waiting -= sweep(e, &e->waiting);
    e->n_running -= sweep(e, &e->running);
}
