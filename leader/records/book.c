/* book.c - records of all that lives: begun, added to, ended. */
#include "leader/records/records.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *data, size_t len)
{
    char *p = malloc(len + 1);
    if (!p)
        return NULL;
    if (len > 0)
        memcpy(p, data, len);
    p[len] = '\0';
    return p;
}

static void free_record(struct hd_record *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->b.prompts && i < r->b.n_prompts; i++)
        free((void *)r->b.prompts[i].ids);
    for (unsigned i = 0; r->answers && i < r->b.choices; i++)
        free(r->answers[i].ids);
    free((void *)r->b.prompts);
    free(r->answers);
    free((void *)r->b.id);
    free((void *)r->b.client_id);
    free((void *)r->b.path);
    free((void *)r->b.model_digest);
    free((void *)r->b.body);
    free(r);
}

size_t hd_record_bytes(const struct hd_record *r)
{
    size_t n = sizeof *r + r->b.body_len;
    for (size_t i = 0; i < r->b.n_prompts; i++)
        n += r->b.prompts[i].n * sizeof(int32_t);
    for (unsigned i = 0; i < r->b.choices; i++)
        n += r->answers[i].n * sizeof(int32_t);
    return n;
}

static bool copy_prompts(struct hd_record *r, const struct hd_record_begin *b)
{
    struct hd_record_prompt *to = calloc(b->n_prompts, sizeof *to);
    r->b.prompts = to;
    for (size_t i = 0; to && i < b->n_prompts; i++) {
        to[i] = b->prompts[i];
        to[i].ids = (const int32_t *)copy((const char *)b->prompts[i].ids,
                                          b->prompts[i].n * sizeof *b->prompts[i].ids);
        if (!to[i].ids)
            return false;
    }
    return to != NULL;
}

static bool is_small(const struct hd_record_begin *b)
{
    size_t ids = 0;
    for (size_t i = 0; i < b->n_prompts; i++)
        ids += b->prompts[i].n;
    return b->body_len <= HD_RECORD_BODY && ids <= HD_RECORD_IDS && strlen(b->id) < HD_RECORD_ID &&
           strlen(b->client_id) < HD_RECORD_CLIENT_ID && strlen(b->path) < HD_RECORD_PATH &&
           strlen(b->model_digest) < HD_RECORD_DIGEST && b->n_prompts > 0 &&
           b->choices >= b->n_prompts && b->choices <= HD_RECORD_CHOICES &&
           b->choices % b->n_prompts == 0;
}

struct hd_record *hd_book_begin(struct hd_book *book, const struct hd_record_begin *b)
{
    struct hd_record *r = is_small(b) ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return NULL;
    r->b = *b;
    r->b.id = copy(b->id, strlen(b->id));
    r->b.client_id = copy(b->client_id, strlen(b->client_id));
    r->b.path = copy(b->path, strlen(b->path));
    r->b.model_digest = copy(b->model_digest, strlen(b->model_digest));
    r->b.body = copy(b->body, b->body_len);
    r->b.prompts = NULL;
    r->answers = calloc(b->choices, sizeof *r->answers);
    bool good = copy_prompts(r, b) && r->b.id && r->b.client_id && r->b.path && r->b.model_digest &&
                r->b.body && r->answers;
    if (!good || book->bytes + hd_record_bytes(r) > HD_BOOK_BYTES) {
        free_record(r);
        return NULL;
    }
    book->bytes += hd_record_bytes(r);
    struct hd_record **at = &book->first;
    while (*at)
        at = &(*at)->next;
    *at = r;
    return r;
}

bool hd_book_add(struct hd_book *b, struct hd_record *r, unsigned choice, const int32_t *ids,
                 size_t n)
{
    struct hd_record_tokens *t = &r->answers[choice];
    if (n > HD_RECORD_IDS - t->n || b->bytes + n * sizeof *ids > HD_BOOK_BYTES)
        return false;
    if (t->n + n > t->cap) {
        size_t cap = t->cap ? t->cap : 64;
        while (cap < t->n + n)
            cap *= 2;
        int32_t *more = realloc(t->ids, cap * sizeof *more);
        if (!more)
            return false;
        t->ids = more;
        t->cap = (uint32_t)cap;
    }
    if (n > 0)
        memcpy(t->ids + t->n, ids, n * sizeof *ids);
    t->n += (uint32_t)n;
    b->bytes += n * sizeof *ids;
    return true;
}

/* Without memory for it the end is not told, and a standby runs it once more in vain. */
static void note_end(struct hd_book *b, const struct hd_record *r)
{
    char **more = realloc(b->ended, (b->n_ended + 1) * sizeof *more);
    if (!more)
        return;
    b->ended = more;
    b->ended[b->n_ended] = copy(r->b.id, strlen(r->b.id));
    b->n_ended += b->ended[b->n_ended] != NULL;
}

void hd_book_end(struct hd_book *b, struct hd_record *r, bool tell)
{
    struct hd_record **at = &b->first;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    b->bytes -= hd_record_bytes(r);
    if (tell && r->told)
        note_end(b, r);
    free_record(r);
}

void hd_book_told(struct hd_book *b)
{
    for (size_t i = 0; i < b->n_ended; i++)
        free(b->ended[i]);
    free(b->ended);
    b->ended = NULL;
    b->n_ended = 0;
}

void hd_book_clear(struct hd_book *b)
{
    while (b->first)
        hd_book_end(b, b->first, false);
    hd_book_told(b);
}

struct hd_record *hd_book_find(const struct hd_book *b, const char *id)
{
    struct hd_record *r = b->first;
    while (r && strcmp(r->b.id, id) != 0)
        r = r->next;
    return r;
}

/* "" or "-" and a number from 1 on, as hd_generation_options writes it. */
static bool read_choice(const char *rest, unsigned choices, unsigned *choice)
{
    char *end;
    *choice = 0;
    if (!*rest)
        return true;
    unsigned long v = rest[0] == '-' ? strtoul(rest + 1, &end, 10) : 0;
    *choice = (unsigned)v;
    return v > 0 && v < choices && !*end;
}

struct hd_record *hd_book_choice(const struct hd_book *b, const char *request, unsigned *choice)
{
    for (struct hd_record *r = b->first; r; r = r->next) {
        size_t n = strlen(r->b.id);
        if (strncmp(r->b.id, request, n) == 0 && read_choice(request + n, r->b.choices, choice))
            return r;
    }
    return NULL;
}

const struct hd_record_prompt *hd_record_prompt_of(const struct hd_record *r, unsigned choice)
{
    return &r->b.prompts[choice / (r->b.choices / r->b.n_prompts)];
}
