/* tls_pipe.h - what a TLS engine reads from and writes to: two queues of bytes. Internal to tls.c.
 *
 * OpenSSL's own memory buffers are zeroed whole, as large as they ever were, each time they are
 * emptied: too much for a record of two kilobytes. */
#ifndef HD_NET_TLS_PIPE_H
#define HD_NET_TLS_PIPE_H

#include <openssl/bio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ciphertext: taken from the front, added to the end. Zeroed is empty; `data` is malloc'ed. */
struct hd_queue {
    uint8_t *data;
    size_t at, len, room; /* bytes at..len wait */
};
bool hd_queue_add(struct hd_queue *q, const void *data, size_t len); /* false: out of memory */

struct hd_tls_pipe {
    struct hd_queue in, out;
};
/* For BIOs whose data (BIO_set_data) is a struct hd_tls_pipe; BIO_meth_free. NULL: out of memory.
 */
BIO_METHOD *hd_tls_pipe_method(void);

#endif
