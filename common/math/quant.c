/* Quantization as ggml's quantize_row_*_ref does it: for synthetic models and tests. */
#include "common/math/half.h"
#include "common/math/tensor.h"
#include "common/util/error.h"

#include <math.h>

#define BLOCK 32

static void put_half(uint8_t *p, uint16_t h)
{
    p[0] = (uint8_t)(h & 255);
    p[1] = (uint8_t)(h >> 8);
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

static int at_most_15(float v)
{
    int q = (int8_t)v;
    return q < 15 ? q : 15;
}

static void block_q8_0(const float *in, uint8_t *out)
{
    float amax = 0.0f;
    for (int i = 0; i < BLOCK; i++)
        amax = fmaxf(amax, fabsf(in[i]));
    float d = amax / 127.0f, id = inverse(d);
    put_half(out, hd_half_round(d));
    for (int i = 0; i < BLOCK; i++)
        out[2 + i] = (uint8_t)(int8_t)roundf(in[i] * id);
}

/* The value of the largest magnitude, sign and all, becomes -8. */
static void block_q4_0(const float *in, uint8_t *out)
{
    float amax = 0.0f, extreme = 0.0f;
    for (int i = 0; i < BLOCK; i++) {
        if (fabsf(in[i]) > amax) {
            amax = fabsf(in[i]);
            extreme = in[i];
        }
    }
    float d = extreme / -8.0f, id = inverse(d);
    put_half(out, hd_half_round(d));
    for (int i = 0; i < BLOCK / 2; i++) {
        int low = at_most_15(in[i] * id + 8.5f);
        int high = at_most_15(in[i + BLOCK / 2] * id + 8.5f);
        out[2 + i] = (uint8_t)(low | high << 4);
    }
}

static void block_q4_1(const float *in, uint8_t *out)
{
    float min = in[0], max = in[0];
    for (int i = 1; i < BLOCK; i++) {
        min = in[i] < min ? in[i] : min;
        max = in[i] > max ? in[i] : max;
    }
    float d = (max - min) / 15.0f, id = inverse(d);
    put_half(out, hd_half_round(d));
    put_half(out + 2, hd_half_round(min));
    for (int i = 0; i < BLOCK / 2; i++) {
        int low = at_most_15((in[i] - min) * id + 0.5f);
        int high = at_most_15((in[i + BLOCK / 2] - min) * id + 0.5f);
        out[4 + i] = (uint8_t)(low | high << 4);
    }
}

static void all_halves(const float *in, size_t n, uint16_t (*round)(float), uint8_t *out)
{
    for (size_t i = 0; i < n; i++)
        put_half(out + 2 * i, round(in[i]));
}

static void all_blocks(const float *in, size_t n, enum hd_dtype type, uint8_t *out)
{
    for (size_t i = 0; i < n; i += BLOCK, out += hd_dtype_block_bytes(type)) {
        if (type == HD_Q8_0)
            block_q8_0(in + i, out);
        else if (type == HD_Q4_0)
            block_q4_0(in + i, out);
        else
            block_q4_1(in + i, out);
    }
}

int hd_quant(enum hd_dtype type, const float *in, size_t n, void *out)
{
    switch ((int)type) {
    case HD_F32:
        memcpy(out, in, n * sizeof *in);
        return 0;
    case HD_F16:
        all_halves(in, n, hd_f32_to_f16, out);
        return 0;
    case HD_BF16:
        all_halves(in, n, hd_f32_to_bf16, out);
        return 0;
    case HD_Q8_0:
    case HD_Q4_0:
    case HD_Q4_1:
        all_blocks(in, n, type, out);
        return 0;
    default:
        return HD_E_UNSUPPORTED;
    }
}
