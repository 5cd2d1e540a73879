#include "common/text/bpe.h"

#include "common/util/size.h"

#include <stdlib.h>
#include <string.h>

#define FREE_KEY UINT64_MAX /* ids are below 2^20, so no pair has this key */

int hd_ids_push(struct hd_ids *l, int32_t id)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64, bytes;
        int32_t *v = hd_mul_size(cap, sizeof *v, &bytes) ? realloc(l->v, bytes) : NULL;

        if (!v)
            return HD_E_NOMEM;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = id;
    return 0;
}

/* ---- The table of merges --------------------------------------------------------------------*/

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of a pair, or the free one where it belongs. The mixing is the finaliser of
 * splitmix64 (Steele, Lea, Flood 2014). */
static struct hd_pair_slot *pair_slot(const struct hd_bpe *b, uint64_t key)
{
    uint64_t h = key;

    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 27) * 0x94D049BB133111EBu;
    h ^= h >> 31;
    size_t at = (size_t)h & (b->n_slots - 1);
    while (b->slots[at].key != FREE_KEY && b->slots[at].key != key)
        at = (at + 1) & (b->n_slots - 1);
    return &b->slots[at];
}

/* Decodes one part of a merge behind `*len` bytes of `buf` and finds its token. */
static int32_t find_part(const struct hd_vocab *v, struct hd_str part, char *buf, size_t *len)
{
    ptrdiff_t n = hd_alphabet_decode(part, buf + *len);
    int32_t id;

    if (n <= 0)
        return -1;
    id = hd_vocab_find(v, buf + *len, (size_t)n);
    *len += (size_t)n;
    return id;
}

static int add_merge(struct hd_bpe *b, const struct hd_vocab *v, const struct hd_merge *m,
                     uint32_t rank, struct hd_error *err)
{
    char small[512], *buf = small;
    size_t need = m->left.len + m->right.len, len = 0;
    int32_t left, right, id = -1;

    if (need > sizeof small) {
        buf = malloc(need);
        if (!buf)
            return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for merge %u", rank);
    }
    left = find_part(v, m->left, buf, &len);
    right = left < 0 ? -1 : find_part(v, m->right, buf, &len);
    if (right >= 0)
        id = hd_vocab_find(v, buf, len);
    if (buf != small)
        free(buf);
    if (id < 0)
        return hd_fail(
            err, HD_E_FORMAT,
            "tokenizer: merge %u (\"%.*s\" + \"%.*s\") names a token that the vocabulary "
            "does not have; the file is damaged or not byte-level BPE",
            rank, (int)(m->left.len < 40 ? m->left.len : 40), m->left.data,
            (int)(m->right.len < 40 ? m->right.len : 40), m->right.data);
    struct hd_pair_slot *slot = pair_slot(b, pair_key(left, right));
    if (slot->key == FREE_KEY) /* a repeated merge keeps its first rank */
        *slot = (struct hd_pair_slot){pair_key(left, right), rank, id};
    return 0;
}

int hd_bpe_init(struct hd_bpe *b, const struct hd_vocab *v, const struct hd_vocab_source *s,
                struct hd_error *err)
{
    int rc = 0;

    memset(b, 0, sizeof *b);
    b->ignore_merges = s->ignore_merges;
    /* Every merge makes a token, and a token is made by few merges: 4 per id is plenty. */
    if (s->n_merges > (size_t)v->n * 4)
        return hd_fail(err, HD_E_LIMIT, "tokenizer: %zu merges for %u tokens", s->n_merges, v->n);
    b->n_slots = 16;
    while (b->n_slots < s->n_merges * 2)
        b->n_slots *= 2;
    b->slots = malloc(b->n_slots * sizeof *b->slots);
    if (!b->slots)
        return hd_fail(err, HD_E_NOMEM, "tokenizer: no memory for %zu merges", s->n_merges);
    for (size_t i = 0; i < b->n_slots; i++)
        b->slots[i].key = FREE_KEY;
    for (size_t i = 0; rc == 0 && i < s->n_merges; i++)
        rc = add_merge(b, v, &s->merges[i], (uint32_t)i, err);
    if (rc < 0)
        hd_bpe_deinit(b);
    return rc;
}

void hd_bpe_deinit(struct hd_bpe *b)
{
    free(b->slots);
    memset(b, 0, sizeof *b);
}

/* ---- Merging one word -----------------------------------------------------------------------*/

void hd_bpe_scratch_deinit(struct hd_bpe_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    memset(s, 0, sizeof *s);
}

/* Room for a word of n symbols: n - 1 pairs at first, two more for each of n - 1 merges. */
static int reserve(struct hd_bpe_scratch *s, size_t n)
{
    size_t cap = n < 64 ? 64 : n;

    if (n <= s->cap)
        return 0;
    if (cap < s->cap * 2)
        cap = s->cap * 2;
    free(s->symbols);
    free(s->heap);
    s->symbols = malloc(cap * sizeof *s->symbols);
    s->heap = malloc(cap * 3 * sizeof *s->heap);
    s->cap = s->symbols && s->heap ? cap : 0;
    return s->cap ? 0 : HD_E_NOMEM;
}

static void heap_push(struct hd_bpe_scratch *s, uint64_t key)
{
    size_t i = s->n_heap++;

    while (i > 0 && s->heap[(i - 1) / 2] > key) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = key;
}

static uint64_t heap_pop(struct hd_bpe_scratch *s)
{
    uint64_t top = s->heap[0], key = s->heap[--s->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < s->n_heap) {
        if (child + 1 < s->n_heap && s->heap[child + 1] < s->heap[child])
            child++;
        if (s->heap[child] >= key)
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = key;
    s->pops++;
    return top;
}

/* The merge of the symbol at `pos` with the next one, or NULL. */
static const struct hd_pair_slot *merge_at(const struct hd_bpe *b, const struct hd_bpe_scratch *s,
                                           int32_t pos)
{
    const struct hd_bpe_symbol *a = &s->symbols[pos];

    if (a->id < 0 || a->next < 0)
        return NULL;
    const struct hd_pair_slot *slot = pair_slot(b, pair_key(a->id, s->symbols[a->next].id));
    return slot->key == FREE_KEY ? NULL : slot;
}

static void offer(const struct hd_bpe *b, struct hd_bpe_scratch *s, int32_t pos)
{
    const struct hd_pair_slot *m = pos < 0 ? NULL : merge_at(b, s, pos);

    if (m)
        heap_push(s, (uint64_t)m->rank << 32 | (uint32_t)pos);
}

static void merge_all(const struct hd_bpe *b, struct hd_bpe_scratch *s)
{
    while (s->n_heap) {
        uint64_t top = heap_pop(s);
        int32_t pos = (int32_t)(uint32_t)top;
        const struct hd_pair_slot *m = merge_at(b, s, pos);

        if (!m || m->rank != (uint32_t)(top >> 32))
            continue; /* a neighbour has changed since */
        struct hd_bpe_symbol *left = &s->symbols[pos], *right = &s->symbols[left->next];
        left->id = m->id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0)
            s->symbols[left->next].prev = pos;
        offer(b, s, left->prev);
        offer(b, s, pos);
    }
}

int hd_bpe_encode(const struct hd_bpe *b, const struct hd_vocab *v, struct hd_str word,
                  struct hd_bpe_scratch *s, struct hd_ids *out)
{
    int32_t n = 0;
    int32_t whole = b->ignore_merges ? hd_vocab_find(v, word.data, word.len) : -1;

    if (whole >= 0)
        return hd_ids_push(out, whole);
    if (reserve(s, word.len) < 0)
        return HD_E_NOMEM;
    for (size_t i = 0; i < word.len; i++) {
        int32_t id = v->byte_id[(unsigned char)word.data[i]];

        if (id < 0)
            continue; /* some vocabularies lack bytes that never occur in UTF-8 */
        s->symbols[n] = (struct hd_bpe_symbol){id, n - 1, n + 1};
        n++;
    }
    if (n == 0)
        return 0;
    s->symbols[n - 1].next = -1;
    s->n_heap = 0;
    for (int32_t i = 0; i < n - 1; i++)
        offer(b, s, i);
    merge_all(b, s);
    for (int32_t i = 0; i >= 0; i = s->symbols[i].next)
        if (hd_ids_push(out, s->symbols[i].id) < 0)
            return HD_E_NOMEM;
    return 0;
}
