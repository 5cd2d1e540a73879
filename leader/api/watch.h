/* watch.h - notices that a client has gone while its connection is suspended. */
#ifndef HD_API_WATCH_H
#define HD_API_WATCH_H

#include <stdbool.h>
#include <uv.h>

/* Zeroes: it watches nothing. */
struct hd_watch {
    uv_poll_t poll;
    bool on, closing;
    bool half; /* its sending side has ended, and it may still read */
    void (*gone)(void *arg);
    bool (*ended)(void *arg);
    void (*closed)(void *arg);
    void *arg;
};
/* `ended`: the client sends no more; true if something is on its way to it, which a client that has
 * closed its connection answers with a reset. `gone`: that has come, or `ended` was false.
 * `closed`: after hd_watch_stop, from the loop. False when it cannot be watched: none is called.
 * Once. */
bool hd_watch_start(struct hd_watch *w, uv_loop_t *loop, int fd);
/* `closed` comes, if it was on. */
void hd_watch_stop(struct hd_watch *w);
/* In front of a reply to HTTP/1.1 of which nothing was sent: an interim one, which every client
 * skips and none that has gone takes. False when it could not be sent. */
bool hd_watch_ask(int fd);

#endif
