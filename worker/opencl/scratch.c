/* scratch.c - sized once for the largest step of a conversation, as the CPU's is; what a launch
 * reads grows, rarely, with the positions that its rows see. */
#include "worker/opencl/impl.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN      64
#define PAGE       4096 /* sub-buffers begin on multiples of it: any driver's alignment */
#define GIVEN_MOST (UINT64_C(32) << 20) /* floats: 128 MiB */
#define LOCAL_MOST 44032                /* bytes of what the host sizes: of 48 KiB */
#define KEYS_MOST  18432                /* bytes: 128 values of 16 bits, or 64 of 32 */
#define HEADS_MOST 2048 /* values of the query heads of a work-group: 24 KiB of local memory */

static size_t rounded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Whole blocks of 32 values, as far as they allow it: what a work-group gives may be quantized. */
static size_t heads_at_once(size_t head_dim, size_t n_rep)
{
    size_t n = HEADS_MOST / head_dim;
    n = n < 1 ? 1 : n > 64 ? 64 : n;
    if (n >= n_rep)
        return n_rep;
    return head_dim % 32 && n > 1 ? n / 2 * 2 : n;
}

size_t hd_cl_given_rows(const struct hd_cl_shape *s, size_t least, size_t most)
{
    size_t rows = larger(GIVEN_MOST / s->dim, least);
    return rows < most ? rows : most;
}

/* kernels/attention.cl: copy_keys. */
static size_t keys_bytes(const struct hd_cl_shape *s)
{
    size_t bytes = HD_ATTN_BLOCK * (s->head_dim * (s->f16 ? 2 : 4) + 16);
    size_t others = s->heads_at_once * (3 * s->head_dim + HD_ATTN_BLOCK) + 8 * s->head_dim;
    bool fits = bytes <= KEYS_MOST && bytes + others * sizeof(float) <= LOCAL_MOST;
    return s->head_dim % 16 == 0 && fits ? bytes : 0;
}

static void shape(struct hd_opencl *o)
{
    const struct hd_model *m = o->base.o.model;
    const struct hd_device_sizes *z = &o->base.sizes;
    struct hd_cl_shape *s = &o->s;
    *s = (struct hd_cl_shape){
        .dim = m->shape.dim,
        .head_dim = m->shape.head_dim,
        .n_rep = m->shape.n_heads / m->shape.n_kv_heads,
        .heads = o->base.units.heads,
        .ffn_blocks = o->base.units.ffn_blocks,
        .ffn_width = rounded(o->base.units.ffn_width, 32),
        .vocab_blocks = o->base.units.vocab_blocks,
        .vocab_width = o->base.units.vocab_width,
        .row_bytes = hd_model_row_bytes(m, z->activations),
        .sum_bytes = hd_model_sum_bytes(m, z->wire),
        .stride = rounded(z->max_rows, HD_CL_ROWS),
        .q8 = z->activations == HD_ACTIVATIONS_Q8,
        .f16 = z->kv_type == HD_KV_F16,
    };
    s->width = s->n_rep * s->head_dim;
    s->input_rows = larger(s->stride, HD_CL_LIST_ITEMS * HD_CL_ROWS + HD_CL_ROWS);
    s->logit_rows = s->stride < HD_CL_ROWS ? s->stride : HD_CL_ROWS;
    s->heads_at_once = heads_at_once(s->head_dim, s->n_rep);
    s->keys_bytes = keys_bytes(s);
    s->hidden_rows = s->ffn_blocks * s->stride;
    if (s->q8)
        s->given_rows = hd_cl_given_rows(s, s->stride, larger(s->heads, s->ffn_blocks) * s->stride);
    if (m->shape.n_experts > 0)
        hd_cl_experts_shape(o, s);
}

/* Floats between the products of any half. */
static size_t floats(const struct hd_cl_shape *s)
{
    size_t attention = s->heads * s->stride * (s->width + 2 * s->head_dim);
    size_t ffn = s->hidden_rows * 2 * s->ffn_width;
    size_t logits = s->logit_rows * s->vocab_blocks * s->vocab_width;
    size_t list = HD_CL_LIST_ITEMS * HD_CL_ROWS * 2 * s->head_dim;
    return larger(larger(attention, ffn), larger(logits, list));
}

struct making {
    struct hd_opencl *o;
    struct hd_error *err;
    int rc;
};

static cl_mem make(struct making *m, uint64_t bytes)
{
    return m->rc == 0 ? hd_cl_buffer(m->o->cl, bytes, &m->rc, m->err) : NULL;
}

static cl_mem part(struct making *m, size_t from, size_t bytes)
{
    cl_buffer_region region = {from, bytes};
    cl_int rc = CL_SUCCESS;
    cl_mem p = NULL;
    if (m->rc == 0)
        p = m->o->cl->call.CreateSubBuffer(m->o->result, CL_MEM_READ_WRITE,
                                           CL_BUFFER_CREATE_TYPE_REGION, &region, &rc);
    if (rc != CL_SUCCESS)
        m->rc = hd_cl_fail(m->o->cl, rc, "clCreateSubBuffer", m->err);
    return rc == CL_SUCCESS ? p : NULL;
}

static void make_buffers(struct making *m)
{
    struct hd_opencl *o = m->o;
    const struct hd_cl_shape *s = &o->s;
    bool is_compact = o->base.sizes.wire == HD_WIRE_COMPACT;
    size_t flags = rounded(s->stride * sizeof(uint32_t), PAGE);
    size_t travels = rounded(s->stride * larger(s->sum_bytes, is_compact ? 0 : s->dim * 4), PAGE);
    size_t last = larger(s->stride * s->heads * s->width, s->hidden_rows * s->ffn_width);
    size_t logits = s->logit_rows * s->vocab_blocks * s->vocab_width * sizeof(float);
    o->travels_at = 2 * flags;
    o->x_q = make(m, s->q8 ? s->input_rows * s->dim : 0);
    o->x_d = make(m, s->q8 ? s->input_rows * s->dim / 32 * 8 : 0);
    o->y = make(m, floats(s) * sizeof(float));
    o->vectors = make(m, larger(s->heads, HD_CL_LIST_ITEMS) * hd_cl_vectors(s->n_rep, s->head_dim) *
                             sizeof(float));
    o->y_q = make(m, s->q8 ? last : 0);
    o->y_d = make(m, s->q8 ? last / 32 * 8 : 0);
    o->picked = make(m, s->picked_rows * s->dim * (s->q8 ? 1 : sizeof(float)));
    o->picked_d = make(m, s->q8 ? s->picked_rows * s->dim / 32 * 8 : 0);
    o->given = make(m, s->given_rows * s->dim * sizeof(float));
    o->found = make(m, hd_cl_found_bytes(s));
    o->sum = make(m, s->stride * s->dim * sizeof(int64_t));
    o->result = make(m, o->travels_at + travels);
    o->bad = part(m, 0, flags);
    o->wide = part(m, flags, flags);
    o->travels = part(m, o->travels_at, travels);
    o->narrow = is_compact ? make(m, s->stride * s->dim * sizeof(int32_t)) : NULL;
    if (m->rc == 0)
        m->rc = hd_cl_pinned_new(
            o->cl,
            larger(larger(o->travels_at + travels, larger(logits, hd_cl_found_bytes(s))), PAGE),
            &o->out, m->err);
}

int hd_cl_scratch_new(struct hd_opencl *o, struct hd_error *err)
{
    struct making m = {.o = o, .err = err};
    size_t rows = o->base.sizes.max_rows;
    shape(o);
    o->rope.model = o->base.o.model;
    size_t most =
        larger(larger(o->s.heads, o->s.ffn_blocks), larger(o->s.vocab_blocks, HD_CL_LIST_ITEMS));
    for (unsigned i = 0; i < 2; i++) {
        o->part[i] = calloc(3 * most, sizeof *o->part[i]);
        o->matrix[i] = calloc(3 * most, sizeof *o->matrix[i]);
    }
    o->wanted = calloc(o->s.ffn_blocks, sizeof *o->wanted);
    o->lists = calloc(2 * rows, sizeof *o->lists);
    o->offsets = calloc(rows, sizeof *o->offsets);
    o->is_bad = calloc(2 * rows, 1);
    if (!o->wanted || !o->lists || !o->offsets || !o->is_bad || !o->part[0] || !o->part[1] ||
        !o->matrix[0] || !o->matrix[1] || hd_cl_experts_init(o) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for steps of %zu rows", rows);
    make_buffers(&m);
    return m.rc;
}

void hd_cl_scratch_free(struct hd_opencl *o)
{
    cl_mem *const all[] = {&o->angles_at, &o->in_at,   &o->x_q,    &o->x_d,    &o->y,
                           &o->vectors,   &o->y_q,     &o->y_d,    &o->sum,    &o->bad,
                           &o->wide,      &o->travels, &o->narrow, &o->result, &o->picked,
                           &o->picked_d,  &o->given,   &o->found};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        hd_cl_release(o->cl, *all[i]);
        *all[i] = NULL;
    }
    hd_cl_pinned_free(o->cl, &o->in);
    hd_cl_pinned_free(o->cl, &o->out);
    hd_rope_table_deinit(&o->rope);
    o->angles = o->angles_cap = 0;
    for (unsigned i = 0; i < 2; i++) {
        free(o->part[i]);
        free(o->matrix[i]);
        o->part[i] = NULL;
        o->matrix[i] = NULL;
    }
    hd_cl_experts_deinit(o);
    free(o->wanted);
    o->wanted = NULL;
    free(o->lists);
    free(o->offsets);
    free(o->is_bad);
    o->lists = NULL;
    o->offsets = NULL;
    o->is_bad = NULL;
}

/* ---- What a launch reads ----*/

int hd_cl_in_begin(struct hd_opencl *o, size_t bytes, struct hd_error *err)
{
    o->in_used = 0;
    if (bytes <= o->in.bytes)
        return 0;
    int rc;
    size_t size = larger(rounded(bytes, PAGE), 2 * o->in.bytes);
    hd_cl_pinned_free(o->cl, &o->in);
    hd_cl_release(o->cl, o->in_at);
    o->in_at = hd_cl_buffer(o->cl, size, &rc, err);
    if (o->in_at)
        rc = hd_cl_pinned_new(o->cl, size, &o->in, err);
    return rc;
}

void *hd_cl_in_add(struct hd_opencl *o, size_t bytes, uint32_t *at)
{
    *at = (uint32_t)o->in_used;
    o->in_used += rounded(bytes, ALIGN);
    return o->in.data + *at;
}

cl_int hd_cl_in_send(struct hd_opencl *o)
{
    return o->cl->call.EnqueueWriteBuffer(o->cl->queue, o->in_at, CL_FALSE, 0, o->in_used,
                                          o->in.data, 0, NULL, NULL);
}

/* ---- Angles ----*/

static size_t angle_bytes(const struct hd_opencl *o)
{
    return o->base.o.model->rope_sets * o->s.head_dim * sizeof(float);
}

int hd_cl_angles(struct hd_opencl *o, uint32_t positions, struct hd_error *err)
{
    int rc = 0;
    if (positions <= o->angles)
        return 0;
    if (hd_rope_table_reserve(&o->rope, positions) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the angles of %u positions", positions);
    if (o->rope.cap > o->angles_cap) {
        hd_cl_release(o->cl, o->angles_at);
        o->angles = o->angles_cap = 0;
        o->angles_at = hd_cl_buffer(o->cl, o->rope.cap * angle_bytes(o), &rc, err);
        if (!o->angles_at)
            return rc;
        o->angles_cap = o->rope.cap;
    }
    size_t from = o->angles * angle_bytes(o), end = o->rope.positions * angle_bytes(o);
    cl_int code =
        o->cl->call.EnqueueWriteBuffer(o->cl->queue, o->angles_at, CL_TRUE, from, end - from,
                                       (const uint8_t *)o->rope.cs + from, 0, NULL, NULL);
    if (code != CL_SUCCESS)
        return hd_cl_fail(o->cl, code, "clEnqueueWriteBuffer", err);
    o->angles = o->rope.positions;
    return 0;
}
