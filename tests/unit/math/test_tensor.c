/* Types of tensors: sizes by table, values by the definition of each format. */
#include "common/math/half.h"
#include "dequant.h"
#include "math_test.h"

/* All that a block can be: no bit of one is looked at in another way than the reference does. */
Test(tensor, every_type_has_the_values_of_the_reference)
{
    for (size_t t = 0; t < sizeof dequant_values / sizeof *dequant_values; t++) {
        enum hd_dtype type = dequant_values[t].type;
        size_t size = hd_dtype_block_bytes(type), n = hd_dtype_block(type) * DEQUANT_BLOCKS;
        uint8_t *data = malloc(size * DEQUANT_BLOCKS);
        float *out = malloc(n * sizeof *out);
        uint64_t seed = DEQUANT_SEED, digest = 0xcbf29ce484222325u;
        for (size_t i = 0; i < size * DEQUANT_BLOCKS; i++)
            data[i] = (uint8_t)random_bits(&seed);
        for (size_t b = 0; b < DEQUANT_BLOCKS; b++)
            for (size_t h = 0; h < 2 && dequant_values[t].half[h] >= 0; h++)
                data[b * size + (size_t)dequant_values[t].half[h]] &= 0xbf;
        struct hd_tensor tensor = {type, 1, n, size * DEQUANT_BLOCKS, data};
        hd_dequant(&tensor, 0, 0, n, out);
        for (size_t i = 0; i < n * sizeof *out; i++) {
            if (i % sizeof *out == 0 && out[i / sizeof *out] == 0.0f)
                out[i / sizeof *out] = 0.0f; /* not -0 */
            digest = (digest ^ ((const uint8_t *)out)[i]) * 0x100000001b3u;
        }
        cr_assert_eq(digest, dequant_values[t].digest, "%s", hd_dtype_name((int)type));
        free(data);
        free(out);
    }
}

Test(tensor, dequantizes_any_row_and_column)
{
    for (size_t t = 0; t < N_TYPES; t++) {
        struct hd_tensor tensor = random_tensor(all_types[t], 3, 768, 21);
        float whole[768], part[256];
        hd_dequant(&tensor, 2, 0, 768, whole);
        hd_dequant(&tensor, 2, 512, 256, part);
        cr_assert(same_bits(whole + 512, part, 256));
        free((void *)tensor.data);
    }
}

Test(tensor, knows_its_types)
{
    size_t known = 0;
    for (int type = -5; type < 300; type++)
        known += hd_dtype_is_ggml(type);
    cr_assert_eq(known, 3 + sizeof dequant_values / sizeof *dequant_values); /* and the floats */
    cr_assert_str_eq(hd_dtype_name(HD_Q4_1), "Q4_1");
    cr_assert_str_eq(hd_dtype_name(HD_BF16), "BF16");
    cr_assert_str_eq(hd_dtype_name(4), "?");
    cr_assert_str_eq(hd_dtype_name(-1), "?");
    cr_assert_eq(hd_dtype_row_bytes(HD_Q4_1, 576), 18 * 20);
    cr_assert_eq(hd_dtype_row_bytes(HD_Q6_K, 512), 2 * 210);
    cr_assert_eq(hd_dtype_row_bytes(HD_F16, 7), 14);
}

/* Half a step of the block's grid, and a little for the f16 scale. */
Test(tensor, quantizes_within_half_a_step)
{
    static const struct {
        enum hd_dtype type;
        float error; /* for values in [-1, 1) */
    } cases[] = {{HD_F32, 0.0f},     {HD_F16, 0x1p-12f}, {HD_BF16, 0x1p-9f},
                 {HD_Q8_0, 0.0045f}, {HD_Q4_1, 0.068f},  {HD_Q4_0, 0.127f}};
    float *x = random_floats(31, 256, 1.0f), out[256];
    uint8_t bytes[1024];
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        cr_assert_eq(hd_quant(cases[c].type, x, 256, bytes), 0);
        struct hd_tensor t = {cases[c].type, 1, 256, 0, bytes};
        hd_dequant(&t, 0, 0, 256, out);
        for (size_t i = 0; i < 256; i++)
            cr_assert_leq(fabsf(out[i] - x[i]), cases[c].error, "%s: %g became %g",
                          hd_dtype_name((int)cases[c].type), x[i], out[i]);
    }
    cr_assert_eq(hd_quant(HD_Q6_K, x, 256, bytes), HD_E_UNSUPPORTED);
    free(x);
}

Test(tensor, quantizes_zeros_to_zeros)
{
    static const enum hd_dtype types[] = {HD_Q8_0, HD_Q4_0, HD_Q4_1};
    float zeros[32] = {0}, out[32];
    uint8_t bytes[64];
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(hd_quant(types[i], zeros, 32, bytes), 0);
        struct hd_tensor t = {types[i], 1, 32, 0, bytes};
        hd_dequant(&t, 0, 0, 32, out);
        for (size_t j = 0; j < 32; j++)
            cr_assert_eq(out[j], 0.0f);
    }
}

Test(half, widens_fp8)
{
    for (unsigned b = 0; b < 256; b++) {
        int exponent = (int)(b >> 3 & 15), fraction = (int)(b & 7);
        float size =
            exponent ? ldexpf((float)(8 + fraction), exponent - 10) : ldexpf((float)fraction, -9);
        if ((b & 127) != 127)
            cr_assert_eq(hd_e4m3_widen((uint8_t)b), b & 128 ? -size : size, "%u", b);
    }
}

Test(half, every_f16_survives_the_way_there_and_back)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = hd_f16_to_f32((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00)
            cr_assert(isnan(f) && isnan(hd_f16_to_f32(hd_f32_to_f16(f))));
        else
            cr_assert_eq(hd_f32_to_f16(f), h);
    }
}

/* Between two neighbours the middle goes to the even one, the next float either side does not. */
Test(half, rounds_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = hd_f16_to_f32((uint16_t)h), high = hd_f16_to_f32((uint16_t)(h + 1));
        float middle = (low + high) / 2;
        cr_assert_eq(hd_f32_to_f16(middle), h + (h & 1));
        cr_assert_eq(hd_f32_to_f16(nextafterf(middle, 0.0f)), h);
        cr_assert_eq(hd_f32_to_f16(-nextafterf(middle, INFINITY)), 0x8000 | (h + 1));
    }
    cr_assert_eq(hd_f32_to_f16(65519.996f), 0x7bff);
    cr_assert_eq(hd_f32_to_f16(65520.0f), 0x7c00);
    cr_assert_eq(hd_f32_to_f16(-INFINITY), 0xfc00);
    cr_assert_eq(hd_f32_to_f16(0x1p-30f), 0);
}

Test(half, bf16_is_the_upper_half_rounded)
{
    cr_assert_eq(hd_f32_to_bf16(1.0f), 0x3f80);
    cr_assert_eq(hd_f32_to_bf16(0x1.01p0f), 0x3f80); /* the middle: to even */
    cr_assert_eq(hd_f32_to_bf16(0x1.03p0f), 0x3f82);
    cr_assert_eq(hd_f32_to_bf16(0x1.010002p0f), 0x3f81);
    cr_assert_eq(hd_f32_to_bf16(-INFINITY), 0xff80);
    cr_assert(isnan(hd_bf16_to_f32(hd_f32_to_bf16(NAN))));
    cr_assert_eq(hd_bf16_to_f32(0xc040), -3.0f);
}
