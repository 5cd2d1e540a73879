/* way.h - how a worker reaches its leader, and how long it waits before it tries again. What its
 * two conversations (bootstrap.h, session.h) have in common; each has a way of its own.
 *
 * Happy path: hd_way_look_up -> `found` -> hd_way_connect. After whatever failed: hd_way_pause, and
 * after so many ms from the beginning. A pause is twice the one before, up to leader.retry_max_ms.
 */
#ifndef HD_WORKER_WAY_H
#define HD_WORKER_WAY_H

#include "common/net/address.h"
#include "common/net/conn.h"
#include "common/util/log.h"
#include "worker/config.h"

#define HD_SILENCE_MS  30000 /* a leader asks many times a second */
#define HD_GREETING_MS 10000 /* to connect, and to answer a Hello */

struct hd_tls_context;

struct hd_way {
    uv_loop_t *loop;
    const struct hd_worker_config *config; /* all borrowed */
    const struct hd_log *log;
    struct hd_tls_context *tls; /* NULL: plaintext */
    struct hd_resolve resolve;
    uint64_t pause_ms; /* the next pause */
};

/* Fills in what is not borrowed. found: as hd_resolve.done. */
void hd_way_init(struct hd_way *w,
                 void (*found)(void *arg, int code, const struct sockaddr *addr, const char *why),
                 void *arg);
/* The leader's address: of a name that leads to several machines the next one. Then `found` fires,
 * unless this fails. */
int hd_way_look_up(struct hd_way *w, struct hd_error *err);
/* o: with events, arg and limits; the rest is filled in. HD_E_STATE: without a key the leader must
 * be on this machine, and this address is not (a name may come to lead elsewhere: the next pause is
 * the longest). Or what hd_conn_connect says. */
int hd_way_connect(struct hd_way *w, const struct sockaddr *addr, struct hd_conn_options *o,
                   struct hd_conn **out, struct hd_error *err);
/* Logs why there is no leader. The pause that is due now, in ms. */
uint64_t hd_way_pause(struct hd_way *w, const char *why);
/* It went well, or so badly that there is no hurry. */
void hd_way_pause_shortest(struct hd_way *w);
void hd_way_pause_longest(struct hd_way *w);

#endif
