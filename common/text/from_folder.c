/* A tokenizer from a Hugging Face folder: tokenizer.json, and beside it tokenizer_config.json (BOS,
 * EOS, chat template), chat_template.jinja, generation_config.json and config.json (ends of turn).
 *
 * What the file says and we would do differently (a normalizer, tokens that eat blanks, another
 * model than byte-level BPE) is refused: a wrong token id would change answers unnoticed. */
#include "common/text/json_file.h"
#include "common/text/json_presplit.h"
#include "common/text/vocab.h"

#include "common/model/model.h"

#include <stdlib.h>
#include <string.h>

/* Ends of turn in a folder's files; known models name up to 3. */
#define STOPS_MAX 64

/* Everything read from the folder; `s` has views into it. */
struct folder {
    const struct hd_model *m;
    json_t *root, *config;
    char *jinja; /* chat_template.jinja, NULL: none */
    struct hd_vocab_entry *entries;
    struct hd_merge *merges;
    struct hd_json_presplit presplit;
    int32_t stops[STOPS_MAX];
    struct hd_vocab_source s;
};

/* ---- tokenizer.json -------------------------------------------------------------------------*/

static struct hd_str view(const json_t *string)
{
    return (struct hd_str){json_string_value(string), json_string_length(string)};
}

/* Whether a setting is there and says something: not null, false, "" or 0. */
static bool is_set(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);

    return v && !json_is_null(v) && !json_is_false(v) &&
           !(json_is_string(v) && json_string_length(v) == 0) &&
           !(json_is_number(v) && json_number_value(v) == 0);
}

/* Only none at all, or an empty sequence of them. */
static int check_normalizer(const json_t *root, struct hd_error *err)
{
    const json_t *normalizer = json_object_get(root, "normalizer");
    const json_t *list = json_object_get(normalizer, "normalizers");
    const char *type = json_string_value(json_object_get(normalizer, "type"));

    if (!is_set(root, "normalizer") || (json_is_array(list) && json_array_size(list) == 0))
        return 0;
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "tokenizer: tokenizer.json has a normalizer (\"%.40s\"), which is not "
                   "supported; prompts must be given as token ids",
                   type ? type : "?");
}

static int check_model(const json_t *root, struct hd_error *err)
{
    static const char *const foreign[] = {"byte_fallback", "dropout", "continuing_subword_prefix",
                                          "end_of_word_suffix"};
    const json_t *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));

    /* Old files do not name the type; having merges is what makes BPE. */
    if (!type)
        type = json_object_get(model, "merges") ? "BPE" : "?";
    if (strcmp(type, "BPE") != 0)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "tokenizer: tokenizer.json has a model of type \"%.40s\", only byte-level "
                       "BPE is supported; prompts must be given as token ids",
                       type);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (is_set(model, foreign[i]))
            return hd_fail(
                err, HD_E_UNSUPPORTED,
                "tokenizer: tokenizer.json sets \"%s\" (not plain byte-level BPE), which "
                "is not supported; prompts must be given as token ids",
                foreign[i]);
    return check_normalizer(root, err);
}

static int read_id(const struct folder *f, const json_t *value, int32_t *id, struct hd_error *err)
{
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;

    if (n < 0 || n >= HD_MAX_VOCAB || n >= (json_int_t)f->m->shape.vocab)
        return hd_fail(err, HD_E_FORMAT,
                       "tokenizer: tokenizer.json has a token id that is not in the embedding of "
                       "%u rows",
                       f->m->shape.vocab);
    *id = (int32_t)n;
    return 0;
}

static int read_vocab(struct folder *f, json_t *vocab, struct hd_error *err)
{
    const char *text;
    json_t *value;

    if (json_object_size(vocab) == 0)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: tokenizer.json has no vocabulary");
    for (void *it = json_object_iter(vocab); it; it = json_object_iter_next(vocab, it)) {
        int32_t id = -1;
        int rc;

        text = json_object_iter_key(it);
        value = json_object_iter_value(it);
        rc = read_id(f, value, &id, err);
        if (rc < 0)
            return rc;
        if (f->entries[id].kind != HD_TOKEN_ABSENT)
            return hd_fail(err, HD_E_FORMAT, "tokenizer: tokenizer.json has two tokens of id %d",
                           id);
        f->entries[id].text = (struct hd_str){text, json_object_iter_key_len(it)};
        f->entries[id].kind = HD_TOKEN_NORMAL;
        if (f->s.n_entries <= (uint32_t)id)
            f->s.n_entries = (uint32_t)id + 1;
    }
    return 0;
}

static int read_added_token(struct folder *f, const json_t *token, struct hd_error *err)
{
    static const char *const greedy[] = {"lstrip", "rstrip", "single_word"};
    const json_t *content = json_object_get(token, "content");
    int32_t id = -1;
    int rc = read_id(f, json_object_get(token, "id"), &id, err);

    if (rc < 0)
        return rc;
    if (!json_is_string(content))
        return hd_fail(err, HD_E_FORMAT, "tokenizer: tokenizer.json, added token %d has no text",
                       id);
    for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++)
        if (is_set(token, greedy[i]))
            return hd_fail(err, HD_E_UNSUPPORTED,
                           "tokenizer: tokenizer.json, added token %d (\"%.40s\") sets \"%s\", "
                           "which is not supported; prompts must be given as token ids",
                           id, json_string_value(content), greedy[i]);
    f->entries[id].text = view(content);
    f->entries[id].kind = is_set(token, "special") ? HD_TOKEN_CONTROL : HD_TOKEN_USER;
    if (f->s.n_entries <= (uint32_t)id)
        f->s.n_entries = (uint32_t)id + 1;
    return 0;
}

/* "left right", or ["left", "right"] since tokenizers 0.20. */
static int read_merges(struct folder *f, const json_t *merges, struct hd_error *err)
{
    size_t n = json_array_size(merges);

    if (!json_is_array(merges))
        return hd_fail(err, HD_E_FORMAT, "tokenizer: tokenizer.json has no list of merges");
    if (n > (size_t)f->s.n_entries * 4)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu merges for %u tokens", n, f->s.n_entries);
    f->merges = calloc(n + 1, sizeof *f->merges);
    if (!f->merges)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu merges", n);
    f->s.merges = f->merges;
    f->s.n_merges = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(merges, i);
        const json_t *left = json_array_get(m, 0), *right = json_array_get(m, 1);
        bool pair = json_is_string(left) && json_is_string(right);

        if (pair)
            f->merges[i] = (struct hd_merge){view(left), view(right)};
        else if (!json_is_string(m) || hd_merge_parse(view(m), &f->merges[i]) < 0)
            return hd_fail(err, HD_E_FORMAT,
                           "tokenizer: tokenizer.json, merge %zu is not a pair of texts", i);
    }
    return 0;
}

static int read_tokens(struct folder *f, struct hd_error *err)
{
    json_t *model = json_object_get(f->root, "model");
    json_t *added = json_object_get(f->root, "added_tokens");
    size_t room = f->m->shape.vocab < HD_MAX_VOCAB ? f->m->shape.vocab : HD_MAX_VOCAB;
    int rc;

    f->entries = calloc(room + 1, sizeof *f->entries);
    if (!f->entries)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu tokens", room);
    f->s.entries = f->entries;
    rc = read_vocab(f, json_object_get(model, "vocab"), err);
    for (size_t i = 0; rc == 0 && i < json_array_size(added); i++)
        rc = read_added_token(f, json_array_get(added, i), err);
    if (rc == 0)
        rc = read_merges(f, json_object_get(model, "merges"), err);
    f->s.ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    return rc;
}

/* ---- BOS, EOS, ends of turn -----------------------------------------------------------------*/

/* The id of a token's text; -1: none. */
static int32_t id_of(const struct folder *f, struct hd_str text)
{
    for (uint32_t i = 0; text.len && i < f->s.n_entries; i++) {
        const struct hd_vocab_entry *e = &f->entries[i];

        if (e->kind != HD_TOKEN_ABSENT && e->text.len == text.len &&
            memcmp(e->text.data, text.data, text.len) == 0)
            return (int32_t)i;
    }
    return -1;
}

/* A token that tokenizer_config.json names: a text, or an object with the text as "content". */
static int32_t named_token(const struct folder *f, const char *key)
{
    const json_t *v = json_object_get(f->config, key);

    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v) ? id_of(f, view(v)) : -1;
}

/* The template processor of `p`, or of one of the sequence that it is; NULL: none. */
static const json_t *template_processor(const json_t *p)
{
    const json_t *list = json_object_get(p, "processors");
    const json_t *one;
    size_t i;

    if (json_is_array(json_object_get(p, "single")))
        return p;
    json_array_foreach(list, i, one) if (json_is_array(json_object_get(one, "single"))) return one;
    return NULL;
}

/* Whether texts begin with BOS: the post-processor says; without one tokenizer_config.json. */
static bool adds_bos(const struct folder *f)
{
    const json_t *p = template_processor(json_object_get(f->root, "post_processor"));
    const json_t *first = json_array_get(json_object_get(p, "single"), 0);
    const json_t *name = json_object_get(json_object_get(first, "SpecialToken"), "id");

    if (p)
        return json_is_string(name) && f->s.bos >= 0 && id_of(f, view(name)) == f->s.bos;
    return json_is_true(json_object_get(f->config, "add_bos_token"));
}

static void add_stop(struct folder *f, const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;

    if (id >= 0 && id < (json_int_t)f->s.n_entries && f->s.n_stops < STOPS_MAX)
        f->stops[f->s.n_stops++] = (int32_t)id;
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

static int read_ends(struct folder *f, struct hd_error *err)
{
    int rc = read_stops(f, "generation_config.json", err);

    if (rc == 0)
        rc = read_stops(f, "config.json", err);
    f->s.stops = f->stops;
    f->s.bos = named_token(f, "bos_token");
    f->s.eos = named_token(f, "eos_token");
    if (f->s.bos < 0)
        f->s.bos = f->m->bos;
    if (f->s.eos < 0)
        f->s.eos = f->m->eos;
    f->s.adds_bos = adds_bos(f);
    return rc;
}

/* ---- Chat template --------------------------------------------------------------------------*/

/* chat_template.jinja goes first, as it does in the reference; then tokenizer_config.json's: a
 * text, or a list of named ones of which "default" is for chats. */
static int read_template(struct folder *f, struct hd_error *err)
{
    const json_t *v = json_object_get(f->config, "chat_template"), *one;
    size_t len, i;
    int rc = hd_text_file(f->m->folder, "chat_template.jinja", &f->jinja, &len, err);

    if (rc < 0 && rc != HD_E_NOTFOUND)
        return rc;
    if (rc == 0) {
        f->s.chat_template = (struct hd_str){f->jinja, len};
        return 0;
    }
    json_array_foreach(v, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));

        if (name && strcmp(name, "default") == 0) {
            v = json_object_get(one, "template");
            break;
        }
    }
    if (json_is_string(v))
        f->s.chat_template = view(v);
    return 0;
}

/* ---- All together ---------------------------------------------------------------------------*/

static int read_folder(struct folder *f, struct hd_error *err)
{
    int rc = hd_text_json(f->m->folder, "tokenizer.json", &f->root, err);

    if (rc == HD_E_NOTFOUND)
        return hd_fail(err, rc,
                       "tokenizer: the folder has no tokenizer.json; prompts must be "
                       "given as token ids");
    if (rc == 0)
        rc = check_model(f->root, err);
    if (rc == 0)
        rc = hd_json_presplit_read(&f->presplit, json_object_get(f->root, "pre_tokenizer"), err);
    if (rc == 0)
        rc = read_tokens(f, err);
    if (rc < 0)
        return rc;
    f->s.patterns = (const char *const *)f->presplit.patterns;
    f->s.n_patterns = f->presplit.n;
    rc = hd_text_json(f->m->folder, "tokenizer_config.json", &f->config, err);
    if (rc < 0 && rc != HD_E_NOTFOUND)
        return rc;
    rc = read_ends(f, err);
    if (rc == 0)
        rc = read_template(f, err);
    const json_t *unk = json_object_get(json_object_get(f->root, "model"), "unk_token");
    f->s.unk = json_is_string(unk) ? id_of(f, view(unk)) : -1;
    return rc;
}

int hd_vocab_from_folder(struct hd_tokenizer **out, const struct hd_model *m, struct hd_error *err)
{
    struct folder f = {.m = m, .s = {.bos = -1, .eos = -1, .unk = -1}};
    int rc = read_folder(&f, err);

    *out = NULL;
    if (rc == 0)
        rc = hd_tokenizer_build(out, &f.s, err);
    hd_json_presplit_deinit(&f.presplit);
    free(f.entries);
    free(f.merges);
    free(f.jinja);
    json_decref(f.root);
    json_decref(f.config);
    if (rc < 0 && err)
        return hd_fail_in(err, "%s", m->folder);
    return rc;
}
