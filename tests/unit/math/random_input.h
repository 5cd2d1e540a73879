/* random_input.h - seeded inputs for the kernels, and what to run them on. libc alone. */
#ifndef HD_TESTS_RANDOM_INPUT_H
#define HD_TESTS_RANDOM_INPUT_H

#include "common/math/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the types that share a packed form some only are multiplied; all are in every_type. */
static const enum hd_dtype all_types[] = {HD_F32,  HD_F16,    HD_BF16,  HD_Q4_0,   HD_Q4_1, HD_Q5_0,
                                          HD_Q5_1, HD_Q8_0,   HD_Q4_K,  HD_Q5_K,   HD_Q6_K, HD_Q2_K,
                                          HD_Q3_K, HD_IQ4_XS, HD_IQ2_S, HD_F8_E4M3};
#define N_TYPES (sizeof all_types / sizeof all_types[0])

static const enum hd_isa all_isas[] = {HD_ISA_PORTABLE, HD_ISA_AVX2, HD_ISA_AVX512, HD_ISA_AMX,
                                       HD_ISA_NEON};
#define N_ISAS (sizeof all_isas / sizeof all_isas[0])

/* Every instruction set that this host can run. */
#define FOR_EACH_ISA(isa, k)                                                                       \
    for (size_t isa = 0; isa < N_ISAS; isa++)                                                      \
        for (const struct hd_kernels *k = hd_kernels_get(all_isas[isa]); k; k = NULL)

static inline uint32_t random_bits(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 32);
}

/* In [-1, 1). */
static inline float random_float(uint64_t *seed)
{
    return (float)(int32_t)random_bits(seed) * 0x1p-31f;
}

static inline float *random_floats(uint64_t seed, size_t n, float size)
{
    float *f = malloc((n + 1) * sizeof *f); /* n = 0 is asked for, too */
    if (!f)
        abort();
    for (size_t i = 0; i < n; i++)
        f[i] = random_float(&seed) * size;
    return f;
}

/* Where in a block its f16 scale is; a minimum lies behind it. */
static inline size_t scale_place(enum hd_dtype type)
{
    return type == HD_Q2_K ? 80 : type == HD_Q3_K ? 108 : type == HD_Q6_K ? 208 : 0;
}

/* Random quants with scales of a sensible size, in any of all_types. t->data is to be freed. */
static inline struct hd_tensor random_tensor(enum hd_dtype type, size_t rows, size_t cols,
                                             uint64_t seed)
{
    size_t row_bytes = hd_dtype_row_bytes(type, cols), bytes = rows * row_bytes;
    uint8_t *data = malloc(bytes + 1);
    if (!data)
        abort();
    if (hd_dtype_block(type) == 1) {
        float *f = random_floats(seed, rows * cols, 1.0f);
        if (hd_quant(type, f, rows * cols, data) < 0)
            abort();
        free(f);
        return (struct hd_tensor){type, rows, cols, row_bytes, data};
    }
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)random_bits(&seed);
    for (size_t i = 0; i < bytes && type == HD_F8_E4M3; i++) /* no NaN */
        data[i] = (data[i] & 0x7f) == 0x7f ? 0x80 : data[i];
    size_t block = hd_dtype_block_bytes(type), scale_at = scale_place(type);
    for (size_t b = 0; b < bytes; b += block) {
        uint16_t d = hd_f32_to_f16(random_float(&seed) * 0.05f);
        uint16_t m = hd_f32_to_f16(random_float(&seed) * 0.1f);
        float scale = random_float(&seed) * 0.05f;
        if (type == HD_F8_E4M3) {
            memcpy(data + b, &scale, sizeof scale);
            continue;
        }
        memcpy(data + b + scale_at, &d, sizeof d);
        if (type == HD_Q4_1 || type == HD_Q5_1 || type == HD_Q2_K || type == HD_Q4_K ||
            type == HD_Q5_K)
            memcpy(data + b + scale_at + 2, &m, sizeof m);
    }
    return (struct hd_tensor){type, rows, cols, row_bytes, data};
}

#endif
