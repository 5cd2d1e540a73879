/* f8.c - FP8 of a folder, bytes here and scales there, as blocks whose scale lies before them. */
#include "common/math/half.h"
#include "common/math/tensor.h"

#define BLOCK 32

/* 2^(b - 127): a scale that is an exponent alone (OCP Microscaling Formats 1.0, 5.4.1). */
static float e8m0(uint8_t b)
{
    return b == 255 ? hd_bits_float(0x7fc00000u)
           : b == 0 ? 0x1p-127f
                    : hd_bits_float((uint32_t)b << 23);
}

/* Of the rectangle that (row, col) of the tensor lies in. */
static float scale_at(const struct hd_tensor *t, size_t row, size_t col)
{
    const struct hd_f8_source *f = &t->f8;
    size_t across = col / f->cols;
    uint16_t half;
    float scale;

    if (!t->apart)
        return 1;
    const uint8_t *line = t->apart + (f->row0 + row) / f->rows * t->step;
    if (f->scale_type == HD_F8_SCALE_E8M0)
        return e8m0(line[across]);
    if (f->scale_type == HD_F8_SCALE_F32) {
        memcpy(&scale, line + across * sizeof scale, sizeof scale);
        return scale;
    }
    memcpy(&half, line + across * sizeof half, sizeof half);
    return f->scale_type == HD_F8_SCALE_F16 ? hd_half_widen(half) : hd_bfloat_widen(half);
}

/* E5M2 is the upper byte of an f16. */
static float value_of(const struct hd_tensor *t, uint8_t b)
{
    if (t->f8.e5m2)
        return hd_half_widen((uint16_t)(b << 8));
    return (b & 0x7f) == 0x7f ? hd_bits_float(0x7fc00000u) : hd_e4m3_widen(b);
}

static void block_of(const struct hd_tensor *t, size_t row, size_t col, const uint8_t *in,
                     uint8_t *out)
{
    float scale = scale_at(t, row, col);
    bool is_number = true;

    for (size_t i = 0; i < BLOCK; i++)
        is_number &= (in[i] & 0x7f) != 0x7f;
    if (!is_number)
        scale = hd_bits_float(0x7fc00000u);
    memcpy(out, &scale, sizeof scale);
    memcpy(out + sizeof scale, in, BLOCK);
}

void hd_f8_blocks(const struct hd_tensor *t, size_t row, size_t block, size_t n, uint8_t *out)
{
    const uint8_t *in = t->data + row * t->row_bytes;

    for (size_t b = block; b < block + n; b++, out += hd_dtype_block_bytes(t->type)) {
        if (t->type == HD_F8_E4M3) {
            block_of(t, row, b * BLOCK, in + b * BLOCK, out);
        } else {
            float v = value_of(t, in[b]) * scale_at(t, row, b);
            memcpy(out, &v, sizeof v);
        }
    }
}
