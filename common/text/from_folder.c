/* A tokenizer from a folder: tokenizer.json, which goes to the reference whole, or without one
 * tekken.json or tokenizer.model, and
 * beside it tokenizer_config.json (named and added tokens, chat template), chat_template.jinja,
 * generation_config.json and config.json (ends of turn). */
#include "common/text/encoder.h"
#include "common/text/json_file.h"
#include "common/text/tokens.h"

#include "common/model/model.h"

#include <stdlib.h>
#include <string.h>

/* Ends of turn in a folder's files; known models name up to 3. */
#define STOPS_MAX 64

/* Everything read from the folder. */
struct folder {
    const struct hd_model *m;
    struct hd_warnings *w;
    char *json, *config_text; /* malloc'ed files */
    size_t json_len, config_len;
    json_t *config; /* NULL: no tokenizer_config.json */
    struct hdt *core;
    struct hd_tokens tokens; /* of a file that is not tokenizer.json; n 0: it is one */
    int32_t stops[STOPS_MAX];
    struct hd_text_ends ends;
};

static struct hd_str view(const json_t *string)
{
    return (struct hd_str){json_string_value(string), json_string_length(string)};
}

/* ---- BOS, EOS, ends of turn -----------------------------------------------------------------*/

/* The text of a token that tokenizer_config.json names: a string, or an object with "content". */
static const json_t *named_text(const struct folder *f, const char *key)
{
    const json_t *v = json_object_get(f->config, key);

    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v) ? v : NULL;
}

static int32_t named_token(const struct folder *f, const char *key)
{
    const json_t *v = named_text(f, key);

    return v ? hdt_find(f->core, view(v)) : -1;
}

static void add_stop(struct folder *f, const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;

    if (id >= 0 && id < (json_int_t)hdt_size(f->core) && f->ends.n_stops < STOPS_MAX)
        f->stops[f->ends.n_stops++] = (int32_t)id;
}

/* The eos_token_id of one file: an id or a list. No such file: none. */
static int read_stops(struct folder *f, const char *name, struct hd_error *err)
{
    const json_t *ids, *one;
    json_t *file;
    size_t i;
    int rc = hd_text_json(f->m->folder, name, &file, err);

    if (rc < 0)
        return rc == HD_E_NOTFOUND ? 0 : rc;
    ids = json_object_get(file, "eos_token_id");
    add_stop(f, ids);
    json_array_foreach(ids, i, one) add_stop(f, one);
    json_decref(file);
    return 0;
}

/* What the post-processor adds must be BOS in front and one token behind, or nothing; without one
 * tokenizer_config.json says. */
static int read_affixes(struct folder *f, struct hd_error *err)
{
    const uint32_t *prefix, *suffix;
    size_t n_prefix, n_suffix;

    hdt_affixes(f->core, &prefix, &n_prefix, &suffix, &n_suffix);
    if (n_prefix == 1 && f->ends.bos < 0) /* nobody else names it */
        f->ends.bos = (int32_t)prefix[0];
    if (n_suffix == 1 && f->ends.eos < 0)
        f->ends.eos = (int32_t)suffix[0];
    f->ends.adds_bos = n_prefix == 1 && (int32_t)prefix[0] == f->ends.bos;
    f->ends.suffix = n_suffix == 1 ? (int32_t)suffix[0] : -1;
    if (n_prefix != f->ends.adds_bos || n_suffix > 1)
        return hd_fail(
            err, HD_E_UNSUPPORTED,
            "tokenizer: tokenizer.json's post_processor puts %zu tokens in front of a "
            "text and %zu behind it that are not BOS and one token; prompts must be given "
            "as token ids",
            n_prefix, n_suffix);
    if (n_prefix + n_suffix == 0)
        f->ends.adds_bos = json_is_true(json_object_get(f->config, "add_bos_token"));
    return 0;
}

/* Of a file that has no post-processor: what its own kind does, where tokenizer_config.json does
 * not say. */
static void take_ends(struct folder *f)
{
    const json_t *bos = json_object_get(f->config, "add_bos_token");
    const json_t *eos = json_object_get(f->config, "add_eos_token");

    f->ends.bos = f->ends.bos < 0 ? f->tokens.bos : f->ends.bos;
    f->ends.eos = f->ends.eos < 0 ? f->tokens.eos : f->ends.eos;
    f->ends.adds_bos = json_is_boolean(bos) ? json_is_true(bos) : f->tokens.adds_bos;
    f->ends.suffix = json_is_true(eos) ? f->ends.eos : -1;
}

static int read_ends(struct folder *f, struct hd_error *err)
{
    int rc = read_stops(f, "generation_config.json", err);

    if (rc == 0)
        rc = read_stops(f, "config.json", err);
    f->ends.stops = f->stops;
    f->ends.bos = named_token(f, "bos_token");
    f->ends.eos = named_token(f, "eos_token");
    if (f->ends.bos < 0)
        f->ends.bos = f->m->bos;
    if (f->ends.eos < 0)
        f->ends.eos = f->m->eos;
    if (f->tokens.n > 0) {
        take_ends(f);
        return rc;
    }
    return rc == 0 ? read_affixes(f, err) : rc;
}

/* ---- Chat template --------------------------------------------------------------------------*/

/* The tokens that tokenizer_config.json names, as a template sees them. NULL without memory. */
static json_t *template_vars(const struct folder *f)
{
    static const char *const names[] = {"bos_token", "eos_token",  "unk_token", "sep_token",
                                        "pad_token", "mask_token", "cls_token"};
    json_t *vars = json_object();

    for (size_t i = 0; vars && i < sizeof names / sizeof *names; i++) {
        const json_t *v = named_text(f, names[i]);

        if (v && json_object_set_new(vars, names[i], json_copy((json_t *)v)) < 0) {
            json_decref(vars);
            return NULL;
        }
    }
    return vars;
}

static int use_template(struct folder *f, struct hd_tokenizer *t, struct hd_str source,
                        struct hd_error *err)
{
    json_t *vars = template_vars(f);
    int rc = vars ? hd_chat_init(t, source, vars, f->w, err)
                  : hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for the chat template");

    json_decref(vars);
    return rc;
}

/* tokenizer_config.json's template: a text, or a list of named ones of which "default" is for
 * chats. */
static int read_config_template(struct folder *f, struct hd_tokenizer *t, struct hd_error *err)
{
    const json_t *v = json_object_get(f->config, "chat_template"), *one;
    size_t i;

    if (json_is_string(v))
        return use_template(f, t, view(v), err);
    json_array_foreach(v, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const json_t *text = json_object_get(one, "template");

        if (name && strcmp(name, "default") == 0 && json_is_string(text))
            return use_template(f, t, view(text), err);
    }
    if (json_array_size(v) > 0)
        return hd_chat_none(t, "the model has several chat templates and none is named \"default\"",
                            err);
    return 0;
}

/* chat_template.jinja goes first, as it does in the reference. */
static int read_template(struct folder *f, struct hd_tokenizer *t, struct hd_error *err)
{
    char *jinja;
    size_t len;
    int rc = hd_text_file(f->m->folder, "chat_template.jinja", &jinja, &len, err);

    if (rc == HD_E_NOTFOUND)
        return read_config_template(f, t, err);
    if (rc == 0)
        rc = use_template(f, t, (struct hd_str){jinja, len}, err);
    free(jinja);
    return rc;
}

/* ---- All together ---------------------------------------------------------------------------*/

static int read_config(struct folder *f, struct hd_error *err)
{
    int rc =
        hd_text_file(f->m->folder, "tokenizer_config.json", &f->config_text, &f->config_len, err);

    if (rc == HD_E_NOTFOUND)
        return 0;
    return rc < 0 ? rc : hd_text_json(f->m->folder, "tokenizer_config.json", &f->config, err);
}

/* Files that say a vocabulary besides tokenizer.json, in this order. */
static const char *const others[] = {"tekken.json", "tokenizer.model", "tiktoken.model"};

static bool is_base64(struct hd_str s)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

    for (size_t i = 0; i < s.len && i < 16; i++)
        if (s.data[i] == ' ')
            return i > 0;
        else if (!memchr(letters, s.data[i], sizeof letters - 1))
            return false;
    return false;
}

static int read_other(struct folder *f, uint32_t rows, struct hd_error *err)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        int rc = hd_text_file(f->m->folder, others[i], &f->json, &f->json_len, err);
        struct hd_str bytes = {f->json, f->json_len};

        if (rc == HD_E_NOTFOUND)
            continue;
        if (rc == 0) {
            hd_tokens_reader *read = i == 0             ? hd_read_tekken
                                     : is_base64(bytes) ? hd_read_tiktoken
                                                        : hd_read_sentencepiece;
            rc = read(&f->core, &f->tokens, bytes, f->config, rows, err);
        }
        return rc < 0 && err ? hd_fail_in(err, "tokenizer: %s", others[i]) : rc;
    }
    return hd_fail(err, HD_E_NOTFOUND,
                   "tokenizer: the folder has no tokenizer.json, tokenizer.model or tekken.json; "
                   "prompts must be given as token ids");
}

static int read_core(struct folder *f, struct hd_error *err)
{
    uint32_t rows = f->m->shape.vocab < HD_MAX_VOCAB ? f->m->shape.vocab : HD_MAX_VOCAB;
    int rc = hd_text_file(f->m->folder, "tokenizer.json", &f->json, &f->json_len, err);

    if (rc == 0 || rc == HD_E_NOTFOUND) {
        bool missing = rc < 0;
        rc = read_config(f, err);
        if (rc == 0 && missing)
            return read_other(f, rows, err);
    }
    if (rc < 0)
        return rc;
    rc = hdt_from_json(&f->core, (struct hd_str){f->json, f->json_len},
                       (struct hd_str){f->config_text, f->config_len}, rows, err);
    return rc < 0 && err ? hd_fail_in(err, "tokenizer: tokenizer.json") : rc;
}

static int read_folder(struct folder *f, struct hd_tokenizer **out, struct hd_error *err)
{
    int rc = read_core(f, err);

    if (rc == 0)
        rc = read_ends(f, err);
    if (rc < 0) {
        hdt_free(f->core);
        return rc;
    }
    rc = hd_tokenizer_wrap(out, f->core, &f->ends, err);
    return rc == 0 ? read_template(f, *out, err) : rc;
}

int hd_vocab_from_folder(struct hd_tokenizer **out, const struct hd_model *m, struct hd_warnings *w,
                         struct hd_error *err)
{
    struct folder f = {.m = m, .w = w, .ends = {.bos = -1, .eos = -1}};
    int rc;

    *out = NULL;
    rc = read_folder(&f, out, err);
    free(f.json);
    hd_tokens_free(&f.tokens);
    free(f.config_text);
    json_decref(f.config);
    if (rc == 0) {
        hd_tokenizer_notes(*out, w);
        return 0;
    }
    hd_tokenizer_free(*out);
    *out = NULL;
    return err ? hd_fail_in(err, "%s", m->folder) : rc;
}
