/* load_heads.c - vectors of heads that are not alike: rows of one tensor, or a tensor of each. */
#include "common/model/load_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for a list of so many places that lives as long as the model; NULL: no memory. */
static struct hd_split *new_split(struct hd_model *m, size_t n)
{
    struct hd_split **all = realloc(m->splits, (m->n_splits + 1) * sizeof *all);

    if (!all)
        return NULL;
    m->splits = all;
    struct hd_split *s = calloc(1, sizeof *s + n * sizeof *s->data);
    if (!s)
        return NULL;
    s->n = n;
    all[m->n_splits++] = s;
    return s;
}

/* One tensor of each head, all of one type. */
static int get_each(struct loader *l, const char *name, size_t heads, struct hd_tensor *out)
{
    const char *star = strchr(name, '*');
    struct hd_split *s = new_split(l->m, heads);
    int rc = s ? 0 : hd_fail(l->err, HD_E_NOMEM, "no memory for %zu heads", heads);

    for (size_t h = 0; rc == 0 && h < heads; h++) {
        char one[NAME_MAX_LEN];
        struct hd_tensor t;

        snprintf(one, sizeof one, "%.*s%zu%s", (int)(star - name), name, h, star + 1);
        rc = load_tensor(l, one, &t);
        if (rc == 0)
            rc = load_check(l, one, &t, (size_t[]){1, l->m->shape.head_dim});
        if (rc == 0 && h > 0 && t.type != out->type)
            rc = hd_fail(l->err, HD_E_UNSUPPORTED,
                         "tensor %s is %s and that of head 0 is %s; those of one layer must be of "
                         "one type",
                         one, hd_dtype_name(t.type), hd_dtype_name(out->type));
        if (rc == 0) {
            s->data[h] = t.data;
            *out = t;
        }
    }
    if (rc < 0)
        return rc;
    out->layout = HD_LAYOUT_SPLIT;
    out->split = s;
    out->data = s->data[0];
    out->rows = heads;
    return 0;
}

int load_heads(struct loader *l, const char *name, const struct hd_tensor_name *n, uint32_t layer)
{
    size_t hd = l->m->shape.head_dim, heads = hd_size_of(&l->m->shape, hd_slots[n->slot].rows) / hd;
    struct hd_tensor t;
    int rc;

    if (strchr(name, '*')) {
        rc = get_each(l, name, heads, &t);
    } else {
        rc = load_tensor(l, name, &t);
        if (rc == 0)
            rc = load_check(l, name, &t, (size_t[]){heads, hd});
        if (rc == 0)
            rc = load_check_floats(l, name, &t);
    }
    if (rc < 0)
        return rc;
    load_hash(l, name, &t);
    load_take_rows(l, &t, 0, n->slot, layer);
    return 0;
}
