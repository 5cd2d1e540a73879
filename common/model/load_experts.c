/* load_experts.c - the tensors of experts: one for each, or one of all of a layer, in which gate
 * and up may lie behind one another or by turns. */
#include "common/model/load_impl.h"

#include <stdio.h>
#include <string.h>

#define MX_BLOCK 32 /* values of MXFP4 that share a scale: 16 bytes, and the scale elsewhere */

/* What is loaded, and where to. */
struct experts {
    struct loader *l;
    const char *name;
    const struct hd_tensor_name *n;
    uint32_t layer;
    size_t slots;      /* from n->slot on */
    size_t rows, cols; /* of one slot's tensor of one expert; all slots have as many */
    bool vector;       /* cols of them, in a row */
};

/* Where an expert's tensor is, and of the first what all are like. */
static int take(const struct experts *x, const struct hd_tensor *t, enum hd_slot_id id,
                uint32_t expert)
{
    struct hd_model *m = x->l->m;
    struct hd_tensor *all = hd_slot_tensor(m, id, x->layer);

    if (expert == 0)
        *all = *t;
    else if (t->type != all->type)
        return hd_fail(
            x->l->err, HD_E_UNSUPPORTED,
            "tensor %s: expert %u is %s and expert 0 is %s; experts of one layer must be "
            "of one type: convert the model with one type for them",
            x->name, expert, hd_dtype_name(t->type), hd_dtype_name(all->type));
    else if (t->layout != all->layout || t->step != all->step || !t->apart != !all->apart ||
             memcmp(&t->f8, &all->f8, sizeof t->f8) != 0)
        return hd_fail(x->l->err, HD_E_UNSUPPORTED,
                       "tensor %s: expert %u is scaled otherwise than expert 0", x->name, expert);
    *hd_expert_data(m, id, x->layer, expert) = (struct hd_expert_data){t->data, t->apart};
    m->slots |= HD_SLOT_BIT(id);
    return 0;
}

/* The tensor of that name and shape; vectors are floats, as those of a whole layer are. */
static int get(const struct experts *x, const char *name, const size_t want[2],
               struct hd_tensor *out)
{
    int rc = load_tensor(x->l, name, out);

    if (rc == 0)
        rc = load_check(x->l, name, out, want);
    if (rc == 0 && (x->vector || x->n->pairs))
        rc = load_check_floats(x->l, name, out);
    if (rc == 0)
        rc = load_check_f8(x->l, name, out, x->n->slot);
    if (rc == 0 && out->layout == HD_LAYOUT_F8 && !strchr(x->name, '*'))
        rc =
            hd_fail(x->l->err, HD_E_UNSUPPORTED,
                    "tensor %s is FP8 of all experts in one; only one for each is supported", name);
    if (rc == 0)
        load_hash(x->l, name, out);
    return rc;
}

/* ---- One tensor for each expert ----*/

static int load_each(const struct experts *x)
{
    const char *star = strchr(x->name, '*');
    int rc = 0;

    for (uint32_t e = 0; rc == 0 && e < x->l->m->shape.n_experts; e++) {
        char one[NAME_MAX_LEN];
        struct hd_tensor t;

        snprintf(one, sizeof one, "%.*s%u%s", (int)(star - x->name), x->name, e, star + 1);
        rc = get(x, one, (size_t[]){x->rows, x->cols}, &t);
        if (rc == 0)
            rc = take(x, &t, x->n->slot, e);
    }
    return rc;
}

/* ---- One tensor of all ----*/

/* Vectors: a row of each expert. Matrices: an expert's rows of one slot, then of the next. */
static int load_rows(const struct experts *x)
{
    size_t experts = x->l->m->shape.n_experts, rows = x->slots * x->rows;
    const size_t want[] = {x->vector ? experts : experts * rows, x->vector ? rows : x->cols};
    struct hd_tensor t;
    int rc = get(x, x->name, want, &t);

    if (rc < 0)
        return rc;
    if (x->vector)
        t.row_bytes = hd_dtype_row_bytes(t.type, 1);
    t.rows = x->rows;
    t.cols = x->cols;
    for (size_t i = 0; rc == 0 && i < experts * x->slots; i++, t.data += x->rows * t.row_bytes)
        rc = take(x, &t, x->n->slot + (enum hd_slot_id)(i % x->slots), (uint32_t)(i / x->slots));
    return rc;
}

/* Rows of the slots by turns, as a vector for each expert. */
static int load_paired_vectors(const struct experts *x)
{
    size_t experts = x->l->m->shape.n_experts, rows = x->slots * x->rows;
    struct hd_tensor t;
    int rc = get(x, x->name, (size_t[]){experts, rows}, &t);

    if (rc < 0)
        return rc;
    const uint8_t *first = t.data;
    size_t bytes = hd_dtype_row_bytes(t.type, 1);
    t.rows = x->rows;
    t.cols = 1;
    t.row_bytes = x->slots * bytes;
    for (size_t i = 0; rc == 0 && i < experts * x->slots; i++) {
        t.data = first + (i / x->slots * rows + i % x->slots) * bytes;
        rc = take(x, &t, x->n->slot + (enum hd_slot_id)(i % x->slots), (uint32_t)(i / x->slots));
    }
    return rc;
}

/* Rows of the slots by turns, column by column. */
static int load_columns(const struct experts *x)
{
    size_t experts = x->l->m->shape.n_experts, rows = x->slots * x->rows;
    struct hd_tensor t;
    int rc = get(x, x->name, (size_t[]){experts * x->cols, rows}, &t);

    if (rc < 0)
        return rc;
    const uint8_t *first = t.data;
    size_t bytes = hd_dtype_row_bytes(t.type, 1);
    t.layout = HD_LAYOUT_COLUMNS;
    t.rows = x->rows;
    t.cols = x->cols;
    t.step = x->slots * bytes;
    for (size_t i = 0; rc == 0 && i < experts * x->slots; i++) {
        t.data = first + i / x->slots * x->cols * t.row_bytes + i % x->slots * bytes;
        rc = take(x, &t, x->n->slot + (enum hd_slot_id)(i % x->slots), (uint32_t)(i / x->slots));
    }
    return rc;
}

/* `n` bytes of a tensor of bytes. */
static int load_bytes(const struct experts *x, const char *end, size_t n, struct hd_tensor *out)
{
    char name[NAME_MAX_LEN];

    snprintf(name, sizeof name, "%.80s%s", x->name, end);
    ptrdiff_t i = hd_names_find(x->l->src->names, (struct hd_str){name, strlen(name)});
    size_t have = 0;
    int rc = x->l->src->bytes(x->l->src->arg, name, &out->data, &have);
    if (rc < 0 || i < 0)
        return hd_fail(x->l->err, HD_E_FORMAT,
                       "tensor %s is missing, or no bytes; the model is incomplete", name);
    if (have != n)
        return hd_fail(x->l->err, HD_E_FORMAT, "tensor %s has %zu bytes, not %zu", name, have, n);
    x->l->used[i] = true;
    *out = (struct hd_tensor){
        .type = HD_MXFP4, .rows = 1, .cols = n, .row_bytes = n, .data = out->data};
    load_hash(x->l, name, out);
    return 0;
}

/* MXFP4: blocks and scales apart, rows of the slots by turns. */
static int load_mxfp4(const struct experts *x)
{
    size_t experts = x->l->m->shape.n_experts, rows = x->slots * x->rows;
    struct hd_tensor blocks, scales, t = {.type = HD_MXFP4, .layout = HD_LAYOUT_APART};

    if (x->cols % MX_BLOCK != 0)
        return hd_fail(x->l->err, HD_E_FORMAT, "tensor %s: rows of %zu values cannot be MXFP4",
                       x->name, x->cols);
    int rc = load_bytes(x, "_blocks", experts * rows * x->cols / 2, &blocks);
    if (rc == 0)
        rc = load_bytes(x, "_scales", experts * rows * x->cols / MX_BLOCK, &scales);
    t.rows = x->rows;
    t.cols = x->cols;
    t.row_bytes = x->slots * x->cols / 2;
    t.step = x->slots * x->cols / MX_BLOCK;
    for (size_t i = 0; rc == 0 && i < experts * x->slots; i++) {
        size_t row = i / x->slots * rows + i % x->slots;

        t.data = blocks.data + row * (x->cols / 2);
        t.apart = scales.data + row * (x->cols / MX_BLOCK);
        rc = take(x, &t, x->n->slot + (enum hd_slot_id)(i % x->slots), (uint32_t)(i / x->slots));
    }
    return rc;
}

static bool is_there(const struct loader *l, const char *name)
{
    return hd_names_find(l->src->names, (struct hd_str){name, strlen(name)}) >= 0;
}

int load_experts(struct loader *l, const char *name, const struct hd_tensor_name *n, uint32_t layer)
{
    const struct hd_slot *s = &hd_slots[n->slot];
    struct experts x = {.l = l,
                        .name = name,
                        .n = n,
                        .layer = layer,
                        .slots = n->fused ? n->fused : 1,
                        .rows = hd_size_of(&l->m->shape, s->rows),
                        .cols = hd_size_of(&l->m->shape, s->cols),
                        .vector = s->cols == HD_SIZE_ONE};

    if (strchr(name, '*'))
        return load_each(&x);
    if (!n->pairs)
        return load_rows(&x);
    if (x.vector)
        return load_paired_vectors(&x);
    return is_there(l, name) || !l->src->bytes ? load_columns(&x) : load_mxfp4(&x);
}
