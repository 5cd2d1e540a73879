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

/* The word of 8 inputs, one in each byte, all of them 0..15 (pack.h). */
static uint32_t word_of_8(uint64_t x)
{
    return (uint32_t)(x | x >> 28);
}

static void put_word(uint8_t *quants, size_t j, size_t lane, uint32_t word)
{
    memcpy(quants + (j * HD_GROUP + lane) * sizeof word, &word, sizeof word);
}

/* Words 0 .. n_words - 1 of `low` from the low nibbles of 8 bytes each, of `high` from the high. */
static void put_nibbles(const uint8_t *in, size_t n_words, size_t lane, uint8_t *low, uint8_t *high)
{
    const uint64_t nibbles = UINT64_C(0x0f0f0f0f0f0f0f0f);
    for (size_t j = 0; j < n_words; j++) {
        uint64_t x;
        memcpy(&x, in + 8 * j, sizeof x);
        put_word(low, j, lane, word_of_8(x & nibbles));
        put_word(high, j, lane, word_of_8(x >> 4 & nibbles));
    }
}

/* Words of 4 bytes as they are. */
static void put_bytes(const void *in, size_t n, size_t lane, uint8_t *quants)
{
    for (size_t i = 0; i < n; i += 4)
        memcpy(quants + (i * HD_GROUP + lane * 4), (const uint8_t *)in + i, 4);
}

static void put_head(struct hd_pack p, const struct hd_spans *s, size_t k, uint8_t *out,
                     size_t lane)
{
    put_scale(out + lane * p.scale, p.scale, s->scale[k]);
    if (p.has_min)
        put_scale(out + (HD_GROUP + lane) * p.scale, p.scale, s->min[k]);
}

/* What most models are made of goes without taking blocks apart, since a failover waits for it: a
 * Q4_0 or Q4_1 block holds its scales as the span does, then input i and i + 16 in byte i. */
static void pack_q4_block(struct hd_pack p, const uint8_t *in, uint8_t *out, size_t lane)
{
    for (unsigned i = 0; i <= p.has_min; i++, in += 2)
        memcpy(out + (i * HD_GROUP + lane) * 2, in, 2);
    out += hd_pack_head_bytes(p);
    put_nibbles(in, 2, lane, out, out + 2 * HD_GROUP * sizeof(uint32_t));
}

static void pack_q8_0_block(struct hd_pack p, const uint8_t *in, uint8_t *out, size_t lane)
{
    memcpy(out + lane * 2, in, 2);
    put_bytes(in + 2, p.span, lane, out + hd_pack_head_bytes(p));
}

static void pack_f8_block(struct hd_pack p, const uint8_t *in, uint8_t *out, size_t lane)
{
    memcpy(out + lane * sizeof(float), in, sizeof(float));
    put_bytes(in + sizeof(float), p.span, lane, out + hd_pack_head_bytes(p));
}

/* 4 times 32 bytes, whose low nibbles are one span and whose high nibbles the next. */
static void pack_q4_k_block(struct hd_pack p, const uint8_t *in, uint8_t *out, size_t lane)
{
    size_t head = hd_pack_head_bytes(p), span_bytes = hd_pack_span_bytes(p);
    struct hd_spans s;
    hd_block_k_scales(in, &s);
    for (size_t k = 0; k < 8; k++)
        put_head(p, &s, k, out + k * span_bytes, lane);
    for (size_t k = 0; k < 8; k += 2) {
        uint8_t *low = out + k * span_bytes + head;
        put_nibbles(in + 16 + k / 2 * 32, 4, lane, low, low + span_bytes);
    }
}

/* The other types: a block is taken apart first. */
static void pack_any_block(struct hd_pack p, enum hd_dtype type, const uint8_t *in, uint8_t *out,
                           size_t lane)
{
    struct hd_spans s;
    hd_block_spans(type, in, &s);
    for (size_t k = 0; k < s.n / s.span; k++, out += hd_pack_span_bytes(p)) {
        put_head(p, &s, k, out, lane);
        put_bytes(s.q + k * s.span, s.span, lane, out + hd_pack_head_bytes(p));
    }
}

static void pack_block(struct hd_pack p, enum hd_dtype type, const uint8_t *in, uint8_t *out,
                       size_t lane)
{
    if (type == HD_Q4_0 || type == HD_Q4_1)
        pack_q4_block(p, in, out, lane);
    else if (type == HD_Q8_0)
        pack_q8_0_block(p, in, out, lane);
    else if (type == HD_F8_E4M3)
        pack_f8_block(p, in, out, lane);
    else if (type == HD_Q4_K)
        pack_q4_k_block(p, in, out, lane);
    else
        pack_any_block(p, type, in, out, lane);
}

/* Block by block through all outputs of a group, so that a line of it is written once. */
static void pack_quants(struct hd_pack p, const struct hd_weights *w, const uint8_t *const *in,
                        size_t lanes, uint8_t *out)
{
    size_t block = hd_dtype_block(w->type), in_bytes = hd_dtype_block_bytes(w->type);
    size_t out_bytes = block / p.span * hd_pack_span_bytes(p);
    for (size_t b = 0; b < w->inputs / block; b++, out += out_bytes)
        for (size_t lane = 0; lane < lanes; lane++)
            pack_block(p, w->type, in[lane] + b * in_bytes, out, lane);
}

static void pack_floats(size_t bytes, const uint8_t *in, size_t inputs, uint8_t *out)
{
    if (bytes == 2)
        for (size_t i = 0; i < inputs; i++)
            memcpy(out + i * HD_GROUP * 2, in + i * 2, 2);
    else
        for (size_t i = 0; i < inputs; i++)
            memcpy(out + i * HD_GROUP * 4, in + i * 4, 4);
}

static void pack_group(const struct hd_weights *w, const struct hd_tensor *t,
                       const struct hd_slice *s, size_t group)
{
    struct hd_pack p = hd_pack_of(hd_pack_id(t->type));
    size_t first = group * HD_GROUP, left = w->outputs - first;
    size_t lanes = left < HD_GROUP ? left : HD_GROUP;
    const uint8_t *in[HD_GROUP];
    uint8_t *out = w->data + group * w->group_bytes;
    size_t used = w->inputs / p.span * hd_pack_span_bytes(p);
    memset(out + used, 0, w->group_bytes - used); /* all of it is a function of the tensor */
    for (size_t lane = 0; lane < lanes; lane++) {
        size_t output = first + lane, row = s->row_map ? s->row_map[output] : s->row0 + output;
        in[lane] = t->data + row * t->row_bytes + hd_dtype_row_bytes(t->type, s->col0);
    }
    if (p.span > 1)
        pack_quants(p, w, in, lanes, out);
    else
        for (size_t lane = 0; lane < lanes; lane++)
            pack_floats(p.bits / 8, in[lane], w->inputs, out + lane * p.bits / 8);
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
    for (size_t g = 0; bytes > 0 && g < w->groups; g++)
        pack_group(w, t, s, g);
    return 0;
}

void hd_weights_deinit(struct hd_weights *w)
{
    free(w->data);
    *w = (struct hd_weights){0};
}
