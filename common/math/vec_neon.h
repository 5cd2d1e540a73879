/* vec_neon.h - four 128-bit quarters; Armv8.2 with the dot product instructions. */
#ifndef HD_MATH_VEC_NEON_H
#define HD_MATH_VEC_NEON_H

#include <arm_neon.h>
#include <string.h>

#define V16_TILE_ROWS   4 /* 16 of the 32 registers hold sums */
#define V16_TILE_GROUPS 1
#define V16_ROW_GROUPS  4 /* 16 chains: latency 4 times four units */
#define V16_Q8_ROWS     4
#define V16_DOT_OFFSET  0
#define V16_ATTN_SUMS   4

typedef struct {
    float32x4_t q[4];
} v16;

typedef struct {
    int32x4_t q[4];
} v16i;

#define V16_EACH for (int q_ = 0; q_ < 4; q_++)

HD_INLINE v16 v16_set1(float f)
{
    float32x4_t v = vdupq_n_f32(f);
    return (v16){{v, v, v, v}};
}

HD_INLINE v16 v16_load(const float *p)
{
    return (v16){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}

HD_INLINE void v16_store(float *p, v16 v)
{
    V16_EACH vst1q_f32(p + 4 * q_, v.q[q_]);
}

HD_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    V16_EACH c.q[q_] = vfmaq_f32(c.q[q_], a.q[q_], b.q[q_]);
    return c;
}

HD_INLINE v16 v16_mul(v16 a, v16 b)
{
    V16_EACH a.q[q_] = vmulq_f32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16 v16_add(v16 a, v16 b)
{
    V16_EACH a.q[q_] = vaddq_f32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16 v16_sub(v16 a, v16 b)
{
    V16_EACH a.q[q_] = vsubq_f32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16 v16_div(v16 a, v16 b)
{
    V16_EACH a.q[q_] = vdivq_f32(a.q[q_], b.q[q_]);
    return a;
}

/* The instructions for minimum and maximum treat NaN and -0 otherwise. */
HD_INLINE v16 v16_min(v16 a, v16 b)
{
    V16_EACH a.q[q_] = vbslq_f32(vcltq_f32(a.q[q_], b.q[q_]), a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16 v16_max(v16 a, v16 b)
{
    V16_EACH a.q[q_] = vbslq_f32(vcgtq_f32(a.q[q_], b.q[q_]), a.q[q_], b.q[q_]);
    return a;
}

/* Quarters 0 + 2 and 1 + 3 are the lanes 8 + 8; then 4 + 4, 2 + 2, 1 + 1. */
HD_INLINE float v16_fold(v16 v)
{
    float32x4_t a = vaddq_f32(vaddq_f32(v.q[0], v.q[2]), vaddq_f32(v.q[1], v.q[3]));
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

HD_INLINE float v16_fold_max(v16 v)
{
    float lanes[16];
    v16_store(lanes, v);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
    return lanes[0];
}

HD_INLINE v16 v16_fold_16(const v16 a[16])
{
    float lanes[16];
    for (int i = 0; i < 16; i++)
        lanes[i] = v16_fold(a[i]);
    return v16_load(lanes);
}

HD_INLINE v16 v16_load_f16(const void *p)
{
    const uint16_t *h = p;
    v16 r;
    V16_EACH r.q[q_] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + 4 * q_)));
    return r;
}

HD_INLINE void v16_store_f16(void *p, v16 v)
{
    uint16_t *h = p;
    V16_EACH vst1_u16(h + 4 * q_, vreinterpret_u16_f16(vcvt_f16_f32(v.q[q_])));
}

HD_INLINE v16 v16_load_bf16(const void *p)
{
    const uint16_t *h = p;
    v16 r;
    V16_EACH r.q[q_] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(h + 4 * q_), 16));
    return r;
}

HD_INLINE v16i v16i_load(const void *p)
{
    const uint8_t *b = p;
    v16i r;
    V16_EACH r.q[q_] = vreinterpretq_s32_u8(vld1q_u8(b + 16 * q_));
    return r;
}

HD_INLINE v16i v16i_set1(int32_t i)
{
    int32x4_t v = vdupq_n_s32(i);
    return (v16i){{v, v, v, v}};
}

HD_INLINE v16i v16i_sub(v16i a, v16i b)
{
    V16_EACH a.q[q_] = vsubq_s32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16i v16i_add(v16i a, v16i b)
{
    V16_EACH a.q[q_] = vaddq_s32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16i v16i_and(v16i a, v16i b)
{
    V16_EACH a.q[q_] = vandq_s32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE v16i v16i_max(v16i a, v16i b)
{
    V16_EACH a.q[q_] = vmaxq_s32(a.q[q_], b.q[q_]);
    return a;
}

HD_INLINE int32_t v16i_fold_max(v16i a)
{
    return vmaxvq_s32(vmaxq_s32(vmaxq_s32(a.q[0], a.q[1]), vmaxq_s32(a.q[2], a.q[3])));
}

/* Half, rounded down. */
HD_INLINE v16i v16i_half(v16i a)
{
    V16_EACH a.q[q_] = vshrq_n_s32(a.q[q_], 1);
    return a;
}

HD_INLINE v16i v16_as_int(v16 v)
{
    v16i r;
    V16_EACH r.q[q_] = vreinterpretq_s32_f32(v.q[q_]);
    return r;
}

HD_INLINE v16 v16_of_int(v16i a)
{
    v16 r;
    V16_EACH r.q[q_] = vcvtq_f32_s32(a.q[q_]);
    return r;
}

/* 2^n for n in [-126, 127]. */
HD_INLINE v16 v16_power_of_2(v16i n)
{
    v16 r;
    V16_EACH r.q[q_] = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n.q[q_], vdupq_n_s32(127)), 23));
    return r;
}

/* 16 bytes of what fits them. */
HD_INLINE void v16i_store_i8(int8_t *p, v16i a)
{
    int16x8_t low = vcombine_s16(vmovn_s32(a.q[0]), vmovn_s32(a.q[1]));
    int16x8_t high = vcombine_s16(vmovn_s32(a.q[2]), vmovn_s32(a.q[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

HD_INLINE v16 v16_nibble(v16i w, unsigned shift, unsigned bias)
{
    v16i r;
    V16_EACH
    {
        uint32x4_t v = vshlq_u32(vreinterpretq_u32_s32(w.q[q_]), vdupq_n_s32(-(int)shift));
        v = vandq_u32(v, vdupq_n_u32(15));
        r.q[q_] = vsubq_s32(vreinterpretq_s32_u32(v), vdupq_n_s32((int)bias));
    }
    return v16_of_int(r);
}

HD_INLINE v16 v16_byte(v16i w, unsigned k)
{
    int32x4_t to_the_top = vdupq_n_s32(24 - 8 * (int)k);
    V16_EACH w.q[q_] = vandq_s32(vshlq_s32(w.q[q_], to_the_top), vdupq_n_s32((int32_t)0xff000000));
    return v16_of_int(w);
}

HD_INLINE v16 v16_f8(v16i w, unsigned k)
{
    int32x4_t to_the_top = vdupq_n_s32(24 - 8 * (int)k);
    v16 r;
    V16_EACH
    {
        uint32x4_t top = vreinterpretq_u32_s32(vshlq_s32(w.q[q_], to_the_top));
        uint32x4_t sign = vandq_u32(top, vdupq_n_u32(0x80000000u));
        uint32x4_t size = vandq_u32(vshrq_n_u32(top, 4), vdupq_n_u32(0x07f00000u));
        r.q[q_] = vmulq_n_f32(vreinterpretq_f32_u32(vorrq_u32(sign, size)), 0x1p120f);
    }
    return r;
}

HD_INLINE v16i v16i_nibbles(v16i w, unsigned shift)
{
    V16_EACH
    {
        uint8x16_t v = vreinterpretq_u8_s32(w.q[q_]);
        w.q[q_] = vreinterpretq_s32_u8(shift == 4 ? vshrq_n_u8(v, 4) : vandq_u8(v, vdupq_n_u8(15)));
    }
    return w;
}

HD_INLINE v16i v16i_dot_weights(v16i w, int low)
{
    (void)low;
    return w;
}

HD_INLINE v16i v16i_dot(struct v16_dot s, const v16i *w, const int8_t *x, v16i start)
{
    for (int i = 0; i < s.n; i++) {
        int32_t four;
        memcpy(&four, x + 4 * i, sizeof four);
        int8x16_t xi = vreinterpretq_s8_s32(vdupq_n_s32(four));
        V16_EACH start.q[q_] = vdotq_s32(start.q[q_], vreinterpretq_s8_s32(w[i].q[q_]), xi);
    }
    return start;
}

#endif
