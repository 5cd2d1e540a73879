/* tokenizer.c - opens what the container has, and marks the tokens that end an answer. */
#include "common/text/tokenizer.h"

#include "common/text/encoder.h"

#include <stdlib.h>
#include <string.h>

/* Tokens that end a turn in the families we know, whatever a file says about them. */
static const char *const stop_names[] = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>",
};

/* ---- Life -----------------------------------------------------------------------------------*/

int hd_tokenizer_open(struct hd_tokenizer **out, const struct hd_model *m, struct hd_warnings *w,
                      struct hd_error *err)
{
    *out = NULL;
    if (m->gguf)
        return hd_vocab_from_gguf(out, m, w, err);
    if (m->folder)
        return hd_vocab_from_folder(out, m, w, err);
    return hd_fail(err, HD_E_NOTFOUND,
                   "tokenizer: the model carries none; prompts must be given as token ids");
}

static int mark_stop(struct hd_tokenizer *t, int32_t id, const char *what, struct hd_error *err)
{
    if (id < 0)
        return 0;
    if ((uint32_t)id >= t->n)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %s is token %d of a vocabulary of %u", what,
                       id, t->n);
    t->stop[id] = 1;
    return 0;
}

static int mark_stops(struct hd_tokenizer *t, const struct hd_text_ends *e, struct hd_error *err)
{
    int rc = mark_stop(t, e->eos, "end of text", err);

    for (size_t i = 0; rc == 0 && i < e->n_stops; i++)
        rc = mark_stop(t, e->stops[i], "an end of turn", err);
    for (size_t i = 0; rc == 0 && i < sizeof stop_names / sizeof *stop_names; i++) {
        struct hd_str name = {stop_names[i], strlen(stop_names[i])};

        rc = mark_stop(t, hdt_find(t->core, name), stop_names[i], err);
    }
    if (rc == 0 && e->bos >= 0 && (uint32_t)e->bos >= t->n)
        rc = hd_fail(err, HD_E_FORMAT, "tokenizer: begin of text is token %d of a vocabulary of %u",
                     e->bos, t->n);
    return rc;
}

int hd_tokenizer_wrap(struct hd_tokenizer **out, struct hdt *core, const struct hd_text_ends *ends,
                      struct hd_error *err)
{
    struct hd_tokenizer *t = calloc(1, sizeof *t);
    int rc;

    *out = NULL;
    if (!t) {
        hdt_free(core);
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory");
    }
    t->core = core;
    t->n = hdt_size(core);
    t->bos = ends->bos;
    t->eos = ends->eos;
    t->adds_bos = ends->adds_bos && ends->bos >= 0;
    t->suffix = ends->suffix;
    t->stop = calloc(t->n ? t->n : 1, 1);
    rc = t->stop ? 0 : hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %u tokens", t->n);
    if (rc == 0)
        rc = mark_stops(t, ends, err);
    if (rc == 0)
        rc = hd_chat_none(t, "the model has no chat template", err);
    if (rc < 0) {
        hd_tokenizer_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

/* The limits that keep a file from asking for any amount of memory. */
static int check_parts(const struct hdt_parts *p, struct hd_error *err)
{
    size_t total = 0;

    if (p->n_entries == 0 || p->n_entries > HD_MAX_VOCAB)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu tokens; a vocabulary has 1 to %d",
                       p->n_entries, HD_MAX_VOCAB);
    if (p->n_merges > p->n_entries * 4)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu merges for %zu tokens", p->n_merges,
                       p->n_entries);
    if (p->n_patterns > HD_PRESPLIT_MAX)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu pre-split patterns, at most %d",
                       p->n_patterns, HD_PRESPLIT_MAX);
    for (size_t i = 0; i < p->n_entries; i++) {
        if (p->entries[i].text.len > HD_VOCAB_MAX_BYTES - total)
            return hd_fail(err, HD_E_LIMIT, "tokenizer: token texts are longer than %zu MiB",
                           HD_VOCAB_MAX_BYTES >> 20);
        total += p->entries[i].text.len;
    }
    return 0;
}

int hd_tokenizer_build(struct hd_tokenizer **out, const struct hd_vocab_source *s,
                       struct hd_error *err)
{
    struct hdt_parts p = s->parts;
    struct hdt *core = NULL;
    int rc = check_parts(&p, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (p.rows == 0)
        p.rows = (uint32_t)p.n_entries;
    rc = hdt_from_parts(&core, &p, err);
    if (rc < 0)
        return err ? hd_fail_in(err, "tokenizer") : rc;
    return hd_tokenizer_wrap(out, core,
                             &(struct hd_text_ends){.bos = s->bos,
                                                    .eos = s->eos,
                                                    .adds_bos = s->adds_bos,
                                                    .suffix = s->adds_eos ? s->eos : -1,
                                                    .stops = s->stops,
                                                    .n_stops = s->n_stops},
                             err);
}

void hd_tokenizer_notes(const struct hd_tokenizer *t, struct hd_warnings *w)
{
    struct hd_str note;

    for (size_t i = 0; (note = hdt_note(t->core, i)).data; i++)
        hd_warnings_add(w, "tokenizer: %.*s", (int)note.len, note.data);
}

void hd_tokenizer_free(struct hd_tokenizer *t)
{
    if (!t)
        return;
    hdt_free(t->core);
    free(t->stop);
    free(t->no_chat);
    free(t->chat_template);
    free(t);
}

int hd_merge_parse(struct hd_str text, struct hdt_merge *out)
{
    const char *blank = text.len > 2 ? memchr(text.data, ' ', text.len) : NULL;

    if (!blank || blank == text.data || blank + 1 == text.data + text.len)
        return HD_E_FORMAT;
    out->left = (struct hd_str){text.data, (size_t)(blank - text.data)};
    out->right = (struct hd_str){blank + 1, text.len - out->left.len - 1};
    return 0;
}

/* ---- Facts ----------------------------------------------------------------------------------*/

uint32_t hd_tokenizer_vocab(const struct hd_tokenizer *t)
{
    return t->n;
}

int32_t hd_tokenizer_bos(const struct hd_tokenizer *t)
{
    return t->bos;
}

int32_t hd_tokenizer_eos(const struct hd_tokenizer *t)
{
    return t->eos;
}

bool hd_tokenizer_adds_bos(const struct hd_tokenizer *t)
{
    return t->adds_bos;
}

int32_t hd_tokenizer_suffix(const struct hd_tokenizer *t)
{
    return t->suffix;
}

bool hd_tokenizer_is_stop(const struct hd_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->n && t->stop[id];
}

struct hd_str hd_tokenizer_piece(const struct hd_tokenizer *t, int32_t id, bool special)
{
    bool hidden;
    struct hd_str s = hdt_piece(t->core, id, &hidden);

    return hidden && !special ? (struct hd_str){"", 0} : s;
}

int hd_tokenizer_encode(const struct hd_tokenizer *t, const char *text, size_t len, bool special,
                        int32_t **ids, size_t *n)
{
    *ids = NULL;
    *n = 0;
    if (len > HD_TEXT_MAX_BYTES)
        return HD_E_LIMIT;
    return hdt_encode(t->core, (struct hd_str){text, len}, special, ids, n, NULL);
}
