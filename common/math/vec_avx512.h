/* vec_avx512.h - one 512-bit register; AVX-512 F, BW, VL and DQ. */
#ifndef HD_MATH_VEC_AVX512_H
#define HD_MATH_VEC_AVX512_H

#include <immintrin.h>
#include <string.h>

#define V16_TILE_ROWS   12 /* 24 of the 32 registers hold sums */
#define V16_TILE_GROUPS 2
#define V16_ROW_GROUPS  8 /* chains: latency 4 times two units */
#define V16_Q8_ROWS     8 /* 8 sums, 8 words of weights, and what is in flight */
#define V16_DOT_OFFSET  128
#define V16_ATTN_SUMS   16

typedef __m512 v16;
typedef __m512i v16i;

HD_INLINE v16 v16_set1(float f)
{
    return _mm512_set1_ps(f);
}

HD_INLINE v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

HD_INLINE void v16_store(float *p, v16 v)
{
    _mm512_storeu_ps(p, v);
}

HD_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

HD_INLINE v16 v16_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}

HD_INLINE v16 v16_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}

HD_INLINE v16 v16_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}

HD_INLINE v16 v16_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}

HD_INLINE v16 v16_min(v16 a, v16 b)
{
    return _mm512_min_ps(a, b);
}

HD_INLINE v16 v16_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}

HD_INLINE float v16_fold(v16 v)
{
    __m256 e = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

HD_INLINE float v16_fold_max(v16 v)
{
    __m256 e = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* Quarters of 128 bits and lanes in them: each step adds the halves of two vectors at once. */
HD_INLINE v16 v16_fold_16(const v16 a[16])
{
    __m512 eight[8], four[4], two[2];
    for (int j = 0; j < 8; j++)
        eight[j] = _mm512_add_ps(_mm512_shuffle_f32x4(a[j], a[j + 8], 0x44),
                                 _mm512_shuffle_f32x4(a[j], a[j + 8], 0xee));
    for (int j = 0; j < 4; j++)
        four[j] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[j], eight[j + 4], 0x88),
                                _mm512_shuffle_f32x4(eight[j], eight[j + 4], 0xdd));
    for (int j = 0; j < 2; j++)
        two[j] = _mm512_add_ps(_mm512_shuffle_ps(four[2 * j], four[2 * j + 1], 0x44),
                               _mm512_shuffle_ps(four[2 * j], four[2 * j + 1], 0xee));
    __m512 one = _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88),
                               _mm512_shuffle_ps(two[0], two[1], 0xdd));
    return _mm512_shuffle_f32x4(one, one, 0xd8); /* quarters are 0, 8, 4, 12: in order */
}

HD_INLINE v16 v16_load_f16(const void *p)
{
    const __m256i *h = p;
    return _mm512_cvtph_ps(_mm256_loadu_si256(h));
}

HD_INLINE void v16_store_f16(void *p, v16 v)
{
    __m256i *h = p;
    _mm256_storeu_si256(h, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

HD_INLINE v16 v16_load_bf16(const void *p)
{
    const __m256i *h = p;
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(h));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

HD_INLINE v16i v16i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* A table of the 16 values: the permutation reads only the low four bits of each lane. */
HD_INLINE v16 v16_nibble(v16i w, unsigned shift, unsigned bias)
{
    __m512 values = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (bias == 8)
        values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_permutexvar_ps(_mm512_srli_epi32(w, shift), values);
}

/* Byte k of each lane becomes its top byte, the others zero. */
HD_INLINE v16i byte_to_top(v16i w, unsigned k)
{
    __m128i four = _mm_setr_epi8(-1, -1, -1, (char)k, -1, -1, -1, (char)(k + 4), -1, -1, -1,
                                 (char)(k + 8), -1, -1, -1, (char)(k + 12));
    __m512i order = _mm512_broadcast_i32x4(four);
    return _mm512_shuffle_epi8(w, order);
}

HD_INLINE v16 v16_byte(v16i w, unsigned k)
{
    return _mm512_cvtepi32_ps(byte_to_top(w, k));
}

HD_INLINE v16 v16_f8(v16i w, unsigned k)
{
    __m512i top = byte_to_top(w, k), sign = _mm512_and_si512(top, _mm512_set1_epi32(INT32_MIN));
    __m512i size = _mm512_srli_epi32(_mm512_slli_epi32(top, 1), 5);
    return _mm512_mul_ps(_mm512_castsi512_ps(_mm512_or_si512(sign, size)),
                         _mm512_set1_ps(0x1p120f));
}

HD_INLINE v16i v16i_set1(int32_t i)
{
    return _mm512_set1_epi32(i);
}

HD_INLINE v16i v16i_sub(v16i a, v16i b)
{
    return _mm512_sub_epi32(a, b);
}

/* Half, rounded down. */
HD_INLINE v16i v16i_half(v16i a)
{
    return _mm512_srai_epi32(a, 1);
}

HD_INLINE v16i v16_as_int(v16 v)
{
    return _mm512_castps_si512(v);
}

/* 2^n for n in [-126, 127]. */
HD_INLINE v16 v16_power_of_2(v16i n)
{
    __m512i biased = _mm512_add_epi32(n, _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

HD_INLINE v16i v16i_add(v16i a, v16i b)
{
    return _mm512_add_epi32(a, b);
}

HD_INLINE v16i v16i_and(v16i a, v16i b)
{
    return _mm512_and_si512(a, b);
}

HD_INLINE v16i v16i_max(v16i a, v16i b)
{
    return _mm512_max_epi32(a, b);
}

HD_INLINE int32_t v16i_fold_max(v16i a)
{
    return _mm512_reduce_max_epi32(a);
}

/* 16 bytes of what fits them. */
HD_INLINE void v16i_store_i8(int8_t *p, v16i a)
{
    __m128i *q = (void *)p;
    _mm_storeu_si128(q, _mm512_cvtepi32_epi8(a));
}

HD_INLINE v16 v16_of_int(v16i a)
{
    return _mm512_cvtepi32_ps(a);
}

HD_INLINE v16i v16i_nibbles(v16i w, unsigned shift)
{
    return _mm512_and_si512(_mm512_srli_epi32(w, shift), _mm512_set1_epi8(15));
}

#ifdef __AVX512VNNI__
/* The instruction wants the weights unsigned. */
HD_INLINE v16i v16i_dot_weights(v16i w, int low)
{
    return low < 0 ? _mm512_xor_si512(w, _mm512_set1_epi8((char)V16_DOT_OFFSET)) : w;
}

HD_INLINE v16i v16i_dot(struct v16_dot s, const v16i *w, const int8_t *x, v16i start)
{
    for (int i = 0; i < s.n; i++) {
        int32_t four;
        memcpy(&four, x + 4 * i, sizeof four);
        start = _mm512_dpbusd_epi32(start, w[i], _mm512_set1_epi32(four));
    }
    return start;
}
#endif

#endif
