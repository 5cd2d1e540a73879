/* vec_avx2.h - two 256-bit halves; AVX2, FMA and F16C. */
#ifndef HD_MATH_VEC_AVX2_H
#define HD_MATH_VEC_AVX2_H

#include <immintrin.h>
#include <string.h>

#define V16_TILE_ROWS   6 /* 12 of the 16 registers hold sums */
#define V16_TILE_GROUPS 1
#define V16_ROW_GROUPS  4 /* 8 chains: latency 4 times two units */
#define V16_Q8_ROWS     4
#define V16_DOT_OFFSET  0
#define V16_ATTN_SUMS   4

typedef struct {
    __m256 lo, hi;
} v16;

typedef struct {
    __m256i lo, hi;
} v16i;

HD_INLINE v16 v16_set1(float f)
{
    return (v16){_mm256_set1_ps(f), _mm256_set1_ps(f)};
}

HD_INLINE v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

HD_INLINE void v16_store(float *p, v16 v)
{
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}

HD_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

HD_INLINE v16 v16_mul(v16 a, v16 b)
{
    return (v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

HD_INLINE v16 v16_add(v16 a, v16 b)
{
    return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

HD_INLINE v16 v16_sub(v16 a, v16 b)
{
    return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

HD_INLINE v16 v16_div(v16 a, v16 b)
{
    return (v16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

HD_INLINE v16 v16_min(v16 a, v16 b)
{
    return (v16){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

HD_INLINE v16 v16_max(v16 a, v16 b)
{
    return (v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

HD_INLINE float v16_fold(v16 v)
{
    __m256 e = _mm256_add_ps(v.lo, v.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

HD_INLINE float v16_fold_max(v16 v)
{
    __m256 e = _mm256_max_ps(v.lo, v.hi);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* The folds of a[0..3] and a[8..11], in this order. */
HD_INLINE __m256 fold_4_and_4(const v16 *a)
{
    __m256 four[4], two[2];
    for (int j = 0; j < 4; j++) {
        __m256 low = _mm256_add_ps(a[j].lo, a[j].hi);
        __m256 high = _mm256_add_ps(a[j + 8].lo, a[j + 8].hi);
        four[j] = _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20),
                                _mm256_permute2f128_ps(low, high, 0x31));
    }
    for (int j = 0; j < 2; j++)
        two[j] = _mm256_add_ps(_mm256_shuffle_ps(four[2 * j], four[2 * j + 1], 0x44),
                               _mm256_shuffle_ps(four[2 * j], four[2 * j + 1], 0xee));
    return _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88),
                         _mm256_shuffle_ps(two[0], two[1], 0xdd));
}

HD_INLINE v16 v16_fold_16(const v16 a[16])
{
    __m256 even = fold_4_and_4(a), odd = fold_4_and_4(a + 4);
    return (v16){_mm256_permute2f128_ps(even, odd, 0x20), _mm256_permute2f128_ps(even, odd, 0x31)};
}

HD_INLINE v16 v16_load_f16(const void *p)
{
    const __m128i *h = p;
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}

HD_INLINE void v16_store_f16(void *p, v16 v)
{
    __m128i *h = p;
    _mm_storeu_si128(h, _mm256_cvtps_ph(v.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(h + 1, _mm256_cvtps_ph(v.hi, _MM_FROUND_TO_NEAREST_INT));
}

HD_INLINE __m256 widen_bf16_8(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

HD_INLINE v16 v16_load_bf16(const void *p)
{
    const __m128i *h = p;
    return (v16){widen_bf16_8(_mm_loadu_si128(h)), widen_bf16_8(_mm_loadu_si128(h + 1))};
}

HD_INLINE v16i v16i_load(const void *p)
{
    const __m256i *w = p;
    return (v16i){_mm256_loadu_si256(w), _mm256_loadu_si256(w + 1)};
}

HD_INLINE __m256 nibble_8(__m256i w, unsigned shift, unsigned bias)
{
    __m256i q = _mm256_and_si256(_mm256_srli_epi32(w, (int)shift), _mm256_set1_epi32(15));
    return _mm256_cvtepi32_ps(bias ? _mm256_sub_epi32(q, _mm256_set1_epi32((int)bias)) : q);
}

HD_INLINE v16 v16_nibble(v16i w, unsigned shift, unsigned bias)
{
    return (v16){nibble_8(w.lo, shift, bias), nibble_8(w.hi, shift, bias)};
}

/* Byte k of each lane becomes its top byte, the others zero. */
HD_INLINE __m256i top_byte_order(unsigned k)
{
    __m128i four = _mm_setr_epi8(-1, -1, -1, (char)k, -1, -1, -1, (char)(k + 4), -1, -1, -1,
                                 (char)(k + 8), -1, -1, -1, (char)(k + 12));
    return _mm256_broadcastsi128_si256(four);
}

HD_INLINE v16 v16_byte(v16i w, unsigned k)
{
    return (v16){_mm256_cvtepi32_ps(_mm256_shuffle_epi8(w.lo, top_byte_order(k))),
                 _mm256_cvtepi32_ps(_mm256_shuffle_epi8(w.hi, top_byte_order(k)))};
}

HD_INLINE __m256 f8_8(__m256i top)
{
    __m256i sign = _mm256_and_si256(top, _mm256_set1_epi32(INT32_MIN));
    __m256i size = _mm256_srli_epi32(_mm256_slli_epi32(top, 1), 5);
    return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_or_si256(sign, size)),
                         _mm256_set1_ps(0x1p120f));
}

HD_INLINE v16 v16_f8(v16i w, unsigned k)
{
    return (v16){f8_8(_mm256_shuffle_epi8(w.lo, top_byte_order(k))),
                 f8_8(_mm256_shuffle_epi8(w.hi, top_byte_order(k)))};
}

HD_INLINE v16i v16i_set1(int32_t i)
{
    return (v16i){_mm256_set1_epi32(i), _mm256_set1_epi32(i)};
}

HD_INLINE v16i v16i_sub(v16i a, v16i b)
{
    return (v16i){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}

/* Half, rounded down. */
HD_INLINE v16i v16i_half(v16i a)
{
    return (v16i){_mm256_srai_epi32(a.lo, 1), _mm256_srai_epi32(a.hi, 1)};
}

HD_INLINE v16i v16_as_int(v16 v)
{
    return (v16i){_mm256_castps_si256(v.lo), _mm256_castps_si256(v.hi)};
}

/* 2^n for n in [-126, 127]. */
HD_INLINE __m256 power_of_2_8(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

HD_INLINE v16 v16_power_of_2(v16i n)
{
    return (v16){power_of_2_8(n.lo), power_of_2_8(n.hi)};
}

HD_INLINE v16i v16i_add(v16i a, v16i b)
{
    return (v16i){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}

HD_INLINE v16i v16i_and(v16i a, v16i b)
{
    return (v16i){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}

HD_INLINE v16i v16i_max(v16i a, v16i b)
{
    return (v16i){_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)};
}

HD_INLINE int32_t v16i_fold_max(v16i a)
{
    __m256i e = _mm256_max_epi32(a.lo, a.hi);
    __m128i q = _mm_max_epi32(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));
    q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

/* 16 bytes of what fits them: packing works in 128-bit lanes, hence the last order. */
HD_INLINE void v16i_store_i8(int8_t *p, v16i a)
{
    __m256i words = _mm256_packs_epi32(a.lo, a.hi);
    __m256i bytes = _mm256_packs_epi16(words, words);
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
    __m128i *q = (void *)p;
    _mm_storeu_si128(q, _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
}

HD_INLINE v16 v16_of_int(v16i a)
{
    return (v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

HD_INLINE v16i v16i_nibbles(v16i w, unsigned shift)
{
    __m256i mask = _mm256_set1_epi8(15);
    return (v16i){_mm256_and_si256(_mm256_srli_epi32(w.lo, (int)shift), mask),
                  _mm256_and_si256(_mm256_srli_epi32(w.hi, (int)shift), mask)};
}

HD_INLINE v16i v16i_dot_weights(v16i w, int low)
{
    (void)low;
    return w;
}

/* 8 lanes: 2 sums of 2 products each, in 16 bits. The instruction wants one factor unsigned: the
 * weight, or its magnitude (up to 128) with its sign on x. */
HD_INLINE __m256i pair_sums_8(__m256i w, __m256i x, int low)
{
    if (low < 0)
        return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_maddubs_epi16(w, x);
}

/* As many steps are summed in 16 bits as cannot overflow, whatever the weights and x. */
HD_INLINE v16i v16i_dot(struct v16_dot s, const v16i *w, const int8_t *x, v16i start)
{
    int largest = s.low < 0 ? -s.low : s.top, batch = INT16_MAX / (largest * 127 * 2);
    __m256i ones = _mm256_set1_epi16(1);
    for (int first = 0; first < s.n; first += batch) {
        __m256i lo = _mm256_setzero_si256(), hi = lo;
        for (int i = first; i < first + batch && i < s.n; i++) {
            int32_t four;
            memcpy(&four, x + 4 * i, sizeof four);
            lo = _mm256_add_epi16(lo, pair_sums_8(w[i].lo, _mm256_set1_epi32(four), s.low));
            hi = _mm256_add_epi16(hi, pair_sums_8(w[i].hi, _mm256_set1_epi32(four), s.low));
        }
        start.lo = _mm256_add_epi32(start.lo, _mm256_madd_epi16(lo, ones));
        start.hi = _mm256_add_epi32(start.hi, _mm256_madd_epi16(hi, ones));
    }
    return start;
}

#endif
