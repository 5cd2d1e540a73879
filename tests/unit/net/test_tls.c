/* Two ends talk through buffers: no sockets, no loop. */
#include "common/net/bounds.h"
#include "common/net/tls.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

/* OpenSSL's clock: what it asks for the time finds these instead of the C library's. */
static time_t later_s;

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *tv = (struct timeval){.tv_sec = now.tv_sec + later_s, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *t)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}

struct end {
    struct hd_tls *tls;
    int rc; /* of what failed or ended first, else 0 */
    struct hd_error err;
    uint8_t *got; /* plaintext, all of it */
    size_t n_got, room;
};

struct pair {
    struct hd_tls_context *contexts[2];
    struct end client, server;
};

static struct hd_tls_context *context(int fill)
{
    struct hd_tls_context *c;
    struct hd_error err = {0};
    struct hd_key key;
    memset(&key, fill, sizeof key);
    cr_assert_eq(hd_tls_context_new(&c, &key, &err), 0, "%s", err.text);
    return c;
}

/* Ends with keys of these bytes. */
static void pair_init(struct pair *p, int client_key, int server_key)
{
    *p = (struct pair){.contexts = {context(client_key), context(server_key)}};
    struct hd_error err = {0};
    cr_assert_eq(hd_tls_new(&p->client.tls, p->contexts[0], HD_TLS_CLIENT, &err), 0, "%s",
                 err.text);
    cr_assert_eq(hd_tls_new(&p->server.tls, p->contexts[1], HD_TLS_SERVER, &err), 0, "%s",
                 err.text);
}

static void pair_deinit(struct pair *p)
{
    hd_tls_free(p->client.tls);
    hd_tls_free(p->server.tls);
    free(p->client.got);
    free(p->server.got);
    for (int i = 0; i < 2; i++)
        hd_tls_context_free(p->contexts[i]);
}

static void take(struct end *e, const void *data, size_t len)
{
    uint8_t buf[HD_TLS_RECORD];
    size_t n = 1;
    int rc = hd_tls_feed(e->tls, data, len, &e->err);
    while (rc == 0 && n > 0) {
        rc = hd_tls_read(e->tls, buf, sizeof buf, &n, &e->err);
        if (e->n_got + n + 1 > e->room) {
            e->room = 2 * (e->n_got + n + 1);
            e->got = realloc(e->got, e->room);
        }
        memcpy(e->got + e->n_got, buf, n);
        e->n_got += n;
    }
    if (e->rc == 0)
        e->rc = rc;
}

/* What `from` has to say goes to `to`, in pieces of `step` bytes; false: nothing. */
static bool carry(struct end *from, struct end *to, size_t step)
{
    size_t len;
    const uint8_t *data = hd_tls_output(from->tls, &len);
    if (len == 0)
        return false;
    for (size_t at = 0; at < len; at += step)
        take(to, data + at, len - at < step ? len - at : step);
    hd_tls_output_done(from->tls);
    return true;
}

static void talk(struct pair *p, size_t step)
{
    for (bool more = true; more;) {
        more = carry(&p->client, &p->server, step);
        more |= carry(&p->server, &p->client, step);
    }
}

static void pair_open(struct pair *p)
{
    pair_init(p, 7, 7);
    talk(p, SIZE_MAX);
    cr_assert(hd_tls_ready(p->client.tls), "%s", p->client.err.text);
    cr_assert(hd_tls_ready(p->server.tls), "%s", p->server.err.text);
}

/* A daemon that has run for long takes newcomers like one that has just started: OpenSSL gives
 * every session a lifetime, by itself five minutes, and a key is a session to it. */
Test(tls, a_key_does_not_grow_old)
{
    static const time_t ages[] = {299, 305, 86400, 10 * 365 * 86400L};
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        struct pair p;
        pair_init(&p, 7, 7);
        later_s += ages[i];
        talk(&p, SIZE_MAX);
        cr_expect(hd_tls_ready(p.client.tls), "%lld s: %s", (long long)ages[i], p.client.err.text);
        cr_expect(hd_tls_ready(p.server.tls), "%lld s: %s", (long long)ages[i], p.server.err.text);
        pair_deinit(&p);
    }
}

static uint8_t *pattern(size_t len)
{
    uint8_t *p = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 31 + i / 251);
    return p;
}

static void send_through(struct pair *p, bool to_server, size_t len, size_t step)
{
    struct end *from = to_server ? &p->client : &p->server,
               *to = to_server ? &p->server : &p->client;
    uint8_t *data = pattern(len);
    cr_assert_eq(hd_tls_write(from->tls, data, len, &from->err), 0, "%s", from->err.text);
    to->n_got = 0;
    talk(p, step);
    cr_assert_eq(to->rc, 0, "%s", to->err.text);
    cr_assert_eq(to->n_got, len);
    cr_assert(memcmp(to->got, data, len) == 0);
    free(data);
}

TestSuite(tls, .timeout = 60);

Test(tls, both_ways)
{
    struct pair p;
    pair_open(&p);
    static const size_t sizes[] = {1, HD_TLS_RECORD - 1, HD_TLS_RECORD, HD_TLS_RECORD + 1, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        send_through(&p, true, sizes[i], SIZE_MAX);
        send_through(&p, false, sizes[i], SIZE_MAX);
    }
    send_through(&p, true, 48u << 20, 65536);
    pair_deinit(&p);
}

Test(tls, byte_by_byte)
{
    struct pair p;
    pair_init(&p, 7, 7);
    talk(&p, 1);
    cr_assert(hd_tls_ready(p.client.tls) && hd_tls_ready(p.server.tls));
    send_through(&p, true, 40000, 1);
    send_through(&p, false, 40000, 1);
    pair_deinit(&p);
}

Test(tls, nothing_travels_in_the_clear)
{
    static const char secret[] = "what nobody on the way may read";
    struct pair p;
    size_t len;
    pair_open(&p);
    cr_assert_eq(hd_tls_write(p.client.tls, secret, sizeof secret, NULL), 0);
    const uint8_t *data = hd_tls_output(p.client.tls, &len);
    cr_assert_gt(len, sizeof secret);
    cr_assert_null(memmem(data, len, secret, sizeof secret));
    cr_assert_null(memmem(data, len, secret, 8));
    pair_deinit(&p);
}

/* The same key and the same bytes: other ciphertext each time, for the exchange is fresh. */
Test(tls, every_connection_has_keys_of_its_own)
{
    struct pair p[2];
    uint8_t seen[2][200];
    for (int i = 0; i < 2; i++) {
        size_t len;
        pair_open(&p[i]);
        cr_assert_eq(hd_tls_write(p[i].client.tls, "0123456789abcdef", 16, NULL), 0);
        const uint8_t *data = hd_tls_output(p[i].client.tls, &len);
        cr_assert_lt(len, sizeof seen[i]);
        memcpy(seen[i], data, len);
    }
    cr_assert(memcmp(seen[0] + 5, seen[1] + 5, 16) != 0);
    for (int i = 0; i < 2; i++)
        pair_deinit(&p[i]);
}

static void expect_why(const struct end *e, int rc, const char *what)
{
    cr_assert_eq(e->rc, rc, "%d: %s", e->rc, e->err.text);
    cr_assert_not_null(strstr(e->err.text, what), "\"%s\" is not in \"%s\"", what, e->err.text);
    cr_assert_not(hd_tls_ready(e->tls));
    cr_assert_eq(hd_tls_write(e->tls, "x", 1, NULL), HD_E_STATE);
}

Test(tls, another_key)
{
    struct pair p;
    pair_init(&p, 7, 8);
    talk(&p, SIZE_MAX);
    expect_why(&p.server, HD_E_PROTO, "the peer has another cluster key");
    expect_why(&p.client, HD_E_PROTO, "the leader has another cluster key");
    cr_assert_eq(p.client.n_got + p.server.n_got, 0);
    pair_deinit(&p);
}

static void expect_refused(const void *bytes, size_t len, int rc, const char *what)
{
    struct pair p;
    pair_init(&p, 7, 7);
    take(&p.server, bytes, len);
    expect_why(&p.server, rc, what);
    take(&p.server, bytes, len); /* more of it changes nothing */
    pair_deinit(&p);
}

Test(tls, who_speaks_no_tls)
{
    expect_refused("HDAC\2\1\0\0", 8, HD_E_PROTO, "without TLS; give it the cluster key");
    expect_refused("GET / HTTP/1.1\r\n\r\n", 18, HD_E_PROTO, "does not speak TLS (first byte 47)");
    expect_refused("", 1, HD_E_PROTO, "does not speak TLS (first byte 00)");
    expect_refused("\x16\x03\x01\xff\xff\x01", 6, HD_E_PROTO, "TLS handshake failed");
    expect_refused("\x16\x03\x01\0\4\x0b\0\0\0", 9, HD_E_PROTO, "TLS handshake failed");
    expect_refused("\x15\x03\x01\0\2\2\x28", 7, HD_E_PROTO, "does not speak TLS");
}

/* The answer of a side without a key, and what comes of it. */
Test(tls, a_leader_without_a_key)
{
    struct pair p;
    pair_init(&p, 7, 7);
    take(&p.client, hd_tls_refusal, HD_TLS_REFUSAL_LEN);
    expect_why(&p.client, HD_E_PROTO, "without TLS; give it the cluster key");
    pair_deinit(&p);
}

Test(tls, a_handshake_without_end)
{
    struct pair p;
    uint8_t hello[HD_TLS_MAX_HANDSHAKE + 1] = {0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x7f, 0xff};
    pair_init(&p, 7, 7);
    take(&p.server, hello, HD_TLS_MAX_HANDSHAKE);
    cr_assert_neq(p.server.rc, HD_E_LIMIT, "%s", p.server.err.text);
    pair_deinit(&p);
    pair_init(&p, 7, 7);
    take(&p.server, hello, sizeof hello);
    expect_why(&p.server, HD_E_LIMIT, "a TLS handshake of more than 16384 bytes");
    pair_deinit(&p);
}

/* Every byte of a handshake and of a record matters: one that is changed is never taken for good.
 */
Test(tls, damage)
{
    for (size_t at = 0; at < 400; at++) {
        struct pair p;
        uint8_t copy[1000];
        size_t len;
        pair_init(&p, 7, 7);
        const uint8_t *data = hd_tls_output(p.client.tls, &len);
        cr_assert_lt(len, sizeof copy);
        memcpy(copy, data, len);
        hd_tls_output_done(p.client.tls);
        if (at < len)
            copy[at] ^= 1;
        take(&p.server, copy, len);
        talk(&p, SIZE_MAX);
        cr_assert_eq(hd_tls_ready(p.server.tls), at >= len || at == 2, "byte %zu of %zu", at,
                     len); /* 2: a version that everybody ignores */
        pair_deinit(&p);
    }
}

Test(tls, a_damaged_record)
{
    for (size_t at = 0; at < 40; at++) {
        struct pair p;
        uint8_t copy[200];
        size_t len;
        pair_open(&p);
        cr_assert_eq(hd_tls_write(p.client.tls, "0123456789", 10, NULL), 0);
        memcpy(copy, hd_tls_output(p.client.tls, &len), 32);
        if (at >= len)
            copy[0] ^= 1;
        else
            copy[at] ^= 1;
        take(&p.server, copy, len);
        cr_assert(p.server.rc < 0 || p.server.n_got == 0, "byte %zu", at);
        pair_deinit(&p);
    }
}

Test(tls, repeated_and_lost_records)
{
    struct pair p;
    uint8_t first[200];
    size_t len;
    pair_open(&p);
    cr_assert_eq(hd_tls_write(p.client.tls, "0123456789", 10, NULL), 0);
    memcpy(first, hd_tls_output(p.client.tls, &len), 32);
    take(&p.server, first, len);
    cr_assert_eq(p.server.n_got, 10);
    take(&p.server, first, len);
    cr_assert_eq(p.server.rc, HD_E_PROTO);
    cr_assert_not_null(strstr(p.server.err.text, "damaged on its way"), "%s", p.server.err.text);
    cr_assert_eq(p.server.n_got, 10);
    pair_deinit(&p);
}

Test(tls, the_end)
{
    struct pair p;
    pair_open(&p);
    cr_assert_eq(hd_tls_write(p.client.tls, "last", 4, NULL), 0);
    hd_tls_end(p.client.tls);
    hd_tls_end(p.client.tls);
    cr_assert_eq(hd_tls_write(p.client.tls, "more", 4, NULL), HD_E_STATE);
    talk(&p, SIZE_MAX);
    cr_assert_eq(p.server.n_got, 4);
    cr_assert_eq(p.server.rc, HD_TLS_END);
    /* The other direction is open still. */
    cr_assert_eq(hd_tls_write(p.server.tls, "answer", 6, NULL), 0);
    talk(&p, SIZE_MAX);
    cr_assert_eq(p.client.n_got, 6);
    pair_deinit(&p);
}

/* What is fed is lent, not copied: the next piece has to wait until the last one was read. */
Test(tls, fed_too_early)
{
    struct pair p;
    uint8_t record[64], buf[HD_TLS_RECORD];
    struct hd_error err = {0};
    size_t len, n;
    pair_open(&p);
    cr_assert_eq(hd_tls_write(p.client.tls, "0123456789", 10, NULL), 0);
    const uint8_t *data = hd_tls_output(p.client.tls, &len);
    cr_assert_leq(len, sizeof record);
    memcpy(record, data, len);
    cr_assert_eq(hd_tls_feed(p.server.tls, record, len, &err), 0, "%s", err.text);
    cr_assert_eq(hd_tls_feed(p.server.tls, record, len, &err), HD_E_STATE);
    cr_assert_not_null(strstr(err.text, "before it had read"), "%s", err.text);
    cr_assert_eq(hd_tls_read(p.server.tls, buf, sizeof buf, &n, &err), 0, "%s", err.text);
    cr_assert_eq(n, 10);
    memset(record, 0, sizeof record); /* given back */
    cr_assert_eq(hd_tls_read(p.server.tls, buf, sizeof buf, &n, &err), 0, "%s", err.text);
    cr_assert_eq(n, 0);
    hd_tls_output_done(p.client.tls);
    send_through(&p, true, 100, SIZE_MAX);
    pair_deinit(&p);
}

/* What comes behind a close_notify in the same piece is dropped; the end stays the end. */
Test(tls, behind_the_end)
{
    struct pair p;
    uint8_t both[200];
    size_t len;
    pair_open(&p);
    hd_tls_end(p.client.tls);
    const uint8_t *data = hd_tls_output(p.client.tls, &len);
    cr_assert_lt(2 * len, sizeof both);
    memcpy(both, data, len);
    memcpy(both + len, data, len);
    take(&p.server, both, 2 * len);
    cr_assert_eq(p.server.rc, HD_TLS_END, "%s", p.server.err.text);
    p.server.rc = 0;
    take(&p.server, both, len);
    cr_assert_eq(p.server.rc, HD_TLS_END, "%s", p.server.err.text);
    pair_deinit(&p);
}

/* An error that somebody left on OpenSSL's queue is none of this connection's. */
Test(tls, errors_of_others)
{
    struct pair p;
    struct hd_error err = {0};
    pair_open(&p);
    ERR_raise(ERR_LIB_EVP, EVP_R_BAD_DECRYPT);
    cr_assert_eq(hd_tls_write(p.client.tls, "0123456789", 10, &err), 0, "%s", err.text);
    for (bool more = true; more;) { /* in pieces: most reads have too little */
        ERR_raise(ERR_LIB_EVP, EVP_R_BAD_DECRYPT);
        more = carry(&p.client, &p.server, 7);
    }
    cr_assert_eq(p.server.rc, 0, "%s", p.server.err.text);
    cr_assert_eq(p.server.n_got, 10);
    pair_deinit(&p);
}

/* ---- Peers that have the key, but other manners: OpenSSL itself ------------------------------ */

struct other {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};

static SSL_SESSION *other_session(SSL *ssl)
{
    static const unsigned char id[2] = {0x13, 0x01};
    unsigned char key[HD_KEY_BYTES];
    SSL_SESSION *s = SSL_SESSION_new();
    memset(key, 7, sizeof key);
    SSL_SESSION_set1_master_key(s, key, sizeof key);
    SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, id));
    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION);
    return s;
}

static int other_use(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len,
                     SSL_SESSION **s)
{
    *id = (const unsigned char *)"hydac cluster key 1";
    *len = 19;
    *s = other_session(ssl);
    return 1;
}

static void other_init(struct other *o, bool client, bool key)
{
    o->ctx = SSL_CTX_new(TLS_method());
    if (key)
        SSL_CTX_set_psk_use_session_callback(o->ctx, other_use);
    o->ssl = SSL_new(o->ctx);
    o->in = BIO_new(BIO_s_mem());
    o->out = BIO_new(BIO_s_mem());
    SSL_set_bio(o->ssl, o->in, o->out);
    if (client)
        SSL_set_connect_state(o->ssl);
    else
        SSL_set_accept_state(o->ssl);
}

static void other_deinit(struct other *o)
{
    SSL_free(o->ssl);
    SSL_CTX_free(o->ctx);
}

/* All that either has to say, until both are silent. */
static void other_talk(struct other *o, struct end *e)
{
    char buf[1000];
    for (bool more = true; more;) {
        char *data;
        size_t len;
        SSL_read(o->ssl, buf, sizeof buf);
        long n = BIO_get_mem_data(o->out, &data);
        more = n > 0;
        if (n > 0)
            take(e, data, (size_t)n);
        (void)BIO_reset(o->out);
        const uint8_t *answer = hd_tls_output(e->tls, &len);
        more |= len > 0;
        BIO_write(o->in, answer, (int)len);
        hd_tls_output_done(e->tls);
    }
}

Test(tls, too_many_key_updates)
{
    struct pair p;
    struct other o;
    pair_init(&p, 7, 7);
    other_init(&o, true, true);
    other_talk(&o, &p.server);
    cr_assert(hd_tls_ready(p.server.tls), "%s", p.server.err.text);
    for (int i = 0; i < 3 * HD_TLS_MAX_UPDATES; i++) { /* with data between them: fine */
        SSL_key_update(o.ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(o.ssl, "x", 1);
        other_talk(&o, &p.server);
    }
    cr_assert_eq(p.server.rc, 0, "%s", p.server.err.text);
    cr_assert_eq(p.server.n_got, 3 * HD_TLS_MAX_UPDATES);
    for (int i = 0; i < HD_TLS_MAX_UPDATES; i++) {
        SSL_key_update(o.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(o.ssl);
    }
    other_talk(&o, &p.server);
    cr_assert_eq(p.server.rc, 0, "%s", p.server.err.text);
    SSL_key_update(o.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(o.ssl);
    other_talk(&o, &p.server);
    cr_assert_eq(p.server.rc, HD_E_LIMIT);
    cr_assert_not_null(strstr(p.server.err.text, "KeyUpdates"), "%s", p.server.err.text);
    other_deinit(&o);
    pair_deinit(&p);
}

Test(tls, an_ordinary_tls_client)
{
    struct pair p;
    struct other o;
    pair_init(&p, 7, 7);
    other_init(&o, true, false);
    other_talk(&o, &p.server);
    expect_why(&p.server, HD_E_PROTO, "without a cluster key");
    other_deinit(&o);
    pair_deinit(&p);
}

static void give_certificate(SSL *ssl)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    cr_assert(X509_sign(x, key, EVP_sha256()) > 0);
    cr_assert_eq(SSL_use_certificate(ssl, x), 1);
    cr_assert_eq(SSL_use_PrivateKey(ssl, key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* A leader that has a certificate but not the key is not the leader. */
Test(tls, an_ordinary_tls_server)
{
    struct pair p;
    struct other o;
    pair_init(&p, 7, 7);
    other_init(&o, false, false);
    give_certificate(o.ssl);
    other_talk(&o, &p.client);
    expect_why(&p.client, HD_E_PROTO, "without a cluster key");
    other_deinit(&o);
    pair_deinit(&p);
}
