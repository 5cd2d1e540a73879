/* What a GGUF file says, by name. */
#include "common/model/gguf_impl.h"
#include "common/model/rules.h"

#include <stdio.h>
#include <string.h>

const char *hd_gguf_path(const struct hd_gguf *g)
{
    return g->path;
}

static const struct gguf_value *find_value(const struct hd_gguf *g, const char *key)
{
    ptrdiff_t i = hd_names_find(&g->keys, (struct hd_str){key, strlen(key)});

    return i < 0 ? NULL : &g->values[i];
}

/* An integer of any width, in two's complement; *negative tells how to read it. */
static bool load_int(uint32_t type, const uint8_t *p, uint64_t *bits, bool *negative)
{
    bool is_signed = type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
    bool is_unsigned = type == GGUF_U8 || type == GGUF_U16 || type == GGUF_U32 || type == GGUF_U64;
    size_t size = gguf_type_size(type);
    uint64_t v = 0;

    if (!is_signed && !is_unsigned)
        return false;
    memcpy(&v, p, size);
    *negative = is_signed && (p[size - 1] & 0x80) != 0;
    if (*negative && size < sizeof v)
        v |= UINT64_MAX << (8 * size);
    *bits = v;
    return true;
}

static bool load_float(uint32_t type, const uint8_t *p, double *out)
{
    float f;

    if (type == GGUF_F64) {
        memcpy(out, p, sizeof *out);
        return true;
    }
    if (type != GGUF_F32)
        return false;
    memcpy(&f, p, sizeof f);
    *out = f;
    return true;
}

int hd_gguf_u64(const struct hd_gguf *g, const char *key, uint64_t *out)
{
    const struct gguf_value *v = find_value(g, key);
    uint64_t bits;
    bool negative;

    if (!v)
        return HD_E_NOTFOUND;
    if (!load_int(v->type, v->data, &bits, &negative) || negative)
        return HD_E_FORMAT;
    *out = bits;
    return 0;
}

int hd_gguf_f64(const struct hd_gguf *g, const char *key, double *out)
{
    const struct gguf_value *v = find_value(g, key);

    if (!v)
        return HD_E_NOTFOUND;
    return load_float(v->type, v->data, out) ? 0 : HD_E_FORMAT;
}

int hd_gguf_bool(const struct hd_gguf *g, const char *key, bool *out)
{
    const struct gguf_value *v = find_value(g, key);

    if (!v)
        return HD_E_NOTFOUND;
    if (v->type != GGUF_BOOL)
        return HD_E_FORMAT;
    *out = v->data[0] != 0;
    return 0;
}

int hd_gguf_str(const struct hd_gguf *g, const char *key, struct hd_str *out)
{
    const struct gguf_value *v = find_value(g, key);

    if (!v)
        return HD_E_NOTFOUND;
    if (v->type != GGUF_STRING)
        return HD_E_FORMAT;
    *out = (struct hd_str){(const char *)v->data, v->n};
    return 0;
}

/* ---- Arrays ---------------------------------------------------------------------------------*/

int hd_gguf_array_len(const struct hd_gguf *g, const char *key, size_t *n)
{
    const struct gguf_value *v = find_value(g, key);

    if (!v)
        return HD_E_NOTFOUND;
    if (v->type != GGUF_ARRAY)
        return HD_E_FORMAT;
    *n = v->n;
    return 0;
}

/* Element i of an array of a type of fixed size. */
static int element(const struct hd_gguf *g, const char *key, size_t i, uint32_t *type,
                   const uint8_t **p)
{
    const struct gguf_value *v = find_value(g, key);

    if (!v)
        return HD_E_NOTFOUND;
    if (v->type != GGUF_ARRAY || v->element == GGUF_STRING)
        return HD_E_FORMAT;
    if (i >= v->n)
        return HD_E_RANGE;
    *type = v->element;
    *p = v->data + i * gguf_type_size(v->element);
    return 0;
}

int hd_gguf_array_str(const struct hd_gguf *g, const char *key, size_t i, struct hd_str *out)
{
    const struct gguf_value *v = find_value(g, key);
    uint64_t len;

    if (!v)
        return HD_E_NOTFOUND;
    if (v->type != GGUF_ARRAY || v->element != GGUF_STRING)
        return HD_E_FORMAT;
    if (i >= v->n)
        return HD_E_RANGE;
    memcpy(&len, v->strs[i], sizeof len);
    *out = (struct hd_str){(const char *)v->strs[i] + sizeof len, len};
    return 0;
}

int hd_gguf_array_i64(const struct hd_gguf *g, const char *key, size_t i, int64_t *out)
{
    uint32_t type;
    const uint8_t *p;
    uint64_t bits;
    bool negative;
    int rc = element(g, key, i, &type, &p);

    if (rc < 0)
        return rc;
    if (!load_int(type, p, &bits, &negative) || (!negative && bits > INT64_MAX))
        return HD_E_FORMAT;
    *out = (int64_t)bits;
    return 0;
}

int hd_gguf_array_f64(const struct hd_gguf *g, const char *key, size_t i, double *out)
{
    uint32_t type;
    const uint8_t *p;
    int rc = element(g, key, i, &type, &p);

    if (rc < 0)
        return rc;
    return load_float(type, p, out) ? 0 : HD_E_FORMAT;
}

size_t gguf_said_count(const struct gguf_value *v)
{
    return v->type == GGUF_ARRAY ? v->n : 1;
}

static struct hd_str said_word(const struct gguf_value *v, size_t i)
{
    uint64_t len;

    if (v->type == GGUF_STRING)
        return (struct hd_str){(const char *)v->data, v->n};
    memcpy(&len, v->strs[i], sizeof len);
    return (struct hd_str){(const char *)v->strs[i] + sizeof len, len};
}

void gguf_said(const struct gguf_value *v, size_t i, struct hd_said *out)
{
    uint32_t type = v->type == GGUF_ARRAY ? v->element : v->type;
    const uint8_t *p = v->data + i * gguf_type_size(type);
    uint64_t bits;
    bool negative;

    *out = (struct hd_said){.kind = HD_SAID_NUMBER};
    if (type == GGUF_STRING)
        *out = (struct hd_said){.kind = HD_SAID_WORD, .word = said_word(v, i)};
    else if (type == GGUF_BOOL)
        out->number = p[0] != 0;
    else if (load_int(type, p, &bits, &negative))
        out->number = negative ? (double)(int64_t)bits : (double)bits;
    else if (!load_float(type, p, &out->number))
        out->kind = HD_SAID_OTHER;
}

/* ---- Tensors --------------------------------------------------------------------------------*/

void hd_gguf_tensor_type(const struct hd_gguf *g, const char *name, char *out, size_t size)
{
    ptrdiff_t i = hd_names_find(&g->tensors, (struct hd_str){name, strlen(name)});
    const char *type = i < 0 ? "none" : gguf_dtype(g->infos[i].type)->name;

    if (type)
        snprintf(out, size, "%s", type);
    else
        snprintf(out, size, "number %u", g->infos[i].type);
}

int hd_gguf_tensor(const struct hd_gguf *g, const char *name, struct hd_tensor *out)
{
    ptrdiff_t i = hd_names_find(&g->tensors, (struct hd_str){name, strlen(name)});

    if (i < 0)
        return HD_E_NOTFOUND;
    const struct gguf_tensor_info *t = &g->infos[i];
    if (!hd_dtype_is_ggml((int)t->type))
        return HD_E_UNSUPPORTED;
    const struct hd_gguf *in = t->part == 0 ? g : g->parts[t->part - 1];
    *out = (struct hd_tensor){
        .type = (enum hd_dtype)t->type,
        .rows = t->ne[1] * t->ne[2] * t->ne[3],
        .cols = t->ne[0],
        .row_bytes = hd_dtype_row_bytes((enum hd_dtype)t->type, t->ne[0]),
        .data = in->map.data + in->data_at + t->offset,
    };
    return 0;
}
