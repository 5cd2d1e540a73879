/* torch_pickle.c - a machine of values that are numbers, texts, tuples and what is made of them.
 *
 * Values are small and copied; what a tuple holds and what a dictionary got stand in two lists that
 * only grow, so that nothing can hold itself and nothing needs to be counted. */
#include "common/model/torch_pickle.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MEMO 1000000
#define TUPLE    32 /* the most values of one */

enum kind { MARK, NONE, NUMBER, TEXT, TUPLE_OF, DICT, FUNCTION, STORAGE, TENSOR };

struct value {
    enum kind kind;
    size_t n;      /* of a tuple: values; of a storage: values in it */
    int64_t whole; /* a number; the first of a tuple's values in m->held; a dictionary's number; of
                    * a storage and a tensor: their number in m->made */
    struct hd_pickle_text text; /* a text, or a function: "module name" */
};

/* What a dictionary got. */
struct item {
    int64_t dict;
    struct value key, value;
};

#define LIST(type)                                                                                 \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t n, room;                                                                            \
    }

struct machine {
    const uint8_t *code;
    size_t len, at;
    LIST(struct value) stack;
    LIST(struct value) held; /* by tuples */
    LIST(struct value) memo;
    LIST(struct item) items;
    LIST(struct hd_pickle_tensor)
    made; /* storages, whose type, storage and values alone are set,
           * and tensors */
    int64_t dicts;
    struct hd_error *err;
};

/* ---- Errors and room ----*/

static int broken(struct machine *m, const char *what)
{
    return hd_fail(m->err, HD_E_FORMAT,
                   "its pickle %s at byte %zu: the file is damaged, fetch it again", what, m->at);
}

static int strange(struct machine *m, const char *what, struct hd_pickle_text t)
{
    char shown[81];
    size_t n = t.len < sizeof shown - 1 ? t.len : sizeof shown - 1;

    for (size_t i = 0; i < n; i++)
        shown[i] = t.data[i] < 0x20 || t.data[i] >= 0x7f ? '?' : t.data[i];
    shown[n] = 0;
    return hd_fail(m->err, HD_E_UNSUPPORTED,
                   "its pickle %s %s, which is not read: only dictionaries of tensors are", what,
                   shown);
}

/* Room for one more. */
static int grow(struct machine *m, void **list, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return 0;
    if (n >= HD_PICKLE_MAX_VALUES)
        return hd_fail(m->err, HD_E_LIMIT, "its pickle has more than %u values",
                       HD_PICKLE_MAX_VALUES);
    size_t more = *room ? 2 * *room : 64;
    void *p = realloc(*list, more * size);
    if (!p)
        return hd_fail(m->err, HD_E_NOMEM, "no memory for a pickle");
    *list = p;
    *room = more;
    return 0;
}

#define ADD(m, list, v)                                                                            \
    (grow((m), (void **)&(m)->list.at, (m)->list.n, &(m)->list.room, sizeof *(m)->list.at) < 0     \
         ? -1                                                                                      \
         : ((m)->list.at[(m)->list.n++] = (v), 0))

static int push(struct machine *m, struct value v)
{
    return ADD(m, stack, v) < 0 ? m->err->code : 0;
}

static int push_kind(struct machine *m, enum kind kind, int64_t whole)
{
    return push(m, (struct value){.kind = kind, .whole = whole});
}

static bool pop(struct machine *m, struct value *v)
{
    if (m->stack.n == 0)
        return false;
    *v = m->stack.at[--m->stack.n];
    return v->kind != MARK;
}

static bool same(struct hd_pickle_text t, const char *word)
{
    return t.len == strlen(word) && memcmp(t.data, word, t.len) == 0;
}

/* ---- Code ----*/

/* The next n bytes; NULL: they are not there. */
static const uint8_t *take(struct machine *m, size_t n)
{
    if (n > m->len - m->at)
        return NULL;
    m->at += n;
    return m->code + m->at - n;
}

/* A number of n bytes, the lowest first. */
static bool take_number(struct machine *m, size_t n, uint64_t *out)
{
    const uint8_t *p = take(m, n);

    *out = 0;
    for (size_t i = n; p && i-- > 0;)
        *out = *out << 8 | p[i];
    return p;
}

static int push_text(struct machine *m, size_t length_bytes)
{
    uint64_t n;
    const uint8_t *p = take_number(m, length_bytes, &n) && n <= m->len ? take(m, n) : NULL;

    if (!p)
        return broken(m, "ends within a text");
    return push(m, (struct value){.kind = TEXT, .text = {(const char *)p, (size_t)n}});
}

/* Of n bytes in two's complement. */
static int push_number(struct machine *m, size_t n, bool is_signed)
{
    uint64_t v;

    if (n > 8 || !take_number(m, n, &v))
        return broken(m, "ends within a number, or it is too large");
    if (is_signed && n > 0 && n < 8 && v >> (8 * n - 1))
        v |= UINT64_MAX << 8 * n;
    return push_kind(m, NUMBER, (int64_t)v);
}

static int push_function(struct machine *m)
{
    static const char *const known[] = {"torch._utils\n_rebuild_tensor_v2",
                                        "torch._utils\n_rebuild_parameter",
                                        "collections\nOrderedDict",
                                        "torch\nFloatStorage",
                                        "torch\nHalfStorage",
                                        "torch\nBFloat16Storage",
                                        "torch\nDoubleStorage",
                                        "torch\nLongStorage",
                                        "torch\nIntStorage",
                                        "torch\nShortStorage",
                                        "torch\nCharStorage",
                                        "torch\nByteStorage",
                                        "torch\nBoolStorage"};
    const uint8_t *p = m->code + m->at, *one = memchr(p, '\n', m->len - m->at);
    const uint8_t *two = one ? memchr(one + 1, '\n', m->len - m->at - (size_t)(one + 1 - p)) : NULL;

    if (!two)
        return broken(m, "ends within a name");
    struct hd_pickle_text whole = {(const char *)p, (size_t)(two - p)};
    m->at += whole.len + 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (same(whole, known[i])) {
            struct hd_pickle_text name = {(const char *)one + 1, (size_t)(two - one) - 1};
            return push(m, (struct value){.kind = FUNCTION, .text = name});
        }
    return strange(m, "calls", whole);
}

/* ---- What is made of values ----*/

/* The stack's last n become one; a mark is not among them. */
static int make_tuple(struct machine *m, size_t n)
{
    struct value t = {.kind = TUPLE_OF, .n = n, .whole = (int64_t)m->held.n};

    if (n > m->stack.n || n > TUPLE)
        return broken(m, "has a tuple that is too long");
    for (size_t i = m->stack.n - n; i < m->stack.n; i++) {
        if (m->stack.at[i].kind == MARK)
            return broken(m, "has a tuple of nothing");
        if (ADD(m, held, m->stack.at[i]) < 0)
            return m->err->code;
    }
    m->stack.n -= n;
    return push(m, t);
}

/* How many values lie above the last mark. */
static bool above_mark(const struct machine *m, size_t *n)
{
    for (*n = 0; *n < m->stack.n; ++*n)
        if (m->stack.at[m->stack.n - 1 - *n].kind == MARK)
            return true;
    return false;
}

static int make_marked_tuple(struct machine *m)
{
    size_t n;

    if (!above_mark(m, &n))
        return broken(m, "has no mark");
    int rc = make_tuple(m, n);
    if (rc < 0)
        return rc;
    m->stack.at[m->stack.n - 2] = m->stack.at[m->stack.n - 1];
    m->stack.n--;
    return 0;
}

/* n pairs that lie above the dictionary; `marked`: above a mark above it. */
static int set_items(struct machine *m, size_t n, bool marked)
{
    size_t first = m->stack.n - 2 * n;

    if (first < 1u + marked || m->stack.at[first - 1 - marked].kind != DICT)
        return broken(m, "puts things into nothing");
    for (size_t i = 0; i < n; i++) {
        const struct value *pair = m->stack.at + first + 2 * i;
        struct item it = {m->stack.at[first - 1 - marked].whole, pair[0], pair[1]};
        if (pair[0].kind == MARK || pair[1].kind == MARK)
            return broken(m, "puts a mark into a dictionary");
        if (ADD(m, items, it) < 0)
            return m->err->code;
    }
    m->stack.n = first - marked;
    return 0;
}

static int set_marked_items(struct machine *m)
{
    size_t n;

    if (!above_mark(m, &n) || n % 2 != 0)
        return broken(m, "has no pairs above a mark");
    return set_items(m, n / 2, true);
}

/* Value i of a tuple, if it is of that kind. */
static const struct value *part(const struct machine *m, const struct value *t, size_t i,
                                enum kind kind)
{
    const struct value *v = i < t->n ? &m->held.at[(size_t)t->whole + i] : NULL;

    return v && v->kind == kind ? v : NULL;
}

/* ("storage", its type, its name, where it was, how many values) */
static int make_storage(struct machine *m)
{
    struct value t;

    if (!pop(m, &t) || t.kind != TUPLE_OF)
        return broken(m, "has a storage of nothing");
    const struct value *word = part(m, &t, 0, TEXT), *type = part(m, &t, 1, FUNCTION),
                       *name = part(m, &t, 2, TEXT), *n = part(m, &t, 4, NUMBER);
    if (!word || !same(word->text, "storage") || !type || !name || !n || t.n != 5 || n->whole < 0)
        return broken(m, "has a storage that makes no sense");
    struct hd_pickle_tensor made = {
        .type = type->text, .storage = name->text, .values = (uint64_t)n->whole};
    if (ADD(m, made, made) < 0)
        return m->err->code;
    return push_kind(m, STORAGE, (int64_t)m->made.n - 1);
}

/* Rows behind one another, without gaps. */
static bool is_dense(const struct hd_pickle_tensor *t, const struct machine *m,
                     const struct value *strides)
{
    uint64_t step = 1;

    for (size_t i = t->n_dims; i-- > 0;) {
        const struct value *s = part(m, strides, i, NUMBER);
        if (!s || (t->dim[i] > 1 && (uint64_t)s->whole != step))
            return false;
        if (t->dim[i] > 0 && step > UINT64_MAX / t->dim[i])
            return false;
        step *= t->dim[i];
    }
    return strides->n == t->n_dims;
}

/* (storage, first value, sizes, strides, whether it is trained, hooks[, more]) */
static int make_tensor(struct machine *m, const struct value *args)
{
    const struct value *of = part(m, args, 0, STORAGE), *first = part(m, args, 1, NUMBER),
                       *sizes = part(m, args, 2, TUPLE_OF), *strides = part(m, args, 3, TUPLE_OF);

    if (!of || !first || !sizes || !strides || first->whole < 0 || args->n < 6)
        return broken(m, "has a tensor that makes no sense");
    struct hd_pickle_tensor t = m->made.at[of->whole];
    if (sizes->n > HD_PICKLE_MAX_DIMS)
        return hd_fail(m->err, HD_E_LIMIT, "a tensor of %zu dimensions", sizes->n);
    t.first = (uint64_t)first->whole;
    t.n_dims = sizes->n;
    for (size_t i = 0; i < sizes->n; i++) {
        const struct value *size = part(m, sizes, i, NUMBER);
        if (!size || size->whole < 0)
            return broken(m, "has a tensor without a size");
        t.dim[i] = (uint64_t)size->whole;
    }
    if (!is_dense(&t, m, strides))
        return hd_fail(m->err, HD_E_UNSUPPORTED,
                       "a tensor in it does not lie row by row: save it anew with .contiguous()");
    if (ADD(m, made, t) < 0)
        return m->err->code;
    return push_kind(m, TENSOR, (int64_t)m->made.n - 1);
}

static int call(struct machine *m)
{
    struct value args, f;

    if (!pop(m, &args) || !pop(m, &f) || f.kind != FUNCTION || args.kind != TUPLE_OF)
        return broken(m, "calls nothing");
    if (same(f.text, "OrderedDict") && args.n == 0)
        return push_kind(m, DICT, m->dicts++);
    if (same(f.text, "_rebuild_tensor_v2"))
        return make_tensor(m, &args);
    const struct value *t = part(m, &args, 0, TENSOR);
    if (same(f.text, "_rebuild_parameter") && t)
        return push(m, *t);
    return strange(m, "calls", f.text);
}

/* An ordered dictionary's attributes: what versions its parts were. */
static int set_attributes(struct machine *m)
{
    struct value state;

    if (!pop(m, &state) || state.kind != DICT || m->stack.n == 0 ||
        m->stack.at[m->stack.n - 1].kind != DICT)
        return broken(m, "gives attributes to nothing");
    return 0;
}

/* ---- The program ----*/

static int remember(struct machine *m, size_t index_bytes)
{
    uint64_t i;
    struct value none = {.kind = MARK};

    if (!take_number(m, index_bytes, &i) || m->stack.n == 0)
        return broken(m, "remembers nothing");
    if (i >= MAX_MEMO)
        return hd_fail(m->err, HD_E_LIMIT, "its pickle remembers more than %d values", MAX_MEMO);
    while (m->memo.n <= i)
        if (ADD(m, memo, none) < 0)
            return m->err->code;
    m->memo.at[i] = m->stack.at[m->stack.n - 1];
    return 0;
}

static int recall(struct machine *m, size_t index_bytes)
{
    uint64_t i;

    if (!take_number(m, index_bytes, &i) || i >= m->memo.n || m->memo.at[i].kind == MARK)
        return broken(m, "wants what it has not remembered");
    return push(m, m->memo.at[i]);
}

/* A number whose length stands before it. */
static int push_long(struct machine *m)
{
    uint64_t n;

    return take_number(m, 1, &n) ? push_number(m, n, true) : broken(m, "ends within a number");
}

static int step(struct machine *m, uint8_t op)
{
    char name[8];

    /* clang-format off */
    switch (op) {
    case '(': return push_kind(m, MARK, 0);
    case 'N': return push_kind(m, NONE, 0);
    case '}': return push_kind(m, DICT, m->dicts++);
    case 0x88: return push_kind(m, NUMBER, 1);
    case 0x89: return push_kind(m, NUMBER, 0);
    case 'K': return push_number(m, 1, false);
    case 'M': return push_number(m, 2, false);
    case 'J': return push_number(m, 4, true);
    case 0x8a: return push_long(m);
    case 'X': return push_text(m, 4);
    case 'c': return push_function(m);
    case 'q': return remember(m, 1);
    case 'r': return remember(m, 4);
    case 'h': return recall(m, 1);
    case 'j': return recall(m, 4);
    case ')': return make_tuple(m, 0);
    case 0x85: return make_tuple(m, 1);
    case 0x86: return make_tuple(m, 2);
    case 0x87: return make_tuple(m, 3);
    case 't': return make_marked_tuple(m);
    case 's': return m->stack.n < 3 ? broken(m, "puts things into nothing") : set_items(m, 1, false);
    case 'u': return set_marked_items(m);
    case 'Q': return make_storage(m);
    case 'R': return call(m);
    case 'b': return set_attributes(m);
    default:
        snprintf(name, sizeof name, "0x%02x", op);
        return strange(m, "has the opcode", (struct hd_pickle_text){name, strlen(name)});
    }
    /* clang-format on */
}

static int run(struct machine *m, int64_t *dict)
{
    const uint8_t *head = take(m, 2), *op;
    int rc = 0;

    if (!head || head[0] != 0x80 || head[1] != 2)
        return hd_fail(m->err, HD_E_UNSUPPORTED, "its pickle is not of protocol 2");
    while (rc == 0 && (op = take(m, 1)) && *op != '.')
        rc = step(m, *op);
    if (rc < 0)
        return rc;
    if (m->at == 0 || m->code[m->at - 1] != '.' || m->stack.n != 1)
        return broken(m, "ends too early");
    if (m->stack.at[0].kind != DICT)
        return hd_fail(m->err, HD_E_UNSUPPORTED, "its pickle is no dictionary of tensors");
    *dict = m->stack.at[0].whole;
    return 0;
}

static int tell(struct machine *m, int64_t dict,
                int (*tensor)(void *arg, const struct hd_pickle_tensor *t, struct hd_error *err),
                void *arg)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < m->items.n; i++) {
        const struct item *it = &m->items.at[i];
        if (it->dict != dict)
            continue;
        if (it->key.kind != TEXT)
            return broken(m, "has a tensor without a name");
        if (it->value.kind != TENSOR)
            return strange(m, "has something that is no tensor,", it->key.text);
        struct hd_pickle_tensor t = m->made.at[it->value.whole];
        t.name = it->key.text;
        rc = tensor(arg, &t, m->err);
    }
    return rc;
}

int hd_pickle_read(const uint8_t *data, size_t len,
                   int (*tensor)(void *arg, const struct hd_pickle_tensor *t, struct hd_error *err),
                   void *arg, struct hd_error *err)
{
    struct hd_error why = {0};
    struct machine m = {.code = data, .len = len, .err = &why};
    int64_t dict = -1;

    int rc = len > HD_PICKLE_MAX_BYTES ? hd_fail(&why, HD_E_LIMIT, "its pickle has %zu bytes", len)
                                       : run(&m, &dict);
    if (rc == 0)
        rc = tell(&m, dict, tensor, arg);
    free(m.stack.at);
    free(m.held.at);
    free(m.memo.at);
    free(m.items.at);
    free(m.made.at);
    return rc < 0 ? hd_fail(err, rc, "%s", why.text) : 0;
}
