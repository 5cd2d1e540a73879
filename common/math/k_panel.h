/* k_panel.h - a group's weights for a panel of inputs, a byte each. Inside common/math only.
 *
 * For products of many rows by AVX-512: what is unpacked once serves them all, and stays in the
 * first-level cache while it does. A piece is a span of inputs (pack.h). */
#ifndef HD_MATH_K_PANEL_H
#define HD_MATH_K_PANEL_H

#include "common/math/k_products.h"

#include <immintrin.h>

#define PANEL_MAX 32 /* blocks of inputs */

struct group_panel {
    _Alignas(64) uint8_t quants[PANEL_MAX * HD_Q8_BLOCK * HD_GROUP]; /* [piece][span / 4][16][4] */
    _Alignas(64) float scale[2 * PANEL_MAX][HD_GROUP];               /* of each piece */
    _Alignas(64) float min[2 * PANEL_MAX][HD_GROUP];
};

/* The signs of the bytes: as they are multiplied, or as v16i_dot wants its weights. */
enum panel_signs { PANEL_SIGNED, PANEL_FOR_DOT };

/* The blocks [block, block + n) of a group. The same blocks of the group that is `next` bytes
 * behind, wanted next, are asked for; beyond the last group in vain. */
struct panel_source {
    const struct hd_weights *w;
    size_t group, block, n, next;
};

/* 16 words of 4 bytes from words of quants as packed. */
HD_INLINE v16i panel_bytes(struct hd_pack p, enum panel_signs signs, v16i w, unsigned shift)
{
    if (p.bits == 8)
        return signs == PANEL_SIGNED ? w : v16i_dot_weights(w, p.low);
    w = v16i_nibbles(w, shift);
    return signs == PANEL_SIGNED ? _mm512_sub_epi8(w, _mm512_set1_epi8((char)p.bias)) : w;
}

HD_INLINE void unpack_span(struct hd_pack p, enum panel_signs signs, const uint8_t *quants,
                           uint8_t *out)
{
    const size_t word_bytes = HD_GROUP * sizeof(uint32_t);
    for (unsigned i = 0; i < p.span * p.bits / 32; i++)
        for (unsigned shift = 0; shift < 8; shift += p.bits, out += word_bytes) {
            v16i w = v16i_load(quants + i * word_bytes);
            _mm512_store_si512(out, panel_bytes(p, signs, w, shift));
        }
}

HD_INLINE void unpack_group(struct hd_pack p, enum panel_signs signs, const struct panel_source *s,
                            struct group_panel *out)
{
    const uint8_t *at = s->w->data + s->group * s->w->group_bytes + s->block * block_bytes(p);
    size_t pieces = s->n * (HD_Q8_BLOCK / p.span);
    for (size_t i = 0; i < pieces; i++, at += hd_pack_span_bytes(p)) {
        for (size_t byte = 0; byte < hd_pack_span_bytes(p); byte += 64)
            __builtin_prefetch(at + s->next + byte, 0, 2);
        v16_store(out->scale[i], load_scale(p, at));
        if (p.has_min)
            v16_store(out->min[i], load_scale(p, at + HD_GROUP * p.scale));
        unpack_span(p, signs, at + hd_pack_head_bytes(p), out->quants + i * p.span * HD_GROUP);
    }
}

#endif
