/* messages.h - what standbys and the journal are told of a book (Records of proto/hydac.proto). */
#ifndef HD_RECORDS_MESSAGES_H
#define HD_RECORDS_MESSAGES_H

#include "hydac.pb-c.h"
#include "leader/records/records.h"

/* A message in the making: points into the book, which must not change until it is sent. */
struct hd_records_message {
    Hydac__V1__Records m;
    Hydac__V1__RecordBegin begin;
    Hydac__V1__RecordBegin *begins[1];
    Hydac__V1__RecordPrompt prompts[HD_RECORD_CHOICES], *prompt_list[HD_RECORD_CHOICES];
    Hydac__V1__RecordTokens *tokens, **token_list; /* malloc'ed */
    size_t cap;
};
void hd_records_init(struct hd_records_message *m);
void hd_records_deinit(struct hd_records_message *m);
/* That this one has begun. */
void hd_records_begin(struct hd_records_message *m, const struct hd_record *r);
/* Its tokens that were told already (of a snapshot), or those that were not. HD_E_NOMEM. */
int hd_records_tokens(struct hd_records_message *m, const struct hd_record *r, bool told);
/* All that was not told, and is from now on; false: there is nothing, or memory is out. */
bool hd_records_news(struct hd_records_message *m, struct hd_book *b);
/* Takes a message in, checked. HD_E_PROTO: it makes no sense, or something before it is missing;
 * HD_E_LIMIT, HD_E_NOMEM: it does not fit. The book may then have a part of it. */
int hd_book_take(struct hd_book *b, const Hydac__V1__Records *m, struct hd_error *err);

#endif
