/* listener.h - the listening socket: who is taken in, who is told that there is no room, who waits.
 *
 * Happy path: open (bound, places are shared out) -> start (polled) -> take() for each connection,
 * then `turn` once -> shut -> end -> `closed`.
 * Failure modes: 1. the address is taken, or of another kind: open says so; 2. all places are
 * taken: make_room() may find one, else the newcomer is taken in to be told, as long as there are
 * places for that; 3. descriptors have run out: it is not polled until hd_listener_look. */
#ifndef HD_API_LISTENER_H
#define HD_API_LISTENER_H

#include "common/util/error.h"
#include "common/util/log.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <uv.h>

struct hd_listener_events {
    bool (*make_room)(void *arg); /* somebody goes, now or soon, so that another one can come */
    void (*take)(void *arg, int fd, const struct sockaddr *addr, socklen_t len);
    void (*turn)(void *arg);   /* some were taken in */
    void (*closed)(void *arg); /* the handle is gone, or one that was opened */
    void (*opened)(void *arg); /* a client has a handle of its own */
};

struct hd_listener {
    const struct hd_log *log;
    const struct hd_listener_events *events;
    void *arg;
    int fd;
    uv_poll_t poll;
    bool listening;   /* polled; else there is no room, or no descriptor */
    bool shut;        /* for good */
    unsigned places;  /* for clients */
    unsigned extra;   /* ... besides, for those who are turned away */
    unsigned clients; /* connections, those turned away included; counted by clients.h */
    uint64_t told_us; /* when the log last said that it is full */
    unsigned port;
};

struct hd_listener_options {
    const struct sockaddr *addr;
    const struct hd_log *log;
    const struct hd_listener_events *events;
    void *arg;
    unsigned max_connections, spare_files; /* as in api.h */
};
int hd_listener_open(struct hd_listener *l, const struct hd_listener_options *o,
                     struct hd_error *err);
/* Takes clients in. 0, or libuv's error: then there is no handle, and no `closed`. */
int hd_listener_start(struct hd_listener *l, uv_loop_t *loop);
void hd_listener_look(struct hd_listener *l); /* there may be room again */
void hd_listener_shut(struct hd_listener *l); /* no new clients */
void hd_listener_end(struct hd_listener *l);  /* ... and the socket goes */

#endif
