/* api.h - the leader's HTTP: OpenAI's completions and chat, models, health, status, metrics.
 *
 * libmicrohttpd driven from the libuv loop through its epoll descriptor; bodies are read, and long
 * answers written, by threads (jobs.h). What is needed of the cluster is in backend.h. */
#ifndef HD_API_API_H
#define HD_API_API_H

#include "common/util/log.h"
#include "leader/api/backend.h"

#include <sys/socket.h>
#include <uv.h>

struct hd_api;
struct hd_api_options {
    uv_loop_t *loop;
    const struct hd_log *log;
    struct hd_api_backend backend;
    const struct sockaddr *listen;
    /* Files, NULL or "" = none: what a client must know (/v1, /api and /hydac), what who changes
     * the cluster must, and HTTPS's certificate chain with its private key, PEM; read by
     * hd_api_new. */
    const char *api_key_file, *admin_key_file, *cert_file, *cert_key_file;
    /* Words with a blank between them, NULL or "" = none, "*" = all; must outlive the API: names of
     * this leader besides loopback ones, and origins of web pages that may ask. */
    const char *allowed_hosts, *allowed_origins;
    const char *leaders; /* likewise, of the cluster's other leaders; may change between events */
    unsigned max_connections; /* at once; 0 = 1024; descriptors may allow fewer */
    unsigned spare_files;     /* descriptors that are left to others */
    size_t max_body;          /* bytes of a request's body; 0 = 4 MiB */
    size_t max_bodies;        /* ... and of all that are being read; 0 = 64 MiB */
    unsigned request_ms;    /* from a connection, or its last reply, to a whole request; 0 = 30 s */
    unsigned keep_s;        /* an answer that nobody reads any more can be asked for; 0 = 60 s */
    unsigned keep_alive_ms; /* a stream that is silent for so long says that it lives; 0 = 10 s */
};
int hd_api_new(struct hd_api **out, const struct hd_api_options *o, struct hd_error *err);
/* Goes on with an answer that was begun elsewhere: it runs as if its client had asked here, and
 * waits for it. The record is the caller's, as one that `begun` has returned. 0; HD_E_NOMEM,
 * HD_E_UNSUPPORTED. */
int hd_api_adopt(struct hd_api *a, struct hd_record *record);
/* All records are about to go: none is spoken of any more, and nobody waits. */
void hd_api_forget_records(struct hd_api *a);
unsigned hd_api_port(const struct hd_api *a); /* the port in use (listen port 0) */
/* Takes no new connections, sends the replies that are ready within a second, cancels the requests
 * of those that remain, and frees; `closed` is called once from the loop when nothing is left. */
void hd_api_close(struct hd_api *a, void (*closed)(void *arg), void *arg);

#endif
