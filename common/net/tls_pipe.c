/* tls_pipe.c - OpenSSL's idea of a file (BIO) over our queues of bytes. */
#include "common/net/tls_impl.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

bool hd_tls_pipe_add(struct hd_tls_pipe *p, const void *data, size_t len)
{
    if (len > p->out_room - p->out_len) {
        size_t room = 2 * (p->out_len + len);
        uint8_t *more = realloc(p->out, room);
        if (!more)
            return false;
        p->out = more;
        p->out_room = room;
    }
    memcpy(p->out + p->out_len, data, len);
    p->out_len += len;
    return true;
}

static int pipe_read(BIO *b, char *to, int len)
{
    struct hd_tls_pipe *p = BIO_get_data(b);
    size_t n = p->in_left < (size_t)len ? p->in_left : (size_t)len;
    BIO_clear_retry_flags(b);
    if (n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(to, p->in, n);
    p->in += n;
    p->in_left -= n;
    return (int)n;
}

static int pipe_write(BIO *b, const char *from, int len)
{
    BIO_clear_retry_flags(b);
    if (hd_tls_pipe_add(BIO_get_data(b), from, (size_t)len))
        return len;
    ERR_raise(ERR_LIB_BIO, ERR_R_MALLOC_FAILURE);
    return -1;
}

static long pipe_control(BIO *b, int command, long number, void *p)
{
    return command == BIO_CTRL_FLUSH; /* the only one that the engine needs */
}

BIO_METHOD *hd_tls_pipe_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hydac");
    if (m && BIO_meth_set_read(m, pipe_read) && BIO_meth_set_write(m, pipe_write) &&
        BIO_meth_set_ctrl(m, pipe_control))
        return m;
    BIO_meth_free(m);
    return NULL;
}
