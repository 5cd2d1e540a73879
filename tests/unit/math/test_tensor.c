/* Types of tensors: sizes by table, values by the definition of each format. */
#include "math_test.h"

/* One block of each quantized type: random bytes with sensible scales, and the sum and the sum
 * weighted by 1, 2, 3... of its values as the reference `gguf` package dequantizes them. */
struct fixture {
    enum hd_dtype type;
    uint8_t block[210];
    double sum, weighted;
};

static const struct fixture fixtures[] = {
    {HD_Q4_0,
     {29, 44, 229, 241, 169, 65, 6, 160, 149, 106, 38, 175, 188, 205, 175, 229, 98, 249},
     0.3856201171875,
     35.8626708984375},
    {HD_Q4_1,
     {89, 172, 110, 187, 81, 133, 240, 113, 30, 247, 103, 122, 31, 19, 42, 129, 141, 136, 33, 149},
     -43.576904296875,
     -720.0379028320312},
    {HD_Q5_0,
     {170, 171, 30,  55,  137, 85,  246, 206, 214, 129, 203,
      234, 113, 121, 206, 210, 200, 248, 20,  161, 52,  114},
     -0.3592529296875,
     0.65863037109375},
    {HD_Q5_1,
     {26,  167, 49,  179, 178, 114, 93,  225, 31,  230, 172, 47,
      136, 166, 129, 130, 134, 151, 147, 240, 170, 214, 222, 216},
     -22.22674560546875,
     -380.69476318359375},
    {HD_Q8_0,
     {76,  171, 175, 97,  178, 136, 251, 208, 174, 207, 167, 102, 97,  98, 35,  97, 30,
      118, 76,  147, 170, 56,  143, 250, 189, 10,  106, 100, 18,  178, 9,  151, 30, 45},
     -0.4560546875,
     -158.2509765625},
    {HD_Q4_K,
     {226, 167, 30,  181, 106, 202, 86,  216, 83,  28,  146, 123, 147, 31,  232, 241, 110, 121,
      91,  155, 51,  23,  103, 231, 18,  219, 232, 245, 51,  29,  217, 145, 127, 1,   230, 71,
      16,  221, 60,  37,  244, 210, 22,  144, 160, 73,  69,  49,  53,  85,  14,  192, 25,  58,
      139, 237, 23,  131, 213, 62,  201, 68,  101, 141, 29,  40,  150, 12,  68,  176, 56,  46,
      147, 67,  142, 96,  120, 141, 81,  226, 121, 161, 49,  248, 19,  11,  62,  164, 189, 47,
      93,  149, 229, 123, 215, 145, 67,  109, 132, 15,  78,  102, 84,  96,  129, 53,  187, 251,
      136, 93,  52,  105, 89,  164, 155, 54,  64,  42,  79,  61,  204, 72,  159, 182, 81,  31,
      190, 9,   229, 215, 43,  248, 52,  224, 79,  224, 40,  202, 73,  145, 224, 42,  189, 119},
     580.3009643554688,
     58021.63442993164},
    {HD_Q5_K,
     {12,  40,  195, 48,  238, 82,  201, 113, 153, 82,  195, 51,  128, 38,  251, 250, 10,  223,
      118, 40,  44,  75,  249, 131, 140, 37,  87,  243, 183, 36,  107, 133, 43,  171, 32,  230,
      4,   174, 131, 229, 56,  93,  152, 196, 105, 1,   38,  190, 152, 240, 156, 147, 132, 170,
      165, 148, 95,  195, 211, 212, 225, 230, 56,  109, 190, 91,  29,  242, 103, 235, 208, 224,
      240, 163, 216, 95,  95,  164, 97,  105, 143, 53,  226, 182, 185, 248, 57,  236, 219, 131,
      181, 24,  78,  84,  151, 17,  245, 10,  133, 63,  59,  70,  20,  110, 50,  1,   169, 41,
      89,  236, 254, 132, 136, 106, 146, 138, 130, 175, 112, 243, 147, 4,   235, 190, 147, 124,
      65,  64,  130, 31,  87,  201, 224, 148, 88,  206, 29,  155, 9,   174, 112, 55,  45,  173,
      26,  207, 92,  79,  27,  241, 146, 183, 1,   182, 130, 34,  92,  235, 46,  161, 176, 178,
      203, 235, 220, 51,  184, 248, 12,  191, 86,  76,  179, 156, 42,  85},
     3020.7664794921875,
     387596.89501953125},
    {HD_Q6_K,
     {242, 20,  217, 119, 38,  53,  199, 245, 163, 218, 138, 230, 167, 86,  160, 218, 244, 183,
      22,  4,   175, 78,  251, 12,  223, 215, 35,  148, 94,  109, 178, 86,  123, 8,   136, 215,
      86,  168, 104, 81,  68,  15,  58,  39,  81,  5,   219, 28,  47,  173, 36,  77,  215, 161,
      105, 160, 210, 234, 80,  32,  15,  56,  38,  204, 252, 85,  120, 77,  230, 12,  80,  80,
      220, 207, 169, 169, 230, 16,  225, 220, 20,  122, 129, 111, 101, 130, 16,  204, 99,  164,
      19,  78,  35,  47,  15,  33,  168, 145, 25,  212, 182, 225, 80,  196, 16,  228, 46,  192,
      118, 110, 243, 225, 121, 57,  137, 127, 73,  28,  129, 50,  234, 13,  196, 149, 249, 37,
      218, 146, 125, 191, 211, 98,  38,  30,  133, 163, 66,  107, 94,  67,  116, 84,  253, 155,
      203, 217, 54,  203, 133, 142, 163, 24,  158, 112, 35,  116, 245, 215, 67,  169, 65,  137,
      28,  13,  235, 200, 199, 161, 20,  104, 161, 233, 206, 40,  234, 210, 218, 135, 121, 175,
      28,  2,   179, 205, 60,  85,  151, 92,  177, 75,  193, 83,  91,  9,   101, 21,  17,  24,
      216, 184, 45,  165, 124, 80,  244, 160, 5,   222, 252, 169},
     -251.4840087890625,
     -37329.54943847656},
};
#define N_FIXTURES (sizeof fixtures / sizeof fixtures[0])

Test(tensor, dequantizes_as_the_reference)
{
    for (size_t f = 0; f < N_FIXTURES; f++) {
        const struct fixture *x = &fixtures[f];
        size_t n = hd_dtype_block(x->type), bytes = hd_dtype_block_bytes(x->type);
        struct hd_tensor t = {x->type, 1, n, bytes, x->block};
        float out[256];
        double sum = 0.0, weighted = 0.0;
        hd_dequant(&t, 0, 0, n, out);
        for (size_t i = 0; i < n; i++) {
            sum += out[i];
            weighted += out[i] * (double)(i + 1);
        }
        cr_assert_float_eq(sum, x->sum, 1e-9, "%s", hd_dtype_name((int)x->type));
        cr_assert_float_eq(weighted, x->weighted, 1e-7, "%s", hd_dtype_name((int)x->type));
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
        known += hd_dtype_known(type);
    cr_assert_eq(known, N_TYPES);
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
