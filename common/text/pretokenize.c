#include "common/text/pretokenize.h"

#include "common/text/utf8.h"

#include <stdlib.h>
#include <string.h>

/* One match may try this often (PCRE2's default): texts meet it only in tens of MiB of blanks. */
#define MATCH_LIMIT 10000000u
/* Memory of one match without JIT, in KiB. */
#define HEAP_LIMIT_KIB 65536u
/* What \s means to the tokenizers these patterns were made for: Unicode White_Space. PCRE2's own
 * \s also has U+180E. */
#define SPACES "\\x09-\\x0D\\x20\\x{85}\\p{Z}"

const char hd_pattern_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
                               "|\\s+(?!\\S)|\\s+";

static const char pattern_llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const char pattern_qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const struct hd_pre_type pre_types[] = {
    {"smollm", {"\\p{N}", hd_pattern_gpt2}, false, false},
    {"llama-bpe", {pattern_llama3}, true, true},
    {"llama3", {pattern_llama3}, true, true},
    {"llama-v3", {pattern_llama3}, true, true},
    {"gpt-2", {hd_pattern_gpt2}, false, false},
    {"default", {hd_pattern_gpt2}, false, false},
    {"qwen2", {pattern_qwen2}, false, false},
};

const struct hd_pre_type *hd_pre_type_find(struct hd_str name)
{
    for (size_t i = 0; i < sizeof pre_types / sizeof *pre_types; i++)
        if (strlen(pre_types[i].name) == name.len &&
            memcmp(pre_types[i].name, name.data, name.len) == 0)
            return &pre_types[i];
    return NULL;
}

/* ---- Compiling ------------------------------------------------------------------------------*/

/* What \s or \S becomes; NULL: stays as it is. */
static const char *spaces_for(const char *escape, bool in_class)
{
    if (escape[1] == 's')
        return in_class ? SPACES : "[" SPACES "]";
    if (escape[1] == 'S' && !in_class)
        return "[^" SPACES "]";
    return NULL;
}

/* A copy of the pattern with \s and \S written out; malloc'ed, NULL without memory. */
static char *spell_spaces(const char *pattern)
{
    size_t len = strlen(pattern), n = 0;
    char *out = malloc(len * (sizeof SPACES + 3) / 2 + sizeof SPACES);
    bool in_class = false;

    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        char c = pattern[i];
        bool escape = c == '\\' && i + 1 < len;
        const char *spaces = escape ? spaces_for(pattern + i, in_class) : NULL;

        if (c == '[' && !in_class)
            in_class = true;
        else if (c == ']')
            in_class = false;
        if (spaces) {
            memcpy(out + n, spaces, strlen(spaces));
            n += strlen(spaces);
            i++;
            continue;
        }
        out[n++] = c;
        if (escape)
            out[n++] = pattern[++i];
    }
    out[n] = '\0';
    return out;
}

static int compile(pcre2_code **out, const char *pattern, struct hd_error *err)
{
    char *spelled = spell_spaces(pattern);
    PCRE2_UCHAR text[128];
    PCRE2_SIZE at;
    int code;

    if (!spelled)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for a pre-split pattern");
    *out = pcre2_compile((PCRE2_SPTR)spelled, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    free(spelled);
    if (!*out) {
        pcre2_get_error_message(code, text, sizeof text);
        return hd_fail(err, HD_E_FORMAT, "tokenizer: pre-split pattern \"%.200s\": %s", pattern,
                       (const char *)text);
    }
    /* Without JIT (another CPU, no executable memory) matching is slower, not different. */
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return 0;
}

int hd_presplit_init(struct hd_presplit *p, const char *const *patterns, size_t n,
                     struct hd_error *err)
{
    int rc = 0;

    memset(p, 0, sizeof *p);
    if (n > HD_PRESPLIT_MAX)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu pre-split patterns, at most %d", n,
                       HD_PRESPLIT_MAX);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->limits)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for a match context");
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(p->limits, HEAP_LIMIT_KIB);
    for (; rc == 0 && p->n < n; p->n += rc == 0)
        rc = compile(&p->stages[p->n], patterns[p->n], err);
    if (rc < 0)
        hd_presplit_deinit(p);
    return rc;
}

void hd_presplit_deinit(struct hd_presplit *p)
{
    for (size_t i = 0; i < p->n; i++)
        pcre2_code_free(p->stages[i]);
    pcre2_match_context_free(p->limits);
    memset(p, 0, sizeof *p);
}

/* ---- Splitting ------------------------------------------------------------------------------*/

struct split {
    const struct hd_presplit *p;
    pcre2_match_data *match;
    struct hd_word_sink *sink;
};

/* The next match that is not empty at or after `from`: 1 and its bounds, 0 for none, negative for
 * a match error. `s` is valid UTF-8. */
static int next_match(struct split *sp, size_t stage, struct hd_str s, size_t from, size_t *start,
                      size_t *end)
{
    const pcre2_code *re = sp->p->stages[stage];
    PCRE2_SPTR data = (PCRE2_SPTR)s.data;
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int rc;

    sp->sink->matches++;
    rc = pcre2_match(re, data, s.len, from, options, sp->match, sp->p->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(re, data, s.len, from, options | PCRE2_NO_JIT, sp->match, sp->p->limits);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0)
        return rc;
    *start = pcre2_get_ovector_pointer(sp->match)[0];
    *end = pcre2_get_ovector_pointer(sp->match)[1];
    return *start >= from && *end > *start ? 1 : -1; /* \K can turn a match around */
}

/* Depth is bounded by HD_PRESPLIT_MAX. */
static int split_stage(struct split *sp, size_t stage, struct hd_str s)
{
    size_t from = 0, start, end;
    int found = 1, rc = 0;

    if (s.len == 0)
        return 0;
    if (stage == sp->p->n)
        return sp->sink->word(sp->sink->arg, s);
    while (rc == 0 && from < s.len) {
        found = next_match(sp, stage, s, from, &start, &end);
        if (found <= 0)
            break;
        rc = split_stage(sp, stage + 1, (struct hd_str){s.data + from, start - from});
        if (rc == 0)
            rc = split_stage(sp, stage + 1, (struct hd_str){s.data + start, end - start});
        from = end;
    }
    if (rc < 0)
        return rc;
    sp->sink->fallbacks += found < 0;
    return split_stage(sp, stage + 1, (struct hd_str){s.data + from, s.len - from});
}

/* Length of the longest run at p that is all UTF-8 (`valid`) or all not. */
static size_t run_length(const char *p, size_t len, bool valid)
{
    size_t n = 0;

    while (n < len) {
        int step = hd_utf8_next(p + n, len - n);

        if ((step > 0) != valid)
            break;
        if (step == 0) /* cut short at the end of the text */
            return len;
        n += (size_t)(step > 0 ? step : -step);
    }
    return n;
}

int hd_presplit_run(const struct hd_presplit *p, struct hd_str text, struct hd_word_sink *sink)
{
    struct split sp = {p, pcre2_match_data_create(1, NULL), sink};
    size_t at = 0;
    int rc = 0;

    if (!sp.match)
        return HD_E_NOMEM;
    for (bool valid = true; rc == 0 && at < text.len; valid = !valid) {
        size_t n = run_length(text.data + at, text.len - at, valid);
        struct hd_str run = {text.data + at, n};

        if (n)
            rc = valid ? split_stage(&sp, 0, run) : sink->word(sink->arg, run);
        at += n;
    }
    pcre2_match_data_free(sp.match);
    return rc;
}
