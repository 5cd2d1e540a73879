/* http.h - the few HTTP requests that the command line makes, through libcurl. */
#ifndef HD_CTL_HTTP_H
#define HD_CTL_HTTP_H

#include "common/util/secret.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The leader's API key: from the file, else from $HYDAC_API_KEY, else "". HD_E_IO, HD_E_CONFIG,
 * HD_E_FORMAT. */
struct hd_http_key {
    char text[HD_API_KEY_SIZE + 8]; /* room for what editors add: see hd_api_key_check */
};
int hd_http_key_get(struct hd_http_key *key, const char *file, struct hd_error *err);
/* For what changes the cluster: the admin key from the file, else from $HYDAC_ADMIN_KEY, else what
 * hd_http_key_get finds. */
int hd_http_admin_key_get(struct hd_http_key *key, const char *file, const char *api_key_file,
                          struct hd_error *err);

/* GET base + path. 0 with the status and the body (malloc'ed, NUL-terminated), or HD_E_IO.
 * timeout_ms 0: none. */
struct hd_http_get {
    const char *base, *path;
    const char *key; /* NULL or "" = none */
    long timeout_ms;
    long status; /* out */
    char *body;  /* out */
};
int hd_http_get(struct hd_http_get *g, struct hd_error *err);
/* It answers with status 200. */
bool hd_http_is_ok(const char *base, const char *path, long timeout_ms);

/* POST of JSON, or GET where `body` is NULL; the body of the answer goes to on_data piece by piece,
 * with the HTTP status. What on_data returns other than 0 ends the transfer and is returned. */
struct hd_http_post {
    const char *base, *path, *body;
    const char *key;         /* NULL or "" = none */
    const char *last_event;  /* the stream is to go on behind this one; NULL: from the beginning */
    bool watch;              /* given up when the leader stands still (http_watch.h) ... */
    bool silent;             /* out: ... and it was */
    bool (*stop)(void *arg); /* NULL, or asked now and then, at least each second: ends it */
    int (*on_data)(void *arg, long status, const char *data, size_t len);
    void *arg;
};
int hd_http_post(struct hd_http_post *p, struct hd_error *err);

#endif
