/* A model in several files, as llama-gguf-split makes them: PREFIX-00001-of-00003.gguf and so on,
 * the first with the keys and maybe no tensors, the others with tensors and keys of the splitting.
 *
 * The first is opened like any file; the others behind it, and their tensors are listed with its
 * own. Nothing outside asks in which file a tensor is. */
#include "common/model/gguf_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX  1024
#define ENDING_LEN strlen("-00001-of-00001.gguf")

static int number_of(const struct hd_gguf *g, const char *key, uint64_t *out, struct hd_error *err)
{
    int rc = hd_gguf_u64(g, key, out);

    return rc == 0 || rc == HD_E_NOTFOUND
               ? 0
               : hd_fail(err, HD_E_FORMAT, "%s: key %s is not a whole number", g->path, key);
}

/* What a file says of the model that it is a part of. */
static int read_split(const struct hd_gguf *g, uint64_t *number, uint64_t *count,
                      struct hd_error *err)
{
    int rc = number_of(g, "split.count", count, err);

    if (rc == 0)
        rc = number_of(g, "split.no", number, err);
    return rc;
}

static void ending(char out[64], size_t part, size_t count)
{
    snprintf(out, 64, "-%05zu-of-%05zu.gguf", part + 1, count);
}

/* Part i of `count`, whose first has this path. */
static char *path_of(const char *first, size_t i, size_t count)
{
    size_t len = strlen(first) - ENDING_LEN;
    char end[64], *path = malloc(len + sizeof end);

    ending(end, i, count);
    if (path)
        snprintf(path, len + sizeof end, "%.*s%s", (int)len, first, end);
    return path;
}

static int check_first(const struct hd_gguf *g, uint64_t number, uint64_t count,
                       struct hd_error *err)
{
    size_t len = strlen(g->path);
    char end[64];

    if (number != 0)
        return hd_fail(
            err, HD_E_UNSUPPORTED,
            "%s: part %llu of %llu of a model: give the first part, the others are found "
            "beside it",
            g->path, (unsigned long long)number + 1, (unsigned long long)count);
    if (count > PARTS_MAX)
        return hd_fail(err, HD_E_LIMIT, "%s: %llu parts, the limit is %d", g->path,
                       (unsigned long long)count, PARTS_MAX);
    ending(end, 0, (size_t)count);
    if (len < ENDING_LEN || strcmp(g->path + len - ENDING_LEN, end) != 0)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "%s: part 1 of %llu of a model, so its name has to end with %s, and the "
                       "others' likewise",
                       g->path, (unsigned long long)count, end);
    return 0;
}

static int open_part(struct hd_gguf *g, size_t i, size_t count, struct hd_error *err)
{
    char *path = path_of(g->path, i, count);
    uint64_t no = 0, of = 1;
    int rc = path ? gguf_open_one(&g->parts[i - 1], path, err)
                  : hd_fail(err, HD_E_NOMEM, "%s: no memory for its parts", g->path);

    if (rc == 0) {
        g->n_parts = i;
        rc = read_split(g->parts[i - 1], &no, &of, err);
    }
    if (rc == 0 && (no != i || of != count))
        rc =
            hd_fail(err, HD_E_FORMAT,
                    "%s: says that it is part %llu of %llu, not %zu of %zu; fetch the parts of one "
                    "model again",
                    path, (unsigned long long)no + 1, (unsigned long long)of, i + 1, count);
    free(path);
    return rc;
}

/* Lists all parts' tensors as the first's. */
static int join(struct hd_gguf *g, struct hd_error *err)
{
    struct gguf_tensor_info *infos;
    struct hd_names names;
    size_t n = g->tensors.n;

    for (size_t p = 0; p < g->n_parts; p++)
        n += g->parts[p]->tensors.n;
    infos = calloc(n ? n : 1, sizeof *infos);
    if (!infos || hd_names_init(&names, n) < 0) {
        free(infos);
        return hd_fail(err, HD_E_NOMEM, "%s: no memory for its tensors", g->path);
    }
    int rc = 0;
    for (size_t p = 0; rc == 0 && p <= g->n_parts; p++) {
        const struct hd_gguf *from = p == 0 ? g : g->parts[p - 1];

        for (size_t i = 0; rc == 0 && i < from->tensors.n; i++) {
            ptrdiff_t at = hd_names_add(&names, from->tensors.names[i]);

            if (at < 0) {
                rc = hd_fail(err, HD_E_FORMAT, "%s: a tensor of it is in another part, too",
                             from->path);
                break;
            }
            infos[at] = from->infos[i];
            infos[at].part = (uint32_t)p;
        }
    }
    hd_names_deinit(&g->tensors);
    free(g->infos);
    g->tensors = names;
    g->infos = infos;
    return rc;
}

static int check_total(const struct hd_gguf *g, struct hd_error *err)
{
    uint64_t total = g->tensors.n;
    int rc = number_of(g, "split.tensors.count", &total, err);

    if (rc == 0 && total != g->tensors.n)
        rc = hd_fail(err, HD_E_FORMAT, "%s: its parts have %zu tensors, not %llu as it says",
                     g->path, g->tensors.n, (unsigned long long)total);
    return rc;
}

static int open_parts(struct hd_gguf *g, struct hd_error *err)
{
    uint64_t number = 0, count = 1;
    int rc = read_split(g, &number, &count, err);

    if (rc < 0 || count <= 1)
        return rc;
    rc = check_first(g, number, count, err);
    if (rc < 0)
        return rc;
    g->parts = calloc(count - 1, sizeof *g->parts);
    if (!g->parts)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory for its parts", g->path);
    for (size_t i = 1; rc == 0 && i < count; i++)
        rc = open_part(g, i, (size_t)count, err);
    if (rc == 0)
        rc = join(g, err);
    return rc == 0 ? check_total(g, err) : rc;
}

int hd_gguf_open(struct hd_gguf **out, const char *path, struct hd_error *err)
{
    int rc = gguf_open_one(out, path, err);

    if (rc == 0)
        rc = open_parts(*out, err);
    if (rc == 0 && (*out)->tensors.n == 0)
        rc = hd_fail(err, HD_E_FORMAT,
                     "%s: no tensors, maybe a vocabulary alone; take the model's file", path);
    if (rc < 0) {
        hd_gguf_close(*out);
        *out = NULL;
    }
    return rc;
}
