/* backend.c - what HTTP asks of the leader, answered by its engine and its core. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int submit(void *arg, const struct hd_request_options *o, const struct hd_request_events *ev,
                  void *ev_arg, struct hd_request **out, struct hd_error *err)
{
    struct hd_leader *l = arg;
    if (l->closing)
        return hd_fail(err, HD_E_STATE, "the leader is stopping");
    const char *why = hd_digests_not_ready(l);
    if (!why)
        why = hd_leaders_standby(l);
    if (why)
        return hd_fail(err, HD_E_STATE, "%s", why);
    int rc = hd_engine_submit(l->engine, o, ev, ev_arg, out, err);
    if (rc == 0)
        hd_engine_kick(l->engine);
    return rc;
}

/* Who leaves a suspect answer does not hear its end, which says that it is: the log does. */
static void cancel(void *arg, struct hd_request *r)
{
    struct hd_leader *l = arg;
    const char *untold = hd_engine_untold(r);
    if (untold) {
        hd_warn(l->o.log, "ended_request_suspect", "id=%s reason=\"its client left\"", untold);
        struct hd_state_change *e = hd_leader_note(l, "", "left_suspect", "");
        snprintf(e->text, sizeof e->text, "%s", untold);
    }
    hd_engine_cancel(l->engine, r);
}

static const char *model_digest(void *arg)
{
    const struct hd_leader *l = arg;
    return l->model_digest[0] ? l->model_digest : NULL;
}

static const char *not_ready(void *arg)
{
    const struct hd_leader *l = arg;
    const char *why = hd_digests_not_ready(l);
    if (!why)
        why = hd_leaders_standby(l);
    if (why)
        return why;
    return hd_core_state(l->core) == HD_CLUSTER_READY ? NULL : hd_core_reason(l->core);
}

static int slot_of(const struct hd_leader *l, const char *worker)
{
    struct hd_worker_view v;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (l->slots[s] && hd_core_worker(l->core, s, hd_now_us(), &v) &&
            strcmp(v.name, worker) == 0)
            return (int)s;
    return -1;
}

static int drain(void *arg, const char *worker, bool on, struct hd_error *err)
{
    struct hd_leader *l = arg;
    int slot = slot_of(l, worker);
    if (slot < 0)
        return hd_fail(err, HD_E_NOTFOUND,
                       "no worker named \"%s\" is connected; hydac status lists them", worker);
    struct hd_event ev = {.type = HD_EV_DRAIN, .slot = (unsigned)slot, .drain = {.on = on}};
    hd_info(l->o.log, on ? "drain" : "undrain", "worker=%s", worker);
    hd_leader_event(l, &ev);
    return 0;
}

static void rebalance(void *arg)
{
    struct hd_leader *l = arg;
    struct hd_event ev = {.type = HD_EV_REBALANCE};
    hd_info(l->o.log, "rebalance", "epoch=%" PRIu64, hd_core_epoch(l->core));
    hd_leader_event(l, &ev);
}

/* When the model's file or folder was written, seconds since 1970: what does not change from one
 * request, start or leader to the next. */
static int64_t file_time(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_mtime : 0;
}

static const char *role(void *arg)
{
    return hd_leaders_role(arg);
}

static const char *elsewhere(void *arg)
{
    return hd_leaders_url(arg);
}

int hd_backend_open(struct hd_leader *l, const struct sockaddr *addr, struct hd_error *err)
{
    bool records = l->role.n > 0 || l->o.config->journal;
    struct hd_api_options o = {
        .loop = l->o.loop,
        .log = l->o.log,
        .backend = {.arg = l,
                    .model = l->model->name,
                    .aliases = l->o.config->model_alias,
                    .any_model = l->o.config->any_model,
                    .created = file_time(l->o.config->model),
                    .context = l->context,
                    .vocab = l->model->shape.vocab,
                    .dim = l->model->shape.dim,
                    .pooled = &l->model->pooled,
                    .tokenizer = l->tokenizer,
                    .no_tokenizer = l->tokenizer ? NULL : l->no_tokenizer,
                    .submit = submit,
                    .cancel = cancel,
                    .model_digest = model_digest,
                    .not_ready = not_ready,
                    .drain = drain,
                    .rebalance = rebalance,
                    .status = hd_status_get,
                    .overview = hd_status_overview,
                    .plan = hd_watch_plan,
                    .metrics = hd_metrics_text,
                    .begun = records ? hd_follow_begun : NULL,
                    .sampled = hd_follow_sampled,
                    .ended = hd_follow_ended,
                    .role = role,
                    .elsewhere = elsewhere,
                    .serving = &l->serving},
        .listen = addr,
        .spare_files = HD_SPARE_FILES,
        .keep_s = (unsigned)l->o.config->answer_keep_s,
        .api_key_file = l->o.config->api_key_file,
        .admin_key_file = l->o.config->admin_key_file,
        .allowed_hosts = l->o.config->allowed_hosts,
        .allowed_origins = l->o.config->allowed_origins,
        .leaders = l->role.urls,
        .max_connections = (unsigned)l->o.config->max_connections,
        .cert_file = l->o.config->http_cert,
        .cert_key_file = l->o.config->http_cert_key,
    };
    if (l->tokenizer)
        hd_token_bound_init(&o.backend.bound, l->tokenizer);
    int rc = hd_api_new(&l->api, &o, err);
    if (rc < 0)
        l->api = NULL;
    return rc;
}
