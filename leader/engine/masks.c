/* masks.c - a mask for each row whose token a grammar has a say in. */
#include "leader/engine/masks.h"

#include "common/text/grammar.h"
#include "leader/engine/engine_impl.h"

#include <stdlib.h>

void hd_masks_forget(struct hd_masks *m)
{
    m->n = 0;
    m->made = false;
}

void hd_masks_deinit(struct hd_masks *m)
{
    free(m->bits);
    *m = (struct hd_masks){0};
}

static uint32_t *add(struct hd_masks *m, size_t vocab)
{
    m->words = (vocab + 31) / 32;
    if (m->n == m->room) {
        size_t room = m->room ? 2 * m->room : 16;
        uint32_t *bits = realloc(m->bits, room * m->words * sizeof *bits);
        if (!bits)
            return NULL;
        m->bits = bits;
        m->room = room;
    }
    return m->bits + m->n++ * m->words;
}

static bool allows_any(const uint32_t *bits, size_t vocab)
{
    for (size_t i = 0; i < vocab / 32; i++)
        if (bits[i])
            return true;
    return vocab % 32 && bits[vocab / 32] << (32 - vocab % 32);
}

static int make(struct hd_engine *e, struct hd_grammar *g, struct hd_error *err)
{
    size_t vocab = e->o.model->shape.vocab;
    uint32_t *bits = add(&e->masks, vocab);
    if (!bits)
        return hd_fail(err, HD_E_NOMEM, "no memory for what the answer must match");
    int rc = hd_grammar_mask(g, bits, vocab, err);
    if (rc == 0 && !allows_any(bits, vocab))
        rc = hd_fail(err, HD_E_STATE, "no token goes on what the answer must match");
    return rc;
}

static bool make_row(struct hd_engine *e, struct hd_grammar *g, struct hd_row *row)
{
    if (!hd_grammar_holds(g))
        return true;
    if (make(e, g, NULL) < 0)
        return false;
    row->mask = e->masks.n;
    return true;
}

/* Behind the guesses rows[1..n) of what comes behind rows[0]. */
static void make_guesses(struct hd_engine *e, struct hd_row *rows, size_t n)
{
    struct hd_grammar *g = NULL;
    bool good = hd_grammar_fork(&g, rows->r->o.sampling.grammar, NULL) == 0;
    for (size_t i = 1; i < n; i++) {
        good = good && hd_grammar_take(g, rows[i].input, NULL) == 0 && make_row(e, g, &rows[i]);
        rows[i].spoiled |= !good;
    }
    hd_grammar_free(g);
}

void hd_masks_make(struct hd_engine *e)
{
    if (e->masks.made)
        return;
    e->masks.made = true;
    for (size_t i = 0, n; i < e->n_rows; i += n) {
        struct hd_row *row = &e->rows[i];
        struct hd_request *r = row->r;
        for (n = 1; i + n < e->n_rows && e->rows[i + n].drafted && e->rows[i + n].r == r;)
            n++;
        if (!r->o.sampling.grammar || r->cancelled || r->ended || row->position + 1 != r->n_tokens)
            continue;
        row->barred = !make_row(e, r->o.sampling.grammar, row);
        if (n > 1)
            make_guesses(e, row, n);
    }
}

const uint32_t *hd_masks_of(const struct hd_masks *m, const struct hd_row *row)
{
    return row->mask > 0 ? m->bits + (row->mask - 1) * m->words : NULL;
}

int hd_masks_why(struct hd_engine *e, struct hd_request *r, struct hd_error *err)
{
    int rc = make(e, r->o.sampling.grammar, err);
    return rc < 0 ? rc : hd_fail(err, HD_E_NOMEM, "no memory for what the answer must match");
}
