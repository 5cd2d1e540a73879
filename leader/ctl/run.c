/* run.c - hydac run: a prompt to the leader, the answer as it comes.
 *
 * Without --json the text is printed as it comes, with it one object at the end. */
#include "leader/ctl/answer.h"
#include "leader/ctl/ctl.h"
#include "leader/ctl/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_GIVEN  UINT64_MAX
#define MAX_TOKENS 128        /* default without --chat */
#define PATIENCE_S 30         /* default with several leaders */
#define MAX_STDIN  (4u << 20) /* bytes of a prompt, the leader's own limit */

static const char about[] =
    "hydac run [OPTIONS] (--prompt TEXT | --prompt-tokens 1,2,3 | -)\n"
    "\n"
    "Sends a prompt ('-': from standard input) to the leader and prints the answer as it comes.\n";

struct options {
    const char *leader, *prompt, *prompt_tokens, *key_file;
    struct hd_http_key key;
    uint64_t max_tokens, top_k, seed, top_logprobs, patience;
    double temperature, top_p;
    bool chat, ignore_eos, json;
};

/* ---- The request ----------------------------------------------------------------------------*/
static json_t *parse_tokens(const char *list, struct hd_error *err)
{
    json_t *ids = json_array();
    for (const char *p = list; ids;) {
        char *end;
        long id = strtol(p, &end, 10);
        if (end == p || (*end && *end != ','))
            break;
        json_array_append_new(ids, json_integer(id));
        if (!*end)
            return ids;
        p = end + 1;
    }
    json_decref(ids);
    hd_fail(err, HD_E_CONFIG, "--prompt-tokens takes integers with commas between, not '%s'", list);
    return NULL;
}

static json_t *read_stdin(struct hd_error *err)
{
    char *text = malloc(MAX_STDIN + 1);
    size_t n = text ? fread(text, 1, MAX_STDIN + 1, stdin) : 0;
    json_t *v = n <= MAX_STDIN ? json_stringn(text, n) : NULL;
    free(text);
    if (!v)
        hd_fail(err, HD_E_RANGE, "standard input must be UTF-8 text of at most %u bytes",
                MAX_STDIN);
    return v;
}

static json_t *prompt_of(const struct options *o, struct hd_error *err)
{
    if (o->prompt_tokens)
        return parse_tokens(o->prompt_tokens, err);
    if (!o->prompt)
        return read_stdin(err);
    json_t *v = json_string(o->prompt);
    if (!v)
        hd_fail(err, HD_E_RANGE, "the prompt is not UTF-8 text");
    return v;
}

static void add_limits(json_t *body, const struct options *o)
{
    uint64_t max = o->max_tokens;
    if (max == NOT_GIVEN && !o->chat)
        max = MAX_TOKENS;
    if (max != NOT_GIVEN)
        json_object_set_new(body, "max_tokens", json_integer((json_int_t)max));
    if (o->seed != NOT_GIVEN)
        json_object_set_new(body, "seed", json_integer((json_int_t)o->seed));
    if (o->top_logprobs == NOT_GIVEN)
        return;
    json_t *k = json_integer((json_int_t)o->top_logprobs);
    json_object_set(body, "logprobs", o->chat ? json_true() : k);
    if (o->chat)
        json_object_set(body, "top_logprobs", k);
    json_decref(k);
}

/* NULL with err. */
static json_t *request_body(const struct options *o, struct hd_error *err)
{
    json_t *prompt = prompt_of(o, err);
    if (!prompt)
        return NULL;
    json_t *body =
        json_pack("{s:b, s:{s:b}, s:b, s:f, s:f, s:I, s:b}", "stream", 1, "stream_options",
                  "include_usage", 1, "hydac", 1, "temperature", o->temperature, "top_p", o->top_p,
                  "top_k", (json_int_t)o->top_k, "ignore_eos", o->ignore_eos);
    if (o->chat)
        json_object_set_new(body, "messages",
                            json_pack("[{s:s, s:o}]", "role", "user", "content", prompt));
    else
        json_object_set_new(body, "prompt", prompt);
    add_limits(body, o);
    if (!body)
        hd_fail(err, HD_E_NOMEM, "out of memory");
    return body;
}

/* ---- The answer -----------------------------------------------------------------------------*/
static void print_text(void *last, const char *text, size_t len)
{
    *(char *)last = text[len - 1];
    fwrite(text, 1, len, stdout);
    fflush(stdout);
}

static void print_resume(void *last, const char *leader, size_t tokens, const char *why)
{
    fprintf(stderr, "hydac: %s; going on behind %zu tokens at %s\n", why, tokens, leader);
}

static int print_object(const struct hd_answer *a, const struct options *o)
{
    json_t *v = json_pack("{s:s%, s:O, s:s, s:O?, s:O?, s:O?, s:O?, s:O?, s:i}", "text", a->text,
                          a->text_len, "tokens", a->tokens, "finish_reason", a->finish, "logprobs",
                          o->top_logprobs == NOT_GIVEN ? NULL : a->logprobs, "timings", a->timings,
                          "failovers", a->failovers, "usage", a->usage, "seed", a->seed, "resumed",
                          (int)a->resumed);
    int rc = v ? json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) : -1;
    json_decref(v);
    putchar('\n');
    return rc;
}

static int ask(const struct options *o, const json_t *body, struct hd_error *err)
{
    struct hd_leaders leaders;
    struct hd_answer a = {0};
    char last = '\n'; /* that was printed */
    int rc = hd_leaders_parse(&leaders, o->leader, err);
    if (rc == 0) {
        bool retry = leaders.n > 1 && o->patience == NOT_GIVEN;
        struct hd_ask q = {.leaders = &leaders,
                           .key = o->key.text,
                           .path = o->chat ? "/v1/chat/completions" : "/v1/completions",
                           .body = body,
                           .patience_ms = retry                      ? PATIENCE_S * 1000
                                          : o->patience == NOT_GIVEN ? 0
                                                                     : o->patience * 1000,
                           .on_text = o->json ? NULL : print_text,
                           .on_resume = print_resume,
                           .arg = &last};
        rc = hd_ask(&q, &a, err);
    }
    if (rc == 0 && o->json)
        rc = print_object(&a, o) < 0 ? hd_fail(err, HD_E_IO, "cannot print the answer") : 0;
    else if (last != '\n')
        putchar('\n');
    hd_answer_deinit(&a);
    hd_leaders_deinit(&leaders);
    return rc;
}

static int check(const struct options *o, const struct hd_arg_list *rest, struct hd_error *err)
{
    bool from_stdin = rest->n == 1 && strcmp(rest->items[0], "-") == 0;
    if (rest->n > 0 && !from_stdin)
        return hd_fail(err, HD_E_CONFIG, "unexpected argument '%s'; see --help", rest->items[0]);
    if ((o->prompt != NULL) + (o->prompt_tokens != NULL) + from_stdin != 1)
        return hd_fail(err, HD_E_CONFIG, "run needs one of --prompt, --prompt-tokens and -");
    if (o->chat && o->prompt_tokens)
        return hd_fail(err, HD_E_CONFIG, "--chat takes text, not --prompt-tokens");
    return 0;
}

int hd_cmd_run(int argc, char **argv)
{
    struct options o = {.leader = hd_default_leader(),
                        .top_p = 1,
                        .max_tokens = NOT_GIVEN,
                        .seed = NOT_GIVEN,
                        .top_logprobs = NOT_GIVEN,
                        .patience = NOT_GIVEN};
    struct hd_arg_list rest = {.n = 0};
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_LEADERS(&o.leader),
        {"--patience", HD_ARG_UINT, &o.patience, "S",
         "so long go round while leaders fail; default: 30 with several, else 0", 0, 86400},
        HD_ARG_API_KEY(&o.key_file),
        {"--prompt", HD_ARG_STRING, &o.prompt, "TEXT", "the prompt"},
        {"--prompt-tokens", HD_ARG_STRING, &o.prompt_tokens, "IDS",
         "the prompt as token ids, 1,2,3"},
        {"--chat", HD_ARG_FLAG, &o.chat, NULL, "the prompt is a user's message of a conversation"},
        {"--max-tokens", HD_ARG_UINT, &o.max_tokens, "N",
         "default: 128; with --chat what the context has room for", 1, INT32_MAX},
        {"--temperature", HD_ARG_REAL, &o.temperature, "T",
         "0 (default): always the likeliest token; up to 2", 0, 2},
        {"--top-k", HD_ARG_UINT, &o.top_k, "K", "draws among the K likeliest tokens; 0: all", 0,
         INT32_MAX},
        {"--top-p", HD_ARG_REAL, &o.top_p, "P",
         "draws among the likeliest tokens that make up P together", 0, 1},
        {"--seed", HD_ARG_UINT, &o.seed, "S", "the same seed gives the same text", 0, 0x1p64},
        {"--ignore-eos", HD_ARG_FLAG, &o.ignore_eos, NULL, "go on after the model's end token"},
        {"--top-logprobs", HD_ARG_UINT, &o.top_logprobs, "K",
         "report log-probabilities with K alternatives (with --json)", 0, 20},
        {"--json", HD_ARG_FLAG, &o.json, NULL,
         "print one JSON object at the end instead of the text"},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, &rest, about);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (check(&o, &rest, &err) < 0)
        return hd_complain(&err) + 1;
    if (hd_http_key_get(&o.key, o.key_file, &err) < 0)
        return hd_complain(&err);
    json_t *body = request_body(&o, &err);
    if (!body)
        return hd_complain(&err) + (err.code == HD_E_CONFIG);
    rc = ask(&o, body, &err);
    json_decref(body);
    hd_secret_wipe(&o.key, sizeof o.key);
    return rc < 0 ? hd_complain(&err) : 0;
}
