/* Pieces: the numbering is complete, and the bytes of a piece hold what its cuts of the model do.
 */
#include "fixture.h"

#include "common/model/piece.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(piece, .init = folder_init, .fini = folder_fini, .timeout = 120);

/* The values of a cut, [n_rows][n_cols]. */
static float *values(const struct hd_cut *c)
{
    size_t block = hd_dtype_block(c->t.type), first = c->col0 - c->col0 % block;
    size_t end = c->col0 + c->n_cols + (block - (c->col0 + c->n_cols) % block) % block;
    end = end > c->t.cols ? c->t.cols : end;
    float *out = malloc(c->n_rows * c->n_cols * sizeof *out);
    float *row = malloc((end - first) * sizeof *row);
    for (size_t r = 0; r < c->n_rows; r++) {
        hd_dequant(&c->t, c->row0 + r, first, end - first, row);
        memcpy(out + r * c->n_cols, row + (c->col0 - first), c->n_cols * sizeof *row);
    }
    free(row);
    return out;
}

static void check_piece(const struct hd_model *m, const struct hd_units *u, struct hd_piece_at at)
{
    struct hd_cuts of_model = hd_piece_cuts(m, u, at), of_bytes = of_model;
    size_t n = hd_piece_bytes(&of_model);
    uint8_t *whole = malloc(n), *parts = malloc(n);
    hd_piece_copy(&of_model, 0, n, whole);
    for (size_t at_byte = 0; at_byte < n; at_byte += 1000) /* in parts it is the same */
        hd_piece_copy(&of_model, at_byte, n - at_byte < 1000 ? n - at_byte : 1000, parts + at_byte);
    cr_assert_eq(memcmp(whole, parts, n), 0);
    cr_assert_neq(hd_piece_digest(whole, n), 0);
    hd_piece_view(&of_bytes, whole);
    for (unsigned i = 0; i < of_model.n; i++) {
        const struct hd_cut *a = &of_model.cut[i], *b = &of_bytes.cut[i];
        cr_assert_eq(a->n_rows, b->n_rows);
        cr_assert_eq(a->n_cols, b->n_cols);
        cr_assert_eq((size_t)(b->t.data - whole) % HD_PIECE_ALIGN, 0);
        float *x = values(a), *y = values(b);
        cr_assert_eq(memcmp(x, y, a->n_rows * a->n_cols * sizeof *x), 0);
        free(x);
        free(y);
    }
    free(whole);
    free(parts);
}

static void check_all(const char *path)
{
    struct hd_model *m = open_ok(path);
    struct hd_units u;
    hd_model_units(m, &u);
    size_t n = hd_piece_count(m, &u);
    cr_assert_eq(n, (size_t)m->shape.n_layers * (u.heads + u.ffn_blocks) + u.vocab_blocks);
    for (size_t i = 0; i < n; i++) {
        struct hd_piece_at at = hd_piece_nth(m, &u, i);
        cr_assert(hd_piece_exists(m, &u, at));
        cr_assert_eq(hd_piece_index(m, &u, at), i);
        check_piece(m, &u, at);
    }
    cr_assert_not(hd_piece_exists(m, &u, (struct hd_piece_at){HD_UNIT_HEAD, u.heads, 0}));
    cr_assert_not(hd_piece_exists(m, &u, (struct hd_piece_at){HD_UNIT_FFN, 0, m->shape.n_layers}));
    cr_assert_not(hd_piece_exists(m, &u, (struct hd_piece_at){HD_UNIT_VOCAB, 0, 1}));
    cr_assert_not(hd_piece_exists(m, &u, (struct hd_piece_at){(enum hd_unit_kind)3, 0, 0}));
    hd_model_close(m);
}

Test(piece, every_type)
{
    static const enum hd_dtype all[] = {HD_F32, HD_F16, HD_BF16, HD_Q8_0, HD_Q4_0, HD_Q4_1};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_all(make_synth("tiny-gqa3", all[i], 3));
}

/* Heads of 16 columns of Q8_0, which has blocks of 32: two heads share each block of Wo. */
Test(piece, columns_across_blocks)
{
    check_all(small_gguf(&(struct twist){.quantized = true}));
    check_all(small_folder(&(struct twist){.own_output = true}));
}

/* A leader's outline may say that a model has any of them. */
Test(piece, has_room_for_all_slots_of_a_kind_of_unit)
{
    for (int kind = 0; kind < HD_UNIT_KINDS; kind++) {
        unsigned n = 0;
        for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
            n += hd_slot_is_units(s) && (int)hd_slots[s].unit == kind;
        cr_assert_leq(n, HD_PIECE_MAX_CUTS, "%u of a %s", n,
                      hd_unit_kind_name((enum hd_unit_kind)kind));
    }
}
