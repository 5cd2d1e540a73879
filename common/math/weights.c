/* Packing of weights: rows of a model file become groups of 16 interleaved outputs (pack.h). */
#include "common/math/block.h"
#include "common/math/half.h"
#include "common/math/pack.h"
#include "common/util/size.h"

#include <stdlib.h>

#define ALIGNMENT 64 /* a cache line, and the widest vector load */

/* Fills *w except data from the tensor and the slice, checking both. 0, HD_E_RANGE or
 * HD_E_UNSUPPORTED. */
static int shape(struct hd_weights *w, const struct hd_tensor *t, const struct hd_slice *s)
{
    if (!hd_dtype_known((int)t->type))
        return HD_E_UNSUPPORTED;
    size_t block = hd_dtype_block(t->type);
    if (s->col0 > t->cols || s->n_cols > t->cols - s->col0 || s->col0 % block || s->n_cols % block)
        return HD_E_RANGE;
    if (!s->row_map && (s->row0 > t->rows || s->n_rows > t->rows - s->row0))
        return HD_E_RANGE;
    for (size_t i = 0; s->row_map && i < s->n_rows; i++)
        if (s->row_map[i] >= t->rows)
            return HD_E_RANGE;
    struct hd_pack p = hd_pack_of(hd_pack_id(t->type));
    size_t bytes;
    if (!hd_mul_size(s->n_cols / p.span, hd_pack_span_bytes(p), &bytes) ||
        !hd_add_size(bytes, ALIGNMENT - 1, &bytes))
        return HD_E_RANGE;
    *w = (struct hd_weights){
        .type = t->type,
        .outputs = s->n_rows,
        .inputs = s->n_cols,
        .groups = s->n_rows / HD_GROUP + (s->n_rows % HD_GROUP != 0),
        .group_bytes = bytes / ALIGNMENT * ALIGNMENT,
    };
    return hd_mul_size(w->groups, w->group_bytes, &bytes) ? 0 : HD_E_RANGE;
}

size_t hd_weights_bytes(const struct hd_tensor *t, const struct hd_slice *s)
{
    struct hd_weights w;
    return shape(&w, t, s) == 0 ? w.groups * w.group_bytes : 0;
}

static void put_scale(uint8_t *at, unsigned bytes, float v)
{
    if (bytes == 2) {
        uint16_t h = hd_half_round(v); /* it was an f16: exact */
        memcpy(at, &h, sizeof h);
    } else {
        memcpy(at, &v, sizeof v);
    }
}

/* Span `k` of a taken-apart block goes to lane `lane` of the packed span at `out`. */
static void pack_span(struct hd_pack p, const struct hd_spans *s, size_t k, uint8_t *out,
                      size_t lane)
{
    const int8_t *q = s->q + k * s->span;
    put_scale(out + lane * p.scale, p.scale, s->scale[k]);
    if (p.has_min)
        put_scale(out + (HD_GROUP + lane) * p.scale, p.scale, s->min[k]);
    out += hd_pack_head_bytes(p);
    if (p.bits == 8) {
        for (size_t i = 0; i < s->span; i++)
            out[i * HD_GROUP + lane] = (uint8_t)q[i];
        return;
    }
    for (size_t j = 0; j < s->span / 8; j++) {
        uint32_t word = 0;
        for (size_t i = 0; i < 8; i++)
            word |= (uint32_t)(q[j * 8 + i] + (int)p.bias) << (4 * i);
        memcpy(out + (j * HD_GROUP + lane) * sizeof word, &word, sizeof word);
    }
}

/* The low nibbles of 8 bytes as one word: nibble k is that of byte k. */
static uint32_t low_nibbles(uint64_t x)
{
    x &= UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(x | x >> 16);
}

/* What most models are made of goes without taking blocks apart, since a failover waits for it: a
 * Q4_0 or Q4_1 block holds its scales as the span does, then input i and i + 16 in byte i. */
static void pack_q4_block(struct hd_pack p, const uint8_t *in, uint8_t *out, size_t lane)
{
    for (unsigned i = 0; i <= p.has_min; i++, in += 2)
        memcpy(out + (i * HD_GROUP + lane) * 2, in, 2);
    out += hd_pack_head_bytes(p);
    for (size_t j = 0; j < 2; j++) {
        uint64_t x;
        memcpy(&x, in + 8 * j, sizeof x);
        uint32_t low = low_nibbles(x), high = low_nibbles(x >> 4);
        memcpy(out + (j * HD_GROUP + lane) * sizeof low, &low, sizeof low);
        memcpy(out + ((j + 2) * HD_GROUP + lane) * sizeof high, &high, sizeof high);
    }
}

static void pack_q8_0_block(struct hd_pack p, const uint8_t *in, uint8_t *out, size_t lane)
{
    memcpy(out + lane * 2, in, 2);
    out += hd_pack_head_bytes(p) + lane;
    for (size_t i = 0; i < p.span; i++)
        out[i * HD_GROUP] = in[2 + i];
}

/* Types whose block is one span. */
static void pack_simple(enum hd_dtype type, const uint8_t *in, const struct hd_weights *w,
                        uint8_t *out, size_t lane)
{
    struct hd_pack p = hd_pack_of(hd_pack_id(type));
    size_t in_bytes = hd_dtype_block_bytes(type), out_bytes = hd_pack_span_bytes(p);
    for (size_t i = 0; i < w->inputs; i += p.span, in += in_bytes, out += out_bytes)
        if (type == HD_Q8_0)
            pack_q8_0_block(p, in, out, lane);
        else
            pack_q4_block(p, in, out, lane);
}

static void pack_quants(struct hd_pack p, enum hd_dtype type, const uint8_t *in,
                        const struct hd_weights *w, uint8_t *out, size_t lane)
{
    size_t block = hd_dtype_block(type), span_bytes = hd_pack_span_bytes(p);
    for (size_t i = 0; i < w->inputs; i += block, in += hd_dtype_block_bytes(type)) {
        struct hd_spans s;
        hd_block_spans(type, in, &s);
        for (size_t k = 0; k < s.n / s.span; k++, out += span_bytes)
            pack_span(p, &s, k, out, lane);
    }
}

static void pack_floats(size_t bytes, const uint8_t *in, size_t inputs, uint8_t *out, size_t lane)
{
    out += lane * bytes;
    if (bytes == 2)
        for (size_t i = 0; i < inputs; i++)
            memcpy(out + i * HD_GROUP * 2, in + i * 2, 2);
    else
        for (size_t i = 0; i < inputs; i++)
            memcpy(out + i * HD_GROUP * 4, in + i * 4, 4);
}

static void pack_output(struct hd_weights *w, const struct hd_tensor *t, const struct hd_slice *s,
                        size_t output)
{
    struct hd_pack p = hd_pack_of(hd_pack_id(t->type));
    size_t row = s->row_map ? s->row_map[output] : s->row0 + output;
    const uint8_t *in = t->data + row * t->row_bytes + hd_dtype_row_bytes(t->type, s->col0);
    uint8_t *out = w->data + output / HD_GROUP * w->group_bytes;
    if (p.is_float != HD_PACK_QUANT)
        pack_floats(p.bits / 8, in, w->inputs, out, output % HD_GROUP);
    else if (t->type == HD_Q8_0 || t->type == HD_Q4_0 || t->type == HD_Q4_1)
        pack_simple(t->type, in, w, out, output % HD_GROUP);
    else
        pack_quants(p, t->type, in, w, out, output % HD_GROUP);
}

int hd_weights_init(struct hd_weights *w, const struct hd_tensor *t, const struct hd_slice *s)
{
    *w = (struct hd_weights){0};
    struct hd_weights shaped;
    int r = shape(&shaped, t, s);
    if (r < 0)
        return r;
    size_t bytes = shaped.groups * shaped.group_bytes;
    if (bytes > 0) {
        shaped.data = aligned_alloc(ALIGNMENT, bytes);
        if (!shaped.data)
            return HD_E_NOMEM;
        /* Zeros in the lanes past the last output: scale 0, minimum 0, quants 0. */
        memset(shaped.data + bytes - shaped.group_bytes, 0, shaped.group_bytes);
    }
    *w = shaped;
    for (size_t i = 0; bytes > 0 && i < w->outputs; i++)
        pack_output(w, t, s, i);
    return 0;
}

void hd_weights_deinit(struct hd_weights *w)
{
    free(w->data);
    *w = (struct hd_weights){0};
}
