/* follow.h - answers outlive their leader: who serves tells the standbys what each needs to go on,
 * and a standby that begins to serve goes on with all of them.
 *
 * Happy path: a request is submitted -> its record goes to every standby that follows; they say
 * that they have it, and then its first token may leave -> its tokens, with the steps -> its end.
 * A standby does not see who serves any more: what its book has is submitted, with the tokens that
 * are known, and waits for workers.
 * Failure modes: 1. no standby is there: nothing is waited for; 2. one does not answer within
 * HD_FOLLOW_WAIT_MS: the answer goes on without, the log and the status say so, and it is not
 * waited for until it has caught up; 3. one reads too slowly: it is told nothing until it has, and
 * then everything; 4. one misses a message: it ends the connection, and is told everything on the
 * next; 5. the book is full: the request goes on without a record; 6. a record cannot be gone on
 * with (another model's): it is dropped, with a line in the log. */
#ifndef HD_DAEMON_FOLLOW_H
#define HD_DAEMON_FOLLOW_H

#include "common/net/conn.h"
#include "leader/daemon/journal.h"
#include "leader/records/messages.h"

#include <jansson.h>

#define HD_FOLLOW_WAIT_MS   200u  /* for a standby to say that it knows; a round trip takes 1 */
#define HD_FOLLOW_LINGER_MS 1000u /* what is whole may not have reached its client yet */

struct hd_leader;
struct hd_peer;
struct hd_other_leader;

/* What another leader is told. */
struct hd_follower {
    bool synced; /* it has all up to ... */
    bool slow;   /* nobody waits for it */
    uint64_t from, acked;
};

struct hd_follow {
    struct hd_book book;
    struct hd_journal journal;
    uint64_t number;                        /* of the last message */
    uint64_t told_us;                       /* when the last tokens were told */
    uint64_t begun, unrecorded, not_waited; /* requests, since the start */
    uint64_t adopted, dropped;
};

int hd_follow_init(struct hd_leader *l, struct hd_error *err);
void hd_follow_close(struct hd_leader *l);
void hd_follow_tick(struct hd_leader *l, uint64_t now_us);
/* A step's first half is with the workers: while they compute, the tokens of the one before are
 * told, so that whoever takes over has hardly any of them to compute again. */
void hd_follow_step(struct hd_leader *l, uint64_t now_us);
/* What was begun elsewhere goes on here, if nobody else serves: it waits for workers like any other
 * request. */
void hd_follow_serve(struct hd_leader *l);
/* Another leader serves: this one knows of nothing any more until that one tells. Its clients hear
 * no more of its answers. */
void hd_follow_step_down(struct hd_leader *l);
/* Frames. */
void hd_follow_told(struct hd_peer *p, const struct hd_frame *f);
void hd_follow_acked(struct hd_other_leader *o, const struct hd_frame *f);
void hd_follow_lost(struct hd_other_leader *o);

/* hd_api_backend */
struct hd_record *hd_follow_begun(void *leader, const struct hd_record_begin *b,
                                  void (*sure)(void *arg), void *sure_arg, bool *wait);
void hd_follow_sampled(void *leader, struct hd_record *r, unsigned choice, uint32_t index,
                       int32_t id);
void hd_follow_ended(void *leader, struct hd_record *r, bool whole);

/* {"records", "bytes", "followers", ...} */
json_t *hd_follow_json(const struct hd_leader *l);

#endif
