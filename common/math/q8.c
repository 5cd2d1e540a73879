/* Q8 rows: what needs no vectors, and the calls through the table. */
#include "common/math/q8_impl.h"
#include "common/math/block.h"
#include "common/math/half.h"
#include "common/math/kernels_impl.h"
#include "common/math/pack.h"

#include <assert.h>

size_t hd_q8_row_bytes(size_t n)
{
    return n / HD_Q8_BLOCK * HD_Q8_BLOCK_BYTES;
}

/* An odd number of lines: the blocks of a column do not fall on the same few cache sets. */
size_t hd_q8_prepared_bytes(size_t n)
{
    return (n / HD_Q8_BLOCK | 1) * sizeof(struct hd_q8_block);
}

void hd_q8_encode(const struct hd_kernels *k, const float *x, size_t n, void *row)
{
    k->q8_encode(x, n, row);
}

void hd_q8_prepare(const struct hd_kernels *k, const void *row, size_t n, void *prepared)
{
    k->q8_prepare(row, n, prepared);
}

void hd_q8_quantize(const struct hd_kernels *k, const float *x, size_t n, void *prepared)
{
    k->q8_quantize(x, n, prepared);
}

void hd_q8_decode(const void *row, size_t n, float *out)
{
    const uint8_t *in = row;
    for (size_t b = 0; b < n / HD_Q8_BLOCK; b++, in += HD_Q8_BLOCK_BYTES) {
        float d = hd_half_widen((uint16_t)(in[0] | in[1] << 8));
        for (size_t i = 0; i < HD_Q8_BLOCK; i++, out++) {
            int q = (int8_t)in[2 + i];
            *out = d * (float)(q < -127 ? -127 : q);
        }
    }
}

void hd_sum_encode(const struct hd_kernels *k, const int32_t *sum, size_t n, void *row)
{
    k->sum_encode(sum, n, row);
}

void hd_sum_add(const struct hd_kernels *k, int64_t *acc, const void *row, size_t n)
{
    k->sum_add(acc, row, n);
}

bool hd_sum_is_valid(const void *row, size_t n)
{
    const uint8_t *in = row;
    bool valid = true;
    for (size_t b = 0; b < n / HD_Q8_BLOCK; b++, in += HD_Q8_BLOCK_BYTES)
        valid &= (uint32_t)(in[0] | in[1] << 8) < HD_HALF_INFINITY;
    return valid;
}

bool hd_weights_are_quantized(const struct hd_weights *w)
{
    return hd_pack_of(hd_pack_id(w->type)).is_float == HD_PACK_QUANT;
}

void hd_matmul_q8(const struct hd_kernels *k, const struct hd_matmul_q8_args *a)
{
    assert(hd_weights_are_quantized(a->w));
    k->matmul_q8(a);
}
