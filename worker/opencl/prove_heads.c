/* prove_heads.c - what heads are put through: norms, angles, attention. */
#include "worker/opencl/prove_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- Heads ----*/

#define HAS_Q_NORM 8 /* kernels/attention.cl */
#define HAS_Q      32
#define HAS_SINKS  256
#define NO_ANGLES  UINT32_MAX

/* kernels/attention.cl: FINISH_PARAMS. */
struct finish {
    uint32_t n_rep, head_dim, has, rows, f16, block;
    float eps;
};

static void put_finish(struct hd_cl_launch *l, cl_mem y, cl_mem vectors, cl_mem cs, struct finish f)
{
    hd_cl_put_buffer(l, y);
    hd_cl_put_u32(l, 0);
    hd_cl_put_u32(l, 0);
    hd_cl_put_buffer(l, vectors);
    hd_cl_put_buffer(l, cs);
    hd_cl_put_u32(l, f.head_dim);
    hd_cl_put_u32(l, f.rows);
    hd_cl_put_u32(l, f.n_rep);
    hd_cl_put_u32(l, f.head_dim);
    hd_cl_put_u32(l, f.has);
    hd_cl_put_f32(l, f.eps);
    hd_cl_put_u32(l, f.f16);
    hd_cl_put_u32(l, f.block);
}

/* One vector v [n] through finish_rows: normalised by `weight`, or rotated by `cs`. */
static void finish(const float *v, size_t n, const float *weight, float eps, const float *cs,
                   float *out)
{
    struct hd_cl_place place = {.set = cs ? 0 : NO_ANGLES};
    size_t n_vectors = hd_cl_vectors(1, n);
    float *vectors = calloc(n_vectors, sizeof *vectors);
    if (!vectors) {
        prove_now->rc = HD_E_NOMEM;
        return;
    }
    if (weight)
        memcpy(vectors + 4 * n, weight, n * sizeof *weight); /* q_norm is the fifth: n_rep is 1 */
    cl_mem y = prove_put(v, n * sizeof *v), slabs[HD_CL_SLABS] = {y};
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.finish_rows);
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, prove_put(&place, sizeof place));
    hd_cl_put_u32(&l, 0);
    put_finish(&l, y, prove_put(vectors, n_vectors * sizeof *vectors),
               cs ? prove_put(cs, n * sizeof *cs) : y,
               (struct finish){.n_rep = 1,
                               .head_dim = (uint32_t)n,
                               .has = HAS_Q | (weight ? HAS_Q_NORM : 0),
                               .rows = 1,
                               .eps = eps});
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, 0);
    hd_cl_put_local(&l, 4 * n * sizeof(float));
    prove_note(hd_cl_go(&l, 64, 1, 1, 1));
    free(vectors);
    prove_get(y, out, n * sizeof *out);
    prove_end();
}

void prove_rms_norm(const float *x, const float *weight, float eps, float *out, size_t n)
{
    finish(x, n, weight, eps, NULL, out);
}

void prove_rope(float *v, size_t head_dim, const float *cs)
{
    finish(v, head_dim, NULL, 0, cs, v);
}

/* K and V of the blocks as the device has them, one behind the other. The caller frees. */
static uint8_t *blocks_of(const struct hd_attention_args *a, size_t blocks, size_t block)
{
    size_t half = a->head_dim * (a->kv_type == HD_KV_F16 ? 2 : 4) * HD_ATTN_BLOCK;
    uint8_t *kv = calloc(blocks, block);
    for (size_t b = 0; kv && b < blocks; b++) {
        memcpy(kv + b * block, a->k_blocks[b], half);
        memcpy(kv + b * block + half, a->v_blocks[b], half);
    }
    return kv;
}

/* The vectors of a head that has sinks alone. */
static cl_mem sinks_of(const struct hd_attention_args *a)
{
    size_t n = hd_cl_vectors(a->n_rep, a->head_dim);
    float *vectors = calloc(n, sizeof *vectors);
    cl_mem m = NULL;
    if (vectors) {
        memcpy(vectors + n - a->n_rep, a->sinks, a->n_rep * sizeof *vectors);
        m = prove_put(vectors, n * sizeof *vectors);
    }
    prove_now->rc = vectors ? prove_now->rc : HD_E_NOMEM;
    free(vectors);
    return m;
}

void prove_attention(const struct hd_attention_args *a)
{
    enum { MOST = 64 };
    size_t n = a->n_rep * a->head_dim, blocks = (a->n_pos + a->rows - 2) / HD_ATTN_BLOCK + 1;
    size_t block = HD_ATTN_BLOCK * (2 * a->head_dim * (a->kv_type == HD_KV_F16 ? 2 : 4) + 4);
    struct hd_cl_place places[MOST] = {{0}};
    uint32_t list[MOST];
    uint8_t *kv = blocks_of(a, blocks, block);
    float *q = malloc(a->rows * n * sizeof *q);
    if (!kv || !q || a->rows > MOST || blocks > MOST) {
        prove_now->rc = HD_E_NOMEM;
        free(kv);
        free(q);
        return;
    }
    for (size_t r = 0; r < a->rows; r++) {
        places[r] = (struct hd_cl_place){
            .position = (uint32_t)(a->n_pos + r - 1), .set = NO_ANGLES, .scale = a->scale};
        memcpy(q + r * n, a->q + r * a->q_stride, n * sizeof *q);
    }
    for (uint32_t b = 0; b < blocks; b++)
        list[b] = b;
    uint32_t places_at, list_at;
    memcpy(hd_cl_in_add(&prove_now->o, a->rows * sizeof *places, &places_at), places,
           a->rows * sizeof *places);
    memcpy(hd_cl_in_add(&prove_now->o, blocks * sizeof *list, &list_at), list,
           blocks * sizeof *list);
    prove_note(hd_cl_in_send(&prove_now->o));
    cl_mem y = prove_put(q, a->rows * n * sizeof *q),
           slabs[HD_CL_SLABS] = {prove_put(kv, blocks * block)};
    struct hd_cl_launch l = prove_launch(&prove_now->o.programs.attention);
    hd_cl_put_slabs(&l, slabs);
    hd_cl_put_buffer(&l, prove_now->o.in_at);
    hd_cl_put_u32(&l, places_at);
    hd_cl_put_u32(&l, list_at);
    put_finish(&l, y, a->sinks ? sinks_of(a) : y, y,
               (struct finish){.n_rep = (uint32_t)a->n_rep,
                               .head_dim = (uint32_t)a->head_dim,
                               .rows = (uint32_t)a->rows,
                               .has = a->sinks ? HAS_SINKS : 0,
                               .f16 = a->kv_type == HD_KV_F16,
                               .block = (uint32_t)block});
    hd_cl_put_buffer(&l, y);
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, a->n_rep);
    hd_cl_put_f32(&l, a->cap);
    hd_cl_put_f32(&l, a->cap > 0 ? 1.0f / a->cap : 0);
    hd_cl_put_u32(&l, a->window);
    hd_cl_put_u32(&l, 1);
    hd_cl_put_u32(&l, 0);
    hd_cl_put_buffer(&l, y);
    hd_cl_put_u32(&l, 0);
    hd_cl_put_local(&l, n * sizeof(float));
    hd_cl_put_local(&l, n * sizeof(float));
    hd_cl_put_local(&l, n * sizeof(float));
    hd_cl_put_local(&l, a->n_rep * HD_ATTN_BLOCK * sizeof(float));
    hd_cl_put_local(&l, sizeof(float));
    hd_cl_put_u32(&l, 0);
    hd_cl_put_local(&l, 16);
    prove_note(hd_cl_go(&l, 128, a->rows, 1, 1));
    prove_get(y, q, a->rows * n * sizeof *q);
    for (size_t r = 0; r < a->rows; r++)
        memcpy(a->out + r * a->out_stride, q + r * n, n * sizeof *q);
    free(kv);
    free(q);
    prove_end();
}
