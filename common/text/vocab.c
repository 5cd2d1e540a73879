#include "common/text/vocab.h"

#include "common/model/model.h"
#include "common/text/utf8.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The alphabet (GPT-2's bytes_to_unicode): printable Latin-1 bytes stand for themselves, the other
 * 68 are U+0100 onwards in byte order. */
static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

static int alphabet_byte(uint32_t c)
{
    if (c < 0x100)
        return stands_for_itself(c) ? (int)c : -1;
    c -= 0x100;
    if (c < 0x21) /* 00..20 */
        return (int)c;
    if (c < 0x21 + 0x22) /* 7F..A0 */
        return (int)(c - 0x21 + 0x7F);
    return c == 0x43 ? 0xAD : -1;
}

ptrdiff_t hd_alphabet_decode(struct hd_str s, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len;) {
        int len = hd_utf8_next(s.data + i, s.len - i);
        int byte = len > 0 ? alphabet_byte(hd_utf8_value(s.data + i, len)) : -1;

        if (byte < 0)
            return -1;
        out[n++] = (char)byte;
        i += (size_t)len;
    }
    return (ptrdiff_t)n;
}

int hd_merge_parse(struct hd_str text, struct hd_merge *out)
{
    const char *blank = text.len > 2 ? memchr(text.data, ' ', text.len) : NULL;

    if (!blank || blank == text.data || blank + 1 == text.data + text.len)
        return HD_E_FORMAT;
    out->left = (struct hd_str){text.data, (size_t)(blank - text.data)};
    out->right = (struct hd_str){blank + 1, text.len - out->left.len - 1};
    return 0;
}

/* ---- Index of normal tokens -----------------------------------------------------------------*/

static size_t slot_of(const struct hd_vocab *v, const char *bytes, size_t len)
{
    size_t at = (size_t)XXH3_64bits(bytes, len) & (v->n_slots - 1);

    while (v->slots[at]) {
        struct hd_str t = hd_vocab_text(v, (int32_t)(v->slots[at] - 1));

        if (t.len == len && memcmp(t.data, bytes, len) == 0)
            break;
        at = (at + 1) & (v->n_slots - 1);
    }
    return at;
}

int32_t hd_vocab_find(const struct hd_vocab *v, const char *bytes, size_t len)
{
    return (int32_t)v->slots[slot_of(v, bytes, len)] - 1;
}

static int index_normal(struct hd_vocab *v, uint32_t id, struct hd_error *err)
{
    struct hd_str t = hd_vocab_text(v, (int32_t)id);
    size_t at = slot_of(v, t.data, t.len);

    if (v->slots[at])
        return hd_fail(err, HD_E_FORMAT, "tokenizer: tokens %u and %u have the same text",
                       v->slots[at] - 1, id);
    v->slots[at] = id + 1;
    if (t.len == 1)
        v->byte_id[(unsigned char)t.data[0]] = (int32_t)id;
    return 0;
}

/* ---- Specials -------------------------------------------------------------------------------*/

static int compare_text(struct hd_str a, struct hd_str b)
{
    int c = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int compare_ids(const void *a, const void *b, void *vocab)
{
    return compare_text(hd_vocab_text(vocab, *(const int32_t *)a),
                        hd_vocab_text(vocab, *(const int32_t *)b));
}

static bool is_special(const struct hd_token *t)
{
    return (t->kind == HD_TOKEN_CONTROL || t->kind == HD_TOKEN_USER) && t->len > 0;
}

static int index_specials(struct hd_vocab *v, struct hd_error *err)
{
    size_t n = 0;

    for (uint32_t i = 0; i < v->n; i++)
        n += is_special(&v->tokens[i]);
    if (n == 0)
        return 0;
    v->specials = malloc(n * sizeof *v->specials);
    if (!v->specials)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu special tokens", n);
    for (uint32_t i = 0; i < v->n; i++) {
        if (!is_special(&v->tokens[i]))
            continue;
        v->specials[v->n_specials++] = (int32_t)i;
        v->starts[(unsigned char)v->arena[v->tokens[i].off]] = true;
    }
    qsort_r(v->specials, n, sizeof *v->specials, compare_ids, v);
    for (size_t i = 1; i < n; i++)
        if (compare_ids(&v->specials[i - 1], &v->specials[i], v) == 0)
            return hd_fail(err, HD_E_FORMAT,
                           "tokenizer: special tokens %d and %d have the same text",
                           v->specials[i - 1], v->specials[i]);
    return 0;
}

/* First place in [lo, hi) whose byte at `depth` is >= c. All texts there agree before `depth`; one
 * that ends at `depth` comes first. */
static size_t lower(const struct hd_vocab *v, size_t lo, size_t hi, size_t depth, int c)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct hd_str t = hd_vocab_text(v, v->specials[mid]);
        int byte = depth < t.len ? (unsigned char)t.data[depth] : -1;

        if (byte < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Narrows the sorted list byte by byte: the work is bounded by the longest special. */
int32_t hd_vocab_match(const struct hd_vocab *v, const char *text, size_t len, bool control)
{
    size_t lo = 0, hi = v->n_specials;
    int32_t best = -1;

    if (len == 0 || !v->starts[(unsigned char)text[0]])
        return -1;
    for (size_t depth = 0; depth < len; depth++) {
        int c = (unsigned char)text[depth];

        lo = lower(v, lo, hi, depth, c);
        hi = lower(v, lo, hi, depth, c + 1);
        if (lo == hi)
            break;
        const struct hd_token *t = &v->tokens[v->specials[lo]];
        if (t->len == depth + 1 && (control || t->kind == HD_TOKEN_USER))
            best = v->specials[lo];
    }
    return best;
}

int32_t hd_vocab_find_special(const struct hd_vocab *v, const char *text, size_t len)
{
    int32_t id = hd_vocab_match(v, text, len, true);

    return id >= 0 && v->tokens[id].len == len ? id : -1;
}

/* ---- Building -------------------------------------------------------------------------------*/

static int allocate(struct hd_vocab *v, const struct hd_vocab_source *s, struct hd_error *err)
{
    size_t total = 1;

    if (s->n_entries == 0 || s->n_entries > HD_MAX_VOCAB)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %u tokens; a vocabulary has 1 to %d",
                       s->n_entries, HD_MAX_VOCAB);
    for (uint32_t i = 0; i < s->n_entries; i++) {
        if (s->entries[i].text.len > HD_VOCAB_MAX_BYTES - total)
            return hd_fail(err, HD_E_LIMIT, "tokenizer: token texts are longer than %zu MiB",
                           HD_VOCAB_MAX_BYTES >> 20);
        total += s->entries[i].text.len;
    }
    v->n_slots = 16;
    while (v->n_slots < (size_t)s->n_entries * 2)
        v->n_slots *= 2;
    v->tokens = calloc(s->n_entries, sizeof *v->tokens);
    v->slots = calloc(v->n_slots, sizeof *v->slots);
    v->arena = malloc(total);
    if (!v->tokens || !v->slots || !v->arena)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %u tokens", s->n_entries);
    v->n = s->n_entries;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of "<0xHH>", or -1. */
static int byte_token_value(struct hd_str s)
{
    if (s.len != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>')
        return -1;
    int high = hex_digit(s.data[3]), low = hex_digit(s.data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Tokens that steer a conversation. Some files give them another type; text of a message must not
 * become one all the same. */
static bool steers(struct hd_str text)
{
    static const char *const names[] = {
        "<|im_start|>",  "<|im_end|>",     "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>",    "<|eom_id|>",     "<|begin_of_text|>",   "<|end_of_text|>",
        "<|endoftext|>", "<|python_tag|>",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == text.len && memcmp(names[i], text.data, text.len) == 0)
            return true;
    return false;
}

/* Copies one token's bytes to the end of the arena. A normal token with characters outside the
 * alphabet keeps its text, and no merge can reach it. */
static int add_token(struct hd_vocab *v, uint32_t id, const struct hd_vocab_entry *e,
                     struct hd_error *err)
{
    struct hd_token *t = &v->tokens[id];
    char *out = v->arena + v->arena_len;
    ptrdiff_t n = -1;
    enum hd_token_kind kind = e->kind;
    int byte;

    if ((kind == HD_TOKEN_NORMAL || kind == HD_TOKEN_USER) && steers(e->text))
        kind = HD_TOKEN_CONTROL;
    t->kind = (uint8_t)kind;
    if (kind == HD_TOKEN_ABSENT)
        return 0;
    if (kind == HD_TOKEN_NORMAL)
        n = hd_alphabet_decode(e->text, out);
    byte = kind == HD_TOKEN_BYTE ? byte_token_value(e->text) : -1;
    if (byte >= 0) {
        out[0] = (char)byte;
        n = 1;
    }
    bool reachable = kind == HD_TOKEN_NORMAL && n > 0;
    if (n < 0) {
        if (e->text.len)
            memcpy(out, e->text.data, e->text.len);
        n = (ptrdiff_t)e->text.len;
    }
    t->off = (uint32_t)v->arena_len;
    t->len = (uint32_t)n;
    v->arena_len += (size_t)n;
    return reachable ? index_normal(v, id, err) : 0;
}

static void index_bytes(struct hd_vocab *v, const struct hd_vocab_source *s)
{
    for (uint32_t i = 0; i < v->n; i++) {
        struct hd_str t = hd_vocab_text(v, (int32_t)i);

        if (v->tokens[i].kind == HD_TOKEN_BYTE && t.len == 1 &&
            v->byte_id[(unsigned char)t.data[0]] < 0)
            v->byte_id[(unsigned char)t.data[0]] = (int32_t)i;
    }
    for (int b = 0; b < 256; b++)
        if (v->byte_id[b] < 0)
            v->byte_id[b] = s->unk;
}

int hd_vocab_init(struct hd_vocab *v, const struct hd_vocab_source *s, struct hd_error *err)
{
    int rc;

    memset(v, 0, sizeof *v);
    memset(v->byte_id, 0xFF, sizeof v->byte_id); /* -1 */
    rc = allocate(v, s, err);
    for (uint32_t i = 0; rc == 0 && i < s->n_entries; i++)
        rc = add_token(v, i, &s->entries[i], err);
    if (rc == 0)
        rc = index_specials(v, err);
    if (rc < 0)
        goto err_after_alloc;
    index_bytes(v, s);
    return 0;

err_after_alloc:
    hd_vocab_deinit(v);
    return rc;
}

void hd_vocab_deinit(struct hd_vocab *v)
{
    free(v->tokens);
    free(v->slots);
    free(v->arena);
    free(v->specials);
    memset(v, 0, sizeof *v);
}
