/* worker.c - model, crew and session, made and ended in order. */
#include "worker/worker.h"

#include "common/net/tls.h"
#include "common/util/cpus.h"
#include "common/util/state_dir.h"
#include "worker/device.h"
#include "worker/link/bootstrap.h"
#include "worker/link/session.h"
#include "worker/share/input_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hd_worker {
    struct hd_worker_options o;
    struct hd_model *model;
    const char *state_dir;      /* the configuration's; "": it cannot be used */
    struct hd_tls_context *tls; /* NULL: no key */
    const struct hd_device_kind *device;
    unsigned threads;
    enum hd_isa isa;
    struct hd_bootstrap *bootstrap; /* asks for the model; then what follows is not there yet */
    struct hd_weights_cache *cache; /* NULL: the model is a file */
    struct hd_crew *crew;
    struct hd_session *session;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* With a model file of its own a worker can do without the folder. */
static int use_state_dir(struct hd_worker *w, struct hd_error *err)
{
    struct hd_error why = {0};
    w->state_dir = w->o.config->state_dir;
    if (hd_state_dir_make(w->state_dir, &why) == 0 && hd_input_log_try_dir(w->state_dir, &why) == 0)
        return 0;
    if (w->o.config->model[0] == '\0')
        return hd_fail(err, HD_E_IO,
                       "%s; weights that come from the leader are kept there: give another with "
                       "--state DIR, or a model file with --model PATH",
                       why.text);
    hd_warn(w->o.log, "no_state_folder",
            "reason=\"%s\" effect=\"the input log is kept in memory, not in files\"", why.text);
    w->state_dir = "";
    return 0;
}

/* What compute.device says behind the kind. */
static const char *where_of(const struct hd_worker *w)
{
    const char *colon = strchr(w->o.config->device, ':');
    return colon ? colon + 1 : "";
}

static struct hd_device_options device_options(const struct hd_worker *w)
{
    return (struct hd_device_options){.model = w->model,
                                      .threads = w->threads,
                                      .isa = w->isa,
                                      .where = where_of(w),
                                      .state_dir = w->state_dir};
}

/* The model is not known yet. */
static int choose_device(struct hd_worker *w, struct hd_error *err)
{
    const struct hd_worker_config *c = w->o.config;
    w->isa = c->isa == HD_WORKER_ISA_AUTO ? hd_isa_best() : (enum hd_isa)(c->isa - 1);
    w->threads = c->threads ? (unsigned)c->threads : hd_cpus();
    struct hd_device_options o = device_options(w);
    return hd_device_choose(&w->device, c->device, &o, err);
}

static void on_reply(void *arg, struct hd_reply *r)
{
    struct hd_worker *w = arg;
    if (w->session) /* else the worker is closing */
        hd_session_reply(w->session, r);
}

static void on_refused(void *arg, const char *why)
{
    struct hd_worker *w = arg;
    if (w->o.refused)
        w->o.refused(w->o.arg, why);
}

static void on_joined(void *arg, bool joined)
{
    struct hd_worker *w = arg;
    if (w->o.joined)
        w->o.joined(w->o.arg, joined);
}

/* ---- Ending: the session first (it uses the crew), then the crew (it uses the model) ----*/

static void free_worker(struct hd_worker *w)
{
    hd_weights_cache_close(w->cache);
    hd_model_close(w->model);
    hd_tls_context_free(w->tls);
    free(w);
}

static void on_all_closed(void *arg)
{
    struct hd_worker *w = arg;
    void (*closed)(void *arg) = w->closed;
    void *closed_arg = w->closed_arg;
    free_worker(w);
    if (closed)
        closed(closed_arg);
}

static void on_session_closed(void *arg)
{
    struct hd_worker *w = arg;
    w->session = NULL;
    hd_crew_close(w->crew, on_all_closed, w);
}

void hd_worker_drain(struct hd_worker *w, void (*drained)(void *arg), void *arg)
{
    if (w->session)
        hd_session_drain(w->session, drained, arg);
    else
        drained(arg); /* it has no work to give away */
}

void hd_worker_close(struct hd_worker *w, void (*closed)(void *arg), void *arg)
{
    w->closed = closed;
    w->closed_arg = arg;
    if (w->session)
        hd_session_close(w->session, on_session_closed, w);
    else if (w->bootstrap)
        hd_bootstrap_close(w->bootstrap, on_all_closed, w);
    else /* with the model it has got it could not begin */
        on_all_closed(w);
}

/* ---- Beginning ----*/

static int start_crew(struct hd_worker *w, struct hd_error *err)
{
    struct hd_crew_options o = {
        .loop = w->o.loop,
        .model = w->model,
        .log = w->o.log,
        .state_dir = w->state_dir,
        .log_limit = w->o.config->log_limit,
        .keep_log = w->o.config->log_keep,
        .device = w->device,
        .where = where_of(w),
        .threads = w->threads,
        .isa = w->isa,
        .cache = w->cache,
        .on_reply = on_reply,
        .arg = w,
    };
    return hd_crew_new(&w->crew, &o, err);
}

static int make_session(struct hd_worker *w, struct hd_error *err)
{
    struct hd_device_options device = device_options(w);
    struct hd_session_options o = {
        .loop = w->o.loop,
        .config = w->o.config,
        .log = w->o.log,
        .model = w->model,
        .tls = w->tls,
        .threads = w->threads,
        .speed = w->device->speed(&device),
        .memory = w->device->memory(&device),
        .refused = on_refused,
        .joined = on_joined,
        .arg = w,
    };
    int rc = hd_session_new(&w->session, &o);
    return rc < 0 ? hd_fail(err, rc, "out of memory") : 0;
}

/* The model is known: the threads, then the leader. */
static int begin_work(struct hd_worker *w, struct hd_error *err)
{
    int rc = make_session(w, err);
    if (rc < 0)
        return rc;
    rc = start_crew(w, err);
    if (rc < 0) {
        hd_session_free(w->session);
        w->session = NULL;
        return rc;
    }
    hd_session_start(w->session, w->crew);
    hd_info(w->o.log, "started", "model=%s device=%s threads=%u isa=%s weights=%s", w->model->name,
            w->device->name, w->threads, hd_isa_name(w->isa), w->cache ? "leader" : "file");
    return 0;
}

static int open_cache(struct hd_worker *w, struct hd_error *err)
{
    return hd_weights_cache_open(
        &w->cache,
        &(struct hd_weights_cache_options){.state_dir = w->state_dir,
                                           .model = w->model,
                                           .log = w->o.log,
                                           .limit = w->o.config->cache_limit},
        err);
}

static void on_model(void *arg, struct hd_model *model)
{
    struct hd_worker *w = arg;
    struct hd_error err = {0};
    w->bootstrap = NULL;
    w->model = model;
    int rc = open_cache(w, &err);
    if (rc == 0)
        rc = begin_work(w, &err);
    if (rc < 0) {
        hd_errlog(w->o.log, "cannot_begin", "reason=\"%s\"", err.text);
        on_refused(w, err.text);
    }
}

static int ask_for_model(struct hd_worker *w, struct hd_error *err)
{
    struct hd_bootstrap_options o = {.loop = w->o.loop,
                                     .config = w->o.config,
                                     .log = w->o.log,
                                     .tls = w->tls,
                                     .done = on_model,
                                     .arg = w};
    int rc = hd_bootstrap_start(&w->bootstrap, &o);
    return rc < 0 ? hd_fail(err, rc, "out of memory") : 0;
}

int hd_worker_new(struct hd_worker **out, const struct hd_worker_options *o, struct hd_error *err)
{
    struct hd_worker *w = calloc(1, sizeof *w);
    if (!w)
        return hd_fail(err, HD_E_NOMEM, "out of memory");
    w->o = *o;
    int rc = use_state_dir(w, err);
    if (rc == 0)
        rc = choose_device(w, err);
    if (rc == 0 && o->config->key[0])
        rc = hd_tls_context_load(&w->tls, "cluster.key", o->config->key, err);
    bool has_file = o->config->model[0] != '\0';
    if (rc == 0 && has_file)
        rc = hd_model_open(&w->model, o->config->model, err);
    if (rc == 0 && has_file)
        hd_warnings_log(&w->model->warnings, o->log, "model_warning");
    if (rc == 0)
        rc = has_file ? begin_work(w, err) : ask_for_model(w, err);
    if (rc < 0) {
        free_worker(w);
        return rc;
    }
    *out = w;
    return 0;
}
