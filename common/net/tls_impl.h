/* tls_impl.h - TLS's insides: tls_context.c has the key and how TLS is spoken, tls.c the engine,
 * tls_pipe.c what an engine reads from and writes to.
 *
 * OpenSSL's own memory buffers are zeroed whole, as large as they ever were, each time they are
 * emptied: too much for a record of two kilobytes. */
#ifndef HD_NET_TLS_IMPL_H
#define HD_NET_TLS_IMPL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_TLS_SUITE "TLS_AES_128_GCM_SHA256"

struct hd_tls_context {
    SSL_CTX *ctx;
    BIO_METHOD *pipe;     /* what an engine reads from and writes to */
    SSL_SESSION *session; /* the key, in the form in which OpenSSL wants it */
};

/* tls_pipe.c */
struct hd_tls_pipe {
    const uint8_t *in; /* ciphertext that the engine's owner lends */
    size_t in_left;
    uint8_t *out; /* ciphertext for him, malloc'ed */
    size_t out_len, out_room;
};
/* More for `out`; false: out of memory. */
bool hd_tls_pipe_add(struct hd_tls_pipe *p, const void *data, size_t len);
/* For BIOs whose data (BIO_set_data) is a struct hd_tls_pipe; BIO_meth_free. NULL: out of memory.
 */
BIO_METHOD *hd_tls_pipe_method(void);

#endif
