/* tls.h - TLS 1.3 between leader and workers, with the cluster's key instead of certificates.
 *
 * Pure: bytes in, bytes out; no sockets, no clock. One engine is one end of one connection; whoever
 * has it carries ciphertext between hd_tls_feed, hd_tls_output and the network.
 *
 * Happy path: hd_tls_new -> (client: output is there at once) feed, output, ... until hd_tls_ready
 * -> hd_tls_write, hd_tls_read -> hd_tls_end. Failure modes, each a negative return with a
 * sentence, after which only output (an alert for the peer) and free make sense (all else:
 * HD_E_STATE): 1. the peer has another key, or none; 2. it does not speak TLS; 3. a record was
 * damaged, cut or made up; 4. it breaks a limit; 5. out of memory.
 *
 * The key is an external pre-shared key (RFC 8446, section 4.2.11) under psk_dhe_ke: both ends
 * prove that they have it, and a fresh X25519 exchange makes each connection's keys, so that a key
 * which leaks later opens nothing that was recorded before. No certificates, tickets, early data or
 * other versions. */
#ifndef HD_NET_TLS_H
#define HD_NET_TLS_H

#include "common/util/secret.h"

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_TLS_RECORD 16384 /* plaintext bytes of a full record, RFC 8446 section 5.1 */

/* The setting cluster.tls. */
enum hd_tls_mode {
    HD_TLS_AUTO, /* when there is a key */
    HD_TLS_ON,
    HD_TLS_OFF, /* plaintext, spelled out */
};
extern const char *const hd_tls_modes[]; /* its words in this order, NULL at the end */
/* Do mode and key file ("" = none) go together? HD_E_CONFIG. */
int hd_tls_check_mode(int mode, const char *key, struct hd_error *err);
/* May what goes to or comes from this address travel in plaintext? HD_E_CONFIG with what to do;
 * `what` begins the sentence ("leader.address: 10.0.0.1:7400"). */
int hd_tls_check_plaintext(int mode, const struct sockaddr *addr, const char *what,
                           struct hd_error *err);

/* What all connections of a process share: the key, and how TLS is spoken. */
struct hd_tls_context;
/* Copies the key. HD_E_NOMEM or HD_E_UNSUPPORTED. */
int hd_tls_context_new(struct hd_tls_context **out, const struct hd_key *key, struct hd_error *err);
/* With the key in this file; `name` is the setting, for errors. */
int hd_tls_context_load(struct hd_tls_context **out, const char *name, const char *path,
                        struct hd_error *err);
/* Wipes the key. Engines must be gone. NULL is allowed. */
void hd_tls_context_free(struct hd_tls_context *c);

enum hd_tls_role {
    HD_TLS_CLIENT, /* who connects: the worker */
    HD_TLS_SERVER, /* who accepts: the leader */
};

struct hd_tls;
/* The context is borrowed and must outlive the engine. */
int hd_tls_new(struct hd_tls **out, struct hd_tls_context *c, enum hd_tls_role role,
               struct hd_error *err);
void hd_tls_free(struct hd_tls *t); /* NULL is allowed */

/* Lends ciphertext: it must stay as it is until hd_tls_read, which must follow, has nothing more or
 * does not return 0. HD_E_PROTO for what is no TLS, HD_E_STATE while there is some left. */
int hd_tls_feed(struct hd_tls *t, const void *data, size_t len, struct hd_error *err);

#define HD_TLS_END 1 /* outcome: the peer has said that it sends no more (close_notify) */
/* Goes on with the handshake, then gives plaintext: 0 with *n bytes in buf (0: nothing more for
 * now), HD_TLS_END, HD_E_PROTO, HD_E_LIMIT, HD_E_NOMEM. `buf` is none of what was lent. */
int hd_tls_read(struct hd_tls *t, void *buf, size_t size, size_t *n, struct hd_error *err);

/* The handshake is done: the peer has the key. */
bool hd_tls_ready(const struct hd_tls *t);
/* Seals `len` bytes, at most HD_TLS_RECORD of them in a record. HD_E_STATE before it is ready and
 * after hd_tls_end, HD_E_NOMEM. */
int hd_tls_write(struct hd_tls *t, const void *data, size_t len, struct hd_error *err);
/* Says that nothing follows. */
void hd_tls_end(struct hd_tls *t);

/* Ciphertext for the network: *len bytes (NULL may stand for none), valid until the next call with
 * this engine. */
const uint8_t *hd_tls_output(struct hd_tls *t, size_t *len);
/* All of it was taken. */
void hd_tls_output_done(struct hd_tls *t);

/* What a side without a key answers to a ClientHello, so that the peer can say what is wrong: an
 * alert record, protocol_version. */
#define HD_TLS_REFUSAL_LEN 7
extern const uint8_t hd_tls_refusal[HD_TLS_REFUSAL_LEN];

#endif
