/* prove_products.c - products, and rows of 8 bits. */
#include "common/math/half.h"
#include "common/math/q8_impl.h"
#include "worker/opencl/prove_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- Products ----*/

static bool has_form(enum hd_dtype type)
{
    return prove_now->o.programs.products[hd_pack_id(type)] != NULL;
}

/* y [rows][y_stride] of groups [g0, g1). */
static void product(const struct hd_weights *w, size_t g0, size_t g1, struct hd_cl_operand x,
                    float *y, size_t y_stride, size_t rows)
{
    size_t groups = g1 - g0, left = w->outputs - g0 * HD_GROUP;
    size_t outputs = left < groups * HD_GROUP ? left : groups * HD_GROUP;
    cl_mem slabs[HD_CL_SLABS] = {prove_put(w->data + g0 * w->group_bytes, groups * w->group_bytes)};
    struct hd_cl_part part = {.form = hd_pack_id(w->type),
                              .groups = (uint32_t)groups,
                              .group_bytes = (uint32_t)w->group_bytes,
                              .outputs = (uint32_t)outputs,
                              .inputs = (uint32_t)w->inputs};
    struct hd_cl_matrix matrix = {.y_stride = (uint32_t)outputs, .rows = (uint32_t)rows};
    struct hd_cl_plan plan;
    float *all = malloc(rows * outputs * sizeof *all);
    prove_now->o.y = prove_room(rows * outputs * sizeof *all);
    hd_cl_plan(&prove_now->o, &(struct hd_cl_jobs){&part, &matrix, 1, rows}, &plan);
    if (prove_now->rc == 0)
        prove_note(hd_cl_in_send(&prove_now->o));
    if (prove_now->rc == 0)
        prove_note(hd_cl_project(&prove_now->o, &plan, slabs, &x, prove_now->o.y));
    if (all)
        prove_get(prove_now->o.y, all, rows * outputs * sizeof *all);
    for (size_t r = 0; all && r < rows; r++)
        memcpy(y + r * y_stride, all + r * outputs, outputs * sizeof *y);
    prove_now->rc = all ? prove_now->rc : HD_E_NOMEM;
    free(all);
    prove_end();
}

void prove_matmul(const struct hd_matmul_args *a)
{
    if (!has_form(a->w->type)) {
        hd_matmul(prove_cpu(), a);
        return;
    }
    struct hd_cl_operand x = {.x = prove_put(a->x, a->rows * a->x_stride * sizeof *a->x),
                              .x_stride = a->x_stride};
    product(a->w, a->g0, a->g1, x, a->y, a->y_stride, a->rows);
}

void prove_matmul_q8(const struct hd_matmul_q8_args *a)
{
    size_t blocks = a->w->inputs / HD_Q8_BLOCK;
    size_t stride = (a->rows + HD_CL_ROWS - 1) / HD_CL_ROWS * HD_CL_ROWS;
    int8_t *q = calloc(stride, a->w->inputs);
    float *d = calloc(stride * blocks, 2 * sizeof *d);
    if (!has_form(a->w->type) || !q || !d) {
        hd_matmul_q8(prove_cpu(), a);
    } else {
        for (size_t r = 0; r < a->rows; r++) {
            const struct hd_q8_block *from =
                (const void *)((const uint8_t *)a->x + r * a->x_stride);
            for (size_t b = 0; b < blocks; b++) {
                memcpy(q + r * a->w->inputs + b * HD_Q8_BLOCK, from[b].q, HD_Q8_BLOCK);
                d[2 * (b * stride + r)] = from[b].d;
                d[2 * (b * stride + r) + 1] = from[b].d_sum;
            }
        }
        struct hd_cl_operand x = {.x = prove_put(q, stride * a->w->inputs),
                                  .d = prove_put(d, stride * blocks * 2 * sizeof *d),
                                  .x_stride = a->w->inputs / 4,
                                  .d_stride = stride};
        product(a->w, a->g0, a->g1, x, a->y, a->y_stride, a->rows);
    }
    free(q);
    free(d);
}

/* ---- Rows of 8 bits ----*/

static void make_block(const int8_t *q, const float *d, struct hd_q8_block *b)
{
    int32_t sum[2] = {0, 0};
    memcpy(b->q, q, HD_Q8_BLOCK);
    for (size_t i = 0; i < HD_Q8_BLOCK; i++)
        sum[i / 16] += q[i];
    b->d = d[0];
    b->d_sum = d[1];
    b->minus8 = -8 * (sum[0] + sum[1]);
    b->minus128[0] = -128 * sum[0];
    b->minus128[1] = -128 * sum[1];
    memset(b->unused, 0, sizeof b->unused);
}

static void take_blocks(cl_mem mq, cl_mem md, size_t n, struct hd_q8_block *out)
{
    size_t blocks = n / HD_Q8_BLOCK;
    int8_t *q = malloc(n);
    float *d = malloc(blocks * 2 * sizeof *d);
    if (q && d) {
        prove_get(mq, q, n);
        prove_get(md, d, blocks * 2 * sizeof *d);
        for (size_t b = 0; b < blocks; b++)
            make_block(q + b * HD_Q8_BLOCK, d + 2 * b, &out[b]);
    }
    prove_now->rc = q && d ? prove_now->rc : HD_E_NOMEM;
    free(q);
    free(d);
    prove_end();
}

void prove_q8_quantize(const float *x, size_t n, void *prepared)
{
    cl_mem q = prove_room(n), d = prove_room(n / HD_Q8_BLOCK * 8);
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.quantize_values);
    hd_cl_put_buffer(&l, prove_put(x, n * sizeof *x));
    hd_cl_put_u32(&l, n);
    hd_cl_put_buffer(&l, q);
    hd_cl_put_buffer(&l, d);
    prove_note(hd_cl_go(&l, 128, (n + 127) / 128, 1, 1));
    take_blocks(q, d, n, prepared);
}

void prove_q8_encode(const float *x, size_t n, void *row)
{
    uint8_t *out = row;
    struct hd_q8_block *b = aligned_alloc(64, n / HD_Q8_BLOCK * sizeof *b);
    if (!b) {
        prove_now->rc = HD_E_NOMEM;
        return;
    }
    prove_q8_quantize(x, n, b);
    for (size_t i = 0; i < n / HD_Q8_BLOCK; i++, out += HD_Q8_BLOCK_BYTES) {
        uint16_t half = hd_half_round(b[i].d);
        memcpy(out, &half, sizeof half);
        memcpy(out + 2, b[i].q, HD_Q8_BLOCK);
    }
    free(b);
}

void prove_q8_prepare(const void *row, size_t n, void *prepared)
{
    size_t blocks = n / HD_Q8_BLOCK;
    cl_mem q = prove_room(n), d = prove_room(blocks * 8);
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.prepare_rows);
    hd_cl_put_buffer(&l, prove_put(row, hd_q8_row_bytes(n)));
    hd_cl_put_u64(&l, 0);
    hd_cl_put_u32(&l, hd_q8_row_bytes(n));
    hd_cl_put_u32(&l, blocks);
    hd_cl_put_buffer(&l, q);
    hd_cl_put_buffer(&l, d);
    hd_cl_put_u32(&l, 1);
    prove_note(hd_cl_go(&l, 64, (blocks + 63) / 64, 1, 1));
    take_blocks(q, d, n, prepared);
}

void prove_sum_encode(const int32_t *sum, size_t n, void *row)
{
    cl_mem out = prove_room(hd_q8_row_bytes(n));
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.compact);
    hd_cl_put_buffer(&l, prove_put(sum, n * sizeof *sum));
    hd_cl_put_buffer(&l, out);
    hd_cl_put_u32(&l, n);
    prove_note(hd_cl_go(&l, 64, (n / HD_Q8_BLOCK + 63) / 64, 1, 1));
    prove_get(out, row, hd_q8_row_bytes(n));
    prove_end();
}
