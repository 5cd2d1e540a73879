/* Attention of every variant against the naive sum in double, and the same bits in all of them. */
#include "math_test.h"

#define POSITIONS_MAX 700
#define BLOCKS        ((POSITIONS_MAX + HD_ATTN_BLOCK - 1) / HD_ATTN_BLOCK)

/* K and V of one KV head for POSITIONS_MAX positions: [position][head_dim], and their blocks. */
struct cache {
    size_t head_dim;
    float *k, *v;
    void *k_stored, *v_stored;
    const void *k_blocks[BLOCKS], *v_blocks[BLOCKS];
};

static struct cache cache_new(enum hd_kv_type type, size_t head_dim)
{
    size_t n = BLOCKS * HD_ATTN_BLOCK * head_dim, size = type == HD_KV_F16 ? 2 : 4;
    struct cache c = {.head_dim = head_dim};
    c.k = random_floats(1, n, 1.0f);
    c.v = random_floats(2, n, 1.0f);
    c.k_stored = malloc(n * size);
    c.v_stored = malloc(n * size);
    const struct hd_kernels *portable = hd_kernels_get(HD_ISA_PORTABLE);
    hd_kv_store(portable, type, c.k, c.k_stored, n);
    hd_kv_store(portable, type, c.v, c.v_stored, n);
    for (size_t i = 0; type == HD_KV_F16 && i < n; i++) {
        c.k[i] = hd_f16_to_f32(hd_f32_to_f16(c.k[i]));
        c.v[i] = hd_f16_to_f32(hd_f32_to_f16(c.v[i]));
    }
    for (size_t b = 0; b < BLOCKS; b++) {
        c.k_blocks[b] = (uint8_t *)c.k_stored + b * HD_ATTN_BLOCK * head_dim * size;
        c.v_blocks[b] = (uint8_t *)c.v_stored + b * HD_ATTN_BLOCK * head_dim * size;
    }
    return c;
}

static void cache_free(struct cache *c)
{
    free(c->k);
    free(c->v);
    free(c->k_stored);
    free(c->v_stored);
}

static struct hd_attention_args args_of(const struct cache *c, enum hd_kv_type type)
{
    return (struct hd_attention_args){
        .rows = 1,
        .head_dim = c->head_dim,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .kv_type = type,
        .k_blocks = c->k_blocks,
        .v_blocks = c->v_blocks,
    };
}

/* softmax(scale * q.K) V of one head, in double. */
static void naive(const struct cache *c, const struct hd_attention_args *a, size_t head,
                  double *out)
{
    const float *q = a->q + head * a->head_dim;
    size_t n_pos = a->n_pos, first = a->window && n_pos > a->window ? n_pos - a->window : 0;
    double p[POSITIONS_MAX], sum = 0.0, top = a->sinks ? a->sinks[head] : -INFINITY;
    for (size_t j = first; j < n_pos; j++) {
        p[j] = 0.0;
        for (size_t d = 0; d < c->head_dim; d++)
            p[j] += (double)q[d] * c->k[j * c->head_dim + d];
        p[j] /= sqrt((double)c->head_dim);
        if (a->cap > 0)
            p[j] = a->cap * tanh(p[j] / a->cap);
        top = p[j] > top ? p[j] : top;
    }
    memset(out, 0, c->head_dim * sizeof *out);
    for (size_t j = first; j < n_pos; j++) {
        p[j] = exp(p[j] - top);
        sum += p[j];
        for (size_t d = 0; d < c->head_dim; d++)
            out[d] += p[j] * c->v[j * c->head_dim + d];
    }
    sum += a->sinks ? exp(a->sinks[head] - top) : 0;
    for (size_t d = 0; d < c->head_dim; d++)
        out[d] /= sum;
}

/* For each number of positions and of heads: right, and the same bits on every host. */
static void check_with(enum hd_kv_type type, size_t head_dim, size_t n_rep,
                       struct hd_attention_args more)
{
    static const size_t positions[] = {1, 16, 17, 63, 64, 65, 200, 256, 257, 320, 512, 650};
    struct cache c = cache_new(type, head_dim);
    struct hd_attention_args a = args_of(&c, type);
    float *q = random_floats(3, n_rep * head_dim, 6.0f);
    float *first = malloc(n_rep * head_dim * sizeof *first);
    float *out = malloc(n_rep * head_dim * sizeof *out);
    double *exact = malloc(head_dim * sizeof *exact);
    a.q = q;
    a.n_rep = n_rep;
    a.cap = more.cap;
    a.window = more.window;
    a.sinks = more.sinks;
    for (size_t i = 0; i < sizeof positions / sizeof positions[0]; i++) {
        a.n_pos = positions[i];
        a.out = first;
        hd_attention(hd_kernels_get(HD_ISA_PORTABLE), &a);
        for (size_t r = 0; r < n_rep; r++) {
            naive(&c, &a, r, exact);
            for (size_t d = 0; d < head_dim; d++)
                cr_assert_lt(fabs(first[r * head_dim + d] - exact[d]), 5e-6);
        }
        a.out = out;
        FOR_EACH_ISA(isa, k)
        {
            memset(out, 0xff, n_rep * head_dim * sizeof *out);
            hd_attention(k, &a);
            cr_assert(same_bits(out, first, n_rep * head_dim), "%s, %zu positions",
                      hd_isa_name(all_isas[isa]), a.n_pos);
        }
    }
    free(q);
    free(first);
    free(out);
    free(exact);
    cache_free(&c);
}

static void check_like(enum hd_kv_type type, size_t head_dim, size_t n_rep, float cap,
                       size_t window)
{
    check_with(type, head_dim, n_rep, (struct hd_attention_args){.cap = cap, .window = window});
}

static void check(enum hd_kv_type type, size_t head_dim, size_t n_rep)
{
    check_like(type, head_dim, n_rep, 0, 0);
}

Test(attention, windows_and_caps)
{
    static const size_t windows[] = {1, 16, 63, 64, 65, 199, 256, 300, 1000};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        check_like(HD_KV_F32, 64, 3, 0, windows[i]);
    check_like(HD_KV_F16, 128, 2, 2, 0);
    check_like(HD_KV_F16, 64, 5, 0.5, 70);
    check_like(HD_KV_F16, 24, 3, 0.5, 70);
}

/* Far below the scores, among them, and so far above that nothing else is left. */
Test(attention, sinks)
{
    static const float sinks[] = {-20, 0.25f, 1.5f, 3, 60};
    check_with(HD_KV_F32, 64, 5, (struct hd_attention_args){.sinks = sinks});
    check_with(HD_KV_F16, 80, 4, (struct hd_attention_args){.sinks = sinks, .window = 20});
}

Test(attention, f16_agrees_with_double_and_across_isas)
{
    check(HD_KV_F16, 64, 3);
    check(HD_KV_F16, 128, 4);
    check(HD_KV_F16, 16, 1);
    check(HD_KV_F16, 8, 3); /* heads that are no multiple of 16 */
    check(HD_KV_F16, 100, 2);
}

Test(attention, f32_agrees_with_double_and_across_isas)
{
    check(HD_KV_F32, 80, 2);
    check(HD_KV_F32, 64, 9);
    check(HD_KV_F32, 120, 5);
    check(HD_KV_F32, 4, 1);
}

/* A head's bits do not depend on the heads beside it, nor on what lies past n_pos. */
Test(attention, a_head_alone_has_the_bits_it_has_among_others)
{
    enum { HEADS = 7, DIM = 64, POSITIONS = 150 };
    struct cache c = cache_new(HD_KV_F16, DIM);
    struct hd_attention_args a = args_of(&c, HD_KV_F16);
    float *q = random_floats(3, HEADS * DIM, 6.0f), all[HEADS * DIM], one[DIM];
    a.n_pos = POSITIONS;
    FOR_EACH_ISA(isa, k)
    {
        a.q = q;
        a.n_rep = HEADS;
        a.out = all;
        hd_attention(k, &a);
        uint16_t *beyond = (uint16_t *)c.v_stored + POSITIONS * DIM;
        beyond[5] ^= 0x7e00; /* perhaps a NaN */
        a.n_rep = 1;
        a.out = one;
        for (size_t r = 0; r < HEADS; r++) {
            a.q = q + r * DIM;
            hd_attention(k, &a);
            cr_assert(same_bits(one, all + r * DIM, DIM));
        }
    }
    free(q);
    cache_free(&c);
}

/* Segments by segments, in any order, then folded: the bits of the whole. */
Test(attention, parts_come_to_the_same)
{
    enum { HEADS = 5, DIM = 72, MOST = (POSITIONS_MAX + HD_ATTN_SEGMENT - 1) / HD_ATTN_SEGMENT };
    static const size_t positions[] = {3, 256, 257, 700}, windows[] = {0, 30, 256, 300};
    static const float sinks[HEADS] = {-20, 0.25f, 1.5f, 3, 60};
    size_t floats = HEADS * hd_attention_part_floats(DIM);
    struct cache c = cache_new(HD_KV_F16, DIM);
    struct hd_attention_args a = args_of(&c, HD_KV_F16);
    float *q = random_floats(3, HEADS * DIM, 6.0f), *parts = malloc(MOST * floats * sizeof *parts);
    float whole[HEADS * DIM], folded[HEADS * DIM];
    a.q = q;
    a.n_rep = HEADS;
    for (size_t i = 0; i < 32; i++) {
        a.n_pos = positions[i % 4];
        a.window = windows[i / 4 % 4];
        a.sinks = i < 16 ? NULL : sinks;
        FOR_EACH_ISA(isa, k)
        {
            size_t first = hd_attention_first(&a), end = hd_attention_end(&a);
            cr_assert_leq(end - first, MOST);
            for (size_t s = end; s-- > first;)
                hd_attention_part(k, &a, s, parts + (s - first) * floats);
            a.out = folded;
            hd_attention_fold(k, &a, end - first, parts);
            a.out = whole;
            hd_attention(k, &a);
            cr_assert(same_bits(whole, folded, HEADS * DIM), "%s, %zu positions, window %zu",
                      hd_isa_name(all_isas[isa]), a.n_pos, a.window);
        }
    }
    free(q);
    free(parts);
    cache_free(&c);
}

/* Rows of one call have the bits of a call each, however many walk together. */
Test(attention, a_row_alone_has_the_bits_it_has_among_rows)
{
    enum { ROWS = 45, DIM = 64, STRIDE = 9 * DIM + 16 };
    static const size_t reps[] = {1, 3, 4, 9}, starts[] = {1, 60, 64, 230, 600};
    struct cache c = cache_new(HD_KV_F16, DIM);
    struct hd_attention_args a = args_of(&c, HD_KV_F16);
    float *q = random_floats(3, ROWS * STRIDE, 6.0f);
    float *all = malloc(ROWS * 9 * DIM * sizeof *all), one[9 * DIM];
    a.q_stride = STRIDE;
    for (size_t i = 0; i < sizeof reps / sizeof reps[0] * 5 * 4; i++) {
        static const size_t windows[] = {0, 7, 90, 300};
        a.window = windows[i / 20];
        a.cap = i % 2 ? 3.0f : 0.0f;
        a.n_rep = reps[i / 5 % 4];
        a.out_stride = a.n_rep * DIM;
        FOR_EACH_ISA(isa, k)
        {
            a.rows = ROWS;
            a.q = q;
            a.out = all;
            a.n_pos = starts[i % 5];
            memset(all, 0xff, ROWS * 9 * DIM * sizeof *all);
            hd_attention(k, &a);
            a.rows = 1;
            a.out = one;
            for (size_t r = 0; r < ROWS; r++, a.q += STRIDE, a.n_pos++) {
                hd_attention(k, &a);
                cr_assert(same_bits(one, all + r * a.out_stride, a.out_stride), "%s row %zu",
                          hd_isa_name(all_isas[isa]), r);
            }
        }
    }
    free(q);
    free(all);
    cache_free(&c);
}
