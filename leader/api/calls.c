/* calls.c - calls of tools in an answer's text, as each family writes them. */
#include "leader/api/calls.h"

#include "common/util/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN  HD_MARK_CALL
#define CLOSE HD_MARK_CALL_END
#define LIST  HD_MARK_LIST
#define ARGS  HD_MARK_ARGS
#define BARE  HD_MARK_BARE

static const char *const marks[HD_MAX_MARKS] = {
    OPEN,
    CLOSE,
    LIST,
    ARGS,
    BARE,
    HD_MARK_CHANNEL,
    HD_MARK_START,
    HD_MARK_END,
    HD_MARK_CONSTRAIN,
    HD_MARK_TO_TOOL,
    HD_MARK_RETURN,
    HD_MARK_MESSAGE,
};
static const char blanks[] = " \t\r\n";

enum hd_call_form hd_call_form_of(const char *template, bool *native)
{
    *native = strstr(template, "tools") != NULL;
    if (strstr(template, &HD_MARK_CHANNEL[1]))
        return HD_CALLS_CHANNELS;
    if (strstr(template, LIST))
        return strstr(template, ARGS) ? HD_CALLS_ARGS : HD_CALLS_LIST;
    bool bare = strstr(template, BARE) || strstr(template, "\"parameters\": ");
    return *native && bare && !strstr(template, OPEN) ? HD_CALLS_BARE : HD_CALLS_TAGGED;
}

/* ---- Marks ---- */

static int32_t control_token(const struct hd_tokenizer *t, const char *text)
{
    int32_t *ids = NULL, id = -1;
    size_t n = 0;
    text += text[0] == HD_GRAMMAR_CONTROL[0];
    if (hd_tokenizer_encode(t, text, strlen(text), true, &ids, &n) == 0 && n == 1 &&
        hd_tokenizer_piece(t, ids[0], false).len == 0)
        id = ids[0];
    free(ids);
    return id;
}

void hd_call_marks_init(struct hd_call_marks *m, const struct hd_tokenizer *t)
{
    for (size_t i = 0; i < HD_MAX_MARKS; i++)
        m->id[i] = control_token(t, marks[i]);
}

const char *hd_call_mark(const struct hd_call_marks *m, int32_t id)
{
    for (size_t i = 0; i < HD_MAX_MARKS; i++)
        if (m->id[i] >= 0 && m->id[i] == id)
            return marks[i];
    return NULL;
}

int hd_call_mark_grammar(struct hd_text *out, const struct hd_call_marks *m, const char *text)
{
    char said[64];
    snprintf(said, sizeof said, "\"%s\"", text);
    for (size_t i = 0; i < HD_MAX_MARKS; i++)
        if (m->id[i] >= 0 && strcmp(marks[i], text) == 0)
            snprintf(said, sizeof said, "<[%d]>", m->id[i]);
    return hd_text_add(out, said, strlen(said));
}

bool hd_call_mark_is_control(const struct hd_call_marks *m, const char *text)
{
    for (size_t i = 0; i < HD_MAX_MARKS; i++)
        if (strcmp(marks[i], text) == 0)
            return m->id[i] >= 0;
    return false;
}

/* ---- One call ---- */

/* Mistral's templates take ids of nine letters and digits only. The same answer has the same ids at
 * every leader. */
static void make_id(char id[32], const struct hd_calls *c)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    bool short_ids = c->form == HD_CALLS_LIST || c->form == HD_CALLS_ARGS;
    size_t len = short_ids ? 9 : 24;
    char *to = stpcpy(id, short_ids ? "" : "call_");
    uint64_t r = c->seed + (c->n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < len; i++) {
        r = (r ^ (r >> 30)) * UINT64_C(0xbf58476d1ce4e5b9) + i;
        *to++ = letters[(r >> 32) % 36];
    }
    *to = '\0';
}

int hd_calls_add(struct hd_calls *c, json_t *calls, const char *name, const json_t *arguments)
{
    char id[32];
    char *text = json_is_string(arguments)
                     ? strdup(json_string_value(arguments))
                     : json_dumps(arguments, JSON_COMPACT | JSON_REAL_PRECISION(17));
    make_id(id, c);
    json_t *call =
        json_pack("{s:I, s:s, s:s, s:{s:s, s:s}}", "index", (json_int_t)c->n, "id", id, "type",
                  "function", "function", "name", name, "arguments", text ? text : "");
    free(text);
    if (!text || json_array_append_new(calls, call) < 0)
        return HD_E_NOMEM;
    c->n++;
    return 0;
}

static const json_t *arguments_of(const json_t *call)
{
    const json_t *v = json_object_get(call, "arguments");
    return v ? v : json_object_get(call, "parameters");
}

static bool is_call(const json_t *v)
{
    const json_t *arguments = arguments_of(v);
    return json_is_string(json_object_get(v, "name")) &&
           (json_is_object(arguments) || json_is_string(arguments));
}

static int add_object(struct hd_calls *c, json_t *calls, const json_t *v)
{
    return hd_calls_add(c, calls, json_string_value(json_object_get(v, "name")), arguments_of(v));
}

/* "NAME[ARGS]{...}" at *at. 1: it was none. */
static int add_named(struct hd_calls *c, json_t *calls, const char **at)
{
    char name[128];
    json_error_t err;
    size_t n = strcspn(*at, "[{");
    const char *body =
        *at + n + (strncmp(*at + n, ARGS, sizeof ARGS - 1) == 0 ? sizeof ARGS - 1 : 0);
    json_t *arguments = json_loads(body, JSON_DISABLE_EOF_CHECK, &err);
    int rc = 1;
    if (n > 0 && n < sizeof name && json_is_object(arguments)) {
        memcpy(name, *at, n);
        name[n] = '\0';
        rc = hd_calls_add(c, calls, name, arguments);
        *at = body + err.position;
    }
    json_decref(arguments);
    return rc;
}

/* A call, or an array of calls, at *at. 1: it was none. */
static int add_json(struct hd_calls *c, json_t *calls, const char **at)
{
    json_error_t err;
    json_t *v = json_loads(*at, JSON_DISABLE_EOF_CHECK, &err);
    bool list = json_is_array(v);
    size_t n = list ? json_array_size(v) : 1;
    int rc = v && n > 0 ? 0 : 1;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = is_call(list ? json_array_get(v, i) : v) ? 0 : 1;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_object(c, calls, list ? json_array_get(v, i) : v);
    *at += v ? err.position : 0;
    json_decref(v);
    return rc;
}

static bool is_list(const struct hd_calls *c)
{
    return c->form == HD_CALLS_LIST || c->form == HD_CALLS_ARGS;
}

/* All of `text` as calls. 1: it is something else, nothing was added. */
static int add_all(struct hd_calls *c, json_t *calls, const char *text)
{
    size_t before = json_array_size(calls), n = c->n;
    int rc = 1;
    for (;;) {
        text += strspn(text, " \t\r\n;");
        if (is_list(c) && json_array_size(calls) > before &&
            strncmp(text, LIST, sizeof LIST - 1) == 0)
            text += sizeof LIST - 1;
        if (!*text)
            break;
        bool named = is_list(c) && *text != '[' && *text != '{';
        rc = named ? add_named(c, calls, &text) : add_json(c, calls, &text);
        if (rc != 0)
            break;
    }
    while (rc == 1 && json_array_size(calls) > before)
        json_array_remove(calls, json_array_size(calls) - 1);
    if (rc == 1)
        c->n = n;
    return rc;
}

/* ---- Text ---- */

static const char *opening(const struct hd_calls *c)
{
    return c->form == HD_CALLS_TAGGED ? OPEN : is_list(c) ? LIST : BARE;
}

/* Lets go what cannot be a call. 1: a call begins, and is all that is held. */
static int let_go(struct hd_calls *c, struct hd_text *out)
{
    const char *held = hd_text_str(&c->held), *mark = opening(c);
    const char *found = strstr(held, mark);
    size_t blank = strspn(held, blanks), go;
    if (c->form == HD_CALLS_BARE && !c->begun && held[blank] == '{')
        return 1;
    go = found ? (size_t)(found - held) : hd_text_maybe_begins(&c->held, mark);
    while (found && go > 0 && strchr(blanks, held[go - 1]))
        go--;
    c->begun |= go > blank;
    int rc = hd_text_add(out, held, go);
    if (rc < 0)
        return rc;
    if (found)
        go = (size_t)(found - held) + strlen(mark);
    hd_text_drop(&c->held, go);
    return found != NULL;
}

/* What is held is the inside of <tool_call>. 1: its end is not there yet. What is no call goes out
 * as it came. */
static int close_tagged(struct hd_calls *c, struct hd_text *out, json_t *calls, bool ended)
{
    const char *held = hd_text_str(&c->held), *end = strstr(held, CLOSE);
    size_t n = end ? (size_t)(end - held) : c->held.len;
    if (!end && !ended)
        return 1;
    char *inside = strndup(held, n);
    int rc = inside ? add_all(c, calls, inside) : HD_E_NOMEM;
    if (end)
        n += sizeof CLOSE - 1;
    if (rc == 1)
        rc = hd_text_add(out, OPEN, sizeof OPEN - 1) == 0 ? hd_text_add(out, held, n) : HD_E_NOMEM;
    free(inside);
    hd_text_drop(&c->held, n);
    c->inside = false;
    return rc;
}

int hd_calls_push(struct hd_calls *c, const char *text, struct hd_text *out, json_t *calls)
{
    int rc = hd_text_add(&c->held, text, strlen(text));
    while (rc == 0 && c->held.len > 0) {
        if (!c->inside) {
            rc = let_go(c, out);
            c->inside = rc == 1;
        }
        if (!c->inside || c->form != HD_CALLS_TAGGED)
            return rc < 0 ? rc : 0; /* all that may go has gone; or a call to the answer's end */
        rc = close_tagged(c, out, calls, false);
    }
    return rc < 0 ? rc : 0;
}

int hd_calls_finish(struct hd_calls *c, struct hd_text *out, json_t *calls)
{
    int rc = 1;
    if (c->inside && c->form == HD_CALLS_TAGGED)
        return close_tagged(c, out, calls, true);
    if (c->inside)
        rc = add_all(c, calls, hd_text_str(&c->held));
    if (rc == 1 && c->inside && is_list(c) && hd_text_add(out, LIST, sizeof LIST - 1) < 0)
        rc = HD_E_NOMEM;
    if (rc == 1)
        rc = hd_text_add(out, hd_text_str(&c->held), c->held.len);
    hd_text_clear(&c->held);
    c->inside = false;
    return rc;
}

void hd_calls_deinit(struct hd_calls *c)
{
    hd_text_deinit(&c->held);
}
