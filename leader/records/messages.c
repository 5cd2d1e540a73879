/* messages.c - what is told of a book, and a book of what is told. */
#include "leader/records/messages.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void hd_records_init(struct hd_records_message *m)
{
    memset(m, 0, sizeof *m);
    hydac__v1__records__init(&m->m);
}

void hd_records_deinit(struct hd_records_message *m)
{
    free(m->tokens);
    free(m->token_list);
    m->tokens = NULL;
    m->token_list = NULL;
}

void hd_records_begin(struct hd_records_message *m, const struct hd_record *r)
{
    Hydac__V1__RecordBegin *b = &m->begin;
    hydac__v1__record_begin__init(b);
    b->id = (char *)r->b.id;
    b->client_id = (char *)r->b.client_id;
    b->owner = (ProtobufCBinaryData){HD_RECORD_OWNER, (uint8_t *)r->b.owner};
    b->key = r->b.key;
    b->path = (char *)r->b.path;
    b->body = (ProtobufCBinaryData){r->b.body_len, (uint8_t *)r->b.body};
    b->seed = r->b.seed;
    b->created = r->b.created;
    b->model_digest = (char *)r->b.model_digest;
    b->choices = r->b.choices;
    b->n_prompts = r->b.n_prompts;
    b->prompts = m->prompt_list;
    for (size_t i = 0; i < r->b.n_prompts; i++) {
        hydac__v1__record_prompt__init(&m->prompts[i]);
        m->prompts[i].ids = (uint32_t *)r->b.prompts[i].ids;
        m->prompts[i].n_ids = r->b.prompts[i].n;
        m->prompts[i].scope = r->b.prompts[i].scope;
        m->prompt_list[i] = &m->prompts[i];
    }
    m->begins[0] = b;
    m->m.begins = m->begins;
    m->m.n_begins = 1;
}

static int make_room(struct hd_records_message *m, size_t more)
{
    size_t n = m->m.n_tokens + more, cap = m->cap ? m->cap : 16;
    if (n <= m->cap)
        return 0;
    while (cap < n)
        cap *= 2;
    Hydac__V1__RecordTokens *t = realloc(m->tokens, cap * sizeof *t);
    if (t)
        m->tokens = t;
    Hydac__V1__RecordTokens **list = realloc(m->token_list, cap * sizeof *list);
    if (list)
        m->token_list = list;
    if (!t || !list)
        return HD_E_NOMEM;
    m->cap = cap;
    for (size_t i = 0; i < cap; i++)
        m->token_list[i] = &m->tokens[i];
    m->m.tokens = m->token_list;
    return 0;
}

int hd_records_tokens(struct hd_records_message *m, const struct hd_record *r, bool told)
{
    if (make_room(m, r->b.choices) < 0)
        return HD_E_NOMEM;
    for (unsigned i = 0; i < r->b.choices; i++) {
        const struct hd_record_tokens *a = &r->answers[i];
        uint32_t first = told ? 0 : a->told, end = told ? a->told : a->n;
        if (first == end)
            continue;
        Hydac__V1__RecordTokens *t = &m->tokens[m->m.n_tokens++];
        hydac__v1__record_tokens__init(t);
        t->id = (char *)r->b.id;
        t->choice = i;
        t->first = first;
        t->ids = (uint32_t *)a->ids + first;
        t->n_ids = end - first;
    }
    return 0;
}

bool hd_records_news(struct hd_records_message *m, struct hd_book *b)
{
    for (struct hd_record *r = b->first; r; r = r->next) {
        if (!r->told)
            continue; /* its begin goes by itself */
        if (hd_records_tokens(m, r, false) < 0)
            return false;
        for (unsigned i = 0; i < r->b.choices; i++)
            r->answers[i].told = r->answers[i].n;
    }
    m->m.ends = b->ended;
    m->m.n_ends = b->n_ended;
    return m->m.n_tokens > 0 || m->m.n_ends > 0;
}

/* ---- Taken in ----*/

static bool are_ids(const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] > INT32_MAX)
            return false;
    return true;
}

static bool is_printable(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

static bool makes_sense(const Hydac__V1__RecordBegin *m)
{
    if (!m->id[0] || m->path[0] != '/' || !is_printable(m->id) || !is_printable(m->client_id) ||
        !is_printable(m->path) || !is_printable(m->model_digest) ||
        m->owner.len != HD_RECORD_OWNER || m->key > 2 || m->n_prompts == 0 ||
        m->n_prompts > HD_RECORD_CHOICES)
        return false;
    for (size_t i = 0; i < m->n_prompts; i++)
        if (m->prompts[i]->n_ids == 0 || !are_ids(m->prompts[i]->ids, m->prompts[i]->n_ids))
            return false;
    return true;
}

static int take_begin(struct hd_book *b, const Hydac__V1__RecordBegin *m, struct hd_error *err)
{
    struct hd_record_prompt prompts[HD_RECORD_CHOICES];
    if (!makes_sense(m) || hd_book_find(b, m->id))
        return hd_fail(err, HD_E_PROTO, "a record that makes no sense, or comes twice");
    struct hd_record_begin begin = {.id = m->id,
                                    .client_id = m->client_id,
                                    .path = m->path,
                                    .model_digest = m->model_digest,
                                    .key = m->key,
                                    .body = (const char *)m->body.data,
                                    .body_len = m->body.len,
                                    .seed = m->seed,
                                    .created = m->created,
                                    .prompts = prompts,
                                    .n_prompts = m->n_prompts,
                                    .choices = m->choices};
    memcpy(begin.owner, m->owner.data, HD_RECORD_OWNER);
    for (size_t i = 0; i < m->n_prompts; i++)
        prompts[i] = (struct hd_record_prompt){(const int32_t *)m->prompts[i]->ids,
                                               m->prompts[i]->n_ids, m->prompts[i]->scope};
    struct hd_record *r = hd_book_begin(b, &begin);
    if (!r)
        return hd_fail(err, HD_E_LIMIT, "there is no room for the record %s", m->id);
    r->told = true;
    return 0;
}

static int take_tokens(struct hd_book *b, const Hydac__V1__RecordTokens *m, struct hd_error *err)
{
    struct hd_record *r = hd_book_find(b, m->id);
    if (!r || m->choice >= r->b.choices || m->first != r->answers[m->choice].n ||
        !are_ids(m->ids, m->n_ids))
        return hd_fail(err, HD_E_PROTO, "tokens of a record that do not follow what is there");
    if (!hd_book_add(b, r, m->choice, (const int32_t *)m->ids, m->n_ids))
        return hd_fail(err, HD_E_LIMIT, "there is no room for tokens of %s", r->b.id);
    r->answers[m->choice].told = r->answers[m->choice].n;
    return 0;
}

int hd_book_take(struct hd_book *b, const Hydac__V1__Records *m, struct hd_error *err)
{
    int rc = 0;
    if (m->term < b->term)
        return hd_fail(err, HD_E_PROTO, "records of term %" PRIu64 ", behind %" PRIu64, m->term,
                       b->term);
    if (m->all)
        hd_book_clear(b);
    b->term = m->term;
    for (size_t i = 0; rc == 0 && i < m->n_begins; i++)
        rc = take_begin(b, m->begins[i], err);
    for (size_t i = 0; rc == 0 && i < m->n_tokens; i++)
        rc = take_tokens(b, m->tokens[i], err);
    for (size_t i = 0; rc == 0 && i < m->n_ends; i++) {
        struct hd_record *r = hd_book_find(b, m->ends[i]);
        if (r)
            hd_book_end(b, r, false);
    }
    return rc;
}
