/* torch_file.c - a tensor's name is in the archive's pickle, its values are a record of their own.
 */
#include "common/model/torch_file.h"

#include "common/model/torch_pickle.h"
#include "common/model/torch_zip.h"
#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

#define STORAGE_NAME 64

struct reading {
    struct hd_zip zip;
    int (*add)(void *arg, const struct hd_torch_tensor *t, struct hd_error *err);
    void *arg;
};

static const struct type {
    const char *torch, *name;
    size_t bytes;
} types[] = {
    {"FloatStorage", "F32", 4},  {"HalfStorage", "F16", 2}, {"BFloat16Storage", "BF16", 2},
    {"DoubleStorage", "F64", 8}, {"LongStorage", "I64", 8}, {"IntStorage", "I32", 4},
    {"ShortStorage", "I16", 2},  {"CharStorage", "I8", 1},  {"ByteStorage", "U8", 1},
    {"BoolStorage", "BOOL", 1},
};

static const struct type *type_of(struct hd_pickle_text t)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i].torch) == t.len && memcmp(types[i].torch, t.data, t.len) == 0)
            return &types[i];
    return NULL;
}

static const struct hd_zip_record *record_of(const struct hd_zip *zip, struct hd_pickle_text name)
{
    char path[STORAGE_NAME + 8] = "data/";

    if (name.len >= STORAGE_NAME || memchr(name.data, 0, name.len))
        return NULL;
    memcpy(path + 5, name.data, name.len);
    path[5 + name.len] = 0;
    return hd_zip_find(zip, path);
}

static bool read_shape(const struct hd_pickle_tensor *t, struct hd_torch_tensor *out)
{
    out->rows = out->cols = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        if (i + 1 == t->n_dims)
            out->cols = t->dim[i];
        else if (!hd_mul_size(out->rows, t->dim[i], &out->rows))
            return false;
    }
    return true;
}

static int add(void *arg, const struct hd_pickle_tensor *t, struct hd_error *err)
{
    const struct reading *r = arg;
    const struct hd_zip_record *record = record_of(&r->zip, t->storage);
    const struct type *type = type_of(t->type);
    struct hd_torch_tensor out = {.name = {t->name.data, t->name.len}};
    size_t n, bytes, first, whole;

    if (!record || !type)
        return hd_fail(err, HD_E_FORMAT,
                       "the record of tensor %.*s is missing; the file is damaged or incomplete",
                       (int)(t->name.len < 80 ? t->name.len : 80), t->name.data);
    out.type = type->name;
    if (!read_shape(t, &out) || !hd_mul_size(out.rows, out.cols, &n) ||
        !hd_mul_size(n, type->bytes, &bytes) || !hd_mul_size(t->first, type->bytes, &first) ||
        !hd_mul_size(t->values, type->bytes, &whole) || whole != record->len ||
        first > record->len || bytes > record->len - first)
        return hd_fail(err, HD_E_FORMAT,
                       "tensor %.*s is not whole in its record; the file is damaged or incomplete",
                       (int)(t->name.len < 80 ? t->name.len : 80), t->name.data);
    out.at = record->at + first;
    return r->add(r->arg, &out, err);
}

/* A file of this machine's order of bytes; older ones do not say. */
static int check_order(const struct hd_map *map, const struct hd_zip *zip, struct hd_error *err)
{
    const struct hd_zip_record *order = hd_zip_find(zip, "byteorder");

    if (!order || (order->len == 6 && memcmp(map->data + order->at, "little", 6) == 0))
        return 0;
    return hd_fail(err, HD_E_UNSUPPORTED, "its numbers are big-endian");
}

static int read_all(const struct hd_map *map, void **pickle, struct reading *r,
                    struct hd_error *err)
{
    const struct hd_zip_record *program;
    int rc = hd_zip_read(&r->zip, map->data, map->len, err);

    if (rc == 0)
        rc = check_order(map, &r->zip, err);
    if (rc < 0)
        return rc;
    program = hd_zip_find(&r->zip, "data.pkl");
    if (!program || program->len > HD_PICKLE_MAX_BYTES)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "it is a ZIP archive without a pickle as torch.save writes it");
    *pickle = malloc(program->len + 1); /* whatever happens to the file, what is parsed stays */
    if (!*pickle)
        return hd_fail(err, HD_E_NOMEM, "no memory for a pickle of %zu bytes", program->len);
    memcpy(*pickle, map->data + program->at, program->len);
    return hd_pickle_read(*pickle, program->len, add, r, err);
}

int hd_torch_read(const struct hd_map *map, const char *path, void **pickle,
                  int (*add_one)(void *arg, const struct hd_torch_tensor *t, struct hd_error *err),
                  void *arg, struct hd_error *err)
{
    struct reading r = {.add = add_one, .arg = arg};
    struct hd_error why = {0};

    *pickle = NULL;
    int rc = map->len >= 4 && memcmp(map->data, "PK\3\4", 4) == 0
                 ? read_all(map, pickle, &r, &why)
                 : hd_fail(&why, HD_E_UNSUPPORTED,
                           "no archive as torch.save has written them since 2020: save it anew by "
                           "python3 -c \"import torch, sys; f = sys.argv[1]; torch.save(torch.load("
                           "f, 'cpu', weights_only=True), f)\" FILE, or fetch it again");
    hd_zip_deinit(&r.zip);
    return rc < 0 ? hd_fail(err, rc, "%s: %s", path, why.text) : 0;
}
