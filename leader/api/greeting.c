/* greeting.c - a look at the first line of a connection, which stays where it is. */
#include "leader/api/greeting.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK 4096 /* bytes that are looked at; a longer first line is libmicrohttpd's */

#define BODY                                                                                       \
    "{\"error\":{\"message\":\"Only HTTP/1.1 and HTTP/1.0 are spoken here.\","                     \
    "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"http_version\"}}"

static const char refusal[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n"
                              "Content-Type: application/json\r\n"
                              "Connection: close\r\n"
                              "\r\n" BODY;

struct hd_greeting {
    uv_poll_t poll;
    int fd;
    const struct hd_greeting_events *ev;
    void *owner, *arg;
};

bool hd_greeting_is_foreign(const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len);
    size_t n = end ? (size_t)(end - text) : 0;
    n -= n > 0 && text[n - 1] == '\r';
    const char *version = n > 8 ? text + n - 8 : NULL;
    return version && version[-1] == ' ' && memcmp(version, "HTTP/", 5) == 0 && version[5] >= '0' &&
           version[5] <= '9' && version[5] != '1' && version[6] == '.';
}

/* What it has sent is read, so that the end of the connection does not overtake the reply. */
static void refuse(int fd)
{
    char rest[LOOK];
    while (recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
    (void)!send(fd, refusal, sizeof refusal - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void on_closed(uv_handle_t *poll)
{
    struct hd_greeting *g = poll->data;
    g->ev->closed(g->owner);
    free(g);
}

static void on_bytes(uv_poll_t *poll, int status, int events)
{
    struct hd_greeting *g = poll->data;
    char text[LOOK];
    ssize_t n = recv(g->fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT);
    uv_close((uv_handle_t *)poll, on_closed);
    if (n > 0 && hd_greeting_is_foreign(text, (size_t)n)) {
        refuse(g->fd);
        g->ev->gone(g->arg);
    } else {
        g->ev->ready(g->arg, g->fd);
    }
}

struct hd_greeting *hd_greeting_begin(uv_loop_t *loop, int fd, const struct hd_greeting_events *ev,
                                      void *owner, void *arg)
{
    struct hd_greeting *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    *g = (struct hd_greeting){.fd = fd, .ev = ev, .owner = owner, .arg = arg};
    if (uv_poll_init(loop, &g->poll, fd) < 0) {
        free(g);
        return NULL;
    }
    g->poll.data = g;
    uv_poll_start(&g->poll, UV_READABLE | UV_DISCONNECT, on_bytes);
    return g;
}

void hd_greeting_end(struct hd_greeting *g)
{
    uv_close((uv_handle_t *)&g->poll, on_closed);
    close(g->fd);
}
