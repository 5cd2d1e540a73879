/* tls.c - OpenSSL between two queues of bytes: it never sees a socket, and never waits. */
#include "common/net/tls.h"

#include "common/net/bounds.h"
#include "common/net/tls_impl.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

/* Records under one key. AES-GCM allows 2^24.5 full ones (RFC 8446, section 5.5). */
#define RECORDS_PER_KEY (UINT64_C(1) << 23)

const uint8_t hd_tls_refusal[HD_TLS_REFUSAL_LEN] = {
    SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL, SSL_AD_PROTOCOL_VERSION};

struct hd_tls {
    SSL *ssl;
    struct hd_tls_pipe pipe;
    enum hd_tls_role role;
    bool ready, failed, ended;
    uint64_t fed;     /* bytes of the handshake so far */
    uint64_t records; /* sealed under the present key */
    unsigned updates; /* KeyUpdates since the last application data */
};

/* ---- Errors --------------------------------------------------------------------------------- */

static const char *explain(const struct hd_tls *t, int reason)
{
    bool client = t->role == HD_TLS_CLIENT;
    switch (reason) {
    case SSL_R_BINDER_DOES_NOT_VERIFY:
        return "the peer has another cluster key; give leader and workers the same file";
    case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
        return client ? "the leader has another cluster key; give leader and workers the same file"
                      : "the peer gave the handshake up";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "the other side speaks without TLS; give it the cluster key (--key FILE)";
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_MISSING_SIGALGS_EXTENSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return "the peer speaks TLS, but without a cluster key; check the address and port";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return client ? "the leader knows no cluster key; check the address and port"
                      : "the peer gave the handshake up";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
        return "a TLS record was damaged on its way, or made up by somebody";
    default:
        return NULL;
    }
}

/* The sentence for what OpenSSL has just put on its queue. */
static int fail_tls(struct hd_tls *t, struct hd_error *err)
{
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);
    const char *text = explain(t, reason);
    t->failed = true;
    if (reason == ERR_R_MALLOC_FAILURE)
        hd_fail(err, HD_E_NOMEM, "out of memory for TLS");
    else if (text)
        hd_fail(err, HD_E_PROTO, "%s", text);
    else
        hd_fail(err, HD_E_PROTO, "TLS %s: %s", t->ready ? "is broken" : "handshake failed",
                e ? ERR_reason_error_string(e) : "no reason given");
    ERR_clear_error();
    return err ? err->code : HD_E_PROTO;
}

/* Of whatever used OpenSSL before in this thread: it would pass for a failure of the read that has
 * only too little to read. Clearing an empty queue is not free. */
static void forget_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
}

static int fail_again(struct hd_error *err)
{
    return hd_fail(err, HD_E_STATE, "TLS has failed before");
}

/* ---- Engine --------------------------------------------------------------------------------- */

/* Sees every message of either side, and the head of every record: counts the peer's KeyUpdates. */
static void on_message(int write, int version, int type, const void *buf, size_t len, SSL *ssl,
                       void *arg)
{
    unsigned *updates = arg;
    if (type == SSL3_RT_HANDSHAKE && !write && len > 0 &&
        *(const unsigned char *)buf == SSL3_MT_KEY_UPDATE)
        ++*updates;
}

static int start(struct hd_tls *t, struct hd_tls_context *c)
{
    t->ssl = SSL_new(c->ctx);
    BIO *pipe = t->ssl ? BIO_new(c->pipe) : NULL;
    if (!pipe)
        return HD_E_NOMEM;
    BIO_set_data(pipe, &t->pipe);
    BIO_set_init(pipe, 1);
    SSL_set_bio(t->ssl, pipe, pipe); /* which then owns it */
    SSL_set_msg_callback(t->ssl, on_message);
    SSL_set_msg_callback_arg(t->ssl, &t->updates);
    if (t->role == HD_TLS_SERVER) {
        SSL_set_accept_state(t->ssl);
        return 0;
    }
    SSL_set_connect_state(t->ssl);
    SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL); /* a leader with a certificate, but no key */
    return SSL_do_handshake(t->ssl) == -1 && t->pipe.out_len > 0 ? 0 : HD_E_NOMEM;
}

int hd_tls_new(struct hd_tls **out, struct hd_tls_context *c, enum hd_tls_role role,
               struct hd_error *err)
{
    struct hd_tls *t = calloc(1, sizeof *t);
    if (!t)
        return hd_fail(err, HD_E_NOMEM, "out of memory for TLS");
    t->role = role;
    ERR_clear_error();
    if (start(t, c) < 0) {
        hd_tls_free(t);
        return hd_fail(err, HD_E_NOMEM, "cannot begin TLS: %s",
                       ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error())
                                        : "out of memory");
    }
    *out = t;
    return 0;
}

void hd_tls_free(struct hd_tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    free(t->pipe.out);
    free(t);
}

bool hd_tls_ready(const struct hd_tls *t)
{
    return t->ready;
}

/* The first bytes of all: a ClientHello, or an alert, or what is no TLS. */
static int check_first(struct hd_tls *t, const uint8_t *data, struct hd_error *err)
{
    if (data[0] == SSL3_RT_HANDSHAKE || (data[0] == SSL3_RT_ALERT && t->role == HD_TLS_CLIENT))
        return 0;
    t->failed = true;
    hd_tls_pipe_add(&t->pipe, hd_tls_refusal,
                    sizeof hd_tls_refusal); /* without memory: no answer */
    if (data[0] == 'H')
        return hd_fail(err, HD_E_PROTO,
                       "the other side speaks without TLS; give it the cluster key (--key FILE)");
    return hd_fail(err, HD_E_PROTO,
                   "the peer does not speak TLS (first byte %02x); check the address and port",
                   data[0]);
}

int hd_tls_feed(struct hd_tls *t, const void *data, size_t len, struct hd_error *err)
{
    if (t->failed)
        return fail_again(err);
    if (t->pipe.in_left > 0)
        return hd_fail(err, HD_E_STATE, "TLS was fed before it had read what came before");
    if (len == 0)
        return 0;
    if (t->fed == 0 && check_first(t, data, err) < 0)
        return HD_E_PROTO;
    if (!t->ready)
        t->fed += len;
    t->pipe.in = data;
    t->pipe.in_left = len;
    return 0;
}

/* The handshake is over: only who has the key gets here, and this proves it. */
static int check_peer(struct hd_tls *t, struct hd_error *err)
{
    if (t->ready || !SSL_is_init_finished(t->ssl))
        return 0;
    if (!SSL_session_reused(t->ssl)) {
        t->failed = true;
        return hd_fail(err, HD_E_PROTO, "the peer did not use the cluster key");
    }
    t->ready = true;
    return 0;
}

/* Checked when all was read that came: the peer's first data may be behind its last message. */
static int check_length(struct hd_tls *t, struct hd_error *err)
{
    if (t->ready || t->fed <= HD_TLS_MAX_HANDSHAKE)
        return 0;
    t->failed = true;
    return hd_fail(err, HD_E_LIMIT, "a TLS handshake of more than %u bytes; hydac's are shorter",
                   HD_TLS_MAX_HANDSHAKE);
}

static int check_updates(struct hd_tls *t, size_t got, struct hd_error *err)
{
    if (t->updates > HD_TLS_MAX_UPDATES) {
        t->failed = true;
        return hd_fail(err, HD_E_LIMIT, "more than %d KeyUpdates in a row; the peer is broken",
                       HD_TLS_MAX_UPDATES);
    }
    if (got > 0)
        t->updates = 0;
    return 0;
}

int hd_tls_read(struct hd_tls *t, void *buf, size_t size, size_t *n, struct hd_error *err)
{
    *n = 0;
    if (t->failed)
        return fail_again(err);
    /* Nothing to read from: spare OpenSSL the question. */
    if (t->ready && t->pipe.in_left == 0 && SSL_pending(t->ssl) == 0)
        return 0;
    forget_errors();
    int ok = SSL_read_ex(t->ssl, buf, size, n);
    int why = ok ? SSL_ERROR_NONE : SSL_get_error(t->ssl, ok);
    int rc = 0;
    if (!ok)
        *n = 0;
    if (why == SSL_ERROR_ZERO_RETURN) {
        t->pipe.in_left = 0; /* what is behind the end is nothing */
        rc = HD_TLS_END;
    } else if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) {
        rc = fail_tls(t, err);
    }
    if (rc == 0)
        rc = check_peer(t, err);
    if (rc == 0)
        rc = check_length(t, err);
    if (rc == 0)
        rc = check_updates(t, *n, err);
    return rc;
}

/* ---- Out ------------------------------------------------------------------------------------ */

static int seal(struct hd_tls *t, const void *data, size_t len, struct hd_error *err)
{
    size_t n;
    if (++t->records >= RECORDS_PER_KEY) {
        t->records = 0;
        if (!SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
            return fail_tls(t, err);
    }
    /* A memory buffer takes all: there is no "later". */
    if (!SSL_write_ex(t->ssl, data, len, &n) || n != len)
        return fail_tls(t, err);
    return 0;
}

int hd_tls_write(struct hd_tls *t, const void *data, size_t len, struct hd_error *err)
{
    const uint8_t *p = data;
    if (!t->ready || t->failed || t->ended)
        return hd_fail(err, HD_E_STATE, "TLS is not open");
    while (len > 0) {
        size_t n = len < HD_TLS_RECORD ? len : HD_TLS_RECORD;
        int rc = seal(t, p, n, err);
        if (rc < 0)
            return rc;
        p += n;
        len -= n;
    }
    return 0;
}

void hd_tls_end(struct hd_tls *t)
{
    if (!t->ready || t->failed || t->ended)
        return;
    t->ended = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
}

const uint8_t *hd_tls_output(struct hd_tls *t, size_t *len)
{
    *len = t->pipe.out_len;
    return t->pipe.out;
}

void hd_tls_output_done(struct hd_tls *t)
{
    t->pipe.out_len = 0;
}
