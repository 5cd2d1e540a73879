/* Reading keys of a GGUF file, with a sentence about each that is not what it should be. */
#include "common/model/gguf_read.h"

#include <stdio.h>
#include <string.h>

struct gguf_key gguf_key_of(const struct hd_hyper *h, const char *rest)
{
    struct gguf_key k;

    snprintf(k.s, sizeof k.s, "%s.%s", h->arch->gguf, rest);
    return k;
}

bool gguf_str_is(struct hd_str s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.data, word, s.len) == 0;
}

int gguf_typed(int rc, const char *key, const char *type, struct hd_error *err)
{
    if (rc < 0 && rc != HD_E_NOTFOUND)
        return hd_fail(err, HD_E_FORMAT, "key %s is not %s", key, type);
    return rc;
}

/* A list with one element a layer, as some converters write it, when all are the same. */
static int read_list(const struct hd_gguf *g, const char *key, uint64_t *out, struct hd_error *err)
{
    int64_t first, v;
    size_t n;

    if (hd_gguf_array_len(g, key, &n) < 0 || hd_gguf_array_i64(g, key, 0, &first) < 0 || first < 0)
        return hd_fail(err, HD_E_FORMAT, "key %s is not an unsigned integer", key);
    for (size_t i = 1; i < n; i++)
        if (hd_gguf_array_i64(g, key, i, &v) < 0 || v != first)
            return hd_fail(err, HD_E_UNSUPPORTED,
                           "key %s differs from layer to layer, which is not supported", key);
    *out = (uint64_t)first;
    return 0;
}

int gguf_read_count(const struct hd_gguf *g, const char *key, uint64_t *out, struct hd_error *err)
{
    int rc = hd_gguf_u64(g, key, out);

    if (rc == HD_E_FORMAT)
        return read_list(g, key, out, err);
    return rc == HD_E_NOTFOUND ? 0 : rc;
}

int gguf_read_real(const struct hd_gguf *g, const char *key, double *out, struct hd_error *err)
{
    int rc = gguf_typed(hd_gguf_f64(g, key, out), key, "a floating-point number", err);

    return rc == HD_E_NOTFOUND ? 0 : rc;
}

int gguf_read_number(const struct hd_gguf *g, const char *key, double *out, struct hd_error *err)
{
    uint64_t whole;

    if (hd_gguf_u64(g, key, &whole) < 0)
        return gguf_read_real(g, key, out, err);
    *out = (double)whole;
    return 0;
}

int gguf_read_token(const struct hd_gguf *g, const char *key, int64_t *out, struct hd_error *err)
{
    uint64_t v = 0;
    int rc = gguf_typed(hd_gguf_u64(g, key, &v), key, "an unsigned integer", err);

    *out = rc < 0 ? -1 : (int64_t)(v < INT64_MAX ? v : INT64_MAX);
    return rc == HD_E_NOTFOUND ? 0 : rc;
}
