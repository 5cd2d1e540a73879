/* The cut into units: a property of many shapes. */
#include "fixture.h"

#include <criterion/criterion.h>

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* `n` things in blocks of `width`, multiples of `step`, at most `max`, at least `parts` blocks. */
static void check_cut(uint32_t n, uint32_t width, uint32_t blocks, const uint32_t limits[3])
{
    uint32_t step = limits[0], max = limits[1], parts = limits[2];

    cr_assert_eq(width % step, 0, "%u of %u", width, n);
    cr_assert(width >= step && width <= max);
    cr_assert((uint64_t)width * blocks >= n && (uint64_t)width * (blocks - 1) < n,
              "%u blocks of %u do not cover %u", blocks, width, n);
    if (width > step)
        cr_assert(blocks >= parts, "%u: %u blocks of %u, not %u", n, blocks, width, parts);
    /* The next wider one would break a limit. */
    uint32_t wider = width + step;
    cr_assert(wider > max || (n + wider - 1) / wider < parts, "%u: %u could be %u", n, width,
              wider);
}

Test(units, cover_every_shape)
{
    static const struct {
        enum hd_dtype type;
        uint32_t step;
    } types[] = {{HD_F32, 16}, {HD_BF16, 16}, {HD_Q8_0, 32}, {HD_Q4_1, 32}, {HD_Q6_K, 256}};

    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t r = random_at(5, i);
        struct hd_layer layers[2] = {0};
        struct hd_model m = {.layers = layers};
        struct hd_units u;
        size_t a = r % 5, b = (r >> 8) % 5;
        uint32_t step = max_u32(types[a].step, types[b].step);

        layers[0].down.type = types[a].type;
        layers[1].down.type = types[b].type;
        m.shape.n_layers = 2;
        m.shape.n_kv_heads = 1 + (uint32_t)(r >> 16) % 64;
        m.shape.ffn_dim = step * (1 + (uint32_t)(r >> 24) % 300);
        m.shape.vocab = 1 + (uint32_t)(r >> 36) % 200000;
        hd_model_units(&m, &u);
        cr_assert_eq(u.heads, m.shape.n_kv_heads);
        check_cut(m.shape.ffn_dim, u.ffn_width, u.ffn_blocks, (uint32_t[]){step, 512, 4 * u.heads});
        check_cut(m.shape.vocab, u.vocab_width, u.vocab_blocks,
                  (uint32_t[]){16, 1024, 4 * u.heads});
    }
}

Test(units, of_known_models)
{
    struct hd_layer layer = {.down = {.type = HD_Q4_0}};
    struct hd_model m = {.layers = &layer, .shape = {.n_layers = 1}};
    struct hd_units u;

    m.shape.n_kv_heads = 3, m.shape.ffn_dim = 1536, m.shape.vocab = 49152;
    hd_model_units(&m, &u);
    cr_assert(u.ffn_width == 128 && u.ffn_blocks == 12);
    cr_assert(u.vocab_width == 1024 && u.vocab_blocks == 48);
    m.shape.n_kv_heads = 8, m.shape.ffn_dim = 8192, m.shape.vocab = 128256;
    hd_model_units(&m, &u);
    cr_assert(u.ffn_width == 256 && u.ffn_blocks == 32);
    cr_assert(u.vocab_width == 1024 && u.vocab_blocks == 126);
}
