/* generation.c - keeps what stop strings may still cut off, counts, and ends exactly once. */
#include "leader/api/generation.h"

#include "common/text/grammar.h"
#include "common/util/clock.h"
#include "leader/api/failover_json.h"
#include "leader/api/scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hd_generation_deinit(struct hd_generation *g)
{
    free(g->prompt.ids);
    hd_params_deinit(&g->p);
    hd_grammar_free(g->grammar);
    json_decref(g->stop);
    hd_stops_deinit(&g->stops);
    hd_text_deinit(&g->text);
    hd_think_deinit(&g->think);
    hd_text_deinit(&g->reasoning);
    hd_text_deinit(&g->raw);
    hd_text_deinit(&g->rest);
    hd_calls_deinit(&g->calls);
    hd_channels_deinit(&g->channels);
    json_decref(g->tool_calls);
    json_decref(g->logprobs);
    json_decref(g->tokens);
    json_decref(g->scores);
    json_decref(g->prompt_scores);
    json_decref(g->prompt_said);
    json_decref(g->timings);
    json_decref(g->failovers);
    *g = (struct hd_generation){0};
}

_Static_assert(sizeof((struct hd_generation *)0)->id == HD_REQUEST_ID, "an id fits");

/* FNV-1a, and room for what the key adds: a program's salts differ by accident. */
uint64_t hd_cache_scope(const json_t *salt)
{
    const char *text = json_string_value(salt);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < json_string_length(salt); i++)
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return text && text[0] ? hash << 2 : 0;
}

void hd_generation_options(const struct hd_generation *g, struct hd_request_options *o)
{
    *o = (struct hd_request_options){
        .tokens = g->prompt.ids,
        .n_tokens = g->prompt.n,
        .known = g->p.resume.tokens,
        .n_known = g->p.resume.n,
        .max_tokens = g->p.max_tokens,
        .sampling = g->p.sampling,
        .ignore_eos = g->p.ignore_eos,
        .logprobs = g->p.logprobs,
        .top_logprobs = g->p.top_logprobs,
        .prompt_logprobs = (g->p.echo && g->p.logprobs) || g->p.scores_prompt,
        .cache_scope = g->p.cache_scope,
    };
    o->logprobs |= g->p.scores_prompt;
    if (g->p.scores_prompt && g->p.prompt_top > o->top_logprobs)
        o->top_logprobs = g->p.prompt_top;
    o->sampling.grammar = g->grammar;
    snprintf(o->id, sizeof o->id, g->index ? "%.40s-%zu" : "%.40s", g->id, g->index);
}

void hd_generation_taken(struct hd_generation *g)
{
    hd_text_clear(&g->text);
    hd_text_clear(&g->reasoning);
    if (g->tool_calls)
        json_array_clear(g->tool_calls);
    g->begun = true;
}

/* ---- Tokens ---------------------------------------------------------------------------------*/
static int add_scores(struct hd_generation *g, const struct hd_token_event *all)
{
    const struct hd_tokenizer *tok = g->backend->tokenizer;
    struct hd_token_event few = *all, *t = &few;
    if (t->prompt && g->prompt_said &&
        json_array_append_new(g->prompt_said, hd_prompt_score_json(tok, t, g->p.prompt_top)) < 0)
        return HD_E_NOMEM;
    if (t->prompt && !(g->p.echo && g->p.logprobs))
        return 0;
    if (few.n_top > g->p.top_logprobs)
        few.n_top = g->p.top_logprobs;
    json_t *list = t->prompt ? g->prompt_scores : g->scores;
    if (list && json_array_append_new(list, hd_score_json(tok, t)) < 0)
        return HD_E_NOMEM;
    if (g->logprobs)
        return hd_logprobs_add(g->logprobs, g->p.chat, tok, t, &g->characters);
    return 0;
}

static void note_time(struct hd_generation *g)
{
    uint64_t now = hd_now_us();
    if (!g->first_us)
        g->first_us = now;
    else if (now - g->last_us > g->max_gap_us)
        g->max_gap_us = now - g->last_us;
    g->last_us = now;
}

/* What is no thought: calls are looked for. */
static int add_answer(struct hd_generation *g, const char *text)
{
    return g->tool_calls ? hd_calls_push(&g->calls, text, &g->text, g->tool_calls)
                         : hd_text_add(&g->text, text, strlen(text));
}

static struct hd_channel_sinks sinks(struct hd_generation *g)
{
    return (struct hd_channel_sinks){&g->text, &g->reasoning, &g->calls, g->tool_calls};
}

/* What no stop string cuts off. */
static int add_raw(struct hd_generation *g, const char *text)
{
    struct hd_channel_sinks to = sinks(g);
    if (g->channels.on)
        return hd_channels_push(&g->channels, text, &to);
    if (!g->think.on)
        return add_answer(g, text);
    int rc = hd_think_push(&g->think, text, &g->rest, &g->reasoning);
    if (rc == 0)
        rc = add_answer(g, hd_text_str(&g->rest));
    hd_text_clear(&g->rest);
    return rc;
}

/* Text of the answer, behind what came before. 1: a stop string is whole. */
static int add_text(struct hd_generation *g, const char *text)
{
    int stopped = hd_stops_push(&g->stops, text, &g->raw);
    int rc = stopped < 0 ? stopped : add_raw(g, hd_text_str(&g->raw));
    hd_text_clear(&g->raw);
    return rc < 0 ? rc : stopped;
}

/* No more text will come. */
static int finish_text(struct hd_generation *g)
{
    int rc = hd_stops_finish(&g->stops, &g->raw);
    if (rc == 0)
        rc = add_raw(g, hd_text_str(&g->raw));
    hd_text_clear(&g->raw);
    if (rc == 0 && g->think.on)
        rc = hd_think_finish(&g->think, &g->rest, &g->reasoning);
    if (rc == 0)
        rc = add_answer(g, hd_text_str(&g->rest));
    hd_text_clear(&g->rest);
    struct hd_channel_sinks to = sinks(g);
    if (rc == 0 && g->channels.on)
        rc = hd_channels_finish(&g->channels, &to);
    else if (rc == 0 && g->tool_calls)
        rc = hd_calls_finish(&g->calls, &g->text, g->tool_calls);
    if (g->calls.n > 0 && strcmp(g->finish, "stop") == 0)
        g->finish = "tool_calls";
    return rc;
}

/* A stop string ended the answer before the backend did: the times are those seen from here, and
 * what the request lived through is not known. */
static int end_by_stop(struct hd_generation *g)
{
    double decode = (double)(g->last_us - g->first_us) / 1e3;
    double rate = decode > 0 ? (g->completion_tokens - 1) * 1e3 / decode : 0;
    g->finish = "stop";
    g->timings = json_pack("{s:n, s:f, s:f, s:f, s:f}", "queue_ms", "prefill_ms",
                           (double)(g->first_us - g->submitted_us) / 1e3, "decode_ms", decode,
                           "tokens_per_second", rate, "max_gap_ms", (double)g->max_gap_us / 1e3);
    g->failovers = json_null();
    int rc = finish_text(g);
    return rc < 0 ? rc : g->timings ? 1 : HD_E_NOMEM;
}

int hd_generation_token(struct hd_generation *g, const struct hd_token_event *t)
{
    int rc = add_scores(g, t);
    g->suspect |= t->suspect;
    g->cached_tokens = t->cached;
    if (rc < 0 || t->prompt)
        return rc;
    note_time(g);
    g->completion_tokens++;
    g->reasoning_tokens += (g->think.on && g->think.at == HD_THINK_INSIDE) ||
                           (g->channels.on && g->channels.at == HD_CHANNEL_THOUGHT);
    g->logprobs_sum += isnan(t->logprob) ? 0 : t->logprob;
    if (g->tokens && json_array_append_new(g->tokens, json_integer(t->id)) < 0)
        return HD_E_NOMEM;
    if (!g->backend->tokenizer)
        return 0;
    bool marked = g->tool_calls || g->channels.on;
    const char *mark = marked ? hd_call_mark(&g->marks, t->id) : NULL;
    char *text = NULL;
    rc = hd_detok_push(&g->detok, t->id, &text);
    if (rc == 0)
        rc = add_text(g, text);
    if (rc == 0 && mark)
        rc = add_text(g, mark);
    free(text);
    return rc == 1 ? end_by_stop(g) : rc;
}

static int take_report(struct hd_generation *g, const struct hd_request_end *end)
{
    const struct hd_timings *t = &end->timings;
    g->timings = json_pack(
        "{s:o, s:o, s:o, s:o, s:o}", "queue_ms", hd_real_json(t->queue_ms), "prefill_ms",
        hd_real_json(t->prefill_ms), "decode_ms", hd_real_json(t->decode_ms), "tokens_per_second",
        hd_real_json(t->tokens_per_second), "max_gap_ms", hd_real_json(t->max_gap_ms));
    g->failovers = json_array();
    int rc = g->timings && g->failovers ? 0 : HD_E_NOMEM;
    for (size_t i = 0; rc == 0 && i < end->n_failovers; i++)
        if (json_array_append_new(g->failovers, hd_failover_json(&end->failovers[i])) < 0)
            rc = HD_E_NOMEM;
    return rc;
}

int hd_generation_end(struct hd_generation *g, const struct hd_request_end *end)
{
    g->finish = end->finish == HD_FINISH_STOP ? "stop" : "length";
    g->suspect |= end->suspect;
    int rc = g->p.hydac ? take_report(g, end) : 0;
    if (rc < 0 || !g->backend->tokenizer)
        return rc;
    char *text = NULL;
    rc = hd_detok_finish(&g->detok, &text);
    if (rc == 0)
        rc = add_text(g, text);
    free(text);
    if (rc == 1)
        g->finish = "stop";
    return rc < 0 ? rc : finish_text(g);
}
