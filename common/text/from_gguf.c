/* A tokenizer from a GGUF's metadata (tokenizer.ggml.*; ggml's docs/gguf.md), read as llama.cpp
 * reads it: byte-level BPE ("gpt2") or SentencePiece's BPE by scores ("llama"). */
#include "common/text/encoder.h"
#include "common/text/pre_type.h"

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

/* Everything read from the file; `s` has views into it. */
struct gguf_text {
    const struct hd_model *m;
    const struct hd_gguf *g;
    struct hd_warnings *w;
    struct hdt_entry *entries;
    struct hdt_merge *merges;
    float *scores;
    int32_t stops[N_STOP_KEYS];
    struct hd_vocab_source s;
};

/* ---- Family ---------------------------------------------------------------------------------*/

/* An optional string; `out` stays as it is when the file has none. */
static int read_str(const struct hd_gguf *g, const char *key, struct hd_str *out,
                    struct hd_error *err)
{
    int rc = hd_gguf_str(g, key, out);

    return rc < 0 && rc != HD_E_NOTFOUND ? hd_fail(err, rc, "tokenizer: %s is not a string", key)
                                         : 0;
}

static int read_bool(const struct hd_gguf *g, const char *key, bool *out, struct hd_error *err)
{
    int rc = hd_gguf_bool(g, key, out);

    return rc < 0 && rc != HD_E_NOTFOUND
               ? hd_fail(err, rc, "tokenizer: %s is not true or false", key)
               : 0;
}

static int read_pre(struct gguf_text *f, struct hd_error *err)
{
    struct hd_str name = {"", 0};
    const struct hd_pre_type *pre;
    int rc = read_str(f->g, KEY("pre"), &name, err);

    if (rc < 0)
        return rc;
    if (name.len == 0 || (name.len == 7 && memcmp(name.data, "default", 7) == 0)) {
        hd_warnings_add(f->w, "tokenizer: the file does not say how texts are split (" KEY(
                                  "pre") "): llama.cpp's default is used, answers may be worse");
        name = (struct hd_str){"default", 7};
    }
    pre = hd_pre_type_find(name);
    if (!pre)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: pre-splitter \"%.*s\" (" KEY("pre") ") is not known; prompts "
                                                                       "must be given as token ids",
                       (int)(name.len < 40 ? name.len : 40), name.data);
    f->s.parts.patterns = pre->patterns;
    while (pre->patterns[f->s.parts.n_patterns])
        f->s.parts.n_patterns++;
    f->s.parts.ignore_merges = pre->ignore_merges;
    f->s.parts.nfc = pre->nfc;
    f->s.adds_bos = pre->adds_bos;
    return 0;
}

static int read_family(struct gguf_text *f, struct hd_error *err)
{
    struct hd_str model;
    int rc = hd_gguf_str(f->g, KEY("model"), &model);

    if (rc == HD_E_NOTFOUND)
        return hd_fail(
            err, rc,
            "tokenizer: the file has no " KEY("model") "; prompts must be given as token ids");
    if (rc < 0)
        return hd_fail(err, rc, "tokenizer: " KEY("model") " is not a string");
    if (model.len == 4 && memcmp(model.data, "gpt2", 4) == 0)
        return read_pre(f, err);
    if (model.len == 5 && memcmp(model.data, "llama", 5) == 0) {
        f->s.parts.spm = f->s.parts.add_space = f->s.adds_bos = true;
        return read_bool(f->g, KEY("add_space_prefix"), &f->s.parts.add_space, err);
    }
    return hd_fail(
        err, HD_E_UNSUPPORTED,
        "tokenizer: family \"%.*s\" (" KEY("model") ") is not supported, only "
                                                    "byte-level BPE (\"gpt2\") and SentencePiece's "
                                                    "BPE (\"llama\"); prompts must be "
                                                    "given as token ids",
        (int)(model.len < 40 ? model.len : 40), model.data);
}

/* ---- Lists ----------------------------------------------------------------------------------*/

static int read_tokens(struct gguf_text *f, struct hd_error *err)
{
    size_t n, n_types = 0;
    int rc = hd_gguf_array_len(f->g, KEY("tokens"), &n);

    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: the file has no list " KEY("tokens"));
    if (n == 0 || n > HD_MAX_VOCAB)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu tokens; a vocabulary has 1 to %d", n,
                       HD_MAX_VOCAB);
    rc = hd_gguf_array_len(f->g, KEY("token_type"), &n_types);
    if ((rc < 0 && rc != HD_E_NOTFOUND) || (rc == 0 && n_types != n))
        return hd_fail(err, HD_E_FORMAT, "tokenizer: " KEY("token_type") " does not fit %zu tokens",
                       n);
    f->entries = calloc(n, sizeof *f->entries);
    f->s.parts.entries = f->entries;
    f->s.parts.n_entries = n;
    if (!f->entries)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        int64_t type = 1;

        if (hd_gguf_array_str(f->g, KEY("tokens"), i, &f->entries[i].text) < 0 ||
            (n_types && hd_gguf_array_i64(f->g, KEY("token_type"), i, &type) < 0))
            return hd_fail(err, HD_E_FORMAT, "tokenizer: token %zu is not a text with a type", i);
        f->entries[i].kind = kind_of(type);
        if (i >= f->m->shape.vocab && f->entries[i].kind != HD_TOKEN_CONTROL &&
            f->entries[i].kind != HD_TOKEN_USER)
            return hd_fail(err, HD_E_FORMAT, "tokenizer: %zu tokens for an embedding of %u rows", n,
                           f->m->shape.vocab);
    }
    return 0;
}

static int read_scores(struct gguf_text *f, struct hd_error *err)
{
    size_t n = 0;
    int rc = hd_gguf_array_len(f->g, KEY("scores"), &n);

    if (rc < 0 || n != f->s.parts.n_entries)
        return hd_fail(err, HD_E_FORMAT,
                       "tokenizer: the file has no list " KEY("scores") " of %zu numbers",
                       f->s.parts.n_entries);
    f->scores = calloc(n, sizeof *f->scores);
    f->s.parts.scores = f->scores;
    if (!f->scores)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu scores", n);
    for (size_t i = 0; i < n; i++) {
        double score;

        if (hd_gguf_array_f64(f->g, KEY("scores"), i, &score) < 0)
            return hd_fail(err, HD_E_FORMAT, "tokenizer: score %zu is not a number", i);
        f->scores[i] = (float)score;
    }
    return 0;
}

/* A merge is written "left right"; the alphabet has no blank, so the blank is the border. */
static int read_merges(struct gguf_text *f, struct hd_error *err)
{
    size_t n;
    int rc = hd_gguf_array_len(f->g, KEY("merges"), &n);

    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: the file has no list " KEY("merges"));
    if (n > f->s.parts.n_entries * 4)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu merges for %zu tokens", n,
                       f->s.parts.n_entries);
    f->merges = calloc(n + 1, sizeof *f->merges);
    f->s.parts.merges = f->merges;
    f->s.parts.n_merges = n;
    if (!f->merges)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu merges", n);
    for (size_t i = 0; i < n; i++) {
        struct hd_str text;

        rc = hd_gguf_array_str(f->g, KEY("merges"), i, &text);
        if (rc < 0 || hd_merge_parse(text, &f->merges[i]) < 0)
            return hd_fail(err, HD_E_FORMAT, "tokenizer: merge %zu is not \"left right\"", i);
    }
    return 0;
}

/* ---- BOS, EOS, ends of turn -----------------------------------------------------------------*/

/* An optional token id; -1 when the file has none, or one that is no token (2^32 - 1 is how some
 * write "none"). */
static int read_id(struct gguf_text *f, const char *key, int32_t *id, struct hd_error *err)
{
    uint64_t value;
    int rc = hd_gguf_u64(f->g, key, &value);

    *id = -1;
    if (rc == HD_E_NOTFOUND)
        return 0;
    if (rc < 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %s is not a token id", key);
    if (value >= f->s.parts.n_entries || value >= f->s.parts.rows)
        hd_warnings_add(f->w, "tokenizer: %s is %llu, which is no token: read as none", key,
                        (unsigned long long)value);
    else
        *id = (int32_t)value;
    return 0;
}

static int read_ends(struct gguf_text *f, struct hd_error *err)
{
    int rc = read_id(f, KEY("bos_token_id"), &f->s.bos, err);

    if (rc == 0)
        rc = read_id(f, KEY("eos_token_id"), &f->s.eos, err);
    if (rc == 0)
        rc = read_id(f, KEY("unknown_token_id"), &f->s.parts.unk, err);
    for (size_t i = 0; rc == 0 && i < N_STOP_KEYS; i++)
        rc = read_id(f, stop_keys[i], &f->stops[i], err);
    f->s.stops = f->stops;
    f->s.n_stops = N_STOP_KEYS;
    if (!f->s.parts.spm)
        f->s.parts.unk = -1; /* a byte without a token is left out, as the reference does */
    if (rc == 0)
        rc = read_bool(f->g, KEY("add_bos_token"), &f->s.adds_bos, err);
    if (rc == 0)
        rc = read_bool(f->g, KEY("add_eos_token"), &f->s.adds_eos, err);
    return rc;
}

/* ---- All together ---------------------------------------------------------------------------*/

static int add_var(const struct gguf_text *f, json_t *vars, const char *name, int32_t id)
{
    const struct hd_str *s = id >= 0 ? &f->entries[id].text : NULL;
    json_t *text = s ? json_stringn(s->data, s->len) : NULL;

    return !s || (text && json_object_set_new(vars, name, text) == 0) ? 0 : HD_E_NOMEM;
}

/* The file's template, with the tokens that it may name. */
static int read_chat(struct gguf_text *f, struct hd_tokenizer *t, struct hd_error *err)
{
    struct hd_str source = {0};
    json_t *vars;
    int rc = read_str(f->g, "tokenizer.chat_template", &source, err);

    if (rc < 0 || source.len == 0)
        return rc;
    vars = json_object();
    if (!vars || add_var(f, vars, "bos_token", f->s.bos) < 0 ||
        add_var(f, vars, "eos_token", f->s.eos) < 0)
        rc = hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for the chat template");
    else
        rc = hd_chat_init(t, source, vars, f->w, err);
    json_decref(vars);
    return rc;
}

static int read_all(struct gguf_text *f, struct hd_tokenizer **out, struct hd_error *err)
{
    int rc = read_family(f, err);

    if (rc == 0)
        rc = read_tokens(f, err);
    if (rc == 0)
        rc = f->s.parts.spm ? read_scores(f, err) : read_merges(f, err);
    if (rc == 0)
        rc = read_ends(f, err);
    if (rc == 0)
        rc = hd_tokenizer_build(out, &f->s, err);
    if (rc == 0)
        rc = read_chat(f, *out, err);
    return rc;
}

int hd_vocab_from_gguf(struct hd_tokenizer **out, const struct hd_model *m, struct hd_warnings *w,
                       struct hd_error *err)
{
    struct gguf_text f = {.m = m, .g = m->gguf, .w = w, .s = {.bos = -1, .eos = -1}};
    int rc;

    *out = NULL;
    f.s.parts.unk = -1;
    f.s.parts.rows = m->shape.vocab;
    rc = read_all(&f, out, err);
    free(f.entries);
    free(f.merges);
    free(f.scores);
    if (rc == 0) {
        hd_tokenizer_notes(*out, w);
        return 0;
    }
    hd_tokenizer_free(*out);
    *out = NULL;
    return err ? hd_fail_in(err, "%s", hd_gguf_path(m->gguf)) : rc;
}
