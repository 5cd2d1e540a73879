/* greeting.h - a connection until its first bytes are there: who speaks another version of HTTP is
 * told so as of any other error. libmicrohttpd says it with a page of HTML, and only in its own
 * words; what comes later on a connection is its own, and so is what TLS hides.
 *
 * Happy path: begin -> the first bytes are looked at, and stay unread -> `ready`: it is served.
 * Failure modes: 1. another version: it is told so, and `gone`; 2. its first line is not there as a
 * whole, or it has ended: `ready`, the library knows what to do; 3. it says nothing: the caller
 * shuts the socket down at its deadline, which is 2. */
#ifndef HD_API_GREETING_H
#define HD_API_GREETING_H

#include <stdbool.h>
#include <uv.h>

struct hd_greeting;
struct hd_greeting_events {
    void (*ready)(void *arg, int fd); /* it is the callee's */
    void (*gone)(void *arg);          /* it was closed */
    void (*closed)(void *owner);      /* behind either: the handle is gone */
};
/* Takes the descriptor over. `arg` is given to `ready` and `gone`. NULL: memory is out, or the loop
 * does not take it; then it is the caller's as before. */
struct hd_greeting *hd_greeting_begin(uv_loop_t *loop, int fd, const struct hd_greeting_events *ev,
                                      void *owner, void *arg);
/* Closes it; neither `ready` nor `gone` follows, `closed` does. */
void hd_greeting_end(struct hd_greeting *g);

/* The first line, whole or not, names a version that is none of HTTP/1. */
bool hd_greeting_is_foreign(const char *text, size_t len);

#endif
