/* again.h - an answer that was begun by another leader, or before a restart: made anew from its
 * record up to where it was, events and all, and gone on with.
 *
 * Tokens that are known are not computed again, but for the last one: what comes behind it, a token
 * or the end, comes as if it had never stopped. Where more than tokens is told (scores) all of them
 * are computed again; they are the same. */
#ifndef HD_API_AGAIN_H
#define HD_API_AGAIN_H

#include "leader/api/answer.h"
#include "leader/records/records.h"

struct hd_again {
    struct hd_born born;
    struct hd_record *record; /* the keeper's; the loop's alone */
    struct hd_known {
        int32_t *ids; /* malloc'ed */
        size_t n;
    } known[HD_MAX_CHOICES];
    struct hd_record_prompt prompts[HD_MAX_CHOICES]; /* their ids are malloc'ed */
    /* What the tokens have made: texts of events, those of a choice behind one another. */
    struct hd_text begin, news[HD_MAX_CHOICES];
};

/* NULL: memory is out. */
struct hd_again *hd_again_new(struct hd_record *record);
void hd_again_free(struct hd_again *g);
/* On a thread: the known tokens pass through the answer's choices, which have been read. 0 or
 * HD_E_NOMEM. */
int hd_again_pass(struct hd_again *g, struct hd_answer *a);

#endif
