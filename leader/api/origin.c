/* origin.c - the web page next door is a stranger.
 *
 * A page of any site can make the browser on this machine send requests here: to 127.0.0.1 (then
 * Origin names the site), or to a name of the site's own that suddenly means 127.0.0.1 (DNS
 * rebinding: then Host is that name). Without an API key, which no page has, both headers must
 * name this machine or be listed. What other pages may ask and read is CORS (the Fetch standard).
 *
 * An address in Host cannot be rebound, so that one which the connection really came to is ours. */
#include "leader/api/origin.h"

#include "common/net/address.h"
#include "common/text/tokenizer.h"
#include "common/util/error.h"
#include "leader/api/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_AGE     "600" /* seconds for which a browser remembers the answer to a preflight */
#define MAX_HEADERS 1024  /* bytes of names of headers that a preflight asks for */

/* "host[:port]" without its port, and without the dot of an absolute name. */
static struct hd_str host_of(const char *s, size_t len)
{
    const char *end = len > 0 && s[0] == '[' ? memchr(s, ']', len) : memchr(s, ':', len);
    size_t n = !end ? len : (size_t)(end - s) + (*end == ']');
    if (len > n && (s[n] != ':' || strspn(s + n + 1, "0123456789") != len - n - 1))
        return (struct hd_str){0}; /* something else than a port */
    if (n > 0 && s[n - 1] == '.')
        n--;
    return (struct hd_str){s, n};
}

static bool same(struct hd_str a, const char *b, size_t len)
{
    return a.len == len && strncasecmp(a.data, b, len) == 0;
}

static bool listed(const char *list, struct hd_str word)
{
    size_t n;
    for (const char *w = list; (w = hd_word_next(w, &n)); w += n)
        if (same((struct hd_str){w, n}, "*", 1) || same(word, w, n))
            return true;
    return false;
}

/* A numeric address in any spelling, also 127.1 and 0x7f000001. */
static bool to_address(struct hd_str host, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    char text[INET6_ADDRSTRLEN + 2];
    if (host.len == 0 || host.len >= sizeof text || memchr(host.data, ' ', host.len))
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    memset(out, 0, sizeof *out);
    if (text[0] == '[' && text[host.len - 1] == ']') {
        text[host.len - 1] = '\0';
        out->ss_family = AF_INET6;
        return inet_pton(AF_INET6, text + 1, &v6->sin6_addr) == 1;
    }
    out->ss_family = AF_INET;
    return inet_aton(text, &v4->sin_addr) == 1;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
    if (a->ss_family == AF_INET && b->ss_family == AF_INET6) /* IPv4 at a socket of both */
        return IN6_IS_ADDR_V4MAPPED(&b6->sin6_addr) &&
               memcmp(b6->sin6_addr.s6_addr + 12, &a4->sin_addr, 4) == 0;
    if (a->ss_family != b->ss_family)
        return false;
    return a->ss_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr
                                   : IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

/* The address to which the client connected. */
static bool is_local_address(struct MHD_Connection *conn, const struct sockaddr_storage *addr)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct sockaddr_storage local;
    socklen_t len = sizeof local;
    return info && getsockname(info->connect_fd, (struct sockaddr *)&local, &len) == 0 &&
           same_address(addr, &local);
}

/* This machine's own name or address, or one that is listed. */
static bool is_ours(const struct hd_origins *o, struct MHD_Connection *conn, struct hd_str host)
{
    static const char loopback[] = "localhost";
    const size_t n = sizeof loopback - 1;
    struct sockaddr_storage addr;
    if (host.len == 0)
        return false;
    if (same(host, loopback, n) || (host.len > n && host.data[host.len - n - 1] == '.' &&
                                    strncasecmp(host.data + host.len - n, loopback, n) == 0))
        return true;
    if (to_address(host, &addr) &&
        (hd_address_is_loopback((struct sockaddr *)&addr) || is_local_address(conn, &addr)))
        return true;
    return listed(o->hosts, host);
}

static const char *header(struct MHD_Connection *conn, const char *name)
{
    return MHD_lookup_connection_value(conn, MHD_HEADER_KIND, name);
}

static bool is_leader(const struct hd_origins *o, struct hd_str origin)
{
    size_t n;
    for (const char *w = o->leaders; (w = hd_word_next(w, &n)); w += n) {
        if (same(origin, w, hd_address_origin(w, n)))
            return true;
    }
    return false;
}

static bool is_allowed_origin(const struct hd_origins *o, const char *origin)
{
    struct hd_str word = {origin, strlen(origin)};
    return listed(o->pages, word) || is_leader(o, word);
}

static bool is_our_origin(const struct hd_origins *o, struct MHD_Connection *conn,
                          const char *origin)
{
    const char *host = strstr(origin, "://");
    if (!host || is_allowed_origin(o, origin))
        return is_allowed_origin(o, origin);
    return is_ours(o, conn, host_of(host + 3, strlen(host + 3)));
}

static int refuse_origin(struct hd_refusal *r, const char *origin)
{
    return hd_refuse(r, 403, NULL, "foreign_origin",
                     "A web page of '%.100s' may not ask here; if it should, list it in "
                     "http.allowed_origins.",
                     origin);
}

int hd_origin_check(const struct hd_origins *o, struct MHD_Connection *conn, struct hd_refusal *r)
{
    const char *host = header(conn, "Host"), *origin = header(conn, "Origin");
    if (host && !is_ours(o, conn, host_of(host, strlen(host))))
        return hd_refuse(r, 403, NULL, "foreign_host",
                         "The request is for '%.100s', which is no name of this leader's machine; "
                         "if it is one, list it in http.allowed_hosts, or use an API key.",
                         host);
    return origin && !is_our_origin(o, conn, origin) ? refuse_origin(r, origin) : 0;
}

bool hd_origin_is_told(struct MHD_Connection *conn)
{
    return header(conn, "Origin") || header(conn, "Sec-Fetch-Site") || header(conn, "Referer");
}

bool hd_origin_is_local(struct MHD_Connection *conn)
{
    static const char *const traces[] = {"Origin", "Forwarded", "X-Forwarded-For", "Via"};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++)
        if (header(conn, traces[i]))
            return false;
    return info && hd_address_is_loopback(info->client_addr);
}

/* ---- CORS ------------------------------------------------------------------------------------ */

void hd_cors_add(const struct hd_origins *o, struct MHD_Connection *conn, struct MHD_Response *r)
{
    const char *origin = header(conn, "Origin");
    size_t n;
    if (!hd_word_next(o->pages, &n) && !hd_word_next(o->leaders, &n))
        return;
    bool all = listed(o->pages, (struct hd_str){"", 0});
    if (!all) /* a cache must not give one page's answer to another */
        MHD_add_response_header(r, "Vary", "Origin");
    if (!origin || !is_allowed_origin(o, origin))
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", all ? "*" : origin);
    MHD_add_response_header(r, "Access-Control-Expose-Headers", "Retry-After");
}

bool hd_cors_is_preflight(struct MHD_Connection *conn, const char *method)
{
    return strcmp(method, "OPTIONS") == 0 && header(conn, "Origin") &&
           header(conn, "Access-Control-Request-Method");
}

/* Names of headers as the browser asks for them: nothing but tokens, commas and blanks. */
static bool is_list(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ");
    return n > 0 && n <= MAX_HEADERS && s[n] == '\0';
}

void hd_cors_add_preflight(struct MHD_Connection *conn, struct MHD_Response *r)
{
    const char *wanted = header(conn, "Access-Control-Request-Headers");
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST");
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            wanted && is_list(wanted) ? wanted
                                                      : "Authorization, Content-Type, X-Api-Key");
    MHD_add_response_header(r, "Access-Control-Max-Age", MAX_AGE);
    const char *private = header(conn, "Access-Control-Request-Private-Network");
    if (private && strcasecmp(private, "true") == 0)
        MHD_add_response_header(r, "Access-Control-Allow-Private-Network", "true");
}

int hd_cors_check(const struct hd_origins *o, struct MHD_Connection *conn, struct hd_refusal *r)
{
    const char *origin = header(conn, "Origin");
    return is_allowed_origin(o, origin) ? 0 : refuse_origin(r, origin);
}
