/* leaders.h - several leaders of one cluster: which of them serves.
 *
 * Nothing that an answer depends on is shared, so two leaders that both serve compute nothing
 * wrong, and no agreement is needed: workers decide. A worker is with one leader at a time, and
 * turns to the next of its list when it loses that. What is here keeps workers together: a leader
 * that sees another one serve is a standby, which refuses workers and requests; of several that
 * nobody is with, the first of the list is to serve. When two meet that serve both (a cable was cut
 * and is whole again), the one with the lower term sends its workers to the other and ends its
 * requests with its name.
 *
 * Each leader asks all others what they are, over a connection of its own to each, with every tick.
 * It does not matter whether two see the same: if all think that another one is to serve, they see
 * it at the next tick, and if a standby wrongly misses the one that serves, no worker comes to it.
 */
#ifndef HD_DAEMON_LEADERS_H
#define HD_DAEMON_LEADERS_H

#include "common/net/address.h"
#include "common/net/conn.h"
#include "common/util/silence.h"
#include "leader/daemon/follow.h"

#include <jansson.h>
#include <stdbool.h>

#define HD_MAX_LEADERS    8
#define HD_LEADER_URL     256
#define HD_LEADERS_QUEUED (2 * HD_BOOK_BYTES) /* bytes that may wait for a standby */

struct hd_leader;
struct hd_peer;

struct hd_other_leader {
    struct hd_leader *leader;
    char address[HD_ADDRESS_MAX];
    struct hd_resolve resolve;
    bool resolving, tried; /* tried: it is known whether it is there */
    bool self;             /* this one */
    struct hd_conn *conn;  /* NULL: not connected */
    bool open;             /* ... and no question has to wait */
    uint64_t begun_us;     /* the attempt */
    bool there;            /* it says something, and has done so not long ago */
    struct hd_silence silence;
    uint64_t id, term;
    bool active;
    uint32_t workers;
    char url[HD_LEADER_URL]; /* where clients find it; "" = it has not said */
    struct hd_follower follower;
};

struct hd_leader_role {
    uint64_t id;     /* of this run */
    uint64_t term;   /* the highest served under or heard of */
    uint64_t served; /* ... under which its workers have come */
    struct hd_other_leader others[HD_MAX_LEADERS];
    unsigned n; /* 0: there is one leader */
    uint64_t started_us;
    uint64_t wanted_us; /* a worker came, was refused, and nobody has served since; 0: none */
    char urls[HD_MAX_LEADERS * HD_LEADER_URL]; /* the others', a blank between them */
    char standby[HD_ADDRESS_MAX + 128];        /* why no worker is taken; "" = they are */
};

/* Reads cluster.leaders. HD_E_CONFIG. */
int hd_leaders_init(struct hd_leader *l, struct hd_error *err);
/* Asks the others, and decides what this one is. late_us: our own loop's, since the last tick. */
void hd_leaders_tick(struct hd_leader *l, uint64_t now_us, uint64_t late_us);
/* A peer that says what it is, instead of a Hello, is another leader: it hears the same. */
void hd_leaders_asked(struct hd_peer *p, const struct hd_frame *f);
/* Another one is there and serves under this term or a later one. */
bool hd_leaders_serve_at(const struct hd_leader *l, uint64_t term);
/* Under which it serves, or would but for what it has heard of. */
uint64_t hd_leaders_term(const struct hd_leader *l);
/* The first worker is about to be taken in: a new term begins. */
void hd_leaders_take(struct hd_leader *l);
/* A worker has worked under this term. */
void hd_leaders_heard(struct hd_leader *l, uint64_t term);
/* A worker was refused for standing by. */
void hd_leaders_refused(struct hd_leader *l);
/* Why this one does not serve, a sentence; NULL: it does, or is to. */
const char *hd_leaders_standby(const struct hd_leader *l);
/* Where clients find the one that serves instead; NULL: not known, or it is this one. */
const char *hd_leaders_url(const struct hd_leader *l);
/* "active", "waiting" for workers, "standby"; NULL: there is one leader. */
const char *hd_leaders_role(const struct hd_leader *l);
void hd_leaders_close(struct hd_leader *l);
bool hd_leaders_closed(const struct hd_leader *l);
/* {"role", "term", "others": [...]}, NULL: there is one leader. */
json_t *hd_leaders_json(const struct hd_leader *l);

#endif
