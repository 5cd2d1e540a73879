/* compute.c - scratch, the cutting of work, and the sum over units. */
#include "worker/cpu/compute_impl.h"

#include "common/net/conn.h"
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
    size_t prepared = c->q8 ? hd_q8_prepared_bytes(c->model->shape.dim) / sizeof(float) : 0;
    size_t kv = HD_LOG_CHUNK * (2 * (size_t)c->model->shape.head_dim + prepared);
    return (largest(tile, logits, kv) + 15) / 16 * 16;
}

static bool alloc_q8(struct hd_compute *c)
{
    size_t rows = c->max_rows, width = c->n_rep * c->model->shape.head_dim;
    if (!c->q8)
        return true;
    c->inputs = scratch_new(rows, hd_q8_prepared_bytes(c->model->shape.dim), 1);
    c->attended_q8 = scratch_new(c->units.heads * rows, hd_q8_prepared_bytes(width), 1);
    c->hidden_q8 = scratch_new(c->hidden_rows, hd_q8_prepared_bytes(c->units.ffn_width), 1);
    return c->inputs && c->attended_q8 && c->hidden_q8;
}

static bool alloc_scratch(struct hd_compute *c)
{
    const struct hd_model_shape *m = &c->model->shape;
    size_t rows = c->max_rows, heads = c->units.heads;
    size_t width = c->n_rep * m->head_dim;
    c->q = scratch_new(heads * width, rows, sizeof *c->q);
    c->k = scratch_new(heads * m->head_dim, rows, sizeof *c->k);
    c->v = scratch_new(heads * m->head_dim, rows, sizeof *c->v);
    c->attended = scratch_new(heads * width, rows, sizeof *c->attended);
    /* Each row takes n_used experts, or what there is instead of them. */
    c->hidden_rows = (size_t)c->units.ffn_blocks / c->units.experts * rows;
    c->hidden_rows *= m->n_used ? m->n_used : 1;
    c->hidden = scratch_new(c->hidden_rows, c->units.ffn_width, sizeof *c->hidden);
    c->blocks = scratch_new(c->units.ffn_blocks, 1, sizeof *c->blocks);
    c->sum = scratch_new(rows, m->dim, sizeof *c->sum);
    if (c->wire == HD_WIRE_COMPACT)
        c->narrow = scratch_new(rows, m->dim, sizeof *c->narrow);
    bool has_narrow = c->narrow || c->wire == HD_WIRE_EXACT;
    c->is_bad = scratch_new(rows, 1, 1);
    c->is_wide = scratch_new(rows, 1, 1);
    c->bad = scratch_new(rows, 1, sizeof *c->bad);
    c->wide = scratch_new(rows, 1, sizeof *c->wide);
    c->offset = scratch_new(rows, 1, sizeof *c->offset);
    c->unit = scratch_new(largest(heads, c->units.ffn_blocks, 1), 1, sizeof *c->unit);
    c->thread_scratch = scratch_new(c->threads, c->scratch_floats, sizeof *c->thread_scratch);
    return alloc_q8(c) && hd_picked_init(c) && hd_parts_init(c) && c->blocks && c->q && c->k &&
           c->v && c->attended && c->hidden && c->sum && has_narrow && c->is_bad && c->is_wide &&
           c->bad && c->wide && c->offset && c->unit && c->thread_scratch;
}

int hd_compute_new(struct hd_compute **out, const struct hd_device *d,
                   const struct hd_kernels *kernels)
{
    struct hd_compute *c = calloc(1, sizeof *c);
    if (!c)
        return HD_E_NOMEM;
    c->model = d->o.model;
    c->kernels = kernels;
    c->team = d->o.team;
    c->units = d->units;
    c->kv_type = d->sizes.kv_type;
    c->wire = d->sizes.wire;
    c->rope.model = c->model;
    c->n_rep = c->model->shape.n_heads / c->model->shape.n_kv_heads;
    c->threads = hd_team_threads(c->team);
    c->max_rows = d->sizes.max_rows;
    c->q8 = d->sizes.activations == HD_ACTIVATIONS_Q8;
    c->row_bytes = hd_model_row_bytes(c->model, d->sizes.activations);
    c->sum_bytes = hd_model_sum_bytes(c->model, c->wire);
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
    free(c->hidden);
    free(c->inputs);
    free(c->attended_q8);
    free(c->hidden_q8);
    free(c->sum);
    free(c->narrow);
    free(c->is_bad);
    free(c->is_wide);
    free(c->bad);
    free(c->wide);
    free(c->offset);
    free(c->unit);
    free(c->blocks);
    hd_picked_deinit(c);
    hd_parts_deinit(c);
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
        .stride = s->per * HD_GROUP,
        .at =
            {
                .g0 = part * s->per,
                .g1 = (part + 1) * s->per,
                .row0 = row0,
                .rows = left < s->tile_rows ? left : s->tile_rows,
            },
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
    size_t dim = c->model->shape.dim;
    (void)thread;
    hd_q8_prepare(c->kernels, (const uint8_t *)j->rows->x + row * c->row_bytes, dim,
                  c->inputs + row * hd_q8_prepared_bytes(dim));
}

struct hd_operand hd_inputs(struct hd_compute *c, const struct hd_rows *rows)
{
    struct inputs_job j = {c, rows};
    size_t dim = c->model->shape.dim;
    if (!c->q8)
        return (struct hd_operand){.x = rows->x, .stride = c->row_bytes / sizeof(float)};
    hd_team_run(c->team, rows->n, prepare_row, &j);
    return (struct hd_operand){.q8 = c->inputs, .q8_stride = hd_q8_prepared_bytes(dim)};
}

/* ---- The sum over units ----*/

/* What a work item of the sum keeps: few enough to stay in the L1 or L2 cache, and side by side, as
 * rows of the whole sum would fall on the same cache sets. */
struct item_sums {
    int64_t *sum;   /* [rows][stride] */
    float *partial; /* [rows][stride], of one unit */
};

/* Those of a unit's rows that lie in [row0, row0 + rows) of the step: the first, and how many. */
static size_t rows_within(const struct hd_share *of, const struct hd_range *at, size_t *n)
{
    size_t i = 0, end = of->n;
    *n = at->rows;
    if (!of->row)
        return at->row0;
    for (size_t m; i < end;) { /* the first that is not before the range */
        m = i + (end - i) / 2;
        if (of->row[m] < at->row0)
            i = m + 1;
        else
            end = m;
    }
    for (*n = 0; i + *n < of->n && of->row[i + *n] < at->row0 + at->rows;)
        ++*n;
    return i;
}

/* Apart, so that rows that have no weight pay nothing for it. */
static __attribute__((noinline)) void weigh(float *x, size_t n, float weight)
{
    for (size_t k = 0; k < n; k++)
        x[k] *= weight;
}

/* Adds one unit's partial of a range of outputs to the sums. */
static void add_unit(const struct reduction *r, const struct split_item *it, size_t slot,
                     const struct item_sums *s)
{
    struct hd_compute *c = r->c;
    size_t dim = c->model->shape.dim, first = it->at.g0 * HD_GROUP;
    struct unit_input in = c->unit[slot];
    size_t g1 = it->at.g1 < in.w->groups ? it->at.g1 : in.w->groups;
    size_t n = (g1 * HD_GROUP < dim ? g1 * HD_GROUP : dim) - first;
    struct hd_range at = it->at;
    at.row0 = rows_within(&in.of, &it->at, &at.rows);
    if (at.rows == 0)
        return;
    hd_product(c->kernels, &in.rows, in.w, at, s->partial, it->stride);
    for (size_t i = 0; i < at.rows; i++) {
        size_t row = in.of.row ? in.of.row[at.row0 + i] : at.row0 + i;
        float *partial = s->partial + i * it->stride;
        if (in.of.weight)
            weigh(partial, n, in.of.weight[at.row0 + i]);
        /* Several threads may find the same row bad: each stores the same byte. */
        if (hd_fixed_add(c->kernels, s->sum + (row - it->at.row0) * it->stride, partial,
                         r->work->rows->shifts[row], n) < 0)
            __atomic_store_n(&c->is_bad[row], 1, __ATOMIC_RELAXED);
    }
}

static void reduce_item(void *arg, size_t index, unsigned thread)
{
    struct reduction *r = arg;
    struct split_item it = hd_split_item(&r->split, index);
    size_t dim = r->c->model->shape.dim, first = it.at.g0 * HD_GROUP;
    size_t end = it.at.g1 * HD_GROUP < dim ? it.at.g1 * HD_GROUP : dim;
    float *scratch = hd_scratch(r->c, thread);
    struct item_sums s = {(int64_t *)(void *)scratch, scratch + 2 * it.at.rows * it.stride};
    memset(s.sum, 0, it.at.rows * it.stride * sizeof *s.sum);
    for (size_t slot = 0; slot < r->units; slot++)
        add_unit(r, &it, slot, &s);
    for (size_t i = 0; i < it.at.rows; i++)
        memcpy(r->c->sum + (it.at.row0 + i) * dim + first, s.sum + i * it.stride,
               (end - first) * sizeof *s.sum);
}

/* As it travels, if it is not wide. */
static void narrow_row(void *arg, size_t row, unsigned thread)
{
    const struct reduction *r = arg;
    struct hd_compute *c = r->c;
    size_t dim = c->model->shape.dim;
    int64_t *sum = c->sum + row * dim; /* [dim] */
    uint8_t *to = hd_shared_data(r->answer) + row * c->sum_bytes;
    int32_t *narrow = c->narrow ? c->narrow + row * dim : (int32_t *)(void *)to;
    (void)thread;
    if (c->is_bad[row])
        memset(sum, 0, dim * sizeof *sum);
    c->is_wide[row] = !hd_fixed_narrow(c->kernels, sum, narrow, dim);
    if (c->narrow && !c->is_wide[row])
        hd_sum_encode(c->kernels, narrow, dim, to);
}

uint64_t hd_product_flops(const struct hd_weights *w, size_t rows)
{
    return 2 * (uint64_t)w->outputs * w->inputs * rows;
}

int hd_reduce(struct reduction *r, struct hd_half_output *out, struct hd_error *err)
{
    struct hd_compute *c = r->c;
    size_t rows = r->work->rows->n, groups = (c->model->shape.dim + HD_GROUP - 1) / HD_GROUP;
    r->answer = hd_shared_new(rows * c->sum_bytes);
    if (!r->answer)
        return hd_fail(err, HD_E_NOMEM, "out of memory for the partial sums of %zu rows", rows);
    memset(c->is_bad, 0, rows);
    for (size_t slot = 0; slot < r->units; slot++)
        c->unit[slot] = r->in(r, slot);
    r->split = hd_split(c, 1, groups, rows);
    hd_team_run(c->team, hd_split_items(&r->split), reduce_item, r);
    hd_team_run(c->team, rows, narrow_row, r);
    for (size_t slot = 0; slot < r->units; slot++)
        out->flops += hd_product_flops(c->unit[slot].w, c->unit[slot].of.n);
    struct hd_sums sums = {
        .rows = rows,
        .dim = c->model->shape.dim,
        .is_bad = c->is_bad,
        .is_wide = c->is_wide,
        .sum = c->sum,
        .narrow = hd_shared_data(r->answer),
        .narrow_bytes = c->sum_bytes,
        .payload = r->answer,
        .wide = c->wide,
        .bad = c->bad,
    };
    return hd_answer_sums(&sums, out, err);
}
