/* tensor.c - the types of tensors as a table, and each of their elements as a float. */
#include "common/math/tensor.h"
#include "common/math/block.h"
#include "common/math/half.h"

struct dtype {
    const char *name;
    uint16_t block, block_bytes;
};

static const struct dtype *dtype_of(int type)
{
    static const struct dtype dtypes[HD_DTYPES] = {
        [HD_F32] = {"F32", 1, 4},
        [HD_F16] = {"F16", 1, 2},
        [HD_Q4_0] = {"Q4_0", 32, 18},
        [HD_Q4_1] = {"Q4_1", 32, 20},
        [HD_Q5_0] = {"Q5_0", 32, 22},
        [HD_Q5_1] = {"Q5_1", 32, 24},
        [HD_Q8_0] = {"Q8_0", 32, 34},
        [HD_Q2_K] = {"Q2_K", 256, 84},
        [HD_Q3_K] = {"Q3_K", 256, 110},
        [HD_Q4_K] = {"Q4_K", 256, 144},
        [HD_Q5_K] = {"Q5_K", 256, 176},
        [HD_Q6_K] = {"Q6_K", 256, 210},
        [HD_IQ2_XXS] = {"IQ2_XXS", 256, 66},
        [HD_IQ2_XS] = {"IQ2_XS", 256, 74},
        [HD_IQ3_XXS] = {"IQ3_XXS", 256, 98},
        [HD_IQ1_S] = {"IQ1_S", 256, 50},
        [HD_IQ4_NL] = {"IQ4_NL", 32, 18},
        [HD_IQ3_S] = {"IQ3_S", 256, 110},
        [HD_IQ2_S] = {"IQ2_S", 256, 82},
        [HD_IQ4_XS] = {"IQ4_XS", 256, 136},
        [HD_IQ1_M] = {"IQ1_M", 256, 56},
        [HD_BF16] = {"BF16", 1, 2},
        [HD_TQ1_0] = {"TQ1_0", 256, 54},
        [HD_TQ2_0] = {"TQ2_0", 256, 66},
        [HD_MXFP4] = {"MXFP4", 32, 17},
        [HD_NVFP4] = {"NVFP4", 64, 36},
        [HD_Q1_0] = {"Q1_0", 128, 18},
        [HD_F8_E4M3] = {"F8_E4M3", 32, 36},
    };
    static const struct dtype unknown = {"?", 0, 0};
    if (type < 0 || type >= HD_DTYPES || !dtypes[type].name)
        return &unknown;
    return &dtypes[type];
}

bool hd_dtype_known(int type)
{
    return dtype_of(type)->block != 0;
}

bool hd_dtype_is_ggml(int type)
{
    return type != HD_F8_E4M3 && hd_dtype_known(type);
}

const char *hd_dtype_name(int type)
{
    return dtype_of(type)->name;
}

size_t hd_dtype_block(enum hd_dtype type)
{
    return dtype_of((int)type)->block;
}

bool hd_dtype_is_quantized(enum hd_dtype type)
{
    return type != HD_F8_E4M3 && hd_dtype_block(type) > 1;
}

size_t hd_dtype_block_bytes(enum hd_dtype type)
{
    return dtype_of((int)type)->block_bytes;
}

size_t hd_dtype_row_bytes(enum hd_dtype type, size_t cols)
{
    const struct dtype *d = dtype_of((int)type);
    return d->block ? cols / d->block * d->block_bytes : 0;
}

/* Values of one block, [n]: q * scale (+ min). */
static void dequant_block(enum hd_dtype type, const uint8_t *block, float *out)
{
    struct hd_spans s;
    bool has_min = hd_block_has_min(type);
    hd_block_spans(type, block, &s);
    for (size_t i = 0; i < s.n; i++) {
        float v = (float)s.q[i] * s.scale[i / s.span];
        out[i] = has_min ? v + s.min[i / s.span] : v;
    }
}

static void dequant_halves(const uint8_t *in, size_t n, float (*widen)(uint16_t), float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, in + 2 * i, sizeof h);
        out[i] = widen(h);
    }
}

/* 32 values behind their scale. */
static void dequant_f8(const uint8_t *block, float *out)
{
    float scale;
    memcpy(&scale, block, sizeof scale);
    for (size_t i = 0; i < 32; i++)
        out[i] = hd_e4m3_widen(block[sizeof scale + i]) * scale;
}

void hd_dequant(const struct hd_tensor *t, size_t row, size_t col0, size_t n, float *out)
{
    const struct dtype *d = dtype_of((int)t->type);
    const uint8_t *in = t->data + row * t->row_bytes + hd_dtype_row_bytes(t->type, col0);
    if (t->type == HD_F32)
        memcpy(out, in, n * sizeof *out);
    else if (t->type == HD_F16)
        dequant_halves(in, n, hd_f16_to_f32, out);
    else if (t->type == HD_BF16)
        dequant_halves(in, n, hd_bf16_to_f32, out);
    else
        for (size_t i = 0; i < n; i += d->block, in += d->block_bytes) {
            if (t->type == HD_F8_E4M3)
                dequant_f8(in, out + i);
            else
                dequant_block(t->type, in, out + i);
        }
}

void hd_tensor_row(const struct hd_tensor *t, size_t row, size_t at, size_t n, uint8_t *out)
{
    const struct hd_split *s = t->split;
    if (t->layout != HD_LAYOUT_SPLIT) {
        memcpy(out, t->data + row * t->row_bytes + at, n);
        return;
    }
    if (!s->columns) {
        size_t rows = t->rows / s->n;
        memcpy(out, s->data[row / rows] + row % rows * t->row_bytes + at, n);
        return;
    }
    for (size_t bytes = t->row_bytes / s->n; n > 0;) {
        size_t of = at % bytes, some = bytes - of < n ? bytes - of : n;
        memcpy(out, s->data[at / bytes] + row * bytes + of, some);
        at += some;
        out += some;
        n -= some;
    }
}

float hd_f16_to_f32(uint16_t h)
{
    return hd_half_widen(h);
}

uint16_t hd_f32_to_f16(float f)
{
    return hd_half_round(f);
}

float hd_bf16_to_f32(uint16_t h)
{
    return hd_bfloat_widen(h);
}

uint16_t hd_f32_to_bf16(float f)
{
    return hd_bfloat_round(f);
}
