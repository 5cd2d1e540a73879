/* The GGUF container: every type of value, and headers that lie. */
#include "fixture.h"

#include "common/model/gguf_impl.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(gguf, .init = folder_init, .fini = folder_fini, .timeout = 60);

/* A file under construction. */
struct bytes {
    uint8_t data[4096];
    size_t len;
};

static void put(struct bytes *b, const void *p, size_t n)
{
    cr_assert(b->len + n <= sizeof b->data);
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

static void put_u8(struct bytes *b, uint8_t v)
{
    put(b, &v, sizeof v);
}

static void put_u32(struct bytes *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put_u64(struct bytes *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static void put_str(struct bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

static void put_head(struct bytes *b, uint64_t n_tensors, uint64_t n_keys)
{
    *b = (struct bytes){0};
    put(b, "GGUF", 4);
    put_u32(b, 3);
    put_u64(b, n_tensors);
    put_u64(b, n_keys);
}

static void put_key(struct bytes *b, const char *key, uint32_t type)
{
    put_str(b, key);
    put_u32(b, type);
}

static void put_array(struct bytes *b, const char *key, uint32_t type, uint64_t n)
{
    put_key(b, key, GGUF_ARRAY);
    put_u32(b, type);
    put_u64(b, n);
}

static void put_tensor(struct bytes *b, const char *name, const uint64_t ne[2], uint32_t type)
{
    put_str(b, name);
    put_u32(b, 2);
    put(b, ne, 2 * sizeof *ne);
    put_u32(b, type);
    put_u64(b, 0);
}

/* Tensor "t": 2 rows of 4 F32, with its data, which begins at a multiple of `alignment`. */
static void put_rest_aligned(struct bytes *b, size_t alignment)
{
    const uint64_t ne[2] = {4, 2};
    const float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    put_tensor(b, "t", ne, HD_F32);
    while (b->len % alignment)
        put_u8(b, 0);
    put(b, v, sizeof v);
}

static void put_rest(struct bytes *b)
{
    put_rest_aligned(b, GGUF_DEFAULT_ALIGNMENT);
}

static struct hd_gguf *open_bytes(const struct bytes *b)
{
    const char *path = in_folder("bytes.gguf");
    struct hd_gguf *g;
    struct hd_error err = {0};

    file_write(path, b->data, b->len);
    cr_assert_eq(hd_gguf_open(&g, path, &err), 0, "%s", err.text);
    cr_assert_str_eq(hd_gguf_path(g), path);
    return g;
}

static void bytes_fail(const struct bytes *b, int code, const char *word)
{
    const char *path = in_folder("bytes.gguf");
    struct hd_gguf *g;
    struct hd_error err = {0};

    file_write(path, b->data, b->len);
    cr_assert_eq(hd_gguf_open(&g, path, &err), code, "%s", err.text);
    cr_assert_null(g);
    cr_assert_not_null(strstr(err.text, word), "\"%s\" is not in \"%s\"", word, err.text);
}

/* ---- Values ---------------------------------------------------------------------------------*/

Test(gguf, integers_of_every_width)
{
    static const struct {
        uint32_t type;
        uint64_t bits;
        int rc;
        uint64_t want;
    } cases[] = {
        {GGUF_U8, 0xFF, 0, 0xFF},
        {GGUF_I8, 0x7F, 0, 0x7F},
        {GGUF_I8, 0x80, HD_E_FORMAT, 0},
        {GGUF_U16, 0xFFFF, 0, 0xFFFF},
        {GGUF_I16, 0x8000, HD_E_FORMAT, 0},
        {GGUF_U32, 0xFFFFFFFF, 0, 0xFFFFFFFF},
        {GGUF_I32, 0x7FFFFFFF, 0, 0x7FFFFFFF},
        {GGUF_I32, 0x80000000, HD_E_FORMAT, 0},
        {GGUF_U64, UINT64_MAX, 0, UINT64_MAX},
        {GGUF_I64, INT64_MAX, 0, INT64_MAX},
        {GGUF_I64, UINT64_MAX, HD_E_FORMAT, 0},
        {GGUF_F32, 0x3F800000, HD_E_FORMAT, 0},
        {GGUF_BOOL, 1, HD_E_FORMAT, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes b;
        uint64_t v = 42;

        put_head(&b, 1, 1);
        put_key(&b, "k", cases[i].type);
        put(&b, &cases[i].bits, gguf_type_size(cases[i].type));
        put_rest(&b);
        struct hd_gguf *g = open_bytes(&b);
        cr_assert_eq(hd_gguf_u64(g, "k", &v), cases[i].rc, "case %zu", i);
        cr_assert_eq(v, cases[i].rc == 0 ? cases[i].want : 42, "case %zu", i);
        cr_assert_eq(hd_gguf_u64(g, "kk", &v), HD_E_NOTFOUND);
        hd_gguf_close(g);
    }
}

Test(gguf, floats_truths_and_strings)
{
    const float f = 1.5f;
    const double d = -0.1;
    struct bytes b;
    struct hd_str s;
    double v;
    bool t;
    size_t n;

    put_head(&b, 1, 4);
    put_key(&b, "f", GGUF_F32);
    put(&b, &f, sizeof f);
    put_key(&b, "d", GGUF_F64);
    put(&b, &d, sizeof d);
    put_key(&b, "t", GGUF_BOOL);
    put_u8(&b, 1);
    put_key(&b, "s", GGUF_STRING);
    put_str(&b, "text");
    put_rest(&b);
    struct hd_gguf *g = open_bytes(&b);
    cr_assert(hd_gguf_f64(g, "f", &v) == 0 && v == 1.5);
    cr_assert(hd_gguf_f64(g, "d", &v) == 0 && v == -0.1);
    cr_assert(hd_gguf_bool(g, "t", &t) == 0 && t);
    cr_assert(hd_gguf_str(g, "s", &s) == 0 && s.len == 4 && memcmp(s.data, "text", 4) == 0);
    cr_assert_eq(hd_gguf_f64(g, "s", &v), HD_E_FORMAT);
    cr_assert_eq(hd_gguf_bool(g, "f", &t), HD_E_FORMAT);
    cr_assert_eq(hd_gguf_str(g, "t", &s), HD_E_FORMAT);
    cr_assert_eq(hd_gguf_array_len(g, "s", &n), HD_E_FORMAT);
    cr_assert_eq(hd_gguf_array_str(g, "s", 0, &s), HD_E_FORMAT);
    cr_assert_eq(hd_gguf_bool(g, "", &t), HD_E_NOTFOUND);
    hd_gguf_close(g);
}

Test(gguf, arrays)
{
    const double reals[2] = {0.25, -3};
    struct bytes b;
    struct hd_str s;
    int64_t i;
    double v;
    size_t n;

    put_head(&b, 1, 4);
    put_array(&b, "i8", GGUF_I8, 3);
    put(&b, "\x01\xFF\x80", 3);
    put_array(&b, "u64", GGUF_U64, 1);
    put_u64(&b, UINT64_MAX);
    put_array(&b, "f64", GGUF_F64, 2);
    put(&b, reals, sizeof reals);
    put_array(&b, "strs", GGUF_STRING, 3);
    put_str(&b, "one");
    put_str(&b, "");
    put_str(&b, "three");
    put_rest(&b);
    struct hd_gguf *g = open_bytes(&b);
    cr_assert(hd_gguf_array_len(g, "i8", &n) == 0 && n == 3);
    cr_assert(hd_gguf_array_i64(g, "i8", 1, &i) == 0 && i == -1);
    cr_assert(hd_gguf_array_i64(g, "i8", 2, &i) == 0 && i == -128);
    cr_assert_eq(hd_gguf_array_i64(g, "i8", 3, &i), HD_E_RANGE);
    cr_assert_eq(hd_gguf_array_i64(g, "u64", 0, &i), HD_E_FORMAT);
    cr_assert(hd_gguf_array_f64(g, "f64", 1, &v) == 0 && v == -3);
    cr_assert_eq(hd_gguf_array_i64(g, "f64", 0, &i), HD_E_FORMAT);
    cr_assert_eq(hd_gguf_array_f64(g, "strs", 0, &v), HD_E_FORMAT);
    cr_assert(hd_gguf_array_len(g, "strs", &n) == 0 && n == 3);
    cr_assert(hd_gguf_array_str(g, "strs", 1, &s) == 0 && s.len == 0);
    cr_assert(hd_gguf_array_str(g, "strs", 2, &s) == 0 && memcmp(s.data, "three", 5) == 0);
    cr_assert_eq(hd_gguf_array_str(g, "strs", 3, &s), HD_E_RANGE);
    cr_assert_eq(hd_gguf_array_str(g, "i8", 0, &s), HD_E_FORMAT);
    hd_gguf_close(g);
}

Test(gguf, tensors)
{
    struct bytes b;
    struct hd_tensor t;
    float row[4];

    put_head(&b, 1, 0);
    put_rest(&b);
    struct hd_gguf *g = open_bytes(&b);
    cr_assert_eq(hd_gguf_tensor(g, "t", &t), 0);
    cr_assert(t.type == HD_F32 && t.rows == 2 && t.cols == 4 && t.row_bytes == 16);
    hd_dequant(&t, 1, 0, 4, row);
    cr_assert(row[0] == 5 && row[3] == 8);
    cr_assert_eq(hd_gguf_tensor(g, "u", &t), HD_E_NOTFOUND);
    hd_gguf_close(g);
}

/* A type that we do not know is an error only for who asks for the tensor. */
Test(gguf, tensor_of_an_unknown_type)
{
    const uint64_t ne[2] = {4, 2};
    struct bytes b;
    struct hd_tensor t;

    put_head(&b, 2, 0);
    put_tensor(&b, "strange", ne, 999);
    put_rest(&b);
    struct hd_gguf *g = open_bytes(&b);
    cr_assert_eq(hd_gguf_tensor(g, "strange", &t), HD_E_UNSUPPORTED);
    cr_assert_eq(hd_gguf_tensor(g, "t", &t), 0);
    hd_gguf_close(g);
}

Test(gguf, alignment)
{
    static const uint32_t bad[] = {0, 1, 4, 24, 33, 1u << 21, 1u << 31};
    struct bytes b;
    struct hd_tensor t;
    float row[4];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_head(&b, 1, 1);
        put_key(&b, "general.alignment", GGUF_U32);
        put_u32(&b, bad[i]);
        put_rest(&b);
        bytes_fail(&b, HD_E_FORMAT, "general.alignment");
    }
    put_head(&b, 1, 1);
    put_key(&b, "general.alignment", GGUF_U32);
    put_u32(&b, 8);
    put_rest_aligned(&b, 8);
    struct hd_gguf *g = open_bytes(&b);
    cr_assert_eq(hd_gguf_tensor(g, "t", &t), 0);
    hd_dequant(&t, 0, 0, 4, row);
    cr_assert(row[0] == 1 && row[3] == 4);
    hd_gguf_close(g);
}

/* ---- Lies -----------------------------------------------------------------------------------*/

Test(gguf, heads_that_lie)
{
    struct bytes b;

    put_head(&b, 1, UINT64_MAX);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "more keys than the file could hold");
    put_head(&b, UINT64_MAX / 32, 0);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "more tensors than the file could hold");
    put_head(&b, 0, 0);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "no tensors");
    put_head(&b, 1, 0);
    put_rest(&b);
    b.data[4] = 1;
    bytes_fail(&b, HD_E_UNSUPPORTED, "GGUF version 1 is from before");
    b.data[4] = 4;
    bytes_fail(&b, HD_E_UNSUPPORTED, "GGUF version 4 is newer");
    b.data[4] = 2; /* the same layout */
    hd_gguf_close(open_bytes(&b));
    memcpy(b.data + 4, "\0\0\0\3", 4);
    bytes_fail(&b, HD_E_UNSUPPORTED, "big-endian");
    b.data[4] = 3, b.data[7] = 0;
    b.len = 23;
    bytes_fail(&b, HD_E_FORMAT, "ends too early");
}

Test(gguf, keys_that_lie)
{
    struct bytes b;

    put_head(&b, 1, 1);
    put_u64(&b, UINT64_MAX); /* a name */
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "ends too early");
    put_head(&b, 1, 1);
    put_key(&b, "k", 13);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "unknown type");
    put_head(&b, 1, 1);
    put_key(&b, "k", GGUF_BOOL);
    put_u8(&b, 2);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "truth value");
    put_head(&b, 1, 2);
    put_key(&b, "k", GGUF_U8);
    put_u8(&b, 1);
    put_key(&b, "k", GGUF_U8);
    put_u8(&b, 1);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "a key occurs twice");
}

Test(gguf, arrays_that_lie)
{
    static const struct {
        uint32_t type;
        uint64_t n;
        int code;
        const char *word;
    } cases[] = {
        {GGUF_STRING, UINT64_MAX, HD_E_FORMAT, "longer than the file"},
        {GGUF_STRING, 3, HD_E_FORMAT, "ends too early"},
        {GGUF_U64, UINT64_MAX / 4, HD_E_FORMAT, "longer than the file"},
        {GGUF_U64, 1000, HD_E_FORMAT, "ends too early"},
        {GGUF_ARRAY, 1, HD_E_UNSUPPORTED, "arrays of arrays"},
        {77, 1, HD_E_FORMAT, "unknown type"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes b;

        put_head(&b, 1, 1);
        put_array(&b, "k", cases[i].type, cases[i].n);
        put_rest(&b);
        bytes_fail(&b, cases[i].code, cases[i].word);
    }
}

Test(gguf, tensors_that_lie)
{
    static const struct {
        uint64_t ne[2];
        uint32_t type;
        const char *word;
    } cases[] = {
        {{0, 2}, HD_F32, "without elements"},
        {{4, 3}, HD_F32, "its last 16 bytes are missing"},
        {{UINT64_MAX / 2, 8}, HD_F32, "impossible shape"},
        {{4, UINT64_MAX / 4}, HD_F32, "impossible shape"},
        {{33, 1}, HD_Q8_0, "impossible shape"},
    };
    struct bytes b;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_head(&b, 2, 0);
        put_tensor(&b, "u", cases[i].ne, cases[i].type);
        put_rest(&b);
        bytes_fail(&b, HD_E_FORMAT, cases[i].word);
    }
    put_head(&b, 2, 0);
    put_tensor(&b, "t", (const uint64_t[]){4, 2}, HD_F32);
    put_rest(&b);
    bytes_fail(&b, HD_E_FORMAT, "a tensor occurs twice");
}

/* Dimensions, then the offset, of the only tensor. */
Test(gguf, tensor_entries_that_lie)
{
    struct bytes b;

    put_head(&b, 1, 0);
    put_rest(&b);
    size_t dims = 24 + 8 + 1, offset = dims + 4 + 16 + 4;
    b.data[dims] = 5;
    bytes_fail(&b, HD_E_FORMAT, "dimensions");
    b.data[dims] = 0;
    bytes_fail(&b, HD_E_FORMAT, "dimensions");
    b.data[dims] = 2;
    b.data[offset] = 8;
    bytes_fail(&b, HD_E_FORMAT, "is not aligned");
    b.data[offset] = 32;
    bytes_fail(&b, HD_E_FORMAT, "its last 32 bytes are missing");
    b.data[offset] = 0xe0;
    memset(b.data + offset + 1, 0xff, 7);
    bytes_fail(&b, HD_E_FORMAT, "ends after the end");
}
