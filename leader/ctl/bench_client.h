/* bench_client.h - what all measurements do with their cluster: start it, ask it, read its status.
 */
#ifndef HD_CTL_BENCH_CLIENT_H
#define HD_CTL_BENCH_CLIENT_H

#include "leader/ctl/up.h"

#include <jansson.h>

#define HD_BENCH_INTERRUPTED 1

/* Runs a cluster for `run`, which is called in a thread of its own once the cluster serves. 0,
 * HD_BENCH_INTERRUPTED or an error; run's own goes first. */
struct hd_bench_client {
    int (*run)(void *arg, struct hd_up *u, struct hd_error *err);
    void *arg;
};
int hd_bench_on_cluster(struct hd_up_options *up, const struct hd_bench_client *client,
                        struct hd_error *err);

int hd_bench_get_status(const char *base, json_t **status, struct hd_error *err);
json_int_t hd_bench_integer(const json_t *v, const char *key);

/* The body of a request, malloc'ed: greedy, of token ids that every vocabulary has. */
struct hd_bench_request {
    uint64_t prompt, tokens; /* how many */
    uint64_t seed;           /* another one, another prompt */
    json_int_t vocab;
    bool stream;
};
char *hd_bench_request_text(const struct hd_bench_request *r);

#endif
