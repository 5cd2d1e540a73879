/* tls_context.c - the key, and how TLS is spoken with it. */
#include "common/net/tls.h"

#include "common/net/tls_impl.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY "hydac cluster key 1" /* which key: there is one */
#define GROUPS   "X25519:P-256"

/* OpenSSL takes a key as a session and lets every session end, after 304 s unless it is told
 * otherwise. Our key does not end: 68 years. */
#define KEY_LIFETIME_S 0x7fffffffL

static const unsigned char suite_id[2] = {0x13, 0x01};

/* ---- The key -------------------------------------------------------------------------------- */

static int use_session(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len,
                       SSL_SESSION **session)
{
    struct hd_tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    *session = NULL;
    if (md && EVP_MD_get_type(md) != NID_sha256)
        return 1;
    if (!SSL_SESSION_up_ref(c->session))
        return 0;
    *session = c->session;
    *id = (const unsigned char *)IDENTITY;
    *len = strlen(IDENTITY);
    return 1;
}

static int find_session(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **session)
{
    struct hd_tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    *session = NULL;
    if (len != strlen(IDENTITY) || memcmp(id, IDENTITY, len) != 0)
        return 1;
    if (!SSL_SESSION_up_ref(c->session))
        return 0;
    *session = c->session;
    return 1;
}

/* The PSK as a session that was never negotiated. */
static SSL_SESSION *make_session(SSL_CTX *ctx, const struct hd_key *key)
{
    SSL *ssl = SSL_new(ctx);
    const SSL_CIPHER *suite = ssl ? SSL_CIPHER_find(ssl, suite_id) : NULL;
    SSL_SESSION *s = suite ? SSL_SESSION_new() : NULL;
    if (s && (!SSL_SESSION_set1_master_key(s, key->bytes, sizeof key->bytes) ||
              !SSL_SESSION_set_cipher(s, suite) ||
              !SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))) {
        SSL_SESSION_free(s);
        s = NULL;
    }
    if (s)
        SSL_SESSION_set_timeout(s, KEY_LIFETIME_S);
    SSL_free(ssl);
    return s;
}

/* ---- Context -------------------------------------------------------------------------------- */

static bool configure(struct hd_tls_context *c)
{
    SSL_CTX *x = c->ctx;
    SSL_CTX_set_app_data(x, c);
    SSL_CTX_set_psk_use_session_callback(x, use_session);
    SSL_CTX_set_psk_find_session_callback(x, find_session);
    SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(x, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(x, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return SSL_CTX_set_min_proto_version(x, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(x, TLS1_3_VERSION) &&
           SSL_CTX_set_ciphersuites(x, HD_TLS_SUITE) && SSL_CTX_set1_groups_list(x, GROUPS) &&
           SSL_CTX_set_num_tickets(x, 0) && SSL_CTX_set_max_early_data(x, 0);
}

int hd_tls_context_new(struct hd_tls_context **out, const struct hd_key *key, struct hd_error *err)
{
    struct hd_tls_context *c = calloc(1, sizeof *c);
    if (!c)
        return hd_fail(err, HD_E_NOMEM, "out of memory for TLS");
    ERR_clear_error();
    c->ctx = SSL_CTX_new(TLS_method());
    c->pipe = hd_tls_pipe_method();
    if (c->ctx && c->pipe && configure(c))
        c->session = make_session(c->ctx, key);
    if (c->session) {
        *out = c;
        return 0;
    }
    hd_tls_context_free(c);
    return hd_fail(err, HD_E_UNSUPPORTED, "OpenSSL cannot do TLS 1.3 with %s: %s", HD_TLS_SUITE,
                   ERR_reason_error_string(ERR_peek_error()));
}

void hd_tls_context_free(struct hd_tls_context *c)
{
    if (!c)
        return;
    SSL_SESSION_free(c->session); /* wipes the key */
    SSL_CTX_free(c->ctx);
    BIO_meth_free(c->pipe);
    free(c);
}
