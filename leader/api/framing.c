/* framing.c - where a request ends must be beyond doubt.
 *
 * A proxy in front that sees another end than we do hands its next client's request to the one
 * before (RFC 9112 11.2, request smuggling). libmicrohttpd 0.9.75 takes the first of two
 * Content-Lengths, ignores one beside Transfer-Encoding, allows blanks before the colon, puts a
 * folded line behind the name of its header, ends a value at a NUL, a line at a bare LF and the
 * headers at a line that begins with a colon. So the
 * headers are looked at here as it shows them, once, before anything of the body is read; what is
 * doubtful is refused, and the connection with it.
 *
 * Most of that is not in what is shown, but in where it lies: the library parses headers in place,
 * so that there are two bytes, CR LF, between the end of a value and the next name, four behind the
 * last one, and that is what it says the size of all headers is. (Later releases have a setting to
 * be strict instead.) */
#include "leader/api/framing.h"

#include <string.h>
#include <strings.h>

#define MAX_DIGITS 18 /* of a Content-Length: no number of them is beyond 64 bits */

struct header {
    const char *name;
    size_t name_len;
    const char *value; /* NUL-terminated */
    size_t len;
};

struct headers {
    const char *next;  /* where the next name begins; NULL: not known */
    const char *fault; /* a sentence's end, static; NULL: none so far */
    unsigned hosts, lengths, codings;
};

static bool is_token(const char *s, size_t n)
{
    static const char others[] = "!#$%&'*+-.^_`|~"; /* RFC 9110 5.6.2, besides letters, digits */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return n > 0;
}

static bool has_control(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f)
            return true;
    return false;
}

static bool is(const char *name, const char *s, size_t n)
{
    return n == strlen(name) && strncasecmp(name, s, n) == 0;
}

static const char *fault_of_value(struct headers *h, const struct header *x)
{
    if (is("Host", x->name, x->name_len) && h->hosts++ > 0)
        return "there are two Host headers";
    if (is("Content-Length", x->name, x->name_len)) {
        if (h->lengths++ > 0)
            return "there are two Content-Lengths";
        if (x->len == 0 || x->len > MAX_DIGITS || strspn(x->value, "0123456789") != x->len)
            return "Content-Length is no number";
    }
    if (is("Transfer-Encoding", x->name, x->name_len) &&
        (h->codings++ > 0 || !is("chunked", x->value, x->len)))
        return "Transfer-Encoding is not just chunked";
    return NULL;
}

static enum MHD_Result on_header(void *headers, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t len)
{
    struct headers *h = headers;
    const struct header x = {name, name_len, value ? value : "", value ? len : 0};
#if MHD_VERSION < 0x00097600
    if (name != h->next)
        h->fault = "a line is folded, or does not end with CR LF";
    h->next = value ? value + len + 2 : NULL;
#endif
    if (!h->fault && !is_token(name, name_len))
        h->fault = "the name of a header is none";
    if (!h->fault && has_control(x.value, x.len))
        h->fault = "a header holds a control character";
    if (!h->fault)
        h->fault = fault_of_value(h, &x);
    return h->fault ? MHD_NO : MHD_YES;
}

/* The request line and all headers lie one behind the other, with CR LF between them. */
static bool is_whole(struct MHD_Connection *conn, const struct hd_head *head, const char *end)
{
#if MHD_VERSION < 0x00097600
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info && end && head->method + info->header_size == end + 2;
#else
    return true;
#endif
}

const char *hd_framing_fault(struct MHD_Connection *conn, const struct hd_head *head)
{
    struct headers h = {.next = head->version + strlen(head->version) + 2};
    MHD_get_connection_values_n(conn, MHD_HEADER_KIND, on_header, &h);
    if (h.fault)
        return h.fault;
    if (!is_whole(conn, head, h.next))
        return "a header line is none";
    bool old = strcmp(head->version, "HTTP/1.1") != 0;
    if (h.hosts == 0 && !old)
        return "there is no Host header";
    if (h.codings > 0 && (h.lengths > 0 || old))
        return "there are Transfer-Encoding and Content-Length, or HTTP/1.0";
    return NULL;
}

bool hd_framing_is_chunked(struct MHD_Connection *conn)
{
    return MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Transfer-Encoding") != NULL;
}

bool hd_framing_has_body(struct MHD_Connection *conn)
{
    const char *length = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Content-Length");
    return hd_framing_is_chunked(conn) || (length && strspn(length, "0") != strlen(length));
}
