/* drain.c - hydac drain, hydac rebalance: what an operator asks of a cluster that is well. */
#include "leader/ctl/ctl.h"
#include "leader/ctl/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS    100
#define TIMEOUT_MS 30000 /* of one exchange with the leader */

static const char about_drain[] =
    "hydac drain [OPTIONS] NAME\n"
    "\n"
    "Gives all that the worker NAME owns to others, beside the answers that run, and waits until "
    "it\n"
    "owns nothing: then it can be stopped without anybody noticing. It gets nothing new until it "
    "is\n"
    "told otherwise, or until it connects anew. A worker that is stopped by SIGTERM does the same "
    "by\n"
    "itself.\n";

static const char about_rebalance[] =
    "hydac rebalance [OPTIONS]\n"
    "\n"
    "Levels the load by the cluster's strategy, beside the answers that run. The leader does it "
    "by\n"
    "itself for workers that come; after losses it leaves units where they are until it is "
    "asked.\n";

/* ---- Exchanges with the leader ----*/

struct leader {
    const char *base, *key_file, *admin_key_file; /* files NULL: none is given */
    struct hd_http_key key;
};

struct answer {
    long status;
    char text[1024]; /* its beginning */
    size_t len;
};

static int on_data(void *arg, long status, const char *data, size_t len)
{
    struct answer *a = arg;
    size_t room = sizeof a->text - 1 - a->len;
    a->status = status;
    len = len < room ? len : room;
    memcpy(a->text + a->len, data, len);
    a->len += len;
    return 0;
}

/* POSTs `body` (given up here). 0, or the leader's own words in *err. */
static int ask(const struct leader *l, const char *path, json_t *body, struct hd_error *err)
{
    struct answer a = {0};
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    struct hd_http_post p = {.base = l->base,
                             .path = path,
                             .body = text,
                             .key = l->key.text,
                             .on_data = on_data,
                             .arg = &a};
    int rc = hd_http_post(&p, err);
    free(text);
    if (rc < 0 || a.status == 202)
        return rc;
    json_t *o = json_loadb(a.text, a.len, 0, NULL);
    const json_t *error = json_object_get(o, "error");
    const char *why = json_string_value(json_object_get(error, "message"));
    const char *code = json_string_value(json_object_get(error, "code"));
    bool admin = code && strcmp(code, "invalid_admin_key") == 0;
    if (a.status == 401)
        rc = hd_fail(err, HD_E_IO,
                     "the leader at %s wants its %s key; give it with --%s-key-file FILE", l->base,
                     admin ? "admin" : "API", admin ? "admin" : "api");
    else
        rc = hd_fail(err, HD_E_STATE, "%s", why ? why : "the leader does not know this command");
    json_decref(o);
    return rc;
}

static json_t *get_status(const struct leader *l, struct hd_error *err)
{
    struct hd_http_get g = {
        .base = l->base, .path = "/hydac/status", .key = l->key.text, .timeout_ms = TIMEOUT_MS};
    if (hd_http_get(&g, err) < 0)
        return NULL;
    json_t *s = json_loads(g.body, 0, NULL);
    free(g.body);
    if (!s)
        hd_fail(err, HD_E_IO, "%s is not a hydac leader", l->base);
    return s;
}

/* ---- Waiting ----*/

static const json_t *find_worker(const json_t *status, const char *name)
{
    const json_t *list = json_object_get(status, "workers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *w = json_array_get(list, i);
        const char *n = json_string_value(json_object_get(w, "name"));
        if (n && strcmp(n, name) == 0)
            return w;
    }
    return NULL;
}

static bool others_can_take_over(const json_t *status, const char *name)
{
    const json_t *list = json_object_get(status, "workers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *w = json_array_get(list, i);
        const char *n = json_string_value(json_object_get(w, "name"));
        const char *state = json_string_value(json_object_get(w, "state"));
        if (n && state && strcmp(n, name) != 0 && strcmp(state, "online") == 0 &&
            !json_is_true(json_object_get(w, "draining")))
            return true;
    }
    return false;
}

/* 1 = it owns nothing, 0 = still something, or a negative error. */
static int is_empty(const json_t *status, const char *name, struct hd_error *err)
{
    const json_t *w = find_worker(status, name);
    const char *state = w ? json_string_value(json_object_get(w, "state")) : NULL;
    if (!state || strcmp(state, "offline") == 0)
        return hd_fail(err, HD_E_STATE, "worker %s is gone", name);
    if (!json_is_true(json_object_get(w, "draining")))
        return hd_fail(err, HD_E_STATE, "somebody else lets worker %s take part again", name);
    if (json_array_size(json_object_get(w, "heads")) == 0 &&
        json_integer_value(json_object_get(w, "ffn_blocks")) == 0 &&
        json_integer_value(json_object_get(w, "vocab_blocks")) == 0)
        return 1;
    if (!others_can_take_over(status, name))
        return hd_fail(err, HD_E_STATE,
                       "no other worker can take over what %s owns; start one, or give it up with "
                       "hydac drain --undo %s",
                       name, name);
    return 0;
}

static int wait_until_empty(const struct leader *l, const char *name, struct hd_error *err)
{
    for (;;) {
        json_t *s = get_status(l, err);
        if (!s)
            return HD_E_IO;
        int rc = is_empty(s, name, err);
        json_decref(s);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        usleep(POLL_MS * 1000);
    }
}

/* ---- The commands ----*/

/* The exit status. */
static int drain(const struct leader *l, const char *name, bool undo, bool no_wait)
{
    struct hd_error err = {0};
    int rc =
        ask(l, undo ? "/hydac/undrain" : "/hydac/drain", json_pack("{s:s}", "worker", name), &err);
    if (rc == 0 && !undo && !no_wait)
        rc = wait_until_empty(l, name, &err);
    if (rc < 0)
        return hd_complain(&err);
    printf(undo      ? "%s takes part again\n"
           : no_wait ? "%s is being emptied\n"
                     : "%s owns nothing any more; it can be stopped\n",
           name);
    return 0;
}

int hd_cmd_drain(int argc, char **argv)
{
    struct leader l = {.base = hd_default_leader()};
    bool undo = false, no_wait = false;
    struct hd_arg_list names = {.n = 0};
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_LEADER(&l.base),
        HD_ARG_API_KEY(&l.key_file),
        HD_ARG_ADMIN_KEY(&l.admin_key_file),
        {"--undo", HD_ARG_FLAG, &undo, NULL, "let it take part again"},
        {"--no-wait", HD_ARG_FLAG, &no_wait, NULL, "do not wait"},
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, &names, about_drain);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    if (names.n != 1) {
        fprintf(stderr, "hydac: drain takes the name of one worker; hydac status lists them\n");
        return 2;
    }
    if (hd_http_admin_key_get(&l.key, l.admin_key_file, l.key_file, &err) < 0)
        return hd_complain(&err);
    rc = drain(&l, names.items[0], undo, no_wait);
    hd_secret_wipe(&l.key, sizeof l.key);
    return rc;
}

int hd_cmd_rebalance(int argc, char **argv)
{
    struct leader l = {.base = hd_default_leader()};
    struct hd_error err = {0};
    const struct hd_arg args[] = {
        HD_ARG_LEADER(&l.base),
        HD_ARG_API_KEY(&l.key_file),
        HD_ARG_ADMIN_KEY(&l.admin_key_file),
        {NULL},
    };
    int rc = hd_cmd_args(argc, argv, args, NULL, about_rebalance);
    if (rc != 0)
        return hd_cmd_args_status(rc);
    rc = hd_http_admin_key_get(&l.key, l.admin_key_file, l.key_file, &err);
    if (rc == 0)
        rc = ask(&l, "/hydac/rebalance", json_object(), &err);
    hd_secret_wipe(&l.key, sizeof l.key);
    if (rc < 0)
        return hd_complain(&err);
    puts("the load is being levelled");
    return 0;
}
