/* generation.c - keeps what stop strings may still cut off, counts, and ends exactly once. */
#include "leader/api/generation.h"

#include "common/text/grammar.h"
#include "common/util/clock.h"
#include "leader/api/failover_json.h"
#include "leader/api/scores.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t random_u64(void)
{
    uint64_t v;
    if (getrandom(&v, sizeof v, 0) != sizeof v)
        v = hd_now_us();
    return v;
}

/* The prompt and its answer must fit into the context. */
static int check_length(struct hd_generation *g, struct hd_refusal *r)
{
    uint32_t context = g->backend->context;
    const char *param = g->p.chat ? "messages" : "prompt";
    bool full = g->p.has_max_tokens && g->p.max_tokens == 0 ? g->prompt.n > context
                                                            : g->prompt.n >= context;
    if (full)
        return hd_refuse(r, 400, param, "context_length_exceeded",
                         "The context is %u tokens, but the prompt has %zu; shorten it.", context,
                         g->prompt.n);
    uint32_t room = context - (uint32_t)g->prompt.n;
    if (!g->p.has_max_tokens)
        g->p.max_tokens = g->p.chat || room < 16 ? room : 16; /* OpenAI's defaults */
    if (g->p.max_tokens > room)
        return hd_refuse(r, 400, "max_tokens", "context_length_exceeded",
                         "The context is %u tokens: %zu of the prompt and %u of the answer do not "
                         "fit.",
                         context, g->prompt.n, g->p.max_tokens);
    return 0;
}

/* Containers for what is to be collected, and the prompt's text where it is echoed. */
static int prepare(struct hd_generation *g)
{
    const struct hd_tokenizer *t = g->backend->tokenizer;
    hd_detok_init(&g->detok, t);
    memcpy(g->stops.list, g->p.stops, sizeof g->stops.list);
    g->stops.n = g->p.n_stops;
    int rc = 0;
    if (g->p.logprobs && !(g->logprobs = hd_logprobs_new(g->p.chat)))
        rc = HD_E_NOMEM;
    if (g->p.hydac && !(g->tokens = json_array()))
        rc = HD_E_NOMEM;
    if (g->p.hydac && g->p.logprobs && !(g->scores = json_array()))
        rc = HD_E_NOMEM;
    if (g->p.hydac && g->p.logprobs && g->p.echo && !(g->prompt_scores = json_array()))
        rc = HD_E_NOMEM;
    if (rc == 0 && g->p.echo && g->prompt.text)
        rc = hd_text_add(&g->text, g->prompt.text, strlen(g->prompt.text));
    return rc;
}

/* Text of a prompt that was given as ids. */
static int echo_ids(struct hd_generation *g)
{
    struct hd_detok d;
    int rc = 0;
    hd_detok_init(&d, g->backend->tokenizer);
    for (size_t i = 0; rc == 0 && i <= g->prompt.n; i++) {
        char *text = NULL;
        rc = i < g->prompt.n ? hd_detok_push(&d, g->prompt.ids[i], &text)
                             : hd_detok_finish(&d, &text);
        if (rc == 0)
            rc = hd_text_add(&g->text, text, strlen(text));
        free(text);
    }
    return rc;
}

/* How this model writes calls, and what an answer must be where one is wanted. */
static int read_tools(struct hd_generation *g, struct hd_refusal *r)
{
    const struct hd_tokenizer *t = g->backend->tokenizer;
    bool native;
    if (!hd_tools_are_offered(&g->p.tools) || !t)
        return 0;
    g->calls.form = hd_call_form_of(hd_chat_template(t), &native);
    hd_call_marks_init(&g->marks, t);
    if (!(g->tool_calls = json_array()))
        return hd_refuse_memory(r);
    return hd_tools_structure(&g->p.tools, g->calls.form, &g->marks, &g->p.structured, r);
}

/* ---- An answer that was begun elsewhere (resume.h) ----*/

static int clear_list(json_t *list)
{
    return list ? json_array_clear(list) : 0;
}

/* What the client has; times begin with what follows. */
static int forget(struct hd_generation *g)
{
    int rc = clear_list(g->tokens) | clear_list(g->scores) | clear_list(g->tool_calls);
    if (g->logprobs) {
        json_decref(g->logprobs);
        g->logprobs = hd_logprobs_new(g->p.chat);
        rc |= g->logprobs ? 0 : -1;
    }
    hd_text_clear(&g->text);
    g->first_us = g->last_us = g->max_gap_us = 0;
    return rc == 0 ? 0 : HD_E_NOMEM;
}

static int pass(struct hd_generation *g, size_t i)
{
    struct hd_error err = {0};
    struct hd_token_event t = {.index = (uint32_t)i, .id = g->p.resume.tokens[i], .logprob = NAN};
    if (g->grammar && hd_grammar_take(g->grammar, t.id, &err) < 0)
        return HD_E_RANGE;
    return hd_generation_token(g, &t);
}

/* What the client has had goes through stop strings, calls and the grammar once more; what comes
 * out of it is not sent again. */
static int go_on(struct hd_generation *g, struct hd_refusal *r)
{
    const struct hd_resume *s = &g->p.resume;
    if (!s->given)
        return 0;
    if (s->n > g->p.max_tokens)
        return hd_refuse(r, 400, "hydac", "invalid_value",
                         "'hydac' has %zu tokens, more than the answer's %u.", s->n,
                         g->p.max_tokens);
    for (size_t i = 0; i < s->n; i++) {
        int rc = pass(g, i);
        if (rc == HD_E_NOMEM)
            return hd_refuse_memory(r);
        if (rc != 0)
            return hd_refuse(
                r, 400, "hydac", "invalid_value",
                "'hydac.tokens[%zu]' cannot stand in an answer to this request: %s.", i,
                rc == 1 ? "it completes a stop string" : "the answer must match something else");
    }
    return forget(g) == 0 ? 0 : hd_refuse_memory(r);
}

static int read_all(struct hd_generation *g, json_t *body, struct hd_refusal *r)
{
    const struct hd_api_backend *b = g->backend;
    int rc = hd_params_read(&g->p, body, b, r);
    if (rc == 0)
        rc = read_tools(g, r);
    if (rc == 0)
        rc = hd_prompt_read(&g->prompt, body, g->p.chat, &g->p.tools, b, r);
    if (rc == 0)
        rc = check_length(g, r);
    if (rc == 0)
        rc = hd_structured_open(&g->grammar, &g->p.structured, b->tokenizer, r);
    if (rc < 0)
        return rc;
    rc = prepare(g);
    if (rc == 0 && g->p.echo && !g->prompt.text && b->tokenizer)
        rc = echo_ids(g);
    if (g->p.n_stops > 0)
        g->stop = json_incref(json_object_get(body, "stop"));
    g->prompt.text = NULL; /* the body's */
    return rc < 0 ? hd_refuse_memory(r) : go_on(g, r);
}

int hd_generation_init(struct hd_generation *g, const struct hd_api_backend *b, json_t *body,
                       bool chat, struct hd_refusal *r)
{
    *g = (struct hd_generation){.backend = b, .p = {.chat = chat}};
    int rc = read_all(g, body, r);
    json_decref(body); /* it may be large, and the answer take long */
    if (rc < 0)
        return rc;
    if (!g->p.has_seed) /* JSON can give it back exactly */
        g->p.sampling.seed = random_u64() >> 1;
    snprintf(g->id, sizeof g->id, "%s-%016" PRIx64, chat ? "chatcmpl" : "cmpl", random_u64());
    g->created = (int64_t)time(NULL);
    g->submitted_us = hd_now_us();
    return 0;
}

void hd_generation_deinit(struct hd_generation *g)
{
    free(g->prompt.ids);
    hd_params_deinit(&g->p);
    hd_grammar_free(g->grammar);
    json_decref(g->stop);
    hd_stops_deinit(&g->stops);
    hd_text_deinit(&g->text);
    hd_text_deinit(&g->raw);
    hd_calls_deinit(&g->calls);
    json_decref(g->tool_calls);
    json_decref(g->logprobs);
    json_decref(g->tokens);
    json_decref(g->scores);
    json_decref(g->prompt_scores);
    json_decref(g->timings);
    json_decref(g->failovers);
    *g = (struct hd_generation){0};
}

_Static_assert(sizeof((struct hd_generation *)0)->id == HD_REQUEST_ID, "an id fits");

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
        .prompt_logprobs = g->p.echo && g->p.logprobs,
    };
    o->sampling.grammar = g->grammar;
    memcpy(o->id, g->id, sizeof o->id);
}

/* ---- Tokens ---------------------------------------------------------------------------------*/
static int add_scores(struct hd_generation *g, const struct hd_token_event *t)
{
    const struct hd_tokenizer *tok = g->backend->tokenizer;
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

/* Text of the answer, behind what came before. 1: a stop string is whole. */
static int add_text(struct hd_generation *g, const char *text)
{
    if (!g->tool_calls)
        return hd_stops_push(&g->stops, text, &g->text);
    int stopped = hd_stops_push(&g->stops, text, &g->raw);
    int rc = stopped < 0 ? stopped
                         : hd_calls_push(&g->calls, hd_text_str(&g->raw), &g->text, g->tool_calls);
    hd_text_clear(&g->raw);
    return rc < 0 ? rc : stopped;
}

/* No more text will come. */
static int finish_text(struct hd_generation *g)
{
    int rc = hd_stops_finish(&g->stops, g->tool_calls ? &g->raw : &g->text);
    if (rc < 0 || !g->tool_calls)
        return rc;
    rc = hd_calls_push(&g->calls, hd_text_str(&g->raw), &g->text, g->tool_calls);
    if (rc == 0)
        rc = hd_calls_finish(&g->calls, &g->text, g->tool_calls);
    hd_text_clear(&g->raw);
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
    if (rc < 0 || t->prompt)
        return rc;
    note_time(g);
    g->completion_tokens++;
    if (g->tokens && json_array_append_new(g->tokens, json_integer(t->id)) < 0)
        return HD_E_NOMEM;
    if (!g->backend->tokenizer)
        return 0;
    const char *mark = g->tool_calls ? hd_call_mark(&g->marks, t->id) : NULL;
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
