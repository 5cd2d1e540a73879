/* attention.c - the attention half, and rows of a list: products, then biases, norms, RoPE and K/V
 * rows, then attention, then the last product summed up; one submission. */
#include "worker/opencl/impl.h"

#include <string.h>

#define HAS_Q_BIAS   1 /* kernels/attention.cl */
#define HAS_K_BIAS   2
#define HAS_V_BIAS   4
#define HAS_Q_NORM   8
#define HAS_K_NORM   16
#define HAS_Q        32
#define HAS_Q_WHOLE  64
#define HAS_K_WHOLE  128
#define HAS_SINKS    256
#define NOT_ROTATED  UINT32_MAX
#define FINISH_ITEMS 64
#define ATTEND_ITEMS 128

/* What one launch of finish_rows works on: units side by side, rows of each. */
struct finishing {
    const struct hd_device_stores *stores;
    uint32_t places, heads; /* where in the inputs */
    size_t units, rows, stride;
    size_t k_at, v_at; /* floats of y */
    uint32_t has;
    size_t n_flags;
};

/* ---- Vectors of heads ----*/

static struct hd_cl_head head_of(const struct hd_device_weights *w, struct hd_piece_at at,
                                 uint32_t *has)
{
    struct hd_cl_head h;
    const struct {
        enum hd_slot_id slot;
        uint64_t *to;
        uint32_t has;
    } all[] = {
        {HD_SLOT_Q_BIAS, &h.q_bias, HAS_Q_BIAS},
        {HD_SLOT_K_BIAS, &h.k_bias, HAS_K_BIAS},
        {HD_SLOT_V_BIAS, &h.v_bias, HAS_V_BIAS},
        {HD_SLOT_Q_NORM, &h.q_norm, HAS_Q_NORM},
        {HD_SLOT_K_NORM, &h.k_norm, HAS_K_NORM},
        {HD_SLOT_Q_WHOLE_NORM, &h.q_whole, HAS_Q_WHOLE},
        {HD_SLOT_K_WHOLE_NORM, &h.k_whole, HAS_K_WHOLE},
        {HD_SLOT_SINKS, &h.sinks, HAS_SINKS},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].to = hd_cl_part_of(w, at, all[i].slot).at;
        *has |= *all[i].to != HD_CL_NOWHERE ? all[i].has : 0;
    }
    return h;
}

static cl_int gather_vectors(struct hd_opencl *o, const struct finishing *f)
{
    size_t n = hd_cl_vectors(o->s.n_rep, o->s.head_dim);
    struct hd_cl_launch l = {o->cl, &o->programs.gather_vectors, 0, CL_SUCCESS};
    if (!(f->has & ~(uint32_t)HAS_Q))
        return CL_SUCCESS;
    hd_cl_put_slabs(&l, hd_cl_slabs_of(f->stores->weights));
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, f->heads);
    hd_cl_put_buffer(&l, o->vectors);
    hd_cl_put_u32(&l, o->s.n_rep);
    hd_cl_put_u32(&l, o->s.head_dim);
    return hd_cl_go(&l, 64, (n + 63) / 64, f->units, 1);
}

/* kernels/attention.cl: FINISH_PARAMS. */
static void put_finish(struct hd_opencl *o, const struct finishing *f, struct hd_cl_launch *l)
{
    const struct hd_model *m = o->base.o.model;
    hd_cl_put_buffer(l, o->y);
    hd_cl_put_u32(l, f->k_at);
    hd_cl_put_u32(l, f->v_at);
    hd_cl_put_buffer(l, o->vectors);
    hd_cl_put_buffer(l, o->angles_at);
    hd_cl_put_u32(l, m->rope_sets * o->s.head_dim);
    hd_cl_put_u32(l, f->stride);
    hd_cl_put_u32(l, o->s.n_rep);
    hd_cl_put_u32(l, o->s.head_dim);
    hd_cl_put_u32(l, f->has);
    hd_cl_put_f32(l, m->shape.norm_eps);
    hd_cl_put_u32(l, o->s.f16);
    hd_cl_put_u32(l, hd_cl_kv(f->stores->kv)->pool.block_bytes);
}

static cl_int finish_rows(struct hd_opencl *o, const struct finishing *f)
{
    struct hd_cl_launch l = {o->cl, &o->programs.finish_rows, 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, hd_cl_kv(f->stores->kv)->pool.slabs.slab);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, f->places);
    put_finish(o, f, &l);
    hd_cl_put_buffer(&l, o->result);
    hd_cl_put_u32(&l, f->n_flags);
    hd_cl_put_local(&l, FINISH_ITEMS / 16 * o->s.head_dim * sizeof(float));
    return hd_cl_go(&l, FINISH_ITEMS, f->rows, f->units, 1);
}

/* Digests of the rows that were stored. */
static cl_int seal_rows(struct hd_opencl *o, const struct finishing *f)
{
    const struct hd_cl_kv *kv = hd_cl_kv(f->stores->kv);
    struct hd_cl_launch l = {o->cl, &o->programs.seal_rows, 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, kv->pool.slabs.slab);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, f->places);
    hd_cl_put_u32(&l, kv->row_bytes);
    hd_cl_put_u32(&l, kv->pool.block_bytes);
    hd_cl_put_local(&l, 2 * kv->row_bytes);
    return hd_cl_go(&l, 32, f->rows, f->units, 1);
}

/* What a row is finished with; x: its input, whose last bytes say a part of it. */
static struct hd_cl_place place_of(const struct hd_opencl *o, uint32_t layer, uint32_t position,
                                   const uint8_t *x)
{
    const struct hd_model *m = o->base.o.model;
    struct hd_row_tail tail = hd_model_tail(m, x, o->s.row_bytes);
    enum hd_layer_rope rope = hd_model_rope_set(m, layer, &tail);
    return (struct hd_cl_place){
        .position = position,
        .set = rope == HD_LAYER_ROPE_NONE ? NOT_ROTATED : (uint32_t)rope,
        .scale = hd_model_attention_scale(m, position),
        .q_scale = tail.q_scale,
        .k_scale = tail.k_scale,
    };
}

/* ---- The half ----*/

struct attention {
    struct hd_opencl *o;
    const struct hd_half_task *task;
    struct finishing f;
    uint32_t list; /* blocks of K/V, where in the inputs */
    struct hd_cl_input in;
    uint32_t shifts;
    struct hd_cl_plan project, q8, f32;
    bool q8_out;   /* what attention gives is quantized */
    bool finishes; /* a row sees no other row of the step: attention finishes it as well */
    uint64_t flops;
};

static struct hd_piece_at piece_at(const struct hd_half_task *t, size_t slot)
{
    return (struct hd_piece_at){t->kind, t->units.list[slot], t->layer};
}

/* How many blocks the rows see, those of one sequence and head counted once; *end: positions;
 * *single: no two rows are of one sequence. */
static size_t count_blocks(const struct hd_half_task *t, uint32_t *end, bool *single)
{
    uint32_t seen[HD_MAX_SEQUENCES] = {0};
    size_t blocks = 0;
    *end = 0;
    *single = true;
    for (size_t i = 0; i < t->rows->n; i++) {
        uint32_t n = t->rows->positions[i] / HD_ATTN_BLOCK + 1;
        uint32_t *have = &seen[t->rows->sequences[i]];
        *single = *single && *have == 0;
        blocks += n > *have ? n - *have : 0;
        *have = n > *have ? n : *have;
        *end = t->rows->positions[i] >= *end ? t->rows->positions[i] + 1 : *end;
    }
    return blocks * t->units.n;
}

/* Places of one head's rows; its lanes' blocks are appended to the list. */
static uint32_t *place_head(const struct attention *a, size_t slot, struct hd_cl_place *places,
                            uint32_t *list, uint32_t *next)
{
    const struct hd_half_task *t = a->task;
    uint32_t first[HD_MAX_SEQUENCES], have[HD_MAX_SEQUENCES] = {0};
    for (size_t i = t->rows->n; i-- > 0;) { /* the last of a sequence sees most */
        uint32_t s = t->rows->sequences[i], p = t->rows->positions[i];
        struct hd_kv_at at = {s, t->layer, t->units.list[slot]};
        const struct hd_device_lane *lane = hd_cl_kv_lane(t->from.kv, at);
        uint32_t n = p / HD_ATTN_BLOCK + 1;
        if (n > have[s]) {
            lane = hd_cl_kv_whole(t->from.kv, at);
            first[s] = (uint32_t)(next - list);
            have[s] = n;
            memcpy(next, lane->block, n * sizeof *next);
            next += n;
        }
        places[i] =
            place_of(a->o, t->layer, p, (const uint8_t *)t->rows->x + i * a->o->s.row_bytes);
        places[i].block = lane->block[p / HD_ATTN_BLOCK];
        places[i].list = first[s];
        places[i].store = t->fresh[slot * t->rows->n + i];
    }
    return next;
}

static void add_places(struct attention *a, size_t blocks)
{
    const struct hd_half_task *t = a->task;
    struct hd_cl_place *places =
        hd_cl_in_add(a->o, t->units.n * t->rows->n * sizeof *places, &a->f.places);
    uint32_t *list = hd_cl_in_add(a->o, blocks * sizeof *list, &a->list), *next = list;
    for (size_t s = 0; s < t->units.n; s++)
        next = place_head(a, s, places + s * t->rows->n, list, next);
}

/* q, k and v of all heads. */
static void plan_inputs(struct attention *a)
{
    struct hd_opencl *o = a->o;
    const struct hd_half_task *t = a->task;
    static const enum hd_slot_id slots[3] = {HD_SLOT_Q, HD_SLOT_K, HD_SLOT_V};
    struct hd_cl_part *part = o->part[0];
    struct hd_cl_matrix *matrix = o->matrix[0];
    size_t rows = t->rows->n, n = 0, fresh = 0;
    for (size_t s = 0; s < t->units.n; s++) {
        for (unsigned i = 0; i < 3; i++, n++) {
            size_t width = i == 0 ? o->s.width : o->s.head_dim;
            size_t plane = i == 0 ? 0 : i == 1 ? a->f.k_at : a->f.v_at;
            part[n] = hd_cl_part_of(t->from.weights, piece_at(t, s), slots[i]);
            matrix[n] = (struct hd_cl_matrix){.y = (uint32_t)(plane + s * o->s.stride * width),
                                              .y_stride = (uint32_t)width,
                                              .x = a->in.x,
                                              .d = a->in.d,
                                              .rows = (uint32_t)rows};
        }
        fresh = 0;
        for (size_t i = 0; i < rows; i++)
            fresh += t->fresh[s * rows + i];
        a->flops += 2 * (uint64_t)o->s.dim * (rows * o->s.width + 2 * fresh * o->s.head_dim);
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){part, matrix, n, rows}, &a->project);
}

/* The columns of Wo, of those that take quants and of the others. */
static void plan_outputs(struct attention *a)
{
    struct hd_opencl *o = a->o;
    const struct hd_half_task *t = a->task;
    size_t n[2] = {0, 0}, stride = o->s.stride, width = o->s.width;
    for (size_t s = 0; s < t->units.n; s++) {
        struct hd_cl_part p = hd_cl_part_of(t->from.weights, piece_at(t, s), HD_SLOT_O);
        bool q8 = hd_cl_takes_q8(o, &p);
        o->matrix[q8][n[q8]] =
            (struct hd_cl_matrix){.x = (uint32_t)(s * stride * width / (q8 ? 4 : 1)),
                                  .d = (uint32_t)(s * stride * (width / HD_Q8_BLOCK)),
                                  .rows = (uint32_t)t->rows->n};
        o->part[q8][n[q8]++] = p;
        a->q8_out = q8;
        a->flops += 2 * (uint64_t)t->rows->n * p.outputs * p.inputs;
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[1], o->matrix[1], n[1], t->rows->n, true}, &a->q8);
    hd_cl_plan(o, &(struct hd_cl_jobs){o->part[0], o->matrix[0], n[0], t->rows->n, true}, &a->f32);
}

static void count_attention(struct attention *a)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < a->task->rows->n; i++)
        seen += a->task->rows->positions[i] + 1;
    a->flops += 4 * seen * a->o->s.width * a->task->units.n;
}

static cl_int attend(const struct attention *a)
{
    struct hd_opencl *o = a->o;
    const struct hd_model *m = o->base.o.model;
    const struct hd_cl_kv *kv = hd_cl_kv(a->task->from.kv);
    size_t heads = o->s.heads_at_once, local = heads * o->s.head_dim * sizeof(float);
    float cap = m->block.attention_cap;
    struct hd_cl_launch l = {o->cl, &o->programs.attention, 0, CL_SUCCESS};
    hd_cl_put_slabs(&l, kv->pool.slabs.slab);
    hd_cl_put_buffer(&l, o->in_at);
    hd_cl_put_u32(&l, a->f.places);
    hd_cl_put_u32(&l, a->list);
    put_finish(o, &a->f, &l);
    hd_cl_put_buffer(&l, o->s.q8 ? o->y_q : o->y);
    hd_cl_put_buffer(&l, o->s.q8 ? o->y_d : o->y);
    hd_cl_put_u32(&l, heads);
    hd_cl_put_f32(&l, cap);
    hd_cl_put_f32(&l, cap > 0 ? 1.0f / cap : 0);
    hd_cl_put_u32(&l, m->layers[a->task->layer].window);
    hd_cl_put_u32(&l, !a->q8_out);
    hd_cl_put_u32(&l, a->finishes);
    hd_cl_put_buffer(&l, o->result);
    hd_cl_put_u32(&l, a->f.n_flags);
    hd_cl_put_local(&l, local);
    hd_cl_put_local(&l, local);
    hd_cl_put_local(&l, local);
    hd_cl_put_local(&l, heads * HD_ATTN_BLOCK * sizeof(float));
    hd_cl_put_local(&l, (a->finishes ? ATTEND_ITEMS / 16 : 1) * o->s.head_dim * sizeof(float));
    hd_cl_put_u32(&l, o->s.keys_bytes > 0);
    hd_cl_put_local(&l, o->s.keys_bytes > 0 ? o->s.keys_bytes : 16);
    return hd_cl_go(&l, ATTEND_ITEMS, a->task->rows->n, a->task->units.n,
                    (o->s.n_rep + heads - 1) / heads);
}

static cl_int submit(const struct attention *a)
{
    struct hd_opencl *o = a->o;
    const cl_mem *slabs = hd_cl_slabs_of(a->task->from.weights);
    size_t rows = a->task->rows->n;
    cl_int rc = hd_cl_in_send(o);
    if (rc != CL_SUCCESS)
        return rc;
    struct hd_cl_operand x = hd_cl_inputs(o, &a->in, &rc);
    if (rc == CL_SUCCESS)
        rc = hd_cl_project(o, &a->project, slabs, &x, o->y);
    if (rc == CL_SUCCESS)
        rc = gather_vectors(o, &a->f);
    if (rc == CL_SUCCESS && !a->finishes)
        rc = finish_rows(o, &a->f);
    if (rc == CL_SUCCESS)
        rc = attend(a);
    struct hd_cl_sum sum = {
        .q8 = &a->q8,
        .f32 = &a->f32,
        .x_q8 = {o->y_q, o->y_d, o->s.width / 4, o->s.stride},
        .x_f32 = {o->y, NULL, o->s.width, 0},
        .shifts = a->shifts,
        .rows = rows,
    };
    return rc == CL_SUCCESS ? hd_cl_reduce(o, &sum, slabs) : rc;
}

static cl_int seal_behind(void *arg)
{
    const struct attention *a = arg;
    return seal_rows(a->o, &a->f);
}

int hd_cl_attention(struct hd_opencl *o, const struct hd_half_task *t, struct hd_half_output *out,
                    struct hd_error *err)
{
    uint32_t end, at;
    bool single;
    size_t rows = t->rows->n, units = t->units.n, blocks = count_blocks(t, &end, &single);
    struct attention a = {
        .o = o, .task = t, .finishes = single && o->s.heads_at_once == o->s.n_rep};
    a.f = (struct finishing){.stores = &t->from,
                             .units = units,
                             .rows = rows,
                             .stride = o->s.stride,
                             .k_at = o->s.heads * o->s.stride * o->s.width,
                             .has = HAS_Q,
                             .n_flags = o->travels_at / sizeof(uint32_t)};
    a.f.v_at = a.f.k_at + o->s.heads * o->s.stride * o->s.head_dim;
    int rc = hd_cl_angles(o, end, err);
    if (rc == 0)
        rc = hd_cl_in_begin(o,
                            hd_cl_input_bytes(o, rows) + rows * sizeof(int32_t) +
                                blocks * sizeof(uint32_t) +
                                units * rows * sizeof(struct hd_cl_place) +
                                units * sizeof(struct hd_cl_head) + hd_cl_jobs_bytes(6 * units) * 3,
                            err);
    if (rc < 0)
        return rc;
    hd_cl_add_input(o, t->rows->x, rows, &a.in);
    memcpy(hd_cl_in_add(o, rows * sizeof(int32_t), &a.shifts), t->rows->shifts,
           rows * sizeof(int32_t));
    struct hd_cl_head *heads = hd_cl_in_add(o, units * sizeof *heads, &at);
    a.f.heads = at;
    for (size_t s = 0; s < units; s++)
        heads[s] = head_of(t->from.weights, piece_at(t, s), &a.f.has);
    add_places(&a, blocks);
    plan_inputs(&a);
    plan_outputs(&a);
    count_attention(&a);
    cl_int code = submit(&a);
    if (code != CL_SUCCESS)
        return hd_cl_fail(o->cl, code, "an attention half", err);
    out->flops = a.flops;
    return hd_cl_answer(o, t, seal_behind, &a, out, err);
}

/* ---- Rows of a list ----*/

/* Up to HD_CL_LIST_ITEMS items: each is a unit with up to HD_CL_ROWS rows. */
static int rows_at_once(struct hd_opencl *o, const struct hd_device_stores *to,
                        const struct hd_kv_work *list, size_t n)
{
    size_t hd = o->s.head_dim, row0 = 0, stride = hd_cl_input_stride(o);
    struct finishing f = {.stores = to,
                          .units = n,
                          .rows = HD_CL_ROWS,
                          .stride = HD_CL_ROWS,
                          .v_at = HD_CL_LIST_ITEMS * HD_CL_ROWS * hd};
    struct hd_cl_part *part = o->part[0];
    struct hd_cl_matrix *matrix = o->matrix[0];
    struct hd_cl_plan plan;
    uint32_t x, at;
    int rc = hd_cl_in_begin(o,
                            n * HD_CL_ROWS * (o->s.row_bytes + sizeof(struct hd_cl_place)) +
                                n * sizeof(struct hd_cl_head) + hd_cl_jobs_bytes(2 * n) + 1024,
                            NULL);
    if (rc < 0)
        return rc;
    uint8_t *rows = hd_cl_in_add(o, n * HD_CL_ROWS * o->s.row_bytes, &x);
    struct hd_cl_head *heads = hd_cl_in_add(o, n * sizeof *heads, &at);
    struct hd_cl_place *places = hd_cl_in_add(o, n * HD_CL_ROWS * sizeof *places, &f.places);
    f.heads = at;
    memset(places, 0, n * HD_CL_ROWS * sizeof *places);
    for (size_t i = 0; i < n; i++) {
        const struct hd_kv_work *w = &list[i];
        struct hd_piece_at piece = {HD_UNIT_HEAD, w->at.head, w->at.layer};
        const struct hd_device_lane *lane = hd_cl_kv_lane(to->kv, w->at);
        memcpy(rows + row0 * o->s.row_bytes, w->x, w->n * o->s.row_bytes);
        heads[i] = head_of(to->weights, piece, &f.has);
        for (unsigned v = 0; v < 2; v++) {
            part[2 * i + v] = hd_cl_part_of(to->weights, piece, v ? HD_SLOT_V : HD_SLOT_K);
            matrix[2 * i + v] = (struct hd_cl_matrix){
                .x = (uint32_t)((o->s.q8 ? 0 : x / sizeof(float)) + row0 * stride),
                .d = (uint32_t)row0,
                .y = (uint32_t)((v ? f.v_at : 0) + i * HD_CL_ROWS * hd),
                .y_stride = (uint32_t)hd,
                .rows = (uint32_t)w->n};
        }
        for (size_t r = 0; r < w->n; r++) {
            uint32_t p = w->position + (uint32_t)r;
            struct hd_cl_place *at_row = &places[i * HD_CL_ROWS + r];
            *at_row = place_of(o, w->at.layer, p, w->x + r * o->s.row_bytes);
            at_row->block = lane->block[p / HD_ATTN_BLOCK];
            at_row->store = 1;
        }
        row0 += (w->n + 7) / 8 * 8;
    }
    hd_cl_plan(o, &(struct hd_cl_jobs){part, matrix, 2 * n, HD_CL_ROWS}, &plan);
    cl_int code = hd_cl_in_send(o);
    struct hd_cl_operand in = {0};
    if (code == CL_SUCCESS)
        in = hd_cl_inputs(o, &(struct hd_cl_input){.rows = row0, .at = x}, &code);
    if (code == CL_SUCCESS)
        code = hd_cl_project(o, &plan, hd_cl_slabs_of(to->weights), &in, o->y);
    if (code == CL_SUCCESS)
        code = gather_vectors(o, &f);
    if (code == CL_SUCCESS)
        code = finish_rows(o, &f);
    if (code == CL_SUCCESS)
        code = seal_rows(o, &f);
    if (code == CL_SUCCESS)
        code = o->cl->call.Finish(o->cl->queue);
    return code == CL_SUCCESS ? 0 : hd_cl_fail(o->cl, code, "rows of a list", NULL);
}

int hd_cl_rows(struct hd_opencl *o, const struct hd_device_stores *to,
               const struct hd_kv_work *list, size_t n)
{
    uint32_t end = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].position + list[i].n > end)
            end = list[i].position + (uint32_t)list[i].n;
    int rc = hd_cl_angles(o, end, NULL);
    for (size_t i = 0; i < n && rc == 0; i += HD_CL_LIST_ITEMS)
        rc = rows_at_once(o, to, list + i, n - i < HD_CL_LIST_ITEMS ? n - i : HD_CL_LIST_ITEMS);
    return rc;
}
