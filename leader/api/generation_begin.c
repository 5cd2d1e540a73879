/* generation_begin.c - an answer that is asked for: everything read, checked and made ready. */
#include "leader/api/generation.h"

#include "common/text/grammar.h"
#include "common/util/clock.h"
#include "leader/api/call_grammar.h"
#include "leader/api/scores.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

uint64_t hd_random_u64(void)
{
    uint64_t v;
    if (getrandom(&v, sizeof v, 0) != sizeof v)
        v = hd_now_us();
    return v;
}

/* The prompt and its answer must fit into the context. */
static int check_length(struct hd_generation *g, bool endless, struct hd_refusal *r)
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
        g->p.max_tokens = endless || room < 16 ? room : 16; /* OpenAI's defaults */
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
    if (g->p.scores_prompt && !(g->prompt_said = json_array()))
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
    bool native, offered = hd_tools_are_offered(&g->p.tools);
    if (!t || !(offered || g->p.chat))
        return 0;
    g->calls.form = hd_call_form_of(hd_chat_template(t), &native);
    bool channels = g->p.chat && g->calls.form == HD_CALLS_CHANNELS;
    if (!offered && !channels)
        return 0;
    hd_call_marks_init(&g->marks, t);
    g->channels.on = channels && hd_call_mark_is_control(&g->marks, HD_MARK_MESSAGE) &&
                     hd_call_mark_is_control(&g->marks, HD_MARK_CHANNEL);
    if (offered && !(g->tool_calls = json_array()))
        return hd_refuse_memory(r);
    return hd_call_grammar_required(&g->p.tools, g->calls.form, &g->marks, &g->p.structured, r);
}

/* The grammar of the whole answer, or of calls that may come. */
static int open_grammar(struct hd_generation *g, struct hd_refusal *r)
{
    const struct hd_tokenizer *t = g->backend->tokenizer;
    bool called = g->p.structured.key && strcmp(g->p.structured.key, "tool_choice") == 0;
    int rc = called ? hd_call_grammar_held(&g->grammar, &g->p.tools, g->calls.form, &g->marks, t,
                                           &g->loose)
                    : 0;
    if (rc < 0)
        return hd_refuse_memory(r);
    if (!g->grammar)
        rc = hd_structured_open(&g->grammar, &g->p.structured, t, r);
    if (rc == 0 && g->grammar) { /* which leaves no room for thoughts */
        g->think.on = false;
        g->channels.on &= called;
    }
    if (rc < 0 || g->grammar || !g->tool_calls)
        return rc;
    bool think = g->think.on;
    rc = hd_call_grammar_auto(&g->grammar, &g->p.tools, g->calls.form, &g->marks, t, think,
                              think && g->think.at == HD_THINK_INSIDE, &g->loose);
    return rc < 0 ? hd_refuse_memory(r) : 0;
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
    hd_text_clear(&g->reasoning);
    g->reasoning_tokens = 0;
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

/* Has the template opened thoughts? A few tokens are enough to see it. */
static int read_thoughts(struct hd_generation *g, struct hd_refusal *r)
{
    const struct hd_tokenizer *t = g->backend->tokenizer;
    struct hd_text end = {0};
    int rc = 0;
    if (!g->p.chat || !t)
        return 0;
    for (size_t i = g->prompt.n < 8 ? 0 : g->prompt.n - 8; rc == 0 && i < g->prompt.n; i++) {
        struct hd_str piece = hd_tokenizer_piece(t, g->prompt.ids[i], true);
        rc = hd_text_add(&end, piece.data, piece.len);
    }
    hd_think_init(&g->think, hd_chat_template(t), hd_text_str(&end));
    hd_text_deinit(&end);
    return rc < 0 ? hd_refuse_memory(r) : 0;
}

static int copy_prompt(struct hd_prompt *to, const struct hd_prompt *from, struct hd_refusal *r)
{
    to->ids = malloc(from->n * sizeof *to->ids);
    if (!to->ids)
        return hd_refuse_memory(r);
    memcpy(to->ids, from->ids, from->n * sizeof *to->ids);
    to->n = from->n;
    return 0;
}

/* A template may write something else today than when the answer was begun. */
static int take_born_prompt(struct hd_generation *g, const struct hd_generation_options *o,
                            struct hd_refusal *r)
{
    if (!o->born->given || o->prompt >= o->born->n_prompts)
        return 0;
    const struct hd_prompt then = {(int32_t *)o->born->prompts[o->prompt].ids,
                                   o->born->prompts[o->prompt].n, NULL};
    free(g->prompt.ids);
    return copy_prompt(&g->prompt, &then, r);
}

static int read_prompt(struct hd_generation *g, const struct hd_generation_options *o,
                       struct hd_refusal *r)
{
    if (o->like && !g->p.echo) /* the text is the body's alone */
        return copy_prompt(&g->prompt, &o->like->prompt, r);
    int rc = hd_prompt_read(&g->prompt, o->body, g->p.chat, &g->p.tools, g->backend, r);
    return rc == 0 ? take_born_prompt(g, o, r) : rc;
}

static int read_all(struct hd_generation *g, const struct hd_generation_options *o,
                    struct hd_refusal *r)
{
    const struct hd_api_backend *b = g->backend;
    const json_t *body = o->body;
    int rc = hd_params_read(&g->p, body, b, r);
    if (rc == 0)
        rc = read_tools(g, r);
    if (rc == 0)
        rc = read_prompt(g, o, r);
    if (rc == 0)
        rc = read_thoughts(g, r);
    if (rc == 0)
        rc = check_length(g, o->chat || o->endless, r);
    if (rc == 0)
        rc = open_grammar(g, r);
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

/* Of one of several answers to the same request: SplitMix64's (Steele, Lea, Flood 2014), so that it
 * does not look like the next request's. */
static uint64_t seed_behind(uint64_t seed, size_t index)
{
    uint64_t z = seed + index * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) >> 1;
}

int hd_generation_init(struct hd_generation *g, const struct hd_generation_options *o,
                       struct hd_refusal *r)
{
    *g = (struct hd_generation){.backend = o->backend, .p = {.chat = o->chat}};
    int rc = read_all(g, o, r);
    if (rc < 0)
        return rc;
    if (!g->p.has_seed) /* of other prompts: behind the seeds of the first one's answers */
        g->p.sampling.seed =
            o->prompt ? seed_behind(o->born->seed, HD_RECORD_CHOICES * o->prompt) : o->born->seed;
    if (o->like)
        g->p.sampling.seed = seed_behind(o->like->p.sampling.seed, o->index);
    if (o->born->given)
        memcpy(g->id, o->born->id, sizeof g->id);
    else
        snprintf(g->id, sizeof g->id, "%s-%016" PRIx64, o->chat ? "chatcmpl" : "cmpl",
                 hd_random_u64());
    g->calls.seed = o->born->seed;
    g->created = o->born->created;
    g->submitted_us = hd_now_us();
    return 0;
}
