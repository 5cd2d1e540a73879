#include "common/text/tokenizer.h"

#include "common/text/encoder.h"

#include <stdlib.h>
#include <string.h>

/* Tokens that end a turn in the families we know, whatever a file says about them. */
static const char *const stop_names[] = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>",
};

/* ---- Life -----------------------------------------------------------------------------------*/

int hd_tokenizer_open(struct hd_tokenizer **out, const struct hd_model *m, struct hd_error *err)
{
    *out = NULL;
    if (m->gguf)
        return hd_vocab_from_gguf(out, m, err);
    if (m->folder)
        return hd_vocab_from_folder(out, m, err);
    return hd_fail(err, HD_E_NOTFOUND,
                   "tokenizer: the model carries none; prompts must be given as token ids");
}

static int mark_stop(struct hd_tokenizer *t, int32_t id, const char *what, struct hd_error *err)
{
    if (id < 0)
        return 0;
    if ((uint32_t)id >= t->vocab.n)
        return hd_fail(err, HD_E_FORMAT, "tokenizer: %s is token %d of a vocabulary of %u", what,
                       id, t->vocab.n);
    t->vocab.tokens[id].stop = true;
    return 0;
}

static int mark_stops(struct hd_tokenizer *t, const struct hd_vocab_source *s, struct hd_error *err)
{
    int rc = mark_stop(t, s->eos, "end of text", err);

    for (size_t i = 0; rc == 0 && i < s->n_stops; i++)
        rc = mark_stop(t, s->stops[i], "an end of turn", err);
    for (size_t i = 0; rc == 0 && i < sizeof stop_names / sizeof *stop_names; i++)
        rc = mark_stop(t, hd_vocab_find_special(&t->vocab, stop_names[i], strlen(stop_names[i])),
                       stop_names[i], err);
    if (rc == 0 && s->bos >= 0 && (uint32_t)s->bos >= t->vocab.n)
        rc = hd_fail(err, HD_E_FORMAT, "tokenizer: begin of text is token %d of a vocabulary of %u",
                     s->bos, t->vocab.n);
    return rc;
}

int hd_tokenizer_build(struct hd_tokenizer **out, const struct hd_vocab_source *s,
                       struct hd_error *err)
{
    struct hd_tokenizer *t = calloc(1, sizeof *t);
    int rc;

    *out = NULL;
    if (!t)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory");
    t->bos = s->bos;
    t->eos = s->eos;
    t->adds_bos = s->adds_bos && s->bos >= 0;
    rc = hd_vocab_init(&t->vocab, s, err);
    if (rc == 0)
        rc = hd_bpe_init(&t->bpe, &t->vocab, s, err);
    if (rc == 0)
        rc = hd_presplit_init(&t->presplit, s->patterns, s->n_patterns, err);
    if (rc == 0)
        rc = mark_stops(t, s, err);
    if (rc == 0)
        rc = hd_chat_init(&t->chat, &t->vocab, s->chat_template, err);
    if (rc < 0) {
        hd_tokenizer_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void hd_tokenizer_free(struct hd_tokenizer *t)
{
    if (!t)
        return;
    hd_chat_deinit(&t->chat);
    hd_presplit_deinit(&t->presplit);
    hd_bpe_deinit(&t->bpe);
    hd_vocab_deinit(&t->vocab);
    free(t);
}

/* ---- Facts ----------------------------------------------------------------------------------*/

uint32_t hd_tokenizer_vocab(const struct hd_tokenizer *t)
{
    return t->vocab.n;
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

bool hd_tokenizer_is_stop(const struct hd_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->vocab.n && t->vocab.tokens[id].stop;
}

struct hd_str hd_tokenizer_piece(const struct hd_tokenizer *t, int32_t id, bool special)
{
    if (id < 0 || (uint32_t)id >= t->vocab.n)
        return (struct hd_str){"", 0};
    uint8_t kind = t->vocab.tokens[id].kind;
    if (!special && (kind == HD_TOKEN_CONTROL || kind == HD_TOKEN_UNUSED))
        return (struct hd_str){"", 0};
    return hd_vocab_text(&t->vocab, id);
}

/* ---- Encoding -------------------------------------------------------------------------------*/

struct encoding {
    const struct hd_tokenizer *t;
    struct hd_bpe_scratch scratch;
    struct hd_ids *out;
};

static int encode_word(void *arg, struct hd_str word)
{
    struct encoding *e = arg;

    return hd_bpe_encode(&e->t->bpe, &e->t->vocab, word, &e->scratch, e->out);
}

/* Special tokens are cut out at their leftmost place, the longest first; the text between them goes
 * through the pre-splitter, a stretch at a time. */
static int encode_all(struct encoding *e, struct hd_word_sink *sink, struct hd_str text,
                      bool special)
{
    const struct hd_vocab *v = &e->t->vocab;
    size_t from = 0, at = 0;
    int rc = 0;

    while (rc == 0 && at < text.len) {
        int32_t id = hd_vocab_match(v, text.data + at, text.len - at, special);

        if (id < 0) {
            at++;
            continue;
        }
        rc = hd_presplit_run(&e->t->presplit, (struct hd_str){text.data + from, at - from}, sink);
        if (rc == 0)
            rc = hd_ids_push(e->out, id);
        at += v->tokens[id].len;
        from = at;
    }
    if (rc < 0)
        return rc;
    return hd_presplit_run(&e->t->presplit, (struct hd_str){text.data + from, text.len - from},
                           sink);
}

int hd_encode_append(const struct hd_tokenizer *t, struct hd_str text, bool special,
                     struct hd_ids *out, struct hd_encode_work *work)
{
    struct encoding e = {.t = t, .out = out};
    struct hd_word_sink sink = {.word = encode_word, .arg = &e};
    int rc;

    if (text.len > HD_TEXT_MAX_BYTES)
        return HD_E_LIMIT;
    if (work)
        *work = (struct hd_encode_work){0};
    if (text.len == 0) /* and `data` may be NULL */
        return 0;
    rc = encode_all(&e, &sink, text, special);
    if (work)
        *work = (struct hd_encode_work){sink.matches, sink.fallbacks, e.scratch.pops};
    hd_bpe_scratch_deinit(&e.scratch);
    return rc;
}

int hd_tokenizer_encode(const struct hd_tokenizer *t, const char *text, size_t len, bool special,
                        int32_t **ids, size_t *n)
{
    struct hd_ids list = {0};
    int rc = hd_encode_append(t, (struct hd_str){text, len}, special, &list, NULL);

    *ids = NULL;
    *n = 0;
    if (rc < 0 || list.n == 0) {
        free(list.v);
        return rc;
    }
    *ids = list.v;
    *n = list.n;
    return 0;
}
