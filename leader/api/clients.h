/* clients.h - the TCP connections of HTTP clients, served or not: deadlines, and who makes room. */
#ifndef HD_API_CLIENTS_H
#define HD_API_CLIENTS_H

#include "leader/api/listener.h"

#include <microhttpd.h>

enum hd_client_state {
    HD_CLIENT_IDLE,    /* has not sent a request, at least not all its headers */
    HD_CLIENT_SENDING, /* the body of one that was not refused; it never makes room */
    HD_CLIENT_BUSY,    /* its request was taken: nor has it a deadline */
};

struct hd_client; /* clients.c */

struct hd_clients {
    struct hd_listener *listener; /* hears of places that are free again */
    unsigned request_ms;          /* from a connection, or its last reply, to a whole request */
    struct hd_client *list;
    struct MHD_Daemon *mhd;
    bool greets;                /* it looks at first bytes: they are no TLS */
    struct hd_client *arriving; /* is being handed to libmicrohttpd; else NULL */
};

/* Somebody has come; the descriptor is taken over. */
void hd_clients_meet(struct hd_clients *s, uv_loop_t *loop, int fd, const struct sockaddr *addr,
                     socklen_t len);
void hd_clients_end(struct hd_clients *s); /* those that libmicrohttpd does not know of go */

/* libmicrohttpd's, with `clients` as its argument. */
void hd_client_changed(void *clients, struct MHD_Connection *conn, void **client,
                       enum MHD_ConnectionNotificationCode what);
void hd_client_now(struct MHD_Connection *conn, enum hd_client_state state);
/* Before a connection is resumed, and when it has its reply. */
void hd_client_will_reply(struct MHD_Connection *conn);
void hd_client_replies(struct MHD_Connection *conn);
/* It came when all places were taken by requests: it is told so. */
bool hd_client_is_turned_away(struct MHD_Connection *conn);
/* Looks for who takes too long. */
void hd_clients_sweep(struct hd_clients *s);
/* All places are taken: true when somebody goes, now or soon, to make room; false: all of them are
 * taken by requests. */
bool hd_clients_make_room(struct hd_clients *s);

#endif
