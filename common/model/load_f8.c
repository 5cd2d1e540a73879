/* load_f8.c - weights of FP8: bytes in one tensor, what they are multiplied by in another, one
 * number for all, one for each row, or one for each rectangle. */
#include "common/model/load_impl.h"

#include <stdio.h>
#include <string.h>

#define BLOCK ((size_t)32) /* of HD_F8_E4M3 */

/* Scales as a file has them. */
struct scales {
    struct hd_tensor t; /* of E8M0 the type means nothing */
    size_t bytes;       /* of one */
    int type;
};

static bool is_there(const struct loader *l, const char *name)
{
    return hd_names_find(l->src->names, (struct hd_str){name, strlen(name)}) >= 0;
}

static void use(const struct loader *l, const char *name)
{
    ptrdiff_t i = hd_names_find(l->src->names, (struct hd_str){name, strlen(name)});

    if (i >= 0)
        l->used[i] = true;
}

/* Exponents alone, whose shape follows from their number. */
static int read_exponents(struct loader *l, const char *name, const struct hd_tensor *of,
                          struct scales *s)
{
    size_t n = 0, across = (of->cols + l->src->f8_cols - 1) / l->src->f8_cols;
    int rc = l->src->bytes(l->src->arg, name, &s->t.data, &n);

    if (rc < 0 || n == 0)
        return hd_fail(l->err, HD_E_FORMAT, "tensor %s has no values", name);
    s->t.cols = n == 1 || n % across != 0 ? 1 : across;
    s->t.rows = n / s->t.cols;
    s->t.row_bytes = s->t.cols;
    s->t.type = HD_F8_E4M3;
    s->bytes = 1;
    s->type = HD_F8_SCALE_E8M0;
    use(l, name);
    return 0;
}

static int read_scales(struct loader *l, const char *name, const struct hd_tensor *of,
                       struct scales *s)
{
    char type[32];
    int rc;

    l->src->type_name(l->src->arg, name, type, sizeof type);
    *s = (struct scales){.bytes = 2};
    if (strcmp(type, "F8_E8M0") == 0)
        return read_exponents(l, name, of, s);
    rc = load_tensor(l, name, &s->t);
    if (rc < 0)
        return rc;
    if (s->t.layout != HD_LAYOUT_ROWS || hd_dtype_block(s->t.type) != 1)
        return hd_fail(l->err, HD_E_UNSUPPORTED,
                       "tensor %s is %s; scales of FP8 must be F32, F16, BF16 or F8_E8M0", name,
                       type);
    s->type = s->t.type == HD_F32   ? HD_F8_SCALE_F32
              : s->t.type == HD_F16 ? HD_F8_SCALE_F16
                                    : HD_F8_SCALE_BF16;
    s->bytes = hd_dtype_row_bytes(s->t.type, 1);
    return 0;
}

static size_t parts(size_t n, size_t width)
{
    return (n + width - 1) / width;
}

/* Which values each scale is of, by their number. */
static int fit(const struct loader *l, const char *name, struct hd_tensor *t,
               const struct scales *s)
{
    const struct hd_source *src = l->src;
    size_t n = s->t.rows * s->t.cols;

    t->apart = s->t.data;
    t->f8.scale_type = s->type;
    t->step = s->t.cols * s->bytes;
    if (n == 1) {
        t->f8.rows = t->rows;
        t->f8.cols = t->cols;
    } else if (s->t.rows == parts(t->rows, src->f8_rows) &&
               s->t.cols == parts(t->cols, src->f8_cols)) {
        t->f8.rows = src->f8_rows;
        t->f8.cols = src->f8_cols;
    } else if (n == t->rows && (s->t.rows == 1 || s->t.cols == 1)) {
        t->f8.rows = 1;
        t->f8.cols = t->cols;
        t->step = s->bytes;
    } else {
        return hd_fail(l->err, HD_E_UNSUPPORTED,
                       "scales of tensor %s are %zu x %zu, and it is %zu x %zu: neither one for "
                       "all, nor for each row, nor for each %zu x %zu of it",
                       name, s->t.rows, s->t.cols, t->rows, t->cols, src->f8_rows, src->f8_cols);
    }
    return 0;
}

/* Rows that are not whole blocks of one scale, and E5M2, are widened. */
static void choose_type(struct loader *l, struct hd_tensor *t)
{
    bool wide =
        t->f8.e5m2 || t->cols % BLOCK != 0 || (t->f8.cols < t->cols && t->f8.cols % BLOCK != 0);

    if (wide)
        t->type = HD_F32;
    if (wide && !l->noted_wide)
        hd_warnings_add(&l->m->warnings,
                        "FP8 weights that are no whole blocks of 32 with one scale "
                        "are widened to F32, 4 times their size in the file");
    if (!l->noted_f8)
        hd_warnings_add(&l->m->warnings,
                        "weights are FP8: they are multiplied as they are, by "
                        "activations in F32, whatever the file says of 8-bit ones");
    l->noted_wide |= wide;
    l->noted_f8 = true;
}

int load_f8(struct loader *l, const char *name, struct hd_tensor *t)
{
    static const char *const endings[] = {"_scale_inv", "_scale"};
    static const char *const unread[] = {"input_scale", "activation_scale", "output_scale"};
    char scale[NAME_MAX_LEN] = "", other[NAME_MAX_LEN];
    size_t stem = strlen(name) > 6 ? strlen(name) - 6 : 0; /* without "weight" */
    struct scales s;
    int rc = 0;

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(other, sizeof other, "%.80s%s", name, endings[i]);
        if (*scale && is_there(l, other))
            return hd_fail(l->err, HD_E_UNSUPPORTED, "tensor %s has two scales", name);
        if (is_there(l, other))
            memcpy(scale, other, sizeof scale);
    }
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++) {
        snprintf(other, sizeof other, "%.*s%s", (int)(stem < 80 ? stem : 80), name, unread[i]);
        use(l, other);
    }
    t->f8.rows = t->rows;
    t->f8.cols = t->cols;
    if (!*scale && l->src->f8_scaled)
        return hd_fail(l->err, HD_E_FORMAT, "tensor %s_scale is missing; the model is incomplete",
                       name);
    if (*scale)
        rc = read_scales(l, scale, t, &s);
    if (rc == 0 && *scale)
        rc = fit(l, name, t, &s);
    if (rc == 0 && *scale)
        load_hash(l, scale, &s.t);
    if (rc == 0)
        choose_type(l, t);
    return rc;
}

int load_check_f8(const struct loader *l, const char *name, const struct hd_tensor *t,
                  enum hd_slot_id slot)
{
    if (t->layout != HD_LAYOUT_F8 || (hd_slot_is_units(slot) && !hd_slot_is_vector(slot)))
        return 0;
    return hd_fail(l->err, HD_E_UNSUPPORTED,
                   "tensor %s is FP8; embeddings, routers, norms and biases must be F32, F16 or "
                   "BF16",
                   name);
}
