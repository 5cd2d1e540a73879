/* secret.h - small files that only their owner may read: the cluster key, the key of the HTTP side.
 *
 * Secrets are compared in constant time, wiped when they are no longer needed and never shown: no
 * error sentence repeats a byte of one. */
#ifndef HD_UTIL_SECRET_H
#define HD_UTIL_SECRET_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads all of `path` into buf and puts a NUL behind it; *len is without it. The file must be a
 * regular one of at most size - 1 bytes that neither its group nor others may read or write; an
 * access list may let this process's user in, and nobody else.
 * HD_E_IO, HD_E_CONFIG. On error buf holds nothing. */
int hd_secret_read(const char *path, char *buf, size_t size, size_t *len, struct hd_error *err);
/* Takes as long for any `given` of the same length: what differs, and where, cannot be measured. */
bool hd_secret_equal(const char *secret, size_t secret_len, const char *given, size_t given_len);
/* Zeroes that the compiler does not leave out. */
void hd_secret_wipe(void *p, size_t len);

/* ---- An API key: a word that clients show. A byte-order mark before it and line ends of any
 * system behind it, which editors like to add, are cut off; 16 to 255 bytes, printable ASCII
 * without spaces, are left. HD_E_FORMAT. */
#define HD_API_KEY_MIN  16
#define HD_API_KEY_SIZE 256 /* bytes for the longest, the NUL included */
int hd_api_key_check(char *text, size_t *len, struct hd_error *err);

/* ---- The cluster key: 256 random bits that leader and workers share, as a file of two lines
 * (with the line ends of any system, and maybe a byte-order mark):
 *
 *   hydac-cluster-key-1
 *   64 hexadecimal digits */
#define HD_KEY_BYTES 32
#define HD_KEY_TEXT  96 /* bytes that hd_key_print needs, the NUL included */

struct hd_key {
    uint8_t bytes[HD_KEY_BYTES];
};

/* Random, from the kernel. HD_E_IO. */
int hd_key_make(struct hd_key *key, struct hd_error *err);
void hd_key_print(const struct hd_key *key, char text[HD_KEY_TEXT]);
/* HD_E_FORMAT with what is wrong. `len` bytes, no NUL needed. */
int hd_key_parse(struct hd_key *key, const char *text, size_t len, struct hd_error *err);
/* From a file, by the rules of hd_secret_read; the error names the file. */
int hd_key_load(struct hd_key *key, const char *path, struct hd_error *err);

#endif
