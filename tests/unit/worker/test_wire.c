/* Answers in the compact wire mode: the exact ones, encoded row by row. */
#include "common/math/q8.h"
#include "rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 5, WIDE = 1, BAD = 3 };

struct both {
    struct rig exact, compact;
    struct rig_rows rows;
    float *x;
    size_t dim;
};

static void open_both(struct both *b, enum hd_activations activations)
{
    char path[128];
    struct rig_options o = {.shape = "tiny-gqa3",
                            .type = HD_Q4_0,
                            .kv = HD_KV_F16,
                            .activations = activations,
                            .threads = 1};
    rig_open(&b->exact, &o);
    rig_model_path(&b->exact, path, sizeof path);
    o.model = path;
    o.wire = HD_WIRE_COMPACT;
    o.threads = 3;
    rig_open(&b->compact, &o);
    rig_own_part(&b->exact, 1, 2);
    rig_own_part(&b->compact, 1, 2);
    b->dim = b->exact.model->shape.dim;
    b->x = rig_random(ROWS, b->dim, 4);
    rig_rows_of(&b->rows, 0, 0, ROWS, b->x);
}

static void close_both(struct both *b)
{
    free(b->x);
    rig_close(&b->compact);
    rig_close(&b->exact);
}

static struct hd_half_output answer(struct rig *r, const struct both *b, enum hd_unit_kind half)
{
    struct hd_half_step step = rig_step(r, &b->rows, half, 0);
    struct hd_half_output out;
    struct hd_error err = {0};
    cr_assert_eq(hd_node_step(r->node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    return out;
}

/* What the compact payload is to be, from the exact sums; returns its bytes. */
static size_t encode(const struct both *b, const int64_t *sums, const struct hd_half_output *out,
                     uint8_t *payload)
{
    uint8_t *p = payload;
    int32_t *narrow = malloc(b->dim * sizeof *narrow);
    size_t wide = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (wide < out->n_wide && out->wide[wide] == i) {
            wide++;
            memcpy(p, sums + i * b->dim, b->dim * 8);
            p += b->dim * 8;
            continue;
        }
        for (size_t d = 0; d < b->dim; d++)
            narrow[d] = (int32_t)sums[i * b->dim + d];
        hd_sum_encode(b->compact.kernels, narrow, b->dim, p);
        p += hd_q8_row_bytes(b->dim);
    }
    free(narrow);
    return (size_t)(p - payload);
}

static void expect_encoded(struct both *b, enum hd_unit_kind half)
{
    struct hd_half_output exact = answer(&b->exact, b, half),
                          compact = answer(&b->compact, b, half);
    int64_t *sums = malloc(ROWS * b->dim * sizeof *sums);
    uint8_t *want = malloc(ROWS * b->dim * 8);
    rig_decode(&exact, ROWS, b->dim, sums);
    size_t bytes = encode(b, sums, &exact, want);
    cr_assert_eq(compact.n_wide, exact.n_wide);
    cr_assert_arr_eq(compact.wide, exact.wide, exact.n_wide * sizeof *exact.wide);
    cr_assert_eq(compact.n_bad, exact.n_bad);
    cr_assert_arr_eq(compact.bad, exact.bad, exact.n_bad * sizeof *exact.bad);
    cr_assert_eq(hd_shared_len(compact.payload), bytes);
    cr_assert_arr_eq(hd_shared_data(compact.payload), want, bytes);
    hd_shared_unref(exact.payload);
    hd_shared_unref(compact.payload);
    free(sums);
    free(want);
}

RIG_TEST(wire, compact_answers_are_the_exact_sums_encoded)
{
    struct both b;
    open_both(&b, *activations);
    expect_encoded(&b, HD_UNIT_HEAD);
    expect_encoded(&b, HD_UNIT_FFN);
    close_both(&b);
}

RIG_TEST(wire, wide_rows_stay_exact_and_bad_ones_are_named)
{
    struct both b;
    open_both(&b, *activations);
    b.rows.shifts[WIDE] += 20;
    b.x[BAD * b.dim + 17] = NAN;
    struct hd_half_output out = answer(&b.compact, &b, HD_UNIT_FFN);
    cr_assert(out.n_wide == 1 && out.wide[0] == WIDE);
    cr_assert(out.n_bad == 1 && out.bad[0] == BAD);
    cr_assert_eq(hd_shared_len(out.payload), 4 * hd_q8_row_bytes(b.dim) + b.dim * 8);
    hd_shared_unref(out.payload);
    expect_encoded(&b, HD_UNIT_FFN);
    close_both(&b);
}
