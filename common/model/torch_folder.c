/* torch_folder.c - folders whose weights PyTorch wrote: pytorch_model.bin, and Meta's files, of
 * which there is one for each machine that they were trained on. */
#include "common/model/safetensors_impl.h"
#include "common/model/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 64

static bool ends_with(struct hd_str s, const char *end)
{
    size_t n = strlen(end);

    return s.len >= n && memcmp(s.data + s.len - n, end, n) == 0;
}

static struct hd_str str(const char *text)
{
    return (struct hd_str){text, strlen(text)};
}

bool torch_is_named(const char *path)
{
    return ends_with(str(path), ".bin") || ends_with(str(path), ".pth");
}

/* What tensors of a file are added to. */
struct adding {
    struct hd_safetensors *st;
    const struct shard *s;
    size_t part, n; /* which of so many files with parts of each tensor */
};

static struct entry entry_of(const struct adding *a, const struct hd_torch_tensor *t)
{
    return (struct entry){.type = safetensors_type(t->type),
                          .rows = t->rows,
                          .cols = t->cols,
                          .shard = (uint32_t)(a->s - a->st->shards),
                          .at = t->at,
                          .dtype = t->type};
}

static int add_whole(void *arg, const struct hd_torch_tensor *t, struct hd_error *err)
{
    const struct adding *a = arg;
    struct entry e = entry_of(a, t);

    return safetensors_add(a->st, a->s, t->name, &e, err);
}

int torch_open_file(struct hd_safetensors *st, struct shard *s, struct hd_error *err)
{
    struct adding a = {.st = st, .s = s};
    int rc = hd_map_open(&s->map, s->path, err);

    return rc < 0 ? rc : hd_torch_read(&s->map, s->path, &s->pickle, add_whole, &a, err);
}

/* ---- Parts of each tensor ----*/

static int add_part(void *arg, const struct hd_torch_tensor *t, struct hd_error *err)
{
    const struct adding *a = arg;
    struct entry e = entry_of(a, t);

    if (a->part == 0) {
        e.split = calloc(1, sizeof *e.split + a->n * sizeof *e.split->data);
        if (!e.split)
            return hd_fail(err, HD_E_NOMEM, "no memory for %zu files", a->n);
        e.split->n = a->n;
        e.split->data[0] = a->s->map.data + t->at;
        int rc = safetensors_add(a->st, a->s, t->name, &e, err);
        if (rc < 0)
            free(e.split);
        return rc;
    }
    ptrdiff_t i = hd_names_find(&a->st->names, t->name);
    const struct entry *first = i < 0 ? NULL : &a->st->entries[i];
    if (!first || first->rows != e.rows || first->cols != e.cols ||
        strcmp(first->dtype, e.dtype) != 0)
        return hd_fail(err, HD_E_FORMAT,
                       "tensor %.*s is not the like of that in the first of %zu such files",
                       (int)(t->name.len < 80 ? t->name.len : 80), t->name.data, a->n);
    first->split->data[a->part] = a->s->map.data + t->at;
    return 0;
}

/* How Meta's programs cut a tensor: not at all, by rows or by columns; -1: it is none of theirs.
 * The embedding was cut by columns up to Llama 2. */
enum { WHOLE, ROWS, COLUMNS };

static int cut_of(struct hd_str name, const struct entry *e, size_t dim)
{
    static const char *const by_rows[] = {"wq.weight", "wk.weight", "wv.weight",
                                          "w1.weight", "w3.weight", "output.weight"};

    if (ends_with(name, "norm.weight") || ends_with(name, "rope.freqs"))
        return WHOLE;
    if (ends_with(name, "wo.weight") || ends_with(name, "w2.weight"))
        return COLUMNS;
    if (ends_with(name, "tok_embeddings.weight"))
        return e->cols == dim ? ROWS : COLUMNS;
    for (size_t i = 0; i < sizeof by_rows / sizeof *by_rows; i++)
        if (ends_with(name, by_rows[i]))
            return ROWS;
    return -1;
}

static int join_part(const struct hd_safetensors *st, size_t i, size_t dim, const char *folder,
                     struct hd_error *err)
{
    struct entry *e = &st->entries[i];
    struct hd_str name = st->names.names[i];
    int cut = cut_of(name, e, dim), shown = (int)(name.len < 80 ? name.len : 80);

    for (size_t k = 0; k < e->split->n; k++)
        if (!e->split->data[k])
            return hd_fail(err, HD_E_FORMAT,
                           "%s: tensor %.*s is not in file %zu of %zu: fetch the whole folder",
                           folder, shown, name.data, k, e->split->n);
    if (cut < 0)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "%s: how tensor %.*s is cut into %zu files is not known", folder, shown,
                       name.data, e->split->n);
    if (cut == WHOLE || e->rows == 0 || e->cols == 0) { /* all have the same */
        free(e->split);
        e->split = NULL;
        return 0;
    }
    e->split->columns = cut == COLUMNS;
    if (e->split->columns)
        e->cols *= e->split->n;
    else
        e->rows *= e->split->n;
    return 0;
}

static int join_parts(const struct hd_safetensors *st, const char *folder, struct hd_error *err)
{
    ptrdiff_t norm = hd_names_find(&st->names, str("norm.weight"));
    size_t dim = norm < 0 ? 0 : st->entries[norm].cols;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < st->names.n; i++)
        rc = join_part(st, i, dim, folder, err);
    return rc;
}

/* The files that there are, from 00 on without a gap. */
static int open_maps(struct hd_safetensors *st, const char *folder, struct hd_error *err)
{
    for (int i = 0; i < MAX_PARTS; i++) {
        char name[32];

        snprintf(name, sizeof name, "consolidated.%02d.pth", i);
        int k = safetensors_file(st, folder, name, err);
        if (k < 0)
            return k;
        int rc = hd_map_open(&st->shards[k].map, st->shards[k].path, err);
        if (rc == HD_E_NOTFOUND) {
            free(st->shards[k].path);
            st->shards[k] = (struct shard){0};
            st->n_shards--;
            return i == 0 ? rc : 0;
        }
        if (rc < 0)
            return rc;
    }
    return hd_fail(err, HD_E_LIMIT, "%s: more than %d files of one model", folder, MAX_PARTS - 1);
}

int torch_open_parts(struct hd_safetensors *st, const char *folder, struct hd_error *err)
{
    int rc = open_maps(st, folder, err);
    size_t n = st->n_shards;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct shard *s = &st->shards[i];
        struct adding a = {.st = st, .s = s, .part = i, .n = n};

        rc = hd_torch_read(&s->map, s->path, &s->pickle, n == 1 ? add_whole : add_part, &a, err);
    }
    return rc < 0 || n == 1 ? rc : join_parts(st, folder, err);
}
