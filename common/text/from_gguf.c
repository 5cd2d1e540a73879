/* A tokenizer from a GGUF's metadata (tokenizer.ggml.*; ggml's docs/gguf.md). */
#include "common/text/pretokenize.h"
#include "common/text/vocab.h"

#include "common/model/model.h"

#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* Ends of turn that a file may name besides eos. */
static const char *const stop_keys[] = {KEY("eot_token_id"), KEY("eom_token_id")};
#define N_STOP_KEYS (sizeof stop_keys / sizeof *stop_keys)

/* token_type as ggml numbers it. An "unknown" token stands for no text of its own. */
static enum hd_token_kind kind_of(int64_t type)
{
    static const enum hd_token_kind kinds[] = {
        HD_TOKEN_NORMAL, HD_TOKEN_NORMAL, HD_TOKEN_CONTROL, HD_TOKEN_CONTROL,
        HD_TOKEN_USER,   HD_TOKEN_UNUSED, HD_TOKEN_BYTE,
    };

    return type >= 0 && type < (int64_t)(sizeof kinds / sizeof *kinds) ? kinds[type]
                                                                       : HD_TOKEN_NORMAL;
}

/* Only byte-level BPE, and only with a pre-splitter we know. */
static int read_family(const struct hd_gguf *g, const struct hd_pre_type **pre,
                       struct hd_error *err)
{
    struct hd_str model, name = {"default", 7};
    int rc = hd_gguf_str(g, KEY("model"), &model);

    if (rc == HD_E_NOTFOUND)
        return hd_fail(
            err, rc,
            "tokenizer: the file has no " KEY("model") "; prompts must be given as token ids");
    if (rc < 0)
        return hd_fail(err, rc, "tokenizer: " KEY("model") " is not a string");
    if (model.len != 4 || memcmp(model.data, "gpt2", 4) != 0)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: family \"%.*s\" (\"llama\" is SentencePiece) is not supported, "
                       "only byte-level BPE (\"gpt2\"); prompts must be given as token ids",
                       (int)(model.len < 40 ? model.len : 40), model.data);
    rc = hd_gguf_str(g, KEY("pre"), &name);
    if (rc < 0 && rc != HD_E_NOTFOUND)
        return hd_fail(err, rc, "tokenizer: " KEY("pre") " is not a string");
    *pre = hd_pre_type_find(name);
    if (!*pre)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: pre-splitter \"%.*s\" is not known; prompts must be given as "
                       "token ids",
                       (int)(name.len < 40 ? name.len : 40), name.data);
    return 0;
}

static int read_tokens(const struct hd_model *m, struct hd_vocab_source *s, struct hd_error *err)
{
    struct hd_vocab_entry *entries;
    size_t n, n_types = 0;
    int rc = hd_gguf_array_len(m->gguf, KEY("tokens"), &n);

    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: the file has no list " KEY("tokens"));
    if (n == 0 || n > m->shape.vocab || n > HD_MAX_VOCAB)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %zu tokens for an embedding of %u rows", n,
                       m->shape.vocab);
    rc = hd_gguf_array_len(m->gguf, KEY("token_type"), &n_types);
    if ((rc < 0 && rc != HD_E_NOTFOUND) || (rc == 0 && n_types != n))
        return hd_fail(err, HD_E_FORMAT, "tokenizer: " KEY("token_type") " does not fit %zu tokens",
                       n);
    entries = calloc(n, sizeof *entries);
    s->entries = entries;
    s->n_entries = (uint32_t)n;
    if (!entries)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        int64_t type = 1;

        if (hd_gguf_array_str(m->gguf, KEY("tokens"), i, &entries[i].text) < 0 ||
            (n_types && hd_gguf_array_i64(m->gguf, KEY("token_type"), i, &type) < 0))
            return hd_fail(err, HD_E_FORMAT, "tokenizer: token %zu is not a text with a type", i);
        entries[i].kind = kind_of(type);
    }
    return 0;
}

/* A merge is written "left right"; the alphabet has no blank, so the blank is the border. */
static int read_merges(const struct hd_gguf *g, struct hd_vocab_source *s, struct hd_error *err)
{
    struct hd_merge *merges;
    size_t n;
    int rc = hd_gguf_array_len(g, KEY("merges"), &n);

    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: the file has no list " KEY("merges"));
    if (n > (size_t)s->n_entries * 4)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu merges for %u tokens", n, s->n_entries);
    merges = calloc(n + 1, sizeof *merges);
    s->merges = merges;
    s->n_merges = n;
    if (!merges)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu merges", n);
    for (size_t i = 0; i < n; i++) {
        struct hd_str text;

        rc = hd_gguf_array_str(g, KEY("merges"), i, &text);
        if (rc < 0 || hd_merge_parse(text, &merges[i]) < 0)
            return hd_fail(err, HD_E_FORMAT, "tokenizer: merge %zu is not \"left right\"", i);
    }
    return 0;
}

/* An optional token id; -1 when the file has none. */
static int read_id(const struct hd_gguf *g, const char *key, int32_t *id, struct hd_error *err)
{
    uint64_t value;
    int rc = hd_gguf_u64(g, key, &value);

    *id = -1;
    if (rc == HD_E_NOTFOUND)
        return 0;
    if (rc < 0 || value >= HD_MAX_VOCAB)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %s is not a token id", key);
    *id = (int32_t)value;
    return 0;
}

static int read_extras(const struct hd_gguf *g, struct hd_vocab_source *s, int32_t *stops,
                       struct hd_error *err)
{
    int rc = read_id(g, KEY("bos_token_id"), &s->bos, err);

    if (rc == 0)
        rc = read_id(g, KEY("eos_token_id"), &s->eos, err);
    for (size_t i = 0; rc == 0 && i < N_STOP_KEYS; i++)
        rc = read_id(g, stop_keys[i], &stops[i], err);
    if (rc < 0)
        return rc;
    s->stops = stops;
    s->n_stops = N_STOP_KEYS;
    rc = hd_gguf_bool(g, KEY("add_bos_token"), &s->adds_bos);
    if (rc < 0 && rc != HD_E_NOTFOUND)
        return hd_fail(err, rc, "tokenizer: " KEY("add_bos_token") " is not true or false");
    rc = hd_gguf_str(g, "tokenizer.chat_template", &s->chat_template);
    if (rc < 0 && rc != HD_E_NOTFOUND)
        return hd_fail(err, rc, "tokenizer: tokenizer.chat_template is not a string");
    return 0;
}

/* unknown_token_id is not used: a byte without a token is dropped, as the reference does. */
int hd_vocab_from_gguf(struct hd_tokenizer **out, const struct hd_model *m, struct hd_error *err)
{
    struct hd_vocab_source s = {.bos = -1, .eos = -1, .unk = -1};
    const struct hd_pre_type *pre;
    int32_t stops[N_STOP_KEYS];
    int rc = read_family(m->gguf, &pre, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    s.patterns = pre->patterns;
    while (pre->patterns[s.n_patterns])
        s.n_patterns++;
    s.ignore_merges = pre->ignore_merges;
    s.adds_bos = pre->adds_bos;
    rc = read_tokens(m, &s, err);
    if (rc == 0)
        rc = read_merges(m->gguf, &s, err);
    if (rc == 0)
        rc = read_extras(m->gguf, &s, stops, err);
    if (rc == 0)
        rc = hd_tokenizer_build(out, &s, err);
    free((void *)s.entries);
    free((void *)s.merges);
    if (rc < 0 && err)
        return hd_fail_in(err, "%s", hd_gguf_path(m->gguf));
    return rc;
}
