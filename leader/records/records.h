/* records.h - what an answer needs to go on at another leader, or after a restart.
 *
 * An answer is a function of (model, request, seed), so a record is the request as it came (its
 * path and body, which the same code reads again), what was drawn for it (seed, id, time) and the
 * ids of its prompts; and, because they save work, the tokens so far. Whoever serves keeps a book
 * of all that lives; standbys and the journal get the same messages (Records of proto/hydac.proto)
 * and have the same book.
 *
 * Pure: no sockets, no files, no clock. */
#ifndef HD_RECORDS_RECORDS_H
#define HD_RECORDS_RECORDS_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_RECORD_ID        48 /* HD_REQUEST_ID: bytes of an id, with its end */
#define HD_RECORD_CLIENT_ID 129
#define HD_RECORD_PATH      64
#define HD_RECORD_OWNER     16 /* bytes of a digest of the client's key */
#define HD_RECORD_DIGEST    17
#define HD_RECORD_CHOICES   64                  /* HD_MAX_CHOICES */
#define HD_RECORD_BODY      (4u << 20)          /* bytes of a request's body; the API's limit */
#define HD_RECORD_IDS       (4u << 20)          /* tokens of all prompts, and of an answer */
#define HD_BOOK_BYTES       ((size_t)256 << 20) /* of all records: 64 bodies of the longest */

struct hd_record_prompt {
    const int32_t *ids;
    size_t n;
    uint64_t scope; /* hd_request_options.cache_scope */
};

/* What is known before the first token. */
struct hd_record_begin {
    const char *id, *client_id, *path, *model_digest; /* "" = none (but for id and path) */
    uint8_t owner[HD_RECORD_OWNER];
    unsigned key; /* hd_api_key_shown */
    const char *body;
    size_t body_len;
    uint64_t seed;
    int64_t created;
    const struct hd_record_prompt *prompts; /* [n_prompts] */
    size_t n_prompts;
    unsigned choices; /* of all prompts */
};

struct hd_record_tokens {
    int32_t *ids; /* malloc'ed */
    uint32_t n, cap;
    uint32_t told; /* of them are in messages that were made */
};

struct hd_record {
    struct hd_record *next;
    struct hd_record_begin b;         /* its pointers are the record's own */
    struct hd_record_tokens *answers; /* [b.choices] */
    bool ours;                        /* somebody runs it here */
    bool told;                        /* that it has begun */
    uint64_t ended_us;                /* 0: it lives. The user's, as the next three */
    uint64_t number, begun_us;
    void (*sure)(void *arg); /* NULL: nobody waits */
    void *sure_arg;
};

struct hd_book {
    struct hd_record *first; /* the oldest; those that live and those that have just ended */
    size_t bytes;
    uint64_t term; /* whose it is */
    char **ended;  /* ids that are to be told: [n_ended], malloc'ed */
    size_t n_ended;
};
void hd_book_clear(struct hd_book *b);
struct hd_record *hd_book_find(const struct hd_book *b, const char *id);
/* Copies what it is given. NULL: it is too large, or the book is full, or memory is out. */
struct hd_record *hd_book_begin(struct hd_book *b, const struct hd_record_begin *begin);
/* False: too many, or memory is out; nothing was added. */
bool hd_book_add(struct hd_book *b, struct hd_record *r, unsigned choice, const int32_t *ids,
                 size_t n);
/* Frees it. `tell`: the next message says that it has ended, if one said that it has begun. */
void hd_book_end(struct hd_book *b, struct hd_record *r, bool tell);

/* The ends that were to be told are told (messages.h). */
void hd_book_told(struct hd_book *b);

/* What the engine calls a choice ("ID", "ID-1" ...): its record and which it is; NULL: none. */
struct hd_record *hd_book_choice(const struct hd_book *b, const char *request, unsigned *choice);
/* The prompt of a choice. */
const struct hd_record_prompt *hd_record_prompt_of(const struct hd_record *r, unsigned choice);
size_t hd_record_bytes(const struct hd_record *r);

#endif
