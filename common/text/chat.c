/* Conversations to prompts, by family.
 *
 * A family fixes how a message looks; the model's own template is read only for what differs
 * between models of one family: whether BOS comes first, whether messages are stripped, the system
 * text that is added when a conversation has none, and the lines that Llama 3.1 and later put
 * before the system text. Their date is the template's own fallback (`date_string = "..."`), never
 * the clock's: a prompt must not change over night. Tools and reasoning switches of a template are
 * not followed. */
#include "common/text/encoder.h"

#include "common/text/utf8.h"
#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

/* A system text that a template writes out; known ones have some hundred bytes. Longer ones are not
 * looked for, so that reading a template takes linear time. */
#define LITERAL_MAX ((size_t)16 << 10)

/* A message is: open role [header_end] after_role text close after_close. */
struct chat_shape {
    enum hd_chat_family family;
    const char *open, *header_end, *close;
    const char *after_role, *after_close;
};

static const struct chat_shape shapes[] = {
    {HD_CHAT_CHATML, "<|im_start|>", NULL, "<|im_end|>", "\n", "\n"},
    {HD_CHAT_LLAMA3, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "\n\n", ""},
};

static const char knowledge[] = "Cutting Knowledge Date: ";

/* ---- Text being put together ----------------------------------------------------------------*/

struct text {
    char *data; /* malloc'ed */
    size_t len, cap;
};

static int text_add(struct text *t, const char *data, size_t len)
{
    size_t need, cap;

    if (!hd_add_size(t->len, len, &need) || !hd_mul_size(need, 2, &cap))
        return HD_E_NOMEM;
    if (need >= t->cap) {
        char *grown = realloc(t->data, cap + 64);

        if (!grown)
            return HD_E_NOMEM;
        t->data = grown;
        t->cap = cap + 64;
    }
    if (len)
        memcpy(t->data + t->len, data, len);
    t->len = need;
    t->data[need] = '\0';
    return 0;
}

static int text_add_str(struct text *t, const char *s)
{
    return text_add(t, s, strlen(s));
}

/* ---- Reading a template ---------------------------------------------------------------------*/

static const char *find(struct hd_str s, const char *needle)
{
    return s.len ? memmem(s.data, s.len, needle, strlen(needle)) : NULL;
}

static struct hd_str rest_from(struct hd_str s, const char *at)
{
    return (struct hd_str){at, s.len - (size_t)(at - s.data)};
}

static bool begins(struct hd_str s, const char *with)
{
    size_t n = strlen(with);

    return s.len >= n && memcmp(s.data, with, n) == 0;
}

/* Appends the literal text that `s` begins with, up to `end`. `quote` is the mark that the text
 * stands in (its escapes are undone), 0 for text outside of Jinja's braces. 1: done; 0: not literal
 * up to `end`; HD_E_NOMEM. */
static int literal(struct text *out, struct hd_str s, char quote, const char *end)
{
    for (size_t i = 0; i < s.len && i < LITERAL_MAX; i++) {
        struct hd_str here = {s.data + i, s.len - i};
        char c = s.data[i];

        if (begins(here, end))
            return 1;
        if (quote ? c == quote : (begins(here, "{{") || begins(here, "{%")))
            return 0;
        if (quote && c == '\\') {
            c = ++i < s.len ? s.data[i] : '\0';
            if (c == 'n')
                c = '\n';
            else if (c != '\\' && c != '\'' && c != '"')
                return 0;
        }
        if (text_add(out, &c, 1) < 0)
            return HD_E_NOMEM;
    }
    return 0;
}

static char quote_before(struct hd_str all, const char *at)
{
    char c = at > all.data ? at[-1] : '\0';

    return c == '\'' || c == '"' ? c : '\0';
}

/* A system message that the template writes out in full is the one it adds by itself. */
static int read_default_system(struct hd_chat *c, const struct chat_shape *shape,
                               struct hd_str tmpl, struct hd_error *err)
{
    char head[128];
    size_t skip = strlen(shape->after_role);
    const char *at;

    stpcpy(stpcpy(stpcpy(head, shape->open), "system"), shape->header_end ? shape->header_end : "");
    for (struct hd_str rest = tmpl; (at = find(rest, head)); rest = rest_from(rest, at + 1)) {
        struct text found = {0};
        int rc = literal(&found, rest_from(rest, at + strlen(head)), quote_before(tmpl, at),
                         shape->close);

        if (rc > 0 && found.len >= skip && memcmp(found.data, shape->after_role, skip) == 0)
            c->system = strdup(found.data + skip);
        free(found.data);
        if (rc < 0 || (rc > 0 && !c->system))
            return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for the chat template");
        if (c->system)
            return 0;
    }
    return 0;
}

/* The literal behind the first `name` that is followed by a quote. As literal(). */
static int quoted_after(struct text *out, struct hd_str tmpl, const char *name)
{
    const char *at;

    while ((at = find(tmpl, name))) {
        tmpl = rest_from(tmpl, at + strlen(name));
        if (tmpl.len && (tmpl.data[0] == '"' || tmpl.data[0] == '\'')) {
            const char end[2] = {tmpl.data[0], '\0'};

            return literal(out, rest_from(tmpl, tmpl.data + 1), end[0], end);
        }
    }
    return 0;
}

/* Llama 3.1 and later: "Cutting Knowledge Date: ...\nToday Date: ...\n\n" in front of every first
 * system text, also an empty one. A template that has these lines in another form is not known. */
static int read_preamble(struct hd_chat *c, struct hd_str tmpl, struct hd_error *err)
{
    const char *at = find(tmpl, knowledge);
    struct text t = {0};
    char end[2] = {0};
    int rc;

    if (!at)
        return 0;
    end[0] = quote_before(tmpl, at);
    rc = end[0] ? literal(&t, rest_from(tmpl, at), end[0], end) : 0;
    if (rc > 0 && text_add_str(&t, "Today Date: ") < 0)
        rc = HD_E_NOMEM;
    if (rc > 0)
        rc = quoted_after(&t, tmpl, "date_string = ");
    if (rc > 0 && text_add_str(&t, "\n\n") < 0)
        rc = HD_E_NOMEM;
    if (rc > 0) {
        free(c->system);
        c->preamble = t.data;
        c->system = strdup("");
        if (c->system)
            return 0;
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for the chat template");
    }
    free(t.data);
    c->family = HD_CHAT_NONE;
    return rc < 0 ? hd_fail(err, rc, "tokenizer: no memory for the chat template") : 0;
}

static int32_t special(const struct hd_vocab *v, const char *name)
{
    return name ? hd_vocab_find_special(v, name, strlen(name)) : -1;
}

int hd_chat_init(struct hd_chat *c, const struct hd_vocab *v, struct hd_str chat_template,
                 struct hd_error *err)
{
    int rc;

    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct chat_shape *s = &shapes[i];

        if (!find(chat_template, s->open))
            continue;
        c->open = special(v, s->open);
        c->close = special(v, s->close);
        c->header_end = special(v, s->header_end);
        if (c->open < 0 || c->close < 0 || (s->header_end && c->header_end < 0))
            continue; /* a template without its tokens */
        c->family = s->family;
        c->trim = find(chat_template, "| trim") || find(chat_template, "|trim");
        c->bos = find(chat_template, "bos_token") || find(chat_template, "<|begin_of_text|>");
        rc = read_default_system(c, s, chat_template, err);
        return rc == 0 ? read_preamble(c, chat_template, err) : rc;
    }
    return 0;
}

void hd_chat_deinit(struct hd_chat *c)
{
    free(c->system);
    free(c->preamble);
    memset(c, 0, sizeof *c);
}

enum hd_chat_family hd_tokenizer_chat_family(const struct hd_tokenizer *t)
{
    return t->chat.family;
}

/* ---- Writing a prompt -----------------------------------------------------------------------*/

/* Text between two control tokens is encoded in one go, as it is when a whole prompt is rendered
 * first; only what is in it from a message can never match a control token. */
struct prompt {
    const struct hd_tokenizer *t;
    const struct chat_shape *shape;
    struct text text; /* not encoded yet */
    struct hd_ids ids;
};

static int put_token(struct prompt *p, int32_t id)
{
    struct hd_str text = {p->text.data, p->text.len};
    int rc = text.len ? hd_encode_append(p->t, text, false, &p->ids, NULL) : 0;

    p->text.len = 0;
    return rc < 0 ? rc : hd_ids_push(&p->ids, id);
}

/* White space as Python's str.strip (Jinja's trim) means it. */
static bool is_blank(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static struct hd_str trimmed(struct hd_str s)
{
    size_t first = s.len, end = s.len;

    for (size_t i = 0; i < s.len;) {
        int step = hd_utf8_next(s.data + i, s.len - i);
        size_t n = step > 0 ? (size_t)step : 1;

        if (step <= 0 || !is_blank(hd_utf8_value(s.data + i, step))) {
            if (first == s.len)
                first = i;
            end = i + n;
        }
        i += n;
    }
    return (struct hd_str){s.data + first, end - first};
}

static int put_header(struct prompt *p, const char *role)
{
    int rc = put_token(p, p->t->chat.open);

    if (rc == 0)
        rc = text_add_str(&p->text, role);
    if (rc == 0 && p->shape->header_end)
        rc = put_token(p, p->t->chat.header_end);
    return rc < 0 ? rc : text_add_str(&p->text, p->shape->after_role);
}

static int put_message(struct prompt *p, const struct hd_chat_message *m, const char *preamble)
{
    struct hd_str content = {m->content ? m->content : "", m->content ? strlen(m->content) : 0};
    int rc = put_header(p, m->role);

    if (p->t->chat.trim)
        content = trimmed(content);
    if (rc == 0 && preamble)
        rc = text_add_str(&p->text, preamble);
    if (rc == 0)
        rc = text_add(&p->text, content.data, content.len);
    if (rc == 0)
        rc = put_token(p, p->t->chat.close);
    return rc < 0 ? rc : text_add_str(&p->text, p->shape->after_close);
}

static int put_conversation(struct prompt *p, const struct hd_chat_message *messages, size_t n)
{
    const struct hd_chat *c = &p->t->chat;
    bool has_system = n > 0 && strcmp(messages[0].role, "system") == 0;
    struct hd_chat_message system = {"system", c->system};
    int rc = 0;

    if (c->bos && p->t->bos >= 0)
        rc = put_token(p, p->t->bos);
    if (rc == 0 && n > 0 && !has_system && c->system)
        rc = put_message(p, &system, c->preamble);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = put_message(p, &messages[i], i == 0 && has_system ? c->preamble : NULL);
    if (rc == 0)
        rc = put_header(p, "assistant");
    if (rc == 0 && p->text.len)
        rc = hd_encode_append(p->t, (struct hd_str){p->text.data, p->text.len}, false, &p->ids,
                              NULL);
    return rc;
}

int hd_chat_encode(const struct hd_tokenizer *t, const struct hd_chat_message *messages, size_t n,
                   int32_t **ids, size_t *n_ids, struct hd_error *err)
{
    struct prompt p = {.t = t};
    int rc;

    *ids = NULL;
    *n_ids = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].family == t->chat.family)
            p.shape = &shapes[i];
    if (!p.shape)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "chat: the model has no chat template of a known family (ChatML, Llama 3); "
                       "use a plain completion");
    rc = put_conversation(&p, messages, n);
    free(p.text.data);
    if (rc < 0) {
        free(p.ids.v);
        if (rc == HD_E_LIMIT)
            return hd_fail(err, rc, "chat: a message is longer than %zu MiB",
                           HD_TEXT_MAX_BYTES >> 20);
        return hd_fail(err, rc, "chat: no memory for the prompt");
    }
    *ids = p.ids.v;
    *n_ids = p.ids.n;
    return 0;
}
