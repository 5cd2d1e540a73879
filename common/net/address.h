/* address.h - "host:port", "[::1]:port", ":port" and "unix:PATH" to socket addresses and back.
 *
 * ":port" stands for 0.0.0.0, every IPv4 address of the machine; "[::]:port" for IPv6 and IPv4. */
#ifndef HD_NET_ADDRESS_H
#define HD_NET_ADDRESS_H

#include "common/util/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>
#include <uv.h>

#define HD_HOST_MAX 253 /* bytes of a DNS name, RFC 1035 section 2.3.4 */
#define HD_ADDRESS_TEXT                                                                            \
    64 /* bytes that hd_address_text needs: "[IPv6%scope]:65535" and the NUL                       \
        */

struct hd_host_port {
    char host[HD_HOST_MAX + 1]; /* without brackets; "" for ":port" */
    uint16_t port;
};

#define HD_ADDRESS_UNIX "unix:"

/* "unix:PATH" -> 1 with *out, another address -> 0; HD_E_FORMAT when there is no path or it is
 * longer than a socket's may be. */
int hd_address_unix(const char *text, struct sockaddr_un *out, struct hd_error *err);
/* Text to its parts; looks nothing up. HD_E_FORMAT with what is wrong, or HD_E_RANGE for a port
 * beyond 65535. */
int hd_address_split(const char *text, struct hd_host_port *out, struct hd_error *err);
/* Numeric addresses and Unix sockets only; a host name is HD_E_NOTFOUND. */
int hd_address_parse(const char *text, struct sockaddr_storage *out, struct hd_error *err);
/* "10.0.0.3:41234", "[::1]:7400", "unix:" and as much of the path as there is room for; "?" for
 * anything else. Returns `buf`. */
char *hd_address_text(const struct sockaddr *addr, char buf[HD_ADDRESS_TEXT]);
/* Nobody but this machine can reach it: 127.0.0.0/8, ::1, also as ::ffff:127.0.0.1, and Unix
 * sockets. */
bool hd_address_is_loopback(const struct sockaddr *addr);
/* The port of an IP address; 0 for what is none. */
unsigned hd_address_port(const struct sockaddr *addr);

/* Of "https://host:port/path", `len` bytes, how many stand before the path: what browsers call its
 * origin. 0: it is no such address. */
size_t hd_address_origin(const char *url, size_t len);

/* ---- Lists: addresses with a comma between them. ----*/
#define HD_ADDRESS_MAX 300 /* bytes of one, with its end */
/* How many; an empty text has one, which is empty. */
unsigned hd_address_count(const char *list);
/* The nth, n below their number, cut at HD_ADDRESS_MAX - 1 bytes. Returns `out`. */
char *hd_address_nth(const char *list, unsigned n, char out[HD_ADDRESS_MAX]);

/* ---- Host names: looked up by a thread of libuv's pool, never by the loop.
 * Happy path: the caller sets done, arg, nth -> hd_resolve -> done(0, addr). Failure modes: 1. the
 * name does not exist or no server answers: done(HD_E_NOTFOUND); 2. hd_resolve_cancel:
 * done(HD_E_STATE). When hd_resolve returns 0 `done` fires exactly once, from the loop, also after
 * a cancel: until then the struct must live. When it returns an error `done` never fires. */
struct hd_resolve {
    /* `addr` is valid during the call, NULL on failure; `why` is a sentence, "" on success. */
    void (*done)(void *arg, int code, const struct sockaddr *addr, const char *why);
    void *arg;
    unsigned nth; /* which of the name's addresses, modulo their number: who counts it up at each
                   * retry reaches a leader that listens on one of them only */
    struct hd_host_port name;
    struct sockaddr_un local; /* sun_path is not "": nothing is to be looked up */
    union {
        uv_getaddrinfo_t name;
        uv_work_t none;
    } request;
};
int hd_resolve(struct hd_resolve *r, uv_loop_t *loop, const char *text, struct hd_error *err);
void hd_resolve_cancel(struct hd_resolve *r); /* only between hd_resolve and `done` */

#endif
