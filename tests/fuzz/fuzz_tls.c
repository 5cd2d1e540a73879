/* fuzz_tls.c - the TLS engine's input. The first byte chooses:
 *
 *   0  the rest goes to a server as it is
 *   1  ... to a client
 *   2  a handshake and a record, with the rest XORed over what the client sends
 *   3  ... over what the server sends */
#include "common/net/tls.h"
#include "fuzz.h"

#include <string.h>

static const char secret[] = "what only who has the key may send";

static struct hd_tls_context *context(void)
{
    static struct hd_tls_context *c; /* the same key for both ends, made once */
    struct hd_key key = {{1, 2, 3}};
    if (!c)
        FUZZ_CHECK(hd_tls_context_new(&c, &key, NULL) == 0);
    return c;
}

static struct hd_tls *engine(enum hd_tls_role role)
{
    struct hd_tls *t;
    FUZZ_CHECK(hd_tls_new(&t, context(), role, NULL) == 0);
    return t;
}

/* Plaintext that comes out of `t` must be a beginning of the secret. */
static int take(struct hd_tls *t, const uint8_t *data, size_t size)
{
    uint8_t buf[HD_TLS_RECORD];
    struct hd_error err = {0};
    size_t n = 1, got = 0;
    int rc = hd_tls_feed(t, data, size, &err);
    while (rc == 0 && n > 0) {
        rc = hd_tls_read(t, buf, sizeof buf, &n, &err);
        FUZZ_CHECK(got + n <= strlen(secret) && memcmp(buf, secret + got, n) == 0);
        got += n;
    }
    FUZZ_CHECK(rc >= 0 || err.text[0]);
    return rc;
}

struct change {
    const uint8_t *data;
    size_t size;
};

/* Carries what `from` says to `to`, with the change's bytes over it. */
static size_t carry(struct hd_tls *from, struct hd_tls *to, struct change *change)
{
    uint8_t copy[HD_TLS_RECORD];
    size_t len;
    const uint8_t *out = hd_tls_output(from, &len);
    if (len == 0)
        return 0;
    FUZZ_CHECK(len <= sizeof copy);
    memcpy(copy, out, len);
    hd_tls_output_done(from);
    for (size_t i = 0; i < len && change->size > 0; i++, change->size--)
        copy[i] ^= *change->data++;
    take(to, copy, len);
    return len;
}

static void talk(struct change *up, struct change *down)
{
    struct hd_tls *client = engine(HD_TLS_CLIENT), *server = engine(HD_TLS_SERVER);
    bool sent = false;
    for (size_t more = 1; more > 0;) {
        more = carry(client, server, up) + carry(server, client, down);
        if (hd_tls_ready(client) && hd_tls_ready(server) && !sent) {
            sent = true;
            hd_tls_write(client, secret, strlen(secret), NULL);
            hd_tls_write(server, secret, strlen(secret), NULL);
            more = 1;
        }
    }
    hd_tls_free(client);
    hd_tls_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct change none = {NULL, 0};
    if (size == 0)
        return 0;
    struct change change = {data + 1, size - 1};
    unsigned mode = data[0] % 4;
    if (mode >= 2) {
        talk(mode == 2 ? &change : &none, mode == 3 ? &change : &none);
        return 0;
    }
    struct hd_tls *t = engine(mode == 0 ? HD_TLS_SERVER : HD_TLS_CLIENT);
    take(t, data + 1, size - 1);
    FUZZ_CHECK(!hd_tls_ready(t));
    hd_tls_free(t);
    return 0;
}
