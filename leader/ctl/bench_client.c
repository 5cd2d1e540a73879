/* bench_client.c - a measurement is a client of a cluster that hd_up keeps running meanwhile. */
#include "leader/ctl/bench_client.h"

#include "leader/ctl/http.h"

#include <stdlib.h>

#define STATUS_MS 30000 /* for one answer */

struct call {
    const struct hd_bench_client *client;
    int rc;
    struct hd_error err;
};

static void run_client(void *arg, struct hd_up *u)
{
    struct call *c = arg;
    c->rc = c->client->run(c->client->arg, u, &c->err);
}

int hd_bench_on_cluster(struct hd_up_options *up, const struct hd_bench_client *client,
                        struct hd_error *err)
{
    struct call c = {.client = client, .rc = HD_E_STATE};
    hd_fail(&c.err, HD_E_STATE, "the cluster could not be started");
    up->client = run_client;
    up->client_arg = &c;
    int status = hd_up(up);
    if (status == HD_UP_INTERRUPTED)
        return HD_BENCH_INTERRUPTED;
    if (c.rc < 0)
        *err = c.err;
    else if (status != 0)
        return hd_fail(err, HD_E_STATE, "the cluster ended with status %d", status);
    return c.rc;
}

int hd_bench_get_status(const char *base, json_t **status, struct hd_error *err)
{
    struct hd_http_get g = {.base = base, .path = "/hydac/status", .timeout_ms = STATUS_MS};
    int rc = hd_http_get(&g, err);
    if (rc < 0)
        return rc;
    *status = json_loads(g.body, 0, NULL);
    free(g.body);
    if (g.status == 200 && json_is_object(*status))
        return 0;
    json_decref(*status);
    *status = NULL;
    return hd_fail(err, HD_E_IO, "the leader did not tell its status");
}

json_int_t hd_bench_integer(const json_t *v, const char *key)
{
    return json_integer_value(json_object_get(v, key));
}

char *hd_bench_request_text(const struct hd_bench_request *r)
{
    json_t *ids = json_array();
    json_int_t range = r->vocab > 256 ? 250 : r->vocab - 6;
    for (uint64_t i = 0; i < r->prompt && range > 0; i++) {
        json_int_t id = (json_int_t)((i * 7919 + r->seed * 104729) % (uint64_t)range);
        json_array_append_new(ids, json_integer(3 + id));
    }
    json_t *body = json_pack("{s:o, s:I, s:i, s:b, s:b, s:b}", "prompt", ids, "max_tokens",
                             (json_int_t)r->tokens, "temperature", 0, "ignore_eos", 1, "hydac", 1,
                             "stream", r->stream);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}
