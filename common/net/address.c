/* address.c - numeric addresses at once; names through the loop, so that looking up stops nobody.
 */
#include "common/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_PORT 65535

static int parse_port(uint16_t *port, const char *digits, const char *text, struct hd_error *err)
{
    unsigned value = 0;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || digits[n] != '\0')
        return hd_fail(err, HD_E_FORMAT, "\"%.300s\" has no port number; write host:port", text);
    for (const char *d = digits; *d && value <= MAX_PORT; d++)
        value = value * 10 + (unsigned)(*d - '0');
    if (value > MAX_PORT)
        return hd_fail(err, HD_E_RANGE, "the port of \"%.300s\" is beyond %d", text, MAX_PORT);
    *port = (uint16_t)value;
    return 0;
}

/* The host's extent in `text`, and where the port's colon is (NULL: there is none). */
static int find_parts(const char *text, const char **host, size_t *len, const char **colon,
                      struct hd_error *err)
{
    if (text[0] != '[') {
        *host = text;
        *colon = strchr(text, ':');
        *len = *colon ? (size_t)(*colon - text) : strlen(text);
        if (*colon && strchr(*colon + 1, ':'))
            return hd_fail(err, HD_E_FORMAT,
                           "\"%.300s\" has several colons; write an IPv6 address as [::1]:port",
                           text);
        return 0;
    }
    const char *end = strchr(text, ']');
    if (!end)
        return hd_fail(err, HD_E_FORMAT, "\"%.300s\" has \"[\" without \"]\"; write [::1]:port",
                       text);
    *host = text + 1;
    *len = (size_t)(end - *host);
    if (*len == 0)
        return hd_fail(err, HD_E_FORMAT,
                       "\"%.300s\" has nothing between the brackets; write "
                       "[::1]:port",
                       text);
    *colon = end[1] == ':' ? end + 1 : NULL;
    return 0;
}

int hd_address_split(const char *text, struct hd_host_port *out, struct hd_error *err)
{
    const char *host = text, *colon = NULL;
    size_t len = 0;
    *out = (struct hd_host_port){0};
    int rc = find_parts(text, &host, &len, &colon, err);
    if (rc < 0)
        return rc;
    if (!colon)
        return hd_fail(err, HD_E_FORMAT, "\"%.300s\" has no port; write host:port", text);
    if (len > HD_HOST_MAX)
        return hd_fail(err, HD_E_FORMAT, "the host of \"%.300s\" is longer than %d bytes", text,
                       HD_HOST_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)host[i] <= ' ' || host[i] == 0x7f)
            return hd_fail(err, HD_E_FORMAT,
                           "the host has a space or a control character in it; "
                           "write host:port");
    rc = parse_port(&out->port, colon + 1, text, err);
    if (rc < 0)
        return rc;
    memcpy(out->host, host, len);
    return 0;
}

int hd_address_unix(const char *text, struct sockaddr_un *out, struct hd_error *err)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strncmp(text, HD_ADDRESS_UNIX, strlen(HD_ADDRESS_UNIX)) != 0)
        return 0;
    const char *path = text + strlen(HD_ADDRESS_UNIX);
    if (path[0] == '\0')
        return hd_fail(err, HD_E_FORMAT, "\"%s\" has no path; write unix:/run/hydac/leader.sock",
                       text);
    if (strlen(path) >= sizeof out->sun_path)
        return hd_fail(err, HD_E_FORMAT,
                       "the path of \"%.300s\" is longer than a socket's may be, %zu bytes", text,
                       sizeof out->sun_path - 1);
    strcpy(out->sun_path, path);
    return 1;
}

int hd_address_parse(const char *text, struct sockaddr_storage *out, struct hd_error *err)
{
    struct hd_host_port a;
    memset(out, 0, sizeof *out);
    int rc = hd_address_unix(text, (struct sockaddr_un *)out, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    memset(out, 0, sizeof *out);
    rc = hd_address_split(text, &a, err);
    if (rc < 0)
        return rc;
    const char *host = a.host[0] ? a.host : "0.0.0.0";
    if (uv_ip4_addr(host, a.port, (struct sockaddr_in *)out) == 0 ||
        uv_ip6_addr(host, a.port, (struct sockaddr_in6 *)out) == 0)
        return 0;
    memset(out, 0, sizeof *out);
    return hd_fail(err, HD_E_NOTFOUND,
                   "\"%s\" is not a numeric address; write 127.0.0.1:port or [::1]:port", a.host);
}

bool hd_address_is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_UNIX)
        return true;
    if (addr->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (addr->sa_family != AF_INET6)
        return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)addr)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == IN_LOOPBACKNET);
}

unsigned hd_address_port(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)addr)->sin6_port);
    if (addr->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)addr)->sin_port);
    return 0;
}

char *hd_address_text(const struct sockaddr *addr, char buf[HD_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN];
    if (addr->sa_family == AF_UNIX) {
        snprintf(buf, HD_ADDRESS_TEXT, HD_ADDRESS_UNIX "%.58s",
                 ((const struct sockaddr_un *)addr)->sun_path);
        return buf;
    }
    const char *format = addr->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u";
    int rc = UV_EINVAL;
    if (addr->sa_family == AF_INET6)
        rc = uv_ip6_name((const struct sockaddr_in6 *)addr, host, sizeof host);
    else if (addr->sa_family == AF_INET)
        rc = uv_ip4_name((const struct sockaddr_in *)addr, host, sizeof host);
    if (rc != 0)
        snprintf(buf, HD_ADDRESS_TEXT, "?");
    else
        snprintf(buf, HD_ADDRESS_TEXT, format, host, hd_address_port(addr));
    return buf;
}

/* ---- Host names ---------------------------------------------------------------------------- */

static void set_port(struct sockaddr *addr, uint16_t port)
{
    if (addr->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)addr)->sin_port = htons(port);
}

/* The nth address of the list, modulo its length; the list is not empty. */
static struct sockaddr *pick(struct addrinfo *list, unsigned nth)
{
    unsigned n = 0;
    for (struct addrinfo *a = list; a; a = a->ai_next)
        n++;
    for (nth %= n; nth > 0; nth--)
        list = list->ai_next;
    return list->ai_addr;
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct hd_resolve *r = request->data;
    char why[HD_HOST_MAX + 100];
    if (status == 0 && list) {
        struct sockaddr *addr = pick(list, r->nth);
        set_port(addr, r->name.port);
        r->done(r->arg, 0, addr, "");
    } else if (status == UV_EAI_CANCELED) {
        r->done(r->arg, HD_E_STATE, NULL, "the look-up was cancelled");
    } else {
        snprintf(why, sizeof why, "cannot find the address of \"%s\": %s", r->name.host,
                 status ? uv_strerror(status) : "it has none");
        r->done(r->arg, HD_E_NOTFOUND, NULL, why);
    }
    uv_freeaddrinfo(list);
}

/* A Unix socket has its address already, but the answer is to come from the loop. */
static void look_up_nothing(uv_work_t *request)
{
    (void)request;
}

static void nothing_looked_up(uv_work_t *request, int status)
{
    struct hd_resolve *r = request->data;
    if (status < 0)
        r->done(r->arg, HD_E_STATE, NULL, "the look-up was cancelled");
    else
        r->done(r->arg, 0, (const struct sockaddr *)&r->local, "");
}

int hd_resolve(struct hd_resolve *r, uv_loop_t *loop, const char *text, struct hd_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int rc = hd_address_unix(text, &r->local, err);
    if (rc == 1) {
        r->request.none.data = r;
        return uv_queue_work(loop, &r->request.none, look_up_nothing, nothing_looked_up);
    }
    if (rc == 0)
        rc = hd_address_split(text, &r->name, err);
    if (rc < 0)
        return rc;
    if (r->name.host[0] == '\0')
        return hd_fail(err, HD_E_FORMAT, "\"%s\" names no host; write host:port", text);
    r->request.name.data = r;
    rc = uv_getaddrinfo(loop, &r->request.name, resolved, r->name.host, NULL, &hints);
    if (rc == UV_ENOMEM)
        return hd_fail(err, HD_E_NOMEM, "out of memory to look up \"%s\"", r->name.host);
    if (rc < 0)
        return hd_fail(err, HD_E_NOTFOUND, "cannot look up \"%s\": %s", r->name.host,
                       uv_strerror(rc));
    return 0;
}

void hd_resolve_cancel(struct hd_resolve *r)
{
    /* One that a thread has begun already cannot be stopped: it ends by itself. */
    uv_cancel((uv_req_t *)&r->request);
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

size_t hd_address_origin(const char *url, size_t len)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0  ? 8
                    : strncasecmp(url, "http://", 7) == 0 ? 7
                                                          : 0;
    size_t host = scheme ? strspn(url + scheme, LETTERS "-._:[]") : 0;
    size_t n = scheme + host, path = strspn(url + n, LETTERS "-._~%/");
    return host > 0 && n + path == len && (path == 0 || url[n] == '/') ? n : 0;
}

unsigned hd_address_count(const char *list)
{
    unsigned n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

char *hd_address_nth(const char *list, unsigned n, char out[HD_ADDRESS_MAX])
{
    for (; n > 0; n--)
        list += strcspn(list, ",") + 1;
    snprintf(out, HD_ADDRESS_MAX, "%.*s", (int)strcspn(list, ","), list);
    return out;
}
