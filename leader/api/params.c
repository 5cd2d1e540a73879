/* params.c - a table of members: how each is taken, or why it is refused. */
#include "leader/api/params.h"

#include "leader/api/bias.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPLETION 1u
#define CHAT       2u
#define BOTH       (COMPLETION | CHAT)

#define MAX_TEMPERATURE 2.0   /* OpenAI's */
#define MAX_PENALTY     2.0   /* OpenAI's, either way */
#define MAX_REPETITION  100.0 /* vLLM's has no limit */

struct parse {
    struct hd_params *p;
    const json_t *body;
    const struct hd_api_backend *b;
    struct hd_refusal *r;
};

struct field {
    const char *key;
    unsigned where;
    /* Called for a value that is present and not null. */
    int (*take)(struct parse *s, const char *key, const json_t *v);
};

static int wrong(struct parse *s, const char *key, const char *what)
{
    return hd_refuse_value(s->r, key, what);
}

static int take_bool_to(struct parse *s, const char *key, const json_t *v, bool *out)
{
    if (!json_is_boolean(v))
        return wrong(s, key, "true or false");
    *out = json_is_true(v);
    return 0;
}

static int take_uint_to(struct parse *s, const char *key, const json_t *v, uint32_t *out)
{
    json_int_t i = json_integer_value(v);
    if (!json_is_integer(v) || i < 0 || i > INT32_MAX)
        return wrong(s, key, "an integer, 0 or more");
    *out = (uint32_t)i;
    return 0;
}

static int take_between(struct parse *s, const char *key, const json_t *v, double min, double max,
                        double *out)
{
    double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= min && d <= max))
        return hd_refuse(s->r, 400, key, "invalid_value", "'%s' must be a number from %g to %g.",
                         key, min, max);
    *out = d;
    return 0;
}

static int take_real_to(struct parse *s, const char *key, const json_t *v, double max, double *out)
{
    return take_between(s, key, v, 0, max, out);
}

static int take_model(struct parse *s, const char *key, const json_t *v)
{
    if (!json_is_string(v))
        return wrong(s, key, "a string");
    if (!s->b->any_model && !hd_api_is_model(s->b, json_string_value(v)))
        return hd_refuse_model(s->r, json_string_value(v), s->b->model);
    return 0;
}

static int take_stream(struct parse *s, const char *key, const json_t *v)
{
    return take_bool_to(s, key, v, &s->p->stream);
}

static int take_echo(struct parse *s, const char *key, const json_t *v)
{
    return take_bool_to(s, key, v, &s->p->echo);
}

static int take_hydac(struct parse *s, const char *key, const json_t *v)
{
    if (json_is_boolean(v))
        return take_bool_to(s, key, v, &s->p->hydac);
    s->p->hydac = true;
    return hd_resume_take(&s->p->resume, v, s->b->vocab, s->r);
}

static int take_ignore_eos(struct parse *s, const char *key, const json_t *v)
{
    return take_bool_to(s, key, v, &s->p->ignore_eos);
}

static int take_max_tokens(struct parse *s, const char *key, const json_t *v)
{
    s->p->has_max_tokens = true;
    return take_uint_to(s, key, v, &s->p->max_tokens);
}

static int take_n(struct parse *s, const char *key, const json_t *v)
{
    int rc = take_uint_to(s, key, v, &s->p->n);
    return rc == 0 && s->p->n == 0 ? wrong(s, key, "1 or more") : rc;
}

static int take_best_of(struct parse *s, const char *key, const json_t *v)
{
    return take_uint_to(s, key, v, &s->p->best_of);
}

static int take_temperature(struct parse *s, const char *key, const json_t *v)
{
    return take_real_to(s, key, v, MAX_TEMPERATURE, &s->p->sampling.temperature);
}

static int take_top_p(struct parse *s, const char *key, const json_t *v)
{
    return take_real_to(s, key, v, 1, &s->p->sampling.top_p);
}

static int take_top_k(struct parse *s, const char *key, const json_t *v)
{
    return take_uint_to(s, key, v, &s->p->sampling.top_k);
}

static int take_min_p(struct parse *s, const char *key, const json_t *v)
{
    return take_real_to(s, key, v, 1, &s->p->sampling.min_p);
}

static int take_typical_p(struct parse *s, const char *key, const json_t *v)
{
    int rc = take_real_to(s, key, v, 1, &s->p->sampling.typical_p);
    return rc == 0 && s->p->sampling.typical_p == 0 ? wrong(s, key, "more than 0 (1: no limit)")
                                                    : rc;
}

static int take_xtc(struct parse *s, const char *key, const json_t *v)
{
    bool often = strcmp(key, "xtc_probability") == 0;
    return take_real_to(s, key, v, 1,
                        often ? &s->p->sampling.xtc_probability : &s->p->sampling.xtc_threshold);
}

static int take_presence(struct parse *s, const char *key, const json_t *v)
{
    return take_between(s, key, v, -MAX_PENALTY, MAX_PENALTY, &s->p->sampling.presence_penalty);
}

static int take_frequency(struct parse *s, const char *key, const json_t *v)
{
    return take_between(s, key, v, -MAX_PENALTY, MAX_PENALTY, &s->p->sampling.frequency_penalty);
}

static int take_repetition(struct parse *s, const char *key, const json_t *v)
{
    int rc = take_real_to(s, key, v, MAX_REPETITION, &s->p->sampling.repetition_penalty);
    if (rc == 0 && s->p->sampling.repetition_penalty == 0)
        return wrong(s, key, "more than 0 (1: no penalty)");
    return rc;
}

static int take_bias(struct parse *s, const char *key, const json_t *v)
{
    int rc =
        hd_bias_take(&s->p->bias, &s->p->sampling.n_bias, v, s->b->vocab, s->b->tokenizer, s->r);
    s->p->sampling.bias = s->p->bias;
    return rc;
}

static int take_seed(struct parse *s, const char *key, const json_t *v)
{
    if (!json_is_integer(v))
        return wrong(s, key, "an integer");
    s->p->has_seed = true;
    s->p->sampling.seed = (uint64_t)json_integer_value(v);
    return 0;
}

static int take_logprobs(struct parse *s, const char *key, const json_t *v)
{
    if (s->p->chat)
        return take_bool_to(s, key, v, &s->p->logprobs);
    int rc = take_uint_to(s, key, v, &s->p->top_logprobs);
    s->p->logprobs = rc == 0;
    return rc;
}

static int take_top_logprobs(struct parse *s, const char *key, const json_t *v)
{
    return take_uint_to(s, key, v, &s->p->top_logprobs);
}

/* false is what some clients say for none. */
static int take_prompt_logprobs(struct parse *s, const char *key, const json_t *v)
{
    int rc = json_is_false(v) ? 0 : take_uint_to(s, key, v, &s->p->prompt_top);
    s->p->scores_prompt = rc == 0 && !json_is_false(v);
    return rc;
}

static int take_one_stop(struct parse *s, const char *key, const json_t *v)
{
    if (!json_is_string(v) || json_string_length(v) == 0 || s->p->n_stops == HD_MAX_STOPS)
        return wrong(s, key, "a string or an array of up to 16 strings, none empty");
    s->p->stops[s->p->n_stops++] = json_string_value(v);
    return 0;
}

static int take_stop(struct parse *s, const char *key, const json_t *v)
{
    if (!json_is_array(v))
        return take_one_stop(s, key, v);
    for (size_t i = 0; i < json_array_size(v); i++) {
        int rc = take_one_stop(s, key, json_array_get(v, i));
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_stream_options(struct parse *s, const char *key, const json_t *v)
{
    if (!json_is_object(v) || !json_is_true(json_object_get(s->body, "stream")))
        return wrong(s, key, "an object, and only when 'stream' is true");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)v, name, value)
    {
        int rc = 0;
        if (strcmp(name, "include_usage") == 0)
            rc = take_bool_to(s, name, value, &s->p->include_usage);
        else if (strcmp(name, "include_obfuscation") != 0 || !json_is_false(value))
            rc = hd_refuse(s->r, 400, key, "unsupported_parameter",
                           "'stream_options' knows only 'include_usage'.");
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_progress(struct parse *s, const char *key, const json_t *v)
{
    return take_bool_to(s, key, v, &s->p->progress);
}

static int take_structured(struct parse *s, const char *key, const json_t *v)
{
    return hd_structured_take(&s->p->structured, key, v, s->r);
}

static int take_tools(struct parse *s, const char *key, const json_t *v)
{
    return hd_tools_take(&s->p->tools, v, s->r);
}

static int take_tool_choice(struct parse *s, const char *key, const json_t *v)
{
    return hd_tools_take_choice(&s->p->tools, v, s->r);
}

static int take_parallel(struct parse *s, const char *key, const json_t *v)
{
    return hd_tools_take_parallel(&s->p->tools, v, s->r);
}

/* ---- Fields whose neutral value is accepted ---- */
static int not_supported(struct parse *s, const char *key)
{
    return hd_refuse(s->r, 400, key, "unsupported_value",
                     "'%s' is not supported here, except with its neutral value; leave it out.",
                     key);
}

static int take_any(struct parse *s, const char *key, const json_t *v)
{
    return 0;
}

static int take_only_empty(struct parse *s, const char *key, const json_t *v)
{
    bool empty = (json_is_object(v) && json_object_size(v) == 0) ||
                 (json_is_array(v) && json_array_size(v) == 0) ||
                 (json_is_string(v) && json_string_length(v) == 0) || json_is_false(v);
    return empty ? 0 : not_supported(s, key);
}

static int take_salt(struct parse *s, const char *key, const json_t *v)
{
    s->p->cache_scope = hd_cache_scope(v);
    return json_is_string(v) ? 0 : wrong(s, key, "a string");
}

static const struct field fields[] = {
    {"model", BOTH, take_model},
    {"prompt", COMPLETION, take_any}, /* prompt.c */
    {"messages", CHAT, take_any},     /* prompt.c */
    {"stream", BOTH, take_stream},
    {"return_progress", BOTH, take_progress},
    {"stream_options", BOTH, take_stream_options},
    {"max_tokens", BOTH, take_max_tokens},
    {"max_completion_tokens", BOTH, take_max_tokens},
    {"temperature", BOTH, take_temperature},
    {"top_p", BOTH, take_top_p},
    {"top_k", BOTH, take_top_k},
    {"seed", BOTH, take_seed},
    {"stop", BOTH, take_stop},
    {"echo", COMPLETION, take_echo},
    {"logprobs", BOTH, take_logprobs},
    {"top_logprobs", CHAT, take_top_logprobs},
    {"prompt_logprobs", BOTH, take_prompt_logprobs},
    {"ignore_eos", BOTH, take_ignore_eos},
    {"hydac", BOTH, take_hydac},
    {"n", BOTH, take_n},
    {"best_of", COMPLETION, take_best_of},
    {"min_p", BOTH, take_min_p},
    {"typical_p", BOTH, take_typical_p},
    {"xtc_probability", BOTH, take_xtc},
    {"xtc_threshold", BOTH, take_xtc},
    {"presence_penalty", BOTH, take_presence},
    {"frequency_penalty", BOTH, take_frequency},
    {"repetition_penalty", BOTH, take_repetition},
    {"logit_bias", BOTH, take_bias},
    {"suffix", COMPLETION, take_only_empty},
    {"tools", CHAT, take_tools},
    {"functions", CHAT, take_only_empty},
    {"tool_choice", CHAT, take_tool_choice},
    {"parallel_tool_calls", CHAT, take_parallel},
    {"chat_template_kwargs", CHAT, take_any}, /* conversation.c */
    {"documents", CHAT, take_any},            /* likewise */
    {"reasoning_effort", CHAT, take_any},     /* likewise */
    {"function_call", CHAT, take_only_empty},
    {"response_format", BOTH, take_structured},
    {"structured_outputs", BOTH, take_structured},
    {"json_schema", BOTH, take_structured},
    {"guided_json", BOTH, take_structured},
    {"guided_regex", BOTH, take_structured},
    {"guided_choice", BOTH, take_structured},
    {"guided_grammar", BOTH, take_structured},
    {"user", BOTH, take_any},
    {"metadata", BOTH, take_any},
    {"store", CHAT, take_only_empty},
    {"service_tier", CHAT, take_any},
    {"safety_identifier", BOTH, take_any},
    {"prompt_cache_key", BOTH, take_any},
    {"cache_salt", BOTH, take_salt},
    {"grammar", BOTH, take_structured},
    {"audio", CHAT, take_only_empty},
};

static int take_member(struct parse *s, const char *key, const json_t *v)
{
    unsigned here = s->p->chat ? CHAT : COMPLETION;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if ((fields[i].where & here) && strcmp(fields[i].key, key) == 0)
            return json_is_null(v) ? 0 : fields[i].take(s, key, v);
    hd_unknown_add(&s->p->unknown, key);
    return 0;
}

static int check_resume(struct parse *s)
{
    struct hd_params *p = s->p;
    if (!p->resume.given)
        return 0;
    if (p->has_seed && p->sampling.seed != p->resume.seed)
        return wrong(s, "seed", "what 'hydac' says of the answer that goes on, or left out");
    if (p->scores_prompt)
        return wrong(s, "prompt_logprobs", "left out when an answer goes on");
    if (p->echo && p->logprobs)
        return wrong(s, "echo", "false when an answer goes on and scores are asked for");
    p->has_seed = true;
    p->sampling.seed = p->resume.seed;
    return 0;
}

/* What only the members together can tell. */
static int check_together(struct parse *s)
{
    struct hd_params *p = s->p;
    const char *key = p->chat ? "top_logprobs" : "logprobs";
    if (p->top_logprobs > HD_MAX_TOP_LOGPROBS)
        return hd_refuse(s->r, 400, key, "invalid_value", "'%s' must be from 0 to %d.", key,
                         HD_MAX_TOP_LOGPROBS);
    if (p->top_logprobs > 0 && !p->logprobs)
        return hd_refuse(s->r, 400, key, "invalid_value", "'top_logprobs' needs 'logprobs': true.");
    if (p->has_max_tokens && p->max_tokens == 0 && !(p->echo && p->logprobs))
        return hd_refuse(s->r, 400, "max_tokens", "invalid_value",
                         "'max_tokens' may be 0 only with 'echo' and 'logprobs' (to score the "
                         "prompt).");
    if (p->prompt_top > HD_MAX_TOP_LOGPROBS)
        return hd_refuse(s->r, 400, "prompt_logprobs", "invalid_value",
                         "'prompt_logprobs' must be from 0 to %d.", HD_MAX_TOP_LOGPROBS);
    if (p->scores_prompt && p->stream)
        return hd_refuse(s->r, 400, "prompt_logprobs", "invalid_value",
                         "'prompt_logprobs' cannot be streamed; leave 'stream' out.");
    if (p->best_of > 0 && (p->best_of < p->n || (p->best_of > p->n && p->stream)))
        return hd_refuse(s->r, 400, "best_of", "invalid_value",
                         "'best_of' must be 'n' or more, and where it is more nothing can be "
                         "streamed.");
    int rc = check_resume(s);
    return rc < 0 ? rc : hd_tools_check(&p->tools, s->r);
}

void hd_params_deinit(struct hd_params *p)
{
    free(p->bias);
    hd_structured_deinit(&p->structured);
    hd_tools_deinit(&p->tools);
    hd_resume_deinit(&p->resume);
    p->bias = NULL;
    p->sampling.bias = NULL;
    p->sampling.n_bias = 0;
}

int hd_params_read(struct hd_params *p, const json_t *body, const struct hd_api_backend *b,
                   struct hd_refusal *r)
{
    struct parse s = {.p = p, .body = body, .b = b, .r = r};
    p->sampling = (struct hd_sampling){.temperature = 1, .top_p = 1, .xtc_threshold = 0.1};
    p->n = 1;
    if (!json_is_object(body))
        return hd_refuse(r, 400, NULL, "invalid_json", "The body must be a JSON object.");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)body, key, value)
    {
        int rc = take_member(&s, key, value);
        if (rc < 0)
            return rc;
    }
    return check_together(&s);
}
