/* watch.c - our own eye on the client's socket.
 *
 * libmicrohttpd takes a suspended connection out of its epoll set, so that a client that hangs up
 * while its request waits would hold a place in the queue. We watch the same socket for its end
 * (EPOLLRDHUP) on our own loop. The same is seen of a client that closes only its sending side and
 * waits for the answer; what is sent to it tells the two apart. */
#include "leader/api/watch.h"

#include <sys/socket.h>

static void on_closed(uv_handle_t *h)
{
    struct hd_watch *w = h->data;
    w->on = w->closing = false;
    w->closed(w->arg);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    struct hd_watch *w = poll->data;
    bool first = status == 0 && !w->half && !(events & UV_PRIORITIZED);
    w->half = true;
    /* A reset is told whatever is asked for, and the end of the sending side no more. */
    if (first && w->ended(w->arg) && uv_poll_start(poll, UV_PRIORITIZED, on_end) == 0)
        return;
    hd_watch_stop(w);
    w->gone(w->arg);
}

bool hd_watch_start(struct hd_watch *w, uv_loop_t *loop, int fd)
{
    if (uv_poll_init(loop, &w->poll, fd) < 0)
        return false;
    w->poll.data = w;
    w->on = true;
    if (uv_poll_start(&w->poll, UV_DISCONNECT, on_end) < 0)
        hd_watch_stop(w);
    return true;
}

void hd_watch_stop(struct hd_watch *w)
{
    if (!w->on || w->closing)
        return;
    w->closing = true;
    uv_close((uv_handle_t *)&w->poll, on_closed);
}

bool hd_watch_ask(int fd)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    return send(fd, interim, sizeof interim - 1, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           (ssize_t)sizeof interim - 1;
}
