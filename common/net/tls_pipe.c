#include "common/net/tls_impl.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

bool hd_queue_add(struct hd_queue *q, const void *data, size_t len)
{
    if (q->at == q->len)
        q->at = q->len = 0;
    if (len > q->room - q->len) {
        size_t room = 2 * (q->len + len);
        uint8_t *more = realloc(q->data, room);
        if (!more)
            return false;
        q->data = more;
        q->room = room;
    }
    memcpy(q->data + q->len, data, len);
    q->len += len;
    return true;
}

static int pipe_read(BIO *b, char *to, int len)
{
    struct hd_queue *q = &((struct hd_tls_pipe *)BIO_get_data(b))->in;
    size_t n = q->len - q->at;
    BIO_clear_retry_flags(b);
    if (n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    n = n < (size_t)len ? n : (size_t)len;
    memcpy(to, q->data + q->at, n);
    q->at += n;
    return (int)n;
}

static int pipe_write(BIO *b, const char *from, int len)
{
    struct hd_tls_pipe *p = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (hd_queue_add(&p->out, from, (size_t)len))
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
