/* units.c - how wide the blocks are into which FFN and vocabulary are cut, and how many there are.
 */
#include "common/model/model.h"
#include "common/model/unit.h"

#define BLOCKS_PER_HEAD   4
#define BLOCKS_PER_EXPERT 4 /* so many workers share each row's work evenly, whatever it takes */
#define FFN_WIDTH_MAX     512
#define VOCAB_WIDTH_MAX   1024
#define FLOAT_STEP        16 /* float matrices have no blocks; whole vectors for the kernels */

/* The widest multiple of `step` up to `max` that cuts `n` into at least `parts` parts; one step
 * when nothing is narrow enough. ceil(n / w) >= parts means w <= (n - 1) / (parts - 1). */
static uint32_t width(uint32_t n, uint32_t parts, uint32_t step, uint32_t max)
{
    uint32_t w = (n - 1) / (parts - 1);

    if (w > max)
        w = max;
    w -= w % step;
    return w ? w : step;
}

/* The widest block of any layer's down matrix: block sizes divide one another (1, 32, 256). */
static uint32_t down_block(const struct hd_model *m)
{
    uint32_t block = FLOAT_STEP;

    for (uint32_t l = 0; l < m->shape.n_layers; l++) {
        uint32_t b = (uint32_t)hd_dtype_block(m->layers[l].down.type);

        if (b > block)
            block = b;
    }
    return block;
}

/* Into how many blocks each expert is cut at least, when all are to give so many parts. */
static uint32_t expert_parts(uint32_t parts, uint32_t experts)
{
    uint32_t each = (parts + experts - 1) / experts;

    return each < BLOCKS_PER_EXPERT ? BLOCKS_PER_EXPERT : each;
}

const char *hd_unit_kind_name(enum hd_unit_kind kind)
{
    static const char *const names[HD_UNIT_KINDS] = {"head", "FFN block", "vocab block"};
    return names[kind];
}

void hd_model_units(const struct hd_model *m, struct hd_units *u)
{
    const struct hd_model_shape *s = &m->shape;
    uint32_t parts = BLOCKS_PER_HEAD * s->n_kv_heads;

    u->heads = s->n_kv_heads;
    u->experts = s->n_experts ? s->n_experts : 1;
    u->ffn_width = width(s->ffn_dim, expert_parts(parts, u->experts), down_block(m), FFN_WIDTH_MAX);
    u->ffn_blocks = (s->ffn_dim + u->ffn_width - 1) / u->ffn_width * u->experts;
    u->vocab_width = width(s->vocab, parts, FLOAT_STEP, VOCAB_WIDTH_MAX);
    u->vocab_blocks = (s->vocab + u->vocab_width - 1) / u->vocab_width;
}
