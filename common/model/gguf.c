/* Opening a GGUF file: one pass of a cursor that cannot leave the mapping and makes all that it
 * passes over its own (map.h), then the checks that need the whole (alignment, each tensor's
 * bytes). Nothing is allocated for a count that the rest of the file could not hold. */
#include "common/model/gguf_impl.h"
#include "common/model/kind.h"
#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

struct cursor {
    struct hd_gguf *g;
    size_t at;
    struct hd_error *err;
};

static int damaged(const struct cursor *c, const char *what)
{
    hd_fail(c->err, HD_E_FORMAT,
            "%s: byte %zu: %s; the file is damaged or incomplete, fetch it again", c->g->path,
            c->at, what);
    return HD_E_FORMAT;
}

static size_t left(const struct cursor *c)
{
    return c->g->map.len - c->at;
}

/* The next `n` bytes; NULL (and the error is filled) when the file has fewer. */
static const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *p = c->g->map.data + c->at;

    if (n > left(c)) {
        damaged(c, "the file ends too early");
        return NULL;
    }
    if (hd_map_own(&c->g->map, c->at + n) < 0) {
        hd_fail(c->err, HD_E_IO, "%s: byte %zu: it cannot be read", c->g->path, c->at);
        return NULL;
    }
    c->at += n;
    return p;
}

static int take_u32(struct cursor *c, uint32_t *v)
{
    const uint8_t *p = take(c, sizeof *v);

    if (!p)
        return HD_E_FORMAT;
    memcpy(v, p, sizeof *v);
    return 0;
}

static int take_u64(struct cursor *c, uint64_t *v)
{
    const uint8_t *p = take(c, sizeof *v);

    if (!p)
        return HD_E_FORMAT;
    memcpy(v, p, sizeof *v);
    return 0;
}

static int take_str(struct cursor *c, struct hd_str *s)
{
    uint64_t len;
    const uint8_t *p = NULL;

    if (take_u64(c, &len) == 0)
        p = take(c, len);
    if (!p)
        return HD_E_FORMAT;
    *s = (struct hd_str){(const char *)p, len};
    return 0;
}

/* ---- Keys -----------------------------------------------------------------------------------*/

/* Strings differ in length: note where each begins, so that any is found in O(1). */
static int take_strings(struct cursor *c, struct gguf_value *v)
{
    if (v->n > left(c) / sizeof(uint64_t))
        return damaged(c, "an array of strings is longer than the file");
    v->strs = calloc(v->n ? v->n : 1, sizeof *v->strs);
    if (!v->strs)
        return hd_fail(c->err, HD_E_NOMEM, "%s: no memory for %zu strings", c->g->path, v->n);
    for (size_t i = 0; i < v->n; i++) {
        struct hd_str s;

        v->strs[i] = c->g->map.data + c->at;
        int rc = take_str(c, &s);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_array(struct cursor *c, struct gguf_value *v)
{
    uint64_t n;
    size_t bytes;

    if (take_u32(c, &v->element) < 0 || take_u64(c, &n) < 0)
        return HD_E_FORMAT;
    v->n = n;
    v->data = c->g->map.data + c->at;
    if (v->element == GGUF_STRING)
        return take_strings(c, v);
    if (v->element == GGUF_ARRAY)
        return hd_fail(c->err, HD_E_UNSUPPORTED, "%s: byte %zu: arrays of arrays are not supported",
                       c->g->path, c->at);
    if (gguf_type_size(v->element) == 0)
        return damaged(c, "an array of an unknown type");
    if (!hd_mul_size(v->n, gguf_type_size(v->element), &bytes))
        return damaged(c, "an array is longer than the file");
    v->data = take(c, bytes);
    return v->data ? 0 : HD_E_FORMAT;
}

static int take_value(struct cursor *c, struct gguf_value *v)
{
    struct hd_str s;
    int rc = take_u32(c, &v->type);

    if (rc < 0)
        return rc;
    if (v->type == GGUF_ARRAY)
        return take_array(c, v);
    if (v->type == GGUF_STRING) {
        rc = take_str(c, &s);
        if (rc == 0) {
            v->data = (const uint8_t *)s.data;
            v->n = s.len;
        }
        return rc;
    }
    if (gguf_type_size(v->type) == 0)
        return damaged(c, "a value of an unknown type");
    v->data = take(c, gguf_type_size(v->type));
    if (!v->data)
        return HD_E_FORMAT;
    if (v->type == GGUF_BOOL && v->data[0] > 1)
        return damaged(c, "a truth value that is neither 0 nor 1");
    return 0;
}

static int take_keys(struct cursor *c, uint64_t n)
{
    /* A key takes at least the length of its name, its type and one byte. */
    if (n > left(c) / 13)
        return damaged(c, "more keys than the file could hold");
    if (n > GGUF_MAX_KEYS)
        return hd_fail(c->err, HD_E_LIMIT, "%s: %zu keys, the limit is %d", c->g->path, (size_t)n,
                       GGUF_MAX_KEYS);
    c->g->values = calloc(n ? n : 1, sizeof *c->g->values);
    if (!c->g->values || hd_names_init(&c->g->keys, n) < 0)
        return hd_fail(c->err, HD_E_NOMEM, "%s: no memory for its keys", c->g->path);
    for (uint64_t i = 0; i < n; i++) {
        struct hd_str name;
        int rc = take_str(c, &name);

        if (rc < 0)
            return rc;
        if (hd_names_add(&c->g->keys, name) < 0)
            return damaged(c, "a key occurs twice");
        rc = take_value(c, &c->g->values[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- Tensors --------------------------------------------------------------------------------*/

static int take_info(struct cursor *c, struct gguf_tensor_info *t)
{
    uint32_t n_dims;
    int rc = take_u32(c, &n_dims);

    if (rc < 0)
        return rc;
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return damaged(c, "a tensor of an impossible number of dimensions");
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        t->ne[d] = 1;
        if (d < n_dims && (rc = take_u64(c, &t->ne[d])) < 0)
            return rc;
        if (t->ne[d] == 0)
            return damaged(c, "a tensor without elements");
    }
    rc = take_u32(c, &t->type);
    return rc < 0 ? rc : take_u64(c, &t->offset);
}

static int take_infos(struct cursor *c, uint64_t n)
{
    /* A tensor takes its name's length, dimensions (at least one), type and offset. */
    if (n > left(c) / 32)
        return damaged(c, "more tensors than the file could hold");
    if (n > GGUF_MAX_TENSORS)
        return hd_fail(c->err, HD_E_LIMIT, "%s: %zu tensors, the limit is %d", c->g->path,
                       (size_t)n, GGUF_MAX_TENSORS);
    c->g->infos = calloc(n ? n : 1, sizeof *c->g->infos);
    if (!c->g->infos || hd_names_init(&c->g->tensors, n) < 0)
        return hd_fail(c->err, HD_E_NOMEM, "%s: no memory for its tensors", c->g->path);
    for (uint64_t i = 0; i < n; i++) {
        struct hd_str name;
        int rc = take_str(c, &name);

        if (rc < 0)
            return rc;
        if (hd_names_add(&c->g->tensors, name) < 0)
            return damaged(c, "a tensor occurs twice");
        rc = take_info(c, &c->g->infos[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Bytes of a tensor, all products checked. */
static bool tensor_bytes(const struct gguf_tensor_info *t, size_t *bytes)
{
    const struct gguf_dtype *type = gguf_dtype(t->type);
    size_t row;

    *bytes = 0;
    if (type->block == 0)
        return true; /* nobody knows */
    if (t->ne[0] % type->block != 0 ||
        !hd_mul_size(t->ne[0] / type->block, type->block_bytes, &row))
        return false;
    *bytes = row;
    for (int d = 1; d < GGUF_MAX_DIMS; d++)
        if (!hd_mul_size(*bytes, t->ne[d], bytes))
            return false;
    return true;
}

/* What is wrong with a tensor's entry; NULL when nothing is. *end: of its bytes in the data. */
static const char *bad_info(const struct gguf_tensor_info *t, size_t alignment, size_t *end)
{
    size_t bytes;

    if (t->offset % alignment != 0)
        return "is not aligned";
    if (!tensor_bytes(t, &bytes))
        return "has an impossible shape";
    return hd_add_size(t->offset, bytes, end) ? NULL : "ends after the end of the file";
}

static int check_infos(const struct hd_gguf *g, size_t alignment, struct hd_error *err)
{
    size_t room = g->map.len - g->data_at, needed = 0;

    for (size_t i = 0; i < g->tensors.n; i++) {
        struct hd_str name = g->tensors.names[i];
        size_t end = 0;
        const char *what = bad_info(&g->infos[i], alignment, &end);

        if (what)
            return hd_fail(err, HD_E_FORMAT,
                           "%s: tensor %.*s %s; the file is damaged or incomplete, fetch it again",
                           g->path, (int)(name.len < 64 ? name.len : 64), name.data, what);
        needed = end > needed ? end : needed;
    }
    if (needed > room)
        return hd_fail(
            err, HD_E_FORMAT,
            "%s: its last %zu bytes are missing, it has %zu: the download has not ended, "
            "fetch it again",
            g->path, needed - room, g->map.len);
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------*/

static int check_version(const struct cursor *c, uint32_t version)
{
    const char *what = "is newer than this hydac: take a newer one, or a file of version 3";

    if (version == GGUF_VERSION || version == GGUF_VERSION_LITTLE)
        return 0;
    if (version <= 1)
        what = "is from before its numbers had 64 bits: convert the model again, or take a newer "
               "file";
    else if (version == __builtin_bswap32(GGUF_VERSION))
        return hd_fail(
            c->err, HD_E_UNSUPPORTED,
            "%s: a big-endian GGUF file, for other machines; take the little-endian one, "
            "or convert it (gguf_convert_endian.py FILE little)",
            c->g->path);
    return hd_fail(c->err, HD_E_UNSUPPORTED, "%s: GGUF version %u %s", c->g->path, version, what);
}

static int take_counts(struct cursor *c, uint64_t *n_tensors, uint64_t *n_keys)
{
    const struct hd_map *map = &c->g->map;
    uint32_t magic = 0, version = 0;

    if (left(c) < sizeof magic || take_u32(c, &magic) < 0 || magic != GGUF_MAGIC) {
        const char *what = hd_kind_of_bytes(map->data, map->len);

        return hd_fail(c->err, HD_E_FORMAT, "%s: not a GGUF file%s%s", c->g->path,
                       what ? ", but " : "", what ? what : "");
    }
    int rc = take_u32(c, &version);
    if (rc == 0)
        rc = check_version(c, version);
    if (rc == 0)
        rc = take_u64(c, n_tensors);
    return rc < 0 ? rc : take_u64(c, n_keys);
}

static int parse(struct hd_gguf *g, struct hd_error *err)
{
    struct cursor c = {g, 0, err};
    uint64_t n_tensors = 0, n_keys = 0, alignment = GGUF_DEFAULT_ALIGNMENT;
    int rc = take_counts(&c, &n_tensors, &n_keys);

    if (rc == 0)
        rc = take_keys(&c, n_keys);
    if (rc == 0)
        rc = take_infos(&c, n_tensors);
    if (rc < 0)
        return rc;
    rc = hd_gguf_u64(g, "general.alignment", &alignment);
    /* A multiple of 8, so that any element type is aligned; a page is more than anybody uses. */
    if ((rc < 0 && rc != HD_E_NOTFOUND) || alignment < 8 || alignment > 1 << 20 ||
        (alignment & (alignment - 1)) != 0)
        return damaged(&c, "general.alignment is not a power of two from 8 to 2^20");
    size_t pad = (alignment - c.at % alignment) % alignment;
    if (pad > left(&c))
        return damaged(&c, "the file ends before its data");
    g->data_at = c.at + pad;
    if (hd_map_own_only(&g->map, g->data_at) < 0)
        return hd_fail(err, HD_E_IO, "%s: cannot be mapped", g->path);
    return check_infos(g, alignment, err);
}

int gguf_open_one(struct hd_gguf **out, const char *path, struct hd_error *err)
{
    struct hd_gguf *g = calloc(1, sizeof *g);
    int rc;

    *out = NULL;
    if (!g || !(g->path = strdup(path))) {
        rc = hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", path);
        goto err_after_alloc;
    }
    rc = hd_map_open(&g->map, path, err);
    if (rc < 0) {
        rc = rc == HD_E_NOTFOUND ? HD_E_IO : rc;
        if (err)
            err->code = rc;
        goto err_after_alloc;
    }
    rc = parse(g, err);
    if (rc < 0)
        goto err_after_alloc;
    *out = g;
    return 0;

err_after_alloc:
    hd_gguf_close(g);
    return rc;
}

void hd_gguf_close(struct hd_gguf *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_parts; i++)
        hd_gguf_close(g->parts[i]);
    free(g->parts);
    for (size_t i = 0; i < g->keys.n; i++)
        free(g->values[i].strs);
    free(g->values);
    free(g->infos);
    hd_names_deinit(&g->keys);
    hd_names_deinit(&g->tensors);
    hd_map_close(&g->map);
    free(g->path);
    free(g);
}
