/* test_experts.c - experts on a worker: a row's sums are those of its experts alone, whoever owns
 * which blocks and whatever else is in the step; and what may stand in a Step about them. */
#include "rig.h"

#include "worker/link/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 71, PARTS = 3 }; /* more than a tile of rows */

static void open_rig(struct rig *r, const char *model, enum hd_activations a)
{
    rig_open(r, &(struct rig_options){.model = model,
                                      .shape = "tiny-qwen3moe",
                                      .type = a == HD_ACTIVATIONS_Q8 ? HD_Q8_0 : HD_F32,
                                      .activations = a,
                                      .threads = model ? 1 : 2});
}

/* ---- Sums ----*/

RIG_TEST(experts, give_a_row_the_same_sums_alone_and_in_a_batch)
{
    struct rig r;
    struct rig_rows all, one;
    open_rig(&r, NULL, *activations);
    rig_own_part(&r, 0, 1);
    size_t dim = r.model->shape.dim;
    float *x = rig_random(N, dim, 3);
    int64_t *sums = malloc(N * dim * sizeof *sums), *alone = malloc(N * dim * sizeof *alone);
    rig_rows_of(&all, 0, 5, N, x);
    rig_sums(&r, HD_UNIT_FFN, 1, &all, sums);
    for (size_t i = 0; i < N; i++) {
        rig_rows_of(&one, 0, 5 + (uint32_t)i, 1, x + i * dim);
        rig_sums(&r, HD_UNIT_FFN, 1, &one, alone + i * dim);
    }
    cr_assert_arr_eq(alone, sums, N * dim * sizeof *sums, "one by one");
    for (size_t i = 0; i < N; i += 9) {
        rig_rows_of(&one, 0, 5 + (uint32_t)i, N - i < 9 ? N - i : 9, x + i * dim);
        rig_sums(&r, HD_UNIT_FFN, 1, &one, alone + i * dim);
    }
    cr_assert_arr_eq(alone, sums, N * dim * sizeof *sums, "nine at a time");
    free(x);
    free(sums);
    free(alone);
    rig_close(&r);
}

RIG_TEST(experts, give_the_same_sums_whoever_owns_what)
{
    struct rig whole, part;
    struct rig_rows rows;
    char path[128];
    open_rig(&whole, NULL, *activations);
    rig_model_path(&whole, path, sizeof path);
    rig_own_part(&whole, 0, 1);
    size_t n = N * whole.model->shape.dim;
    float *x = rig_random(N, whole.model->shape.dim, 4);
    int64_t *sums = calloc(n, sizeof *sums), *some = calloc(n, sizeof *some),
            *together = calloc(n, sizeof *together);
    rig_rows_of(&rows, 1, 0, N, x);
    rig_sums(&whole, HD_UNIT_FFN, 0, &rows, sums);
    for (uint32_t p = 0; p < PARTS; p++) {
        open_rig(&part, path, *activations);
        rig_own_part(&part, p, PARTS);
        rig_sums(&part, HD_UNIT_FFN, 0, &rows, some);
        for (size_t i = 0; i < n; i++)
            together[i] += some[i];
        rig_close(&part);
    }
    cr_assert_arr_eq(together, sums, n * sizeof *sums);
    free(x);
    free(sums);
    free(some);
    free(together);
    rig_close(&whole);
}

/* Of a row's experts alone: so much arithmetic, and nothing for a row that wants none of ours. */
Test(experts, are_computed_only_where_rows_want_them)
{
    struct rig r;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err = {0};
    open_rig(&r, NULL, HD_ACTIVATIONS_F32);
    rig_own_part(&r, 0, 1);
    const struct hd_model_shape *s = &r.model->shape;
    float *x = rig_random(N, s->dim, 5);
    rig_rows_of(&rows, 0, 0, N, x);
    struct hd_half_step step = rig_step(&r, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(hd_node_step(r.node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    cr_assert_eq(out.flops, UINT64_C(2) * 3 * s->dim * s->ffn_dim * s->n_used * N);
    hd_shared_unref(out.payload);
    rig_own_part(&r, 0, r.units.ffn_blocks); /* the first block of expert 0 */
    int64_t *sums = calloc((size_t)N * s->dim, sizeof *sums);
    rig_sums(&r, HD_UNIT_FFN, 0, &rows, sums);
    size_t with = 0;
    for (size_t i = 0; i < N; i++) {
        bool nothing = true;
        for (size_t k = 0; k < s->dim; k++)
            nothing = nothing && sums[i * s->dim + k] == 0;
        cr_assert_eq(nothing, r.experts[i * s->n_used] != 0, "row %zu", i);
        with += !nothing;
    }
    cr_assert(with > 0 && with < N);
    free(sums);
    free(x);
    rig_close(&r);
}

/* ---- What comes by wire ----*/

static struct hd_error err;

static void expect_error(int rc, const char *text)
{
    cr_assert_eq(rc, HD_E_PROTO);
    cr_assert(strstr(err.text, text), "\"%s\" does not say \"%s\"", err.text, text);
}

static struct hd_check check_of(const struct rig *r)
{
    return (struct hd_check){.model = r->model,
                             .units = &r->units,
                             .sizes = {.activations = HD_ACTIVATIONS_F32,
                                       .max_rows = RIG_ROWS,
                                       .max_positions = RIG_POSITIONS,
                                       .max_sequences = RIG_SEQUENCES}};
}

Test(experts, every_number_of_them_is_checked)
{
    enum { ROWS = 2 };
    struct rig r;
    uint32_t sequences[ROWS] = {0, 1}, positions[ROWS] = {0}, experts[] = {0, 1, 2, 3, 5, 6, 7, 15};
    int32_t shifts[ROWS] = {0};
    float weights[] = {0.5f, 0, 1, 0.25f, 1, 1, 1, 1};
    open_rig(&r, NULL, HD_ACTIVATIONS_F32);
    struct hd_check check = check_of(&r);
    size_t bytes = ROWS * r.model->shape.dim * sizeof(float);
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.half = HYDAC__V1__HALF__FFN;
    m.n_sequences = m.n_positions = m.n_shifts = ROWS;
    m.sequences = sequences;
    m.positions = positions;
    m.shifts = shifts;
    m.experts = experts;
    m.weights = weights;
    expect_error(hd_check_step(&check, &m, bytes, &err), "Step: 0 experts and 0 weights where 8");
    m.n_experts = m.n_weights = 8;
    cr_assert_eq(hd_check_step(&check, &m, bytes, &err), 0, "%s", err.text);
    m.n_weights--;
    expect_error(hd_check_step(&check, &m, bytes, &err), "8 experts and 7 weights");
    m.n_weights++;
    experts[7] = 16;
    expect_error(hd_check_step(&check, &m, bytes, &err), "row 1: expert 16 of 16");
    experts[7] = 7;
    expect_error(hd_check_step(&check, &m, bytes, &err), "row 1: experts are not ascending");
    experts[7] = 15;
    static const float wrong[] = {-0.5f, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        weights[3] = wrong[i];
        expect_error(hd_check_step(&check, &m, bytes, &err), "row 0: weight");
    }
    weights[3] = 1;
    m.half = HYDAC__V1__HALF__ATTENTION;
    expect_error(hd_check_step(&check, &m, bytes, &err), "8 experts and 8 weights where 0");
    rig_close(&r);
}

Test(experts, the_largest_audit_fits_a_frame)
{
    enum { MOST = 512 };
    static uint32_t numbers[RIG_ROWS * RIG_USED];
    static float weights[RIG_ROWS * RIG_USED];
    struct rig r;
    uint32_t all[MOST];
    open_rig(&r, NULL, HD_ACTIVATIONS_F32);
    struct hd_check check = check_of(&r);
    Hydac__V1__Audit m = HYDAC__V1__AUDIT__INIT;
    memset(numbers, 0xff, sizeof numbers);
    memset(all, 0xff, sizeof all);
    for (size_t i = 0; i < RIG_ROWS * RIG_USED; i++)
        weights[i] = 0.3f;
    m.id = UINT64_MAX;
    m.half = HYDAC__V1__HALF__FFN;
    m.layer = UINT32_MAX;
    m.fresh = true;
    m.units = all;
    m.n_units = r.units.ffn_blocks;
    m.n_sequences = m.n_positions = m.n_shifts = RIG_ROWS;
    m.sequences = m.positions = m.experts = numbers;
    m.shifts = (int32_t *)numbers;
    m.weights = weights;
    m.n_experts = m.n_weights = (size_t)RIG_ROWS * r.model->shape.n_used;
    cr_assert_leq(m.n_units, MOST);
    cr_assert_leq(hydac__v1__audit__get_packed_size(&m), hd_check_limits(&check).max_body);
    rig_close(&r);
}
