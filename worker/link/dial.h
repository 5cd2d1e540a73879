/* dial.h - how a worker reaches its leader, and how long it waits before it tries again. What its
 * two sessions (bootstrap.h, session.h) have in common; each has one of its own.
 *
 * Happy path: hd_dial_look_up -> `found` -> hd_dial_connect. After whatever failed: hd_dial_pause,
 * and after so many ms from the beginning. A pause is twice the one before, up to
 * leader.retry_max_ms. Of several leaders (leader.address is a list) the one that was lost is tried
 * first, then those behind it.
 */
#ifndef HD_WORKER_DIAL_H
#define HD_WORKER_DIAL_H

#include "common/net/address.h"
#include "common/net/conn.h"
#include "common/util/log.h"
#include "worker/config.h"

/* With one leader there is nobody else to turn to; with several, one that says nothing for so long
 * is left for the next. A leader asks many times a second. */
#define HD_SILENCE_MS  30000
#define HD_GREETING_MS 10000 /* to connect, and to answer a Hello */

struct hd_tls_context;

struct hd_dial {
    uv_loop_t *loop;
    const struct hd_worker_config *config; /* all borrowed */
    const struct hd_log *log;
    struct hd_tls_context *tls; /* NULL: plaintext */
    struct hd_resolve resolve;
    uint64_t pause_ms;            /* the next pause */
    unsigned n, at;               /* leaders in the configuration's list, and which of them */
    unsigned tried;               /* in a row, without a pause */
    bool lost;                    /* it had let us in: worth another try */
    unsigned shunned;             /* it said nothing; not to be tried before: */
    uint64_t shunned_until_ms;    /* of the loop's clock */
    char address[HD_ADDRESS_MAX]; /* the one in hand */
};

/* Fills in what is not borrowed. found: as hd_resolve.done. */
void hd_dial_init(struct hd_dial *w,
                  void (*found)(void *arg, int code, const struct sockaddr *addr, const char *why),
                  void *arg);
/* The leader's address: of a name that leads to several machines the next one. Then `found` fires,
 * unless this fails. */
int hd_dial_look_up(struct hd_dial *w, struct hd_error *err);
/* o: with events, arg and limits; the rest is filled in. HD_E_STATE: without a key the leader must
 * be on this machine, and this address is not (a name may come to lead elsewhere: the next pause is
 * the longest). Or what hd_conn_connect says. */
int hd_dial_connect(struct hd_dial *w, const struct sockaddr *addr, struct hd_conn_options *o,
                    struct hd_conn **out, struct hd_error *err);
/* Logs why there is no leader. The pause that is due now, in ms: none until every leader of the
 * list was tried. */
uint64_t hd_dial_pause(struct hd_dial *w, const char *why);
/* This leader is not the first to be tried again. */
void hd_dial_leave(struct hd_dial *w);
/* ... and not for a while, where there are others: it would be connected to, and say nothing. */
void hd_dial_shun(struct hd_dial *w);
/* How long a leader may say nothing, before its Welcome and after, in ms. */
uint64_t hd_dial_patience_ms(const struct hd_dial *w, bool joined);
/* The leader has let us in. */
void hd_dial_joined(struct hd_dial *w);
/* It went well, or so badly that there is no hurry. */
void hd_dial_pause_shortest(struct hd_dial *w);
void hd_dial_pause_longest(struct hd_dial *w);

#endif
