/* SentencePiece's tokenizer.model (sentencepiece_model.proto): pieces with scores, how they were
 * trained, how a text is brought into shape. BPE and Unigram go to SentencePiece's own rules
 * (rust/src/model.rs), and so does what its normalizer maps (rust/src/charsmap.rs). */
#include "common/text/tokens.h"

#include <stdlib.h>
#include <string.h>

#define FIELD_MAX ((size_t)64 << 20)

/* ---- Protocol buffers: a field at a time ----*/

struct field {
    uint32_t number, wire;
    uint64_t value;      /* wire 0, 5 */
    struct hd_str bytes; /* wire 2 */
};

static bool varint(struct hd_str *s, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && s->len > 0; shift += 7) {
        uint8_t byte = (uint8_t)*s->data;

        s->data++;
        s->len--;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static bool take(struct hd_str *s, size_t n, struct hd_str *out)
{
    if (n > s->len || n > FIELD_MAX)
        return false;
    *out = (struct hd_str){s->data, n};
    s->data += n;
    s->len -= n;
    return true;
}

static bool next(struct hd_str *s, struct field *f)
{
    uint64_t key, len;

    if (!varint(s, &key))
        return false;
    *f = (struct field){.number = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7)};
    if (f->wire == 0)
        return varint(s, &f->value);
    if (f->wire == 2)
        return varint(s, &len) && take(s, (size_t)len, &f->bytes);
    if ((f->wire != 5 && f->wire != 1) || !take(s, f->wire == 5 ? 4 : 8, &f->bytes))
        return false;
    memcpy(&f->value, f->bytes.data, f->bytes.len);
    return true;
}

/* ---- The model ----*/

enum { UNIGRAM = 1, BPE = 2 };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

struct model {
    struct hd_tokens *t;
    uint64_t kind;
    int32_t unk, bos, eos;
    struct hd_str charsmap; /* of normalizer_spec; len 0: none */
    bool dummy_prefix, squeeze, escape, suffix;
};

static bool read_piece(struct model *m, struct hd_str s, size_t id)
{
    static const int kinds[] = {
        [NORMAL] = HD_TOKEN_NORMAL,     [UNKNOWN] = HD_TOKEN_CONTROL, [CONTROL] = HD_TOKEN_CONTROL,
        [USER_DEFINED] = HD_TOKEN_USER, [UNUSED] = HD_TOKEN_UNUSED,   [BYTE] = HD_TOKEN_BYTE};
    struct hd_str text = {"", 0};
    uint64_t type = NORMAL;
    float score = 0;
    struct field f;

    while (s.len > 0) {
        if (!next(&s, &f))
            return false;
        if (f.number == 1 && f.wire == 2)
            text = f.bytes;
        else if (f.number == 2 && f.wire == 5)
            memcpy(&score, f.bytes.data, sizeof score);
        else if (f.number == 3 && f.wire == 0)
            type = f.value;
    }
    if (type < NORMAL || type > BYTE)
        return false;
    if (type == UNKNOWN)
        m->unk = (int32_t)id;
    hd_tokens_put(m->t, id, text, kinds[type], score);
    return true;
}

static bool read_trainer(struct model *m, struct hd_str s)
{
    struct field f;

    while (s.len > 0) {
        if (!next(&s, &f))
            return false;
        if (f.wire != 0)
            continue;
        int32_t id = (int32_t)(int64_t)f.value;
        if (f.number == 3)
            m->kind = f.value;
        else if (f.number == 24)
            m->suffix = f.value != 0;
        else if (f.number == 41)
            m->bos = id;
        else if (f.number == 42)
            m->eos = id;
    }
    return true;
}

static bool read_normalizer(struct model *m, struct hd_str s)
{
    struct field f;

    while (s.len > 0) {
        if (!next(&s, &f))
            return false;
        if (f.number == 2 && f.wire == 2)
            m->charsmap = f.bytes;
        else if (f.number == 3 && f.wire == 0)
            m->dummy_prefix = f.value != 0;
        else if (f.number == 4 && f.wire == 0)
            m->squeeze = f.value != 0;
        else if (f.number == 5 && f.wire == 0)
            m->escape = f.value != 0;
    }
    return true;
}

static bool read_model(struct model *m, struct hd_str s)
{
    struct field f;
    size_t id = 0;

    while (s.len > 0) {
        bool good = next(&s, &f);

        if (good && f.wire == 2 && f.number == 1)
            good = read_piece(m, f.bytes, id++);
        else if (good && f.wire == 2 && f.number == 2)
            good = read_trainer(m, f.bytes);
        else if (good && f.wire == 2 && f.number == 3)
            good = read_normalizer(m, f.bytes);
        if (!good)
            return false;
    }
    return id > 0;
}

/* ---- The tokenizer ----*/

static int build(struct hdt **core, const struct model *m, uint32_t rows, struct hd_error *err)
{
    const struct hdt_parts parts = {.entries = m->t->entries,
                                    .n_entries = m->t->n,
                                    .scores = m->t->scores,
                                    .spm = true,
                                    .unigram = m->kind == UNIGRAM,
                                    .squeeze = m->squeeze,
                                    .charsmap = m->charsmap,
                                    .add_space = m->dummy_prefix,
                                    .unk = m->unk,
                                    .rows = rows};

    return hdt_from_parts(core, &parts, err);
}

int hd_read_sentencepiece(struct hdt **core, struct hd_tokens *t, struct hd_str file,
                          const json_t *config, uint32_t rows, struct hd_error *err)
{
    /* What the format's defaults are. */
    struct model m = {.t = t,
                      .kind = UNIGRAM,
                      .unk = -1,
                      .bos = 1,
                      .eos = 2,
                      .dummy_prefix = true,
                      .squeeze = true,
                      .escape = true};

    if (!read_model(&m, file))
        return hd_fail(err, HD_E_FORMAT,
                       "it is neither SentencePiece's nor tiktoken's, or damaged");
    if (m.kind != UNIGRAM && m.kind != BPE)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "SentencePiece of kind %llu; only Unigram and BPE are "
                       "supported",
                       (unsigned long long)m.kind);
    if (!m.escape || m.suffix)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "%s is not supported; take the model with a tokenizer.json",
                       m.suffix ? "treat_whitespace_as_suffix" : "escape_whitespaces false");
    t->bos = m.bos >= 0 && (size_t)m.bos < t->n ? m.bos : -1;
    t->eos = m.eos >= 0 && (size_t)m.eos < t->n ? m.eos : -1;
    t->adds_bos = t->bos >= 0;
    hd_tokens_put_config(t, config);
    int rc = hd_tokens_check(t, "it", err);
    return rc < 0 ? rc : build(core, &m, rows, err);
}
