/* rules.c - looks a key up, judges its value, and makes the sentence with which it is refused. */
#include "common/model/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool same(struct hd_str s, const char *word, size_t len)
{
    return s.len == len && memcmp(s.data, word, len) == 0;
}

const struct hd_rule *hd_rule_find(const struct hd_rule *table, struct hd_str name)
{
    for (; table->name; table++)
        if (same(name, table->name, strlen(table->name)))
            return table;
    return NULL;
}

bool hd_rule_reads(const struct hd_rule *own, const char *name)
{
    const struct hd_rule *r = own ? hd_rule_find(own, (struct hd_str){name, strlen(name)}) : NULL;

    return r && r->kind == HD_RULE_READ;
}

static bool is_one_of(struct hd_str s, const char *words)
{
    for (;;) {
        size_t len = strcspn(words, "|");

        if (same(s, words, len))
            return true;
        if (words[len] == '\0')
            return false;
        words += len + 1;
    }
}

static uint64_t head_size(const struct hd_hyper *h)
{
    if (h->head_dim || h->n_heads == 0)
        return h->head_dim;
    return h->dim / h->n_heads;
}

static bool accepts_number(const struct hd_rule *r, double v, const struct hd_hyper *h)
{
    switch (r->kind) {
    case HD_RULE_VALUE:
        return v == r->a || v == r->b;
    case HD_RULE_WINDOW:
        return v == 0 || (h->context > 0 && v >= (double)h->context);
    case HD_RULE_SCALE: /* files hold it as f32 */
        return v == 0 || (float)v == (float)(1 / sqrt((double)head_size(h)));
    default:
        return false;
    }
}

bool hd_rule_accepts(const struct hd_rule *r, const struct hd_said *v, const struct hd_hyper *h)
{
    if (r->kind == HD_RULE_READ || r->kind == HD_RULE_NOTE || r->kind == HD_RULE_WARN)
        return true;
    if (r->kind == HD_RULE_WORDS)
        return v->kind == HD_SAID_WORD && is_one_of(v->word, r->text);
    return v->kind == HD_SAID_NUMBER && accepts_number(r, v->number, h);
}

void hd_printable(char *out, size_t size, struct hd_str s)
{
    size_t n = s.len < size - 1 ? s.len : size - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = (char)(s.data[i] >= 0x20 && s.data[i] < 0x7F ? s.data[i] : '?');
    out[n] = '\0';
}

/* What a rule understands, in words. */
static void understood(const struct hd_rule *r, char *out, size_t size)
{
    switch (r->kind) {
    case HD_RULE_VALUE:
        if (r->a == r->b && (r->a == 0 || r->a == 1))
            snprintf(out, size, "only %s is", r->a == 0 ? "0, or false," : "1, or true,");
        else if (r->a == r->b)
            snprintf(out, size, "only %g is", r->a);
        else
            snprintf(out, size, "only %g and %g are", r->a, r->b);
        break;
    case HD_RULE_WINDOW:
        snprintf(out, size, "only 0, or no less than the context, is");
        break;
    case HD_RULE_SCALE:
        snprintf(out, size, "only 0, or 1 / sqrt(head size), is");
        break;
    case HD_RULE_EMPTY:
        snprintf(out, size, "only an empty list is");
        break;
    case HD_RULE_WORDS:
        snprintf(out, size, "only %s is", r->text);
        break;
    default:
        snprintf(out, size, "%s", r->text);
    }
}

int hd_rule_refuse(const struct hd_rule *r, const struct hd_setting *s, struct hd_error *err)
{
    char name[80], only[160];

    hd_printable(name, sizeof name, s->name);
    if (!r)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "%s %s is %s; it is not known, and may change what the model computes: take "
                       "another model, or a newer hydac",
                       s->what, name, s->value);
    understood(r, only, sizeof only);
    if (r->kind == HD_RULE_NEVER)
        return hd_fail(err, HD_E_UNSUPPORTED, "%s %s is %s, which is not supported; %s", s->what,
                       name, s->value, only);
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "%s %s is %s, which is not supported (%s); the text would not be this model's: "
                   "take another model",
                   s->what, name, s->value, only);
}
