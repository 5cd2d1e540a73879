/* compute.c - scratch, the cutting of work, and the sum over units. */
#include "worker/cpu/compute_impl.h"

#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

#define ITEMS_PER_THREAD                                                                           \
    4 /* work items a thread should find, so that none waits long at the end                       \
       */

/* ---- Scratch ----*/

/* n elements of `size` bytes, 64-byte aligned; NULL also when the product does not fit. */
static void *scratch_new(size_t a, size_t b, size_t size)
{
    size_t n;
    void *p;
    if (!hd_mul_size(a, b, &n) || !hd_mul_size(n, size, &n) || !hd_add_size(n, 64, &n) ||
        posix_memalign(&p, 64, n) != 0)
        return NULL;
    return p;
}

static size_t largest(size_t a, size_t b, size_t c)
{
    size_t ab = a > b ? a : b;
    return ab > c ? ab : c;
}

/* What one work item of any kind keeps beside its outputs, rounded up to whole cache lines. */
static size_t scratch_floats(const struct hd_compute *c)
{
    size_t tile = 3 * (size_t)ROW_TILE * TILE_GROUPS * HD_GROUP; /* reduce_item's 32 + 64 bits */
    size_t logits = (size_t)LOGITS_TILE * c->units.vocab_width;
    size_t prepared = c->q8 ? hd_q8_prepared_bytes(c->o.model->shape.dim) / sizeof(float) : 0;
    size_t kv = HD_LOG_CHUNK * (2 * (size_t)c->o.model->shape.head_dim + prepared);
    return (largest(tile, logits, kv) + 15) / 16 * 16;
}

static bool alloc_q8(struct hd_compute *c)
{
    size_t rows = c->max_rows, width = c->n_rep * c->o.model->shape.head_dim;
    if (!c->q8)
        return true;
    c->inputs = scratch_new(rows, hd_q8_prepared_bytes(c->o.model->shape.dim), 1);
    c->attended_q8 = scratch_new(c->units.heads * rows, hd_q8_prepared_bytes(width), 1);
    c->hidden_q8 =
        scratch_new(c->units.ffn_blocks * rows, hd_q8_prepared_bytes(c->units.ffn_width), 1);
    return c->inputs && c->attended_q8 && c->hidden_q8;
}

static bool alloc_scratch(struct hd_compute *c)
{
    const struct hd_model_shape *m = &c->o.model->shape;
    size_t rows = c->max_rows, heads = c->units.heads;
    size_t width = c->n_rep * m->head_dim;
    c->q = scratch_new(heads * width, rows, sizeof *c->q);
    c->k = scratch_new(heads * m->head_dim, rows, sizeof *c->k);
    c->v = scratch_new(heads * m->head_dim, rows, sizeof *c->v);
    c->attended = scratch_new(heads * width, rows, sizeof *c->attended);
    c->fresh = scratch_new(heads, rows, 1);
    c->hidden =
        scratch_new((size_t)c->units.ffn_blocks * c->units.ffn_width, rows, sizeof *c->hidden);
    c->sum = scratch_new(rows, m->dim, sizeof *c->sum);
    c->narrow = scratch_new(rows, m->dim, sizeof *c->narrow);
    if (c->o.wire == HD_WIRE_COMPACT)
        c->compact = scratch_new(rows, c->sum_bytes, 1);
    bool has_compact = c->compact || c->o.wire == HD_WIRE_EXACT;
    c->is_bad = scratch_new(rows, 1, 1);
    c->is_wide = scratch_new(rows, 1, 1);
    c->bad = scratch_new(rows, 1, sizeof *c->bad);
    c->wide = scratch_new(rows, 1, sizeof *c->wide);
    c->offset = scratch_new(rows, 1, sizeof *c->offset);
    c->thread_scratch = scratch_new(c->threads, c->scratch_floats, sizeof *c->thread_scratch);
    return alloc_q8(c) && c->q && c->k && c->v && c->attended && c->fresh && c->hidden && c->sum &&
           c->narrow && has_compact && c->is_bad && c->is_wide && c->bad && c->wide && c->offset &&
           c->thread_scratch;
}

int hd_compute_new(struct hd_compute **out, const struct hd_compute_options *o)
{
    struct hd_compute *c = calloc(1, sizeof *c);
    if (!c)
        return HD_E_NOMEM;
    c->o = *o;
    hd_model_units(o->model, &c->units);
    c->rope.model = o->model;
    c->n_rep = o->model->shape.n_heads / o->model->shape.n_kv_heads;
    c->threads = hd_team_threads(o->team);
    c->max_rows = o->max_rows;
    c->q8 = o->activations == HD_ACTIVATIONS_Q8;
    c->row_bytes = hd_model_row_bytes(o->model, o->activations);
    c->sum_bytes = hd_model_sum_bytes(o->model, o->wire);
    c->scratch_floats = scratch_floats(c);
    if (!alloc_scratch(c)) {
        hd_compute_free(c);
        return HD_E_NOMEM;
    }
    *out = c;
    return 0;
}

void hd_compute_free(struct hd_compute *c)
{
    if (!c)
        return;
    hd_rope_table_deinit(&c->rope);
    free(c->q);
    free(c->k);
    free(c->v);
    free(c->attended);
    free(c->fresh);
    free(c->hidden);
    free(c->inputs);
    free(c->attended_q8);
    free(c->hidden_q8);
    free(c->sum);
    free(c->narrow);
    free(c->compact);
    free(c->is_bad);
    free(c->is_wide);
    free(c->bad);
    free(c->wide);
    free(c->offset);
    free(c->thread_scratch);
    free(c);
}

int hd_compute_half(struct hd_compute *c, const struct hd_half_task *work,
                    struct hd_half_output *out, struct hd_error *err)
{
    switch (work->kind) {
    case HD_UNIT_HEAD:
        return hd_compute_attention(c, work, out, err);
    case HD_UNIT_FFN:
        return hd_compute_ffn(c, work, out, err);
    default:
        return hd_compute_logits(c, work, out, err);
    }
}

int hd_compute_positions(struct hd_compute *c, uint32_t positions)
{
    return hd_rope_table_reserve(&c->rope, positions);
}

struct hd_rope_table *hd_compute_angles(struct hd_compute *c)
{
    return &c->rope;
}

/* ---- Cutting ----*/

struct split hd_split(const struct hd_compute *c, size_t units, size_t groups, size_t rows)
{
    size_t tiles = (rows + ROW_TILE - 1) / ROW_TILE;
    size_t per = units * tiles * groups / (c->threads * ITEMS_PER_THREAD), most = TILE_GROUPS;
    if (rows < ROW_TILE)
        most =
            ROW_TILE / rows * TILE_GROUPS < MAX_GROUPS ? ROW_TILE / rows * TILE_GROUPS : MAX_GROUPS;
    per = per < 1 ? 1 : per > most ? most : per;
    return (struct split){
        .units = units,
        .parts = (groups + per - 1) / per,
        .tiles = tiles,
        .per = per,
        .tile_rows = ROW_TILE,
        .rows = rows,
    };
}

struct split_item hd_split_item(const struct split *s, size_t index)
{
    size_t tile = index % s->tiles, part = index / s->tiles % s->parts;
    size_t row0 = tile * s->tile_rows, left = s->rows - row0;
    return (struct split_item){
        .unit = index / s->tiles / s->parts,
        .g0 = part * s->per,
        .g1 = (part + 1) * s->per,
        .stride = s->per * HD_GROUP,
        .row0 = row0,
        .rows = left < s->tile_rows ? left : s->tile_rows,
    };
}

/* ---- The step's inputs ----*/

struct inputs_job {
    struct hd_compute *c;
    const struct hd_rows *rows;
};

static void prepare_row(void *arg, size_t row, unsigned thread)
{
    const struct inputs_job *j = arg;
    const struct hd_compute *c = j->c;
    size_t dim = c->o.model->shape.dim;
    (void)thread;
    hd_q8_prepare(c->o.kernels, (const uint8_t *)j->rows->x + row * c->row_bytes, dim,
                  c->inputs + row * hd_q8_prepared_bytes(dim));
}

void hd_prepare_inputs(struct hd_compute *c, const struct hd_rows *rows)
{
    struct inputs_job j = {c, rows};
    if (c->q8)
        hd_team_run(c->o.team, rows->n, prepare_row, &j);
}

void hd_multiply_inputs(const struct hd_compute *c, const struct hd_rows *rows,
                        const struct input_product *p)
{
    size_t dim = c->o.model->shape.dim;
    if (c->q8) {
        size_t stride = hd_q8_prepared_bytes(dim);
        hd_matmul_q8(c->o.kernels, &(struct hd_matmul_q8_args){.w = p->w,
                                                               .g0 = p->g0,
                                                               .g1 = p->g1,
                                                               .x = c->inputs + p->row0 * stride,
                                                               .x_stride = stride,
                                                               .y = p->y,
                                                               .y_stride = p->y_stride,
                                                               .rows = p->rows});
        return;
    }
    hd_matmul(c->o.kernels, &(struct hd_matmul_args){.w = p->w,
                                                     .g0 = p->g0,
                                                     .g1 = p->g1,
                                                     .x = (const float *)rows->x + p->row0 * dim,
                                                     .x_stride = dim,
                                                     .y = p->y,
                                                     .y_stride = p->y_stride,
                                                     .rows = p->rows});
}

/* ---- The sum over units ----*/

/* W in of one unit for a range of outputs, to partial [rows][stride]. */
static void multiply_unit(const struct hd_compute *c, const struct unit_input *in,
                          const struct split_item *it, float *partial)
{
    size_t g1 = it->g1 < in->w->groups ? it->g1 : in->w->groups;
    if (in->q8) {
        hd_matmul_q8(c->o.kernels,
                     &(struct hd_matmul_q8_args){.w = in->w,
                                                 .g0 = it->g0,
                                                 .g1 = g1,
                                                 .x = in->q8 + it->row0 * in->q8_stride,
                                                 .x_stride = in->q8_stride,
                                                 .y = partial,
                                                 .y_stride = it->stride,
                                                 .rows = it->rows});
        return;
    }
    hd_matmul(c->o.kernels, &(struct hd_matmul_args){.w = in->w,
                                                     .g0 = it->g0,
                                                     .g1 = g1,
                                                     .x = in->x + it->row0 * in->stride,
                                                     .x_stride = in->stride,
                                                     .y = partial,
                                                     .y_stride = it->stride,
                                                     .rows = it->rows});
}

/* What a work item of the sum keeps: few enough to stay in the L1 or L2 cache, and side by side, as
 * rows of the whole sum would fall on the same cache sets. */
struct item_sums {
    int64_t *sum;   /* [rows][stride] */
    float *partial; /* [rows][stride], of one unit */
};

/* Adds one unit's partial of a range of outputs to the sums. */
static void add_unit(const struct reduction *r, const struct split_item *it, size_t slot,
                     const struct item_sums *s)
{
    struct hd_compute *c = r->c;
    size_t dim = c->o.model->shape.dim, first = it->g0 * HD_GROUP;
    struct unit_input in = r->in(r, slot);
    size_t g1 = it->g1 < in.w->groups ? it->g1 : in.w->groups;
    size_t n = (g1 * HD_GROUP < dim ? g1 * HD_GROUP : dim) - first;
    multiply_unit(c, &in, it, s->partial);
    for (size_t i = 0; i < it->rows; i++) {
        size_t row = it->row0 + i;
        /* Several threads may find the same row bad: each stores the same byte. */
        if (hd_fixed_add(c->o.kernels, s->sum + i * it->stride, s->partial + i * it->stride,
                         r->work->rows->shifts[row], n) < 0)
            __atomic_store_n(&c->is_bad[row], 1, __ATOMIC_RELAXED);
    }
}

static void reduce_item(void *arg, size_t index, unsigned thread)
{
    struct reduction *r = arg;
    struct split_item it = hd_split_item(&r->split, index);
    size_t dim = r->c->o.model->shape.dim, first = it.g0 * HD_GROUP;
    size_t end = it.g1 * HD_GROUP < dim ? it.g1 * HD_GROUP : dim;
    float *scratch = hd_scratch(r->c, thread);
    struct item_sums s = {(int64_t *)(void *)scratch, scratch + 2 * it.rows * it.stride};
    memset(s.sum, 0, it.rows * it.stride * sizeof *s.sum);
    for (size_t slot = 0; slot < r->work->units.n; slot++)
        add_unit(r, &it, slot, &s);
    for (size_t i = 0; i < it.rows; i++)
        memcpy(r->c->sum + (it.row0 + i) * dim + first, s.sum + i * it.stride,
               (end - first) * sizeof *s.sum);
}

static void narrow_row(void *arg, size_t row, unsigned thread)
{
    struct hd_compute *c = ((struct reduction *)arg)->c;
    size_t dim = c->o.model->shape.dim;
    int64_t *sum = c->sum + row * dim; /* [dim] */
    (void)thread;
    if (c->is_bad[row])
        memset(sum, 0, dim * sizeof *sum);
    c->is_wide[row] = !hd_fixed_narrow(c->o.kernels, sum, c->narrow + row * dim, dim);
    if (c->compact && !c->is_wide[row])
        hd_sum_encode(c->o.kernels, c->narrow + row * dim, dim, c->compact + row * c->sum_bytes);
}

size_t hd_list_flags(const uint8_t *flags, size_t rows, uint32_t *list)
{
    size_t n = 0;
    for (size_t i = 0; i < rows; i++)
        if (flags[i])
            list[n++] = (uint32_t)i;
    return n;
}

/* A row's sums as they travel. */
static const void *sums_of_row(const struct hd_compute *c, size_t row)
{
    size_t dim = c->o.model->shape.dim;
    if (c->is_wide[row])
        return c->sum + row * dim;
    return c->compact ? (const void *)(c->compact + row * c->sum_bytes) : c->narrow + row * dim;
}

/* Rows in order, wide ones with 64 bits an element. */
static int write_sums(struct hd_compute *c, size_t rows, struct hd_half_output *out)
{
    size_t wide_bytes = c->o.model->shape.dim * sizeof(int64_t);
    out->payload = hd_shared_new((rows - out->n_wide) * c->sum_bytes + out->n_wide * wide_bytes);
    if (!out->payload)
        return HD_E_NOMEM;
    uint8_t *p = hd_shared_data(out->payload);
    for (size_t i = 0; i < rows; i++) {
        size_t bytes = c->is_wide[i] ? wide_bytes : c->sum_bytes;
        memcpy(p, sums_of_row(c, i), bytes);
        p += bytes;
    }
    return 0;
}

uint64_t hd_product_flops(const struct hd_weights *w, size_t rows)
{
    return 2 * (uint64_t)w->outputs * w->inputs * rows;
}

int hd_reduce(struct reduction *r, struct hd_half_output *out, struct hd_error *err)
{
    struct hd_compute *c = r->c;
    size_t rows = r->work->rows->n, groups = (c->o.model->shape.dim + HD_GROUP - 1) / HD_GROUP;
    memset(c->is_bad, 0, rows);
    r->split = hd_split(c, 1, groups, rows);
    hd_team_run(c->o.team, hd_split_items(&r->split), reduce_item, r);
    hd_team_run(c->o.team, rows, narrow_row, r);
    for (size_t slot = 0; slot < r->work->units.n; slot++)
        out->flops += hd_product_flops(r->in(r, slot).w, rows);
    out->wide = c->wide;
    out->n_wide = hd_list_flags(c->is_wide, rows, c->wide);
    out->bad = c->bad;
    out->n_bad = hd_list_flags(c->is_bad, rows, c->bad);
    if (write_sums(c, rows, out) < 0)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the partial sums of %zu rows", rows);
    return 0;
}
