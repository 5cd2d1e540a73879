/* call_grammar.c - calls as llguidance's Lark: a rule for each tool, and one for what is around. */
#include "leader/api/call_grammar.h"

#include "common/util/error.h"
#include "leader/api/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct maker {
    const struct hd_tools *t;
    enum hd_call_form form;
    const struct hd_call_marks *marks;
    bool held;                /* the answer's beginning is a call; else what is behind a mark */
    bool plain[HD_MAX_TOOLS]; /* arguments are any object */
    struct hd_text out;
};

static int add(struct maker *m, const char *text)
{
    return hd_text_add(&m->out, text, strlen(text));
}

/* `text` as a literal of the grammar. */
static int add_literal(struct maker *m, const char *text)
{
    json_t *s = json_string(text);
    char *quoted = json_dumps(s, JSON_ENCODE_ANY);
    int rc = quoted ? add(m, quoted) : HD_E_NOMEM;
    free(quoted);
    json_decref(s);
    return rc;
}

static int add_mark(struct maker *m, const char *mark)
{
    return hd_call_mark_grammar(&m->out, m->marks, mark);
}

/* malloc'ed; NULL: memory is out. */
static char *schema_of(const json_t *tool)
{
    const json_t *schema = json_object_get(json_object_get(tool, "function"), "parameters");
    return json_is_object(schema) ? hd_schema_narrow(schema)
                                  : strdup("{\"type\":\"object\",\"properties\":{},"
                                           "\"additionalProperties\":false}");
}

/* Each with a schema of its own, as references in it are to its own root. */
static int add_arguments(struct maker *m, size_t tool)
{
    char *text = m->plain[tool] ? strdup("{\"type\":\"object\"}")
                                : schema_of(json_array_get(m->t->list, tool));
    int rc = text ? add(m, " %json ") : HD_E_NOMEM;
    if (rc == 0)
        rc = add(m, text);
    free(text);
    return rc;
}

/* {"name": N, "arguments": SCHEMA}. Where such a beginning is the mark it may have no blanks, and
 * the model goes on as it likes. */
static int add_object(struct maker *m, size_t i)
{
    const json_t *tool = json_array_get(m->t->list, i);
    bool bare = m->form == HD_CALLS_BARE, begun = bare && !m->held;
    const char *between = begun ? "" : bare ? ", \"parameters\": " : ", \"arguments\": ";
    char spaced[256], close[256];
    snprintf(spaced, sizeof spaced, "{\"name\": \"%s\"%s", hd_tool_name(tool), between);
    snprintf(close, sizeof close, "{\"name\":\"%s\"", hd_tool_name(tool));
    int rc = begun ? add(m, "(") : 0;
    if (rc == 0)
        rc = add_literal(m, spaced);
    if (rc == 0 && begun)
        rc = add(m, " | ");
    if (rc == 0 && begun)
        rc = add_literal(m, close);
    if (rc == 0 && begun)
        rc = add(m, ") /,[ ]?\"parameters\":[ ]?/");
    if (rc == 0)
        rc = add_arguments(m, i);
    return rc == 0 ? add(m, " \"}\"\n") : rc;
}

/* N and what is between it and its arguments. */
static int add_named(struct maker *m, size_t i)
{
    int rc = add_literal(m, hd_tool_name(json_array_get(m->t->list, i)));
    if (rc == 0)
        rc = m->form == HD_CALLS_CHANNELS ? add(m, " head") : add(m, " ");
    if (rc == 0 && m->form == HD_CALLS_ARGS)
        rc = add_mark(m, HD_MARK_ARGS);
    if (rc == 0)
        rc = add_arguments(m, i);
    return rc == 0 ? add(m, "\n") : rc;
}

static bool is_wanted(const struct hd_tools *t, const json_t *tool)
{
    return t->choice != HD_TOOL_NAMED || strcmp(hd_tool_name(tool), t->name) == 0;
}

/* "c0: ...", and "call: c0 | c1 ...". */
static int add_tools(struct maker *m)
{
    bool named = m->form == HD_CALLS_ARGS || m->form == HD_CALLS_CHANNELS;
    int rc = 0;
    const char *between = "call: ";
    char text[32];
    for (size_t i = 0; rc == 0 && i < json_array_size(m->t->list); i++) {
        if (!is_wanted(m->t, json_array_get(m->t->list, i)))
            continue;
        snprintf(text, sizeof text, "c%zu: ", i);
        rc = add(m, text);
        if (rc == 0)
            rc = named ? add_named(m, i) : add_object(m, i);
    }
    for (size_t i = 0; rc == 0 && i < json_array_size(m->t->list); i++) {
        if (!is_wanted(m->t, json_array_get(m->t->list, i)))
            continue;
        snprintf(text, sizeof text, "%sc%zu", between, i);
        rc = add(m, text);
        between = " | ";
    }
    return rc == 0 ? add(m, "\n") : rc;
}

/* Parts of a rule: texts, and marks, which begin with '@'. NULL ends them. */
static int add_parts(struct maker *m, const char *const *parts)
{
    int rc = 0;
    for (; rc == 0 && *parts; parts++)
        rc = (*parts)[0] == '@' ? add_mark(m, *parts + 1) : add(m, *parts);
    return rc;
}

#define PARTS(...) add_parts(m, (const char *const[]){__VA_ARGS__, NULL})

static int add_tagged(struct maker *m, bool more)
{
    if (!m->held)
        return PARTS("start: \"\\n\"? call \"\\n\"? ", "@" HD_MARK_CALL_END, "\n");
    return PARTS("start: ", "@" HD_MARK_CALL, "\"\\n\" call \"\\n\"", "@" HD_MARK_CALL_END,
                 more ? " (\"\\n\" start)?\n" : "\n");
}

static int add_list(struct maker *m, bool more)
{
    int rc = m->held ? PARTS("start: ", "@" HD_MARK_LIST) : add(m, "start: \" \"? ");
    return rc == 0 ? add(m, more ? "\"[\" call (\", \" call)* \"]\"\n" : "\"[\" call \"]\"\n") : rc;
}

static int add_args(struct maker *m, bool more)
{
    int rc = m->held ? PARTS("start: ", "@" HD_MARK_LIST, " call") : add(m, "start: call");
    return rc == 0 && more ? PARTS(" (", "@" HD_MARK_LIST, " call)*\n")
           : rc < 0        ? rc
                           : add(m, "\n");
}

static int add_bare(struct maker *m, bool more)
{
    if (m->held)
        return add(m, "start: call\n");
    return PARTS("start: calls | BLANKS calls\nBLANKS: /[ \\t\\r\\n]+/\n",
                 more ? "calls: call (/;[ ]?/ call)*\n" : "calls: call\n");
}

/* The head of a call may say its channel behind the tool's name, and what its body is. */
static int add_channels(struct maker *m)
{
    int rc = m->held ? PARTS("start: ", "@" HD_MARK_CHANNEL, "\"commentary to=functions.\" call\n")
                     : add(m, "start: call\n");
    if (rc == 0) /* "json" is told from the name by a blank or a token */
        rc = PARTS("head: (", "@" HD_MARK_CHANNEL, "\"commentary\")? (\" \" ",
                   "@" HD_MARK_CONSTRAIN, "? \"json\" | ", "@" HD_MARK_CONSTRAIN, " \"json\")? ",
                   "@" HD_MARK_MESSAGE, "\n");
    return rc;
}

/* The whole grammar, malloc'ed; NULL: memory is out. */
static char *make(struct maker *m)
{
    bool more = !m->t->only_one && m->t->choice != HD_TOOL_NAMED;
    int rc = m->form == HD_CALLS_TAGGED     ? add_tagged(m, more)
             : m->form == HD_CALLS_LIST     ? add_list(m, more)
             : m->form == HD_CALLS_ARGS     ? add_args(m, more)
             : m->form == HD_CALLS_CHANNELS ? add_channels(m)
                                            : add_bare(m, more);
    if (rc == 0)
        rc = add_tools(m);
    if (rc < 0)
        hd_text_deinit(&m->out);
    return m->out.data;
}

int hd_call_grammar_required(const struct hd_tools *t, enum hd_call_form form,
                             const struct hd_call_marks *marks, struct hd_structured *s,
                             struct hd_refusal *r)
{
    struct maker m = {.t = t, .form = form, .marks = marks, .held = true};
    if (!hd_tools_are_offered(t) || t->choice == HD_TOOL_AUTO)
        return 0;
    return hd_structured_set(s, "tool_choice", HD_GRAMMAR_LARK, make(&m), r);
}

/* ---- Where one may be called ---- */

#define MOST_MARKS (2 * HD_MAX_TOOLS + 1)

struct marks {
    struct hd_grammar_mark list[MOST_MARKS];
    char *owned[MOST_MARKS];
    size_t n;
};

static int add_begin(struct marks *k, bool first, const char *before, const char *name,
                     const char *after)
{
    char text[256];
    snprintf(text, sizeof text, "%s%s%s", before, name, after);
    if (!(k->owned[k->n] = strdup(text)))
        return HD_E_NOMEM;
    k->list[k->n] = (struct hd_grammar_mark){k->owned[k->n], first};
    k->n++;
    return 0;
}

/* With which texts calls begin. */
static int begins(struct marks *k, const struct hd_tools *t, enum hd_call_form form,
                  const struct hd_call_marks *marks)
{
    const char *mark = form == HD_CALLS_TAGGED ? HD_MARK_CALL
                       : form == HD_CALLS_BARE ? HD_MARK_BARE
                                               : HD_MARK_LIST;
    int rc;
    if (form == HD_CALLS_CHANNELS) {
        rc = add_begin(k, false, HD_MARK_CHANNEL, "commentary", " to=functions.");
        if (rc == 0)
            rc = add_begin(k, false, HD_MARK_CHANNEL, "analysis", " to=functions.");
        return rc == 0 ? add_begin(k, false, HD_MARK_START, "assistant", " to=functions.") : rc;
    }
    bool control = hd_call_mark_is_control(marks, mark);
    rc = add_begin(k, false, control ? HD_GRAMMAR_CONTROL : "", mark, "");
    for (size_t i = 0; rc == 0 && form == HD_CALLS_BARE && i < json_array_size(t->list); i++) {
        const char *name = hd_tool_name(json_array_get(t->list, i));
        rc = add_begin(k, true, "{\"name\": \"", name, "\"");
        if (rc == 0)
            rc = add_begin(k, true, "{\"name\":\"", name, "\"");
    }
    return rc;
}

/* `w` NULL: it holds from the first token on. 1: it cannot be held to. */
static int open_once(struct hd_grammar **out, struct maker *m, const struct hd_tokenizer *t,
                     const struct hd_grammar_wait *w)
{
    struct hd_error err = {0};
    char *text = make(m);
    int rc = text ? hd_grammar_open(out, t, HD_GRAMMAR_LARK, text, strlen(text), &err) : HD_E_NOMEM;
    if (rc == 0 && w)
        rc = hd_grammar_wait(*out, w, &err);
    if (rc < 0) {
        hd_grammar_free(*out);
        *out = NULL;
    }
    hd_text_deinit(&m->out);
    return rc == HD_E_NOMEM ? rc : rc < 0;
}

/* Which tools have a schema that cannot be held to; of the others, the lengths. HD_E_NOMEM. */
static int find_plain(struct maker *m, const struct hd_tokenizer *t, size_t len[HD_MAX_TOOLS])
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(m->t->list); i++) {
        struct hd_grammar *g = NULL;
        struct hd_error err = {0};
        char *text = schema_of(json_array_get(m->t->list, i));
        rc = text ? hd_grammar_open(&g, t, HD_GRAMMAR_JSON_SCHEMA, text, strlen(text), &err)
                  : HD_E_NOMEM;
        m->plain[i] = rc < 0;
        len[i] = text ? strlen(text) : 0;
        rc = rc == HD_E_NOMEM ? rc : 0;
        hd_grammar_free(g);
        free(text);
    }
    return rc;
}

/* The longest of those that are held to is no more; false: there is none. */
static bool give_up_longest(struct maker *m, const size_t len[HD_MAX_TOOLS])
{
    size_t longest = HD_MAX_TOOLS;
    for (size_t i = 0; i < json_array_size(m->t->list); i++)
        if (!m->plain[i] && (longest == HD_MAX_TOOLS || len[i] > len[longest]))
            longest = i;
    if (longest < HD_MAX_TOOLS)
        m->plain[longest] = true;
    return longest < HD_MAX_TOOLS;
}

/* As they are; then without the schemas that cannot be held to by themselves; then, as together
 * they may be too large, without the longest, two, four... as well. */
static int open_some(struct hd_grammar **out, struct maker *m, const struct hd_tokenizer *t,
                     const struct hd_grammar_wait *w, struct hd_unknown *loose)
{
    size_t len[HD_MAX_TOOLS] = {0};
    int rc = open_once(out, m, t, w);
    if (rc > 0)
        rc = find_plain(m, t, len) < 0 ? HD_E_NOMEM : open_once(out, m, t, w);
    for (size_t n = 1; rc > 0 && give_up_longest(m, len); n *= 2) {
        for (size_t i = 1; i < n; i++)
            give_up_longest(m, len);
        rc = open_once(out, m, t, w);
    }
    for (size_t i = 0; i < json_array_size(m->t->list); i++)
        if (m->plain[i] && is_wanted(m->t, json_array_get(m->t->list, i)))
            hd_unknown_add(loose, hd_tool_name(json_array_get(m->t->list, i)));
    return rc < 0 ? rc : 0;
}

int hd_call_grammar_held(struct hd_grammar **out, const struct hd_tools *t, enum hd_call_form form,
                         const struct hd_call_marks *marks, const struct hd_tokenizer *tokenizer,
                         struct hd_unknown *loose)
{
    struct maker m = {.t = t, .form = form, .marks = marks, .held = true};
    return open_some(out, &m, tokenizer, NULL, loose);
}

int hd_call_grammar_auto(struct hd_grammar **out, const struct hd_tools *t, enum hd_call_form form,
                         const struct hd_call_marks *marks, const struct hd_tokenizer *tokenizer,
                         bool thoughts, bool inside, struct hd_unknown *loose)
{
    struct marks *k = calloc(1, sizeof *k);
    int rc = k ? begins(k, t, form, marks) : HD_E_NOMEM;
    if (rc == 0) {
        struct maker m = {.t = t, .form = form, .marks = marks};
        struct hd_grammar_wait w = {.marks = k->list,
                                    .n = k->n,
                                    .again = form == HD_CALLS_TAGGED && !t->only_one,
                                    .thoughts = thoughts,
                                    .inside = inside};
        rc = open_some(out, &m, tokenizer, &w, loose);
    }
    for (size_t i = 0; k && i < k->n; i++)
        free(k->owned[i]);
    free(k);
    return rc;
}
