/* safetensors.c - headers are JSON from strangers: each length and offset is checked before it is
 * used, whatever the file says of itself.
 */
#include "common/model/safetensors_impl.h"

#include "common/model/kind.h"
#include "common/model/rules.h"
#include "common/util/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- One tensor of a header -----------------------------------------------------------------*/

/* All types of the format (safetensors' Dtype); sizes in bits, since some have fewer than 8. */
static const struct {
    const char *name;
    int type;
    size_t bits;
} dtypes[] = {
    {"F32", HD_F32, 32},
    {"F16", HD_F16, 16},
    {"BF16", HD_BF16, 16},
    {"F64", TYPE_OTHER, 64},
    {"I64", TYPE_OTHER, 64},
    {"U64", TYPE_OTHER, 64},
    {"C64", TYPE_OTHER, 64},
    {"I32", TYPE_OTHER, 32},
    {"U32", TYPE_OTHER, 32},
    {"I16", TYPE_OTHER, 16},
    {"U16", TYPE_OTHER, 16},
    {"I8", TYPE_OTHER, 8},
    {"U8", TYPE_OTHER, 8},
    {"BOOL", TYPE_OTHER, 8},
    {"F8_E4M3", HD_F8_E4M3, 8},
    {"F8_E5M2", TYPE_E5M2, 8},
    {"F8_E8M0", TYPE_OTHER, 8},
    {"F8_E4M3FNUZ", TYPE_OTHER, 8},
    {"F8_E5M2FNUZ", TYPE_OTHER, 8},
    {"F6_E2M3", TYPE_OTHER, 6},
    {"F6_E3M2", TYPE_OTHER, 6},
    {"F4", TYPE_OTHER, 4},
};
#define N_DTYPES (sizeof dtypes / sizeof *dtypes)

static bool read_size(const json_t *j, size_t *out)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *out = (size_t)json_integer_value(j);
    return true;
}

/* Rows and columns: the last dimension is a row. */
static bool read_shape(const json_t *shape, struct entry *e)
{
    size_t n = json_array_size(shape);

    e->rows = e->cols = 1;
    if (!json_is_array(shape))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t d;

        if (!read_size(json_array_get(shape, i), &d))
            return false;
        if (i + 1 == n)
            e->cols = d;
        else if (!hd_mul_size(e->rows, d, &e->rows))
            return false;
    }
    return true;
}

/* Whether so many bytes hold the tensor; of a type that we do not know they may. */
static bool right_size(const struct entry *e, size_t bytes)
{
    size_t i = 0, bits;

    while (i < N_DTYPES && strcmp(dtypes[i].name, e->dtype) != 0)
        i++;
    if (i == N_DTYPES)
        return true;
    return hd_mul_size(e->rows, e->cols, &bits) && hd_mul_size(bits, dtypes[i].bits, &bits) &&
           bits % 8 == 0 && bits / 8 == bytes;
}

int safetensors_type(const char *dtype)
{
    for (size_t i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].name, dtype) == 0)
            return dtypes[i].type;
    return TYPE_OTHER;
}

/* What is wrong with the tensor; NULL when nothing is. *begin and *end: in the data. */
static const char *read_entry(const json_t *j, struct entry *e, size_t *begin, size_t *end)
{
    const json_t *offsets = json_object_get(j, "data_offsets");

    e->dtype = json_string_value(json_object_get(j, "dtype"));
    if (!e->dtype)
        return "has no type";
    e->type = safetensors_type(e->dtype);
    size_t n;
    if (!read_shape(json_object_get(j, "shape"), e) || !hd_mul_size(e->rows, e->cols, &n))
        return "has an impossible shape";
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), begin) ||
        !read_size(json_array_get(offsets, 1), end))
        return "has no data_offsets";
    if (*begin > *end)
        return "ends before it begins";
    return right_size(e, *end - *begin) ? NULL : "has another size than its shape says";
}

/* ---- One file -------------------------------------------------------------------------------*/

static int open_header(struct shard *s, size_t *data_at, struct hd_error *err)
{
    uint64_t len = 0;
    int rc = hd_map_open(&s->map, s->path, err);

    if (rc < 0)
        return rc;
    if (s->map.len >= sizeof len && hd_map_own(&s->map, sizeof len) == 0)
        memcpy(&len, s->map.data, sizeof len);
    if (len < 2 || len > HD_SAFETENSORS_MAX_HEADER) {
        const char *what = hd_kind_of_bytes(s->map.data, s->map.len);

        return hd_fail(err, HD_E_FORMAT, "%s: not a safetensors file%s%s", s->path,
                       what ? ", but " : ", or one that is damaged or incomplete",
                       what ? what : "");
    }
    if (len > s->map.len - sizeof len)
        return hd_fail(err, HD_E_FORMAT,
                       "%s: it ends within its header, %zu bytes of %llu: the download has not "
                       "ended, fetch it again",
                       s->path, s->map.len - sizeof len, (unsigned long long)len);
    if (hd_map_own(&s->map, sizeof len + len) < 0 || hd_map_own_only(&s->map, sizeof len + len) < 0)
        return hd_fail(err, HD_E_IO, "%s: its header cannot be read", s->path);
    s->header = hd_json_object(s->path, (const char *)s->map.data + sizeof len, len, err);
    *data_at = sizeof len + len;
    return s->header ? 0 : HD_E_FORMAT;
}

int safetensors_add(struct hd_safetensors *st, const struct shard *s, struct hd_str name,
                    const struct entry *e, struct hd_error *err)
{
    if (st->names.n == st->names.cap)
        return hd_fail(err, HD_E_LIMIT, "%s: more than %zu tensors", s->path, st->names.cap);
    if (hd_names_add(&st->names, name) < 0)
        return hd_fail(err, HD_E_FORMAT, "%s: tensor %.*s is there twice, or in another file too",
                       s->path, (int)(name.len < 80 ? name.len : 80), name.data);
    st->entries[st->names.n - 1] = *e;
    return 0;
}

/* The tensors fill the data: `used` bytes in all, of which the last ends at `needed`. Whether they
 * overlap the format does not let us know cheaply; it would show in `used`. */
static int check_data(const struct shard *s, size_t room, size_t used, size_t needed,
                      struct hd_error *err)
{
    if (needed > room)
        return hd_fail(
            err, HD_E_FORMAT,
            "%s: its last %zu bytes are missing, it has %zu: the download has not ended, "
            "fetch it again",
            s->path, needed - room, s->map.len);
    if (used == 0 || used != room)
        return hd_fail(err, HD_E_FORMAT,
                       "%s: its tensors do not fill the file; it is damaged or incomplete",
                       s->path);
    return 0;
}

static int open_shard(struct hd_safetensors *st, struct shard *s, struct hd_error *err)
{
    size_t data_at = 0, used = 0, needed = 0, begin, end;
    const char *key;
    json_t *value;
    int rc;

    if (torch_is_named(s->path))
        return torch_open_file(st, s, err);
    rc = open_header(s, &data_at, err);
    if (rc < 0)
        return rc;
    json_object_foreach(s->header, key, value)
    {
        struct entry e = {.shard = (uint32_t)(s - st->shards)};

        if (strcmp(key, "__metadata__") == 0)
            continue;
        const char *what = read_entry(value, &e, &begin, &end);
        if (what)
            return hd_fail(err, HD_E_FORMAT,
                           "%s: tensor %s %s; the file is damaged or incomplete, fetch it again",
                           s->path, key, what);
        e.at = data_at + begin;
        rc = safetensors_add(st, s, (struct hd_str){key, strlen(key)}, &e, err);
        if (rc < 0)
            return rc;
        needed = end > needed ? end : needed;
        used = hd_add_size(used, end - begin, &used) ? used : SIZE_MAX;
    }
    return check_data(s, s->map.len - data_at, used, needed, err);
}

/* ---- The folder -----------------------------------------------------------------------------*/

static char *join(const char *folder, const char *file)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, file) < 0 ? NULL : path;
}

int safetensors_file(struct hd_safetensors *st, const char *folder, const char *file,
                     struct hd_error *err)
{
    if (!file || !*file || strchr(file, '/') || file[0] == '.')
        return hd_fail(err, HD_E_FORMAT,
                       "%s: the weight_map of its index has a value that is not the name of a "
                       "file beside it",
                       folder);
    for (size_t i = st->n_shards; i-- > 0;)
        if (strcmp(strrchr(st->shards[i].path, '/') + 1, file) == 0)
            return (int)i;
    if (st->n_shards == HD_SAFETENSORS_MAX_SHARDS)
        return hd_fail(err, HD_E_LIMIT, "%s: more than %d safetensors files", folder,
                       HD_SAFETENSORS_MAX_SHARDS);
    struct shard *s = &st->shards[st->n_shards];
    s->path = join(folder, file);
    if (!s->path)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", folder);
    return (int)st->n_shards++;
}

static int check_map(const struct hd_safetensors *st, const json_t *map, const char *path,
                     struct hd_error *err)
{
    const char *name;
    json_t *file;

    json_object_foreach((json_t *)(uintptr_t)map, name, file)
    {
        ptrdiff_t i = hd_names_find(&st->names, (struct hd_str){name, strlen(name)});
        const char *where = i < 0 ? NULL : st->shards[st->entries[i].shard].path;

        if (!where || strcmp(strrchr(where, '/') + 1, json_string_value(file)) != 0)
            return hd_fail(err, HD_E_FORMAT, "%s: tensor %s is not in %s, where it should be", path,
                           name, json_string_value(file));
    }
    return 0;
}

static int open_sharded(struct hd_safetensors *st, const char *folder, const json_t *index,
                        const char *path, struct hd_error *err)
{
    json_t *map = json_object_get(index, "weight_map"), *file;
    const char *name;
    int rc;

    if (!json_is_object(map) || json_object_size(map) == 0)
        return hd_fail(err, HD_E_FORMAT, "%s: no weight_map", path);
    json_object_foreach(map, name, file)
    {
        rc = safetensors_file(st, folder, json_string_value(file), err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < st->n_shards; i++) {
        rc = open_shard(st, &st->shards[i], err);
        if (rc == HD_E_NOTFOUND)
            rc = hd_fail(err, HD_E_IO, "%s: listed in %s, but not there; fetch the whole folder",
                         st->shards[i].path, strrchr(path, '/') + 1);
        if (rc < 0)
            return rc;
    }
    return check_map(st, map, path, err);
}

static void drop_shards(struct hd_safetensors *s)
{
    for (size_t i = 0; i < s->n_shards; i++) {
        json_decref(s->shards[i].header);
        free(s->shards[i].pickle);
        hd_map_close(&s->shards[i].map);
        free(s->shards[i].path);
        s->shards[i] = (struct shard){0};
    }
    s->n_shards = 0;
}

static int no_weights(const char *folder, struct hd_error *err)
{
    return hd_fail(err, HD_E_IO,
                   "%s: neither model.safetensors nor model.safetensors.index.json is there; fetch "
                   "the whole folder",
                   folder);
}

static int open_single(struct hd_safetensors *st, const char *folder, const char *name,
                       struct hd_error *err)
{
    int rc = safetensors_file(st, folder, name, err);

    return rc < 0 ? rc : open_shard(st, &st->shards[0], err);
}

/* One file, or those that an index lists. As in transformers one goes before several: who saves a
 * model anew into its folder may leave the parts of the old one behind. */
static int open_named(struct hd_safetensors *st, const char *folder, const char *name,
                      struct hd_warnings *w, struct hd_error *err)
{
    json_t *index = NULL;
    char *path;

    if (asprintf(&path, "%s/%s.index.json", folder, name) < 0)
        return hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", folder);
    int rc = open_single(st, folder, name, err);
    if (rc == 0 && access(path, F_OK) == 0)
        hd_warnings_add(w, "%s is used, not the files of %s.index.json beside it", name, name);
    if (rc == HD_E_NOTFOUND) {
        drop_shards(st);
        rc = hd_json_file(&index, path, err);
        if (rc == 0)
            rc = open_sharded(st, folder, index, path, err);
    }
    json_decref(index);
    free(path);
    return rc;
}

static int open_folder(struct hd_safetensors *st, const char *folder, struct hd_warnings *w,
                       struct hd_error *err)
{
    int rc = open_named(st, folder, "model.safetensors", w, err);

    if (rc == HD_E_NOTFOUND)
        rc = open_single(st, folder, "consolidated.safetensors", err);
    if (rc == HD_E_NOTFOUND) {
        drop_shards(st);
        rc = torch_open_parts(st, folder, err);
    }
    if (rc == HD_E_NOTFOUND) {
        drop_shards(st);
        rc = open_named(st, folder, "pytorch_model.bin", w, err);
    }
    return rc == HD_E_NOTFOUND ? hd_kind_of_folder(folder, no_weights(folder, err), err) : rc;
}

int hd_safetensors_open(struct hd_safetensors **out, const char *folder, struct hd_warnings *w,
                        struct hd_error *err)
{
    struct hd_safetensors *st = calloc(1, sizeof *st);
    int rc = HD_E_NOMEM;

    *out = NULL;
    if (st) {
        st->shards = calloc(HD_SAFETENSORS_MAX_SHARDS, sizeof *st->shards);
        st->entries = calloc(HD_SAFETENSORS_MAX_TENSORS, sizeof *st->entries);
        rc = hd_names_init(&st->names, HD_SAFETENSORS_MAX_TENSORS);
    }
    if (rc < 0 || !st->shards || !st->entries)
        rc = hd_fail(err, HD_E_NOMEM, "%s: no memory to open it", folder);
    else
        rc = open_folder(st, folder, w, err);
    if (rc < 0) {
        hd_safetensors_close(st);
        return rc;
    }
    *out = st;
    return 0;
}

void hd_safetensors_close(struct hd_safetensors *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->entries && i < s->names.n; i++)
        free(s->entries[i].split);
    drop_shards(s);
    hd_names_deinit(&s->names);
    free(s->shards);
    free(s->entries);
    free(s);
}

int hd_safetensors_tensor(const struct hd_safetensors *s, const char *name, struct hd_tensor *out)
{
    ptrdiff_t i = hd_names_find(&s->names, (struct hd_str){name, strlen(name)});

    if (i < 0)
        return HD_E_NOTFOUND;
    const struct entry *e = &s->entries[i];
    if (e->type == TYPE_OTHER)
        return HD_E_UNSUPPORTED;
    bool f8 = e->type == HD_F8_E4M3 || e->type == TYPE_E5M2;
    enum hd_dtype type = f8 ? HD_F8_E4M3 : (enum hd_dtype)e->type;
    *out = (struct hd_tensor){
        .type = type,
        .rows = e->rows,
        .cols = e->cols,
        .row_bytes = f8 ? e->cols : hd_dtype_row_bytes(type, e->cols),
        .data = s->shards[e->shard].map.data + e->at,
        .layout = f8 ? HD_LAYOUT_F8 : HD_LAYOUT_ROWS,
        .f8 = {.e5m2 = e->type == TYPE_E5M2},
    };
    if (e->split) {
        out->layout = HD_LAYOUT_SPLIT;
        out->split = e->split;
    }
    return 0;
}

int hd_safetensors_bytes(const struct hd_safetensors *s, const char *name, const uint8_t **data,
                         size_t *n)
{
    ptrdiff_t i = hd_names_find(&s->names, (struct hd_str){name, strlen(name)});

    if (i < 0)
        return HD_E_NOTFOUND;
    const struct entry *e = &s->entries[i];
    if (strcmp(e->dtype, "U8") != 0 && strcmp(e->dtype, "F8_E8M0") != 0)
        return HD_E_UNSUPPORTED;
    *data = s->shards[e->shard].map.data + e->at;
    *n = e->rows * e->cols;
    return 0;
}

void hd_safetensors_type(const struct hd_safetensors *s, const char *name, char *out, size_t size)
{
    ptrdiff_t i = hd_names_find(&s->names, (struct hd_str){name, strlen(name)});
    const char *type = i < 0 ? "none" : s->entries[i].dtype;

    hd_printable(out, size, (struct hd_str){type, strlen(type)});
}

const struct hd_map *hd_safetensors_map(const struct hd_safetensors *s, size_t i, const char **path)
{
    if (i >= s->n_shards)
        return NULL;
    *path = s->shards[i].path;
    return &s->shards[i].map;
}

const struct hd_names *hd_safetensors_names(const struct hd_safetensors *s)
{
    return &s->names;
}
