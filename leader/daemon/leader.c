/* leader.c - the daemon as an object: made, ticking, closed. */
#include "leader/daemon/leader.h"

#include "common/math/team.h"
#include "common/model/digests.h"
#include "common/net/address.h"
#include "common/util/clock.h"
#include "common/util/cpus.h"
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* compute.leader_threads where it is not said. */
#define CPUS_A_THREAD 4
#define MOST_THREADS  8
#define SPIN_US       50 /* between two loops over a half-step's rows */

/* ---- What the engine asks for becomes events ----*/

static void engine_sequence_open(void *arg, uint32_t sequence, uint32_t max_positions)
{
    struct hd_event ev = {.type = HD_EV_SEQ_OPEN, .sequence = sequence};
    hd_leader_event(arg, &ev);
}

static void engine_sequence_fork(void *arg, uint32_t sequence, uint32_t parent, uint32_t shared)
{
    struct hd_event ev = {.type = HD_EV_SEQ_FORK, .fork = {sequence, parent, shared}};
    hd_leader_event(arg, &ev);
}

static void engine_sequence_kept(void *arg, uint32_t sequence, bool kept)
{
    struct hd_event ev = {.type = kept ? HD_EV_SEQ_KEPT : HD_EV_SEQ_TAKEN, .sequence = sequence};
    hd_leader_event(arg, &ev);
}

static void engine_sequence_adopt(void *arg, const struct hd_kept_rows *k)
{
    struct hd_event ev = {.type = HD_EV_SEQ_ADOPT,
                          .adopt = {.sequence = k->sequence,
                                    .base = k->positions,
                                    .parent = k->parent,
                                    .shared = k->shared}};
    hd_leader_event(arg, &ev);
}

static void engine_sequence_close(void *arg, uint32_t sequence)
{
    struct hd_event ev = {.type = HD_EV_SEQ_CLOSE, .sequence = sequence};
    hd_leader_event(arg, &ev);
}

static void engine_sequence_cut(void *arg, uint32_t sequence, uint32_t positions)
{
    struct hd_event ev = {.type = HD_EV_SEQ_CUT, .cut = {sequence, positions}};
    hd_leader_event(arg, &ev);
}

static bool engine_may_draft(void *arg)
{
    const struct hd_leader *l = arg;
    return !hd_core_audit_waits(l->core);
}

static void engine_half(void *arg, const struct hd_half_work *work)
{
    struct hd_leader *l = arg;
    struct hd_event ev = {
        .type = HD_EV_HALF,
        .half = {.step = work->step,
                 .half = work->half,
                 .layer = work->half == HD_HALF_LOGITS ? 0 : work->layer,
                 .group = work->group,
                 .groups = work->groups,
                 .drafted = work->drafted,
                 .rows = work->by_sequence,
                 .n_rows = work->n_sequences},
    };
    hd_traffic_half(&l->traffic, work);
    hd_leader_event(l, &ev);
    if (work->half == HD_HALF_ATTENTION && work->layer == 0 && work->group == 0)
        hd_follow_step(l, hd_now_us());
}

static void engine_step_done(void *arg, uint64_t step)
{
    struct hd_leader *l = arg;
    struct hd_event ev = {.type = HD_EV_STEP_DONE};
    hd_traffic_step_done(&l->traffic);
    hd_leader_event(l, &ev);
}

static void engine_step_abandoned(void *arg)
{
    struct hd_event ev = {.type = HD_EV_REPLAYED, .sequences = 0};
    hd_leader_event(arg, &ev);
}

/* ---- Making it ----*/

/* A model whose tokenizer cannot be used is served to those who give token ids. */
static int open_tokenizer(struct hd_leader *l, struct hd_error *err)
{
    struct hd_warnings warnings = {0};
    int rc = hd_tokenizer_open(&l->tokenizer, l->model, &warnings, err);

    hd_warnings_log(&warnings, l->o.log, "tokenizer_warning");
    if (rc == 0 || rc == HD_E_NOMEM || rc == HD_E_IO)
        return rc;
    /* Clients are not told where the file is. */
    const char *why = strstr(err->text, "tokenizer: ");
    snprintf(l->no_tokenizer, sizeof l->no_tokenizer, "%s", why ? why : "the file is damaged");
    hd_warn(l->o.log, "no_tokenizer", "reason=\"%s\" effect=\"only token ids are accepted\"",
            err->text);
    *err = (struct hd_error){0};
    return 0;
}

static int open_model(struct hd_leader *l, struct hd_error *err)
{
    const struct hd_leader_config *c = l->o.config;
    int rc = hd_model_open(&l->model, c->model, err);
    if (rc < 0)
        return rc;
    hd_warnings_log(&l->model->warnings, l->o.log, "model_warning");
    const struct hd_model_shape *m = &l->model->shape;
    hd_model_units(l->model, &l->units);
    rc = hd_digests_new(&l->digests, l->model);
    if (rc < 0)
        return hd_fail(err, rc, "no memory for the list of pieces");
    l->activations =
        c->activations == HD_LEADER_ACTIVATIONS_F32 ? HD_ACTIVATIONS_F32 : l->model->activations;
    l->wire = (enum hd_wire)c->wire;
    if (hd_model_sum_bytes(l->model, l->wire) == 0)
        return hd_fail(
            err, HD_E_CONFIG,
            "compute.wire: compact sums are blocks of 32 values, a row has %u; use exact", m->dim);
    l->context = c->context && c->context < m->context ? (uint32_t)c->context : m->context;
    rc = open_tokenizer(l, err);
    if (rc < 0)
        return rc;
    hd_info(l->o.log, "model",
            "name=\"%s\" digest=%016" PRIx64 " layers=%u dim=%u heads=%u kv_heads=%u context=%u "
            "activations=%s wire=%s",
            l->model->name, l->model->digest, m->n_layers, m->dim, m->n_heads, m->n_kv_heads,
            l->context, l->activations == HD_ACTIVATIONS_Q8 ? "q8" : "f32", hd_wires[l->wire]);
    return 0;
}

/* Every half-step waits for its slowest worker, so each kind of unit is spread evenly by itself;
 * the steps between the costs let what one kind leaves over go to whom the kind before gave less.
 */
static const double unit_costs[HD_UNIT_KINDS] = {
    [HD_UNIT_HEAD] = 1, [HD_UNIT_FFN] = 1e5, [HD_UNIT_VOCAB] = 1e10};

static int make_core(struct hd_leader *l, struct hd_error *err)
{
    const struct hd_leader_config *c = l->o.config;
    struct hd_core_options o = {
        .units = {l->units.heads, l->units.ffn_blocks, l->units.vocab_blocks},
        .n_layers = l->model->shape.n_layers,
        .min_workers = (unsigned)c->min_workers,
        .policy = &hd_policies[c->recovery],
        .standby = hd_config_copies(c),
        .strategy = hd_strategies[c->strategy],
        .fixed = &c->fixed,
        .target = c->single,
        .detector = hd_detector_defaults(c->heartbeat_interval_ms * 1000),
        .log = {HD_LOG_CHUNK, l->model->shape.n_layers * (uint64_t)HD_LOG_CHUNK *
                                  hd_model_row_bytes(l->model, l->activations)},
        .relief = {.automatic = c->rebalance == HD_REBALANCE_AUTO},
        .step_deadline_us = c->step_deadline_ms * 1000,
        .assign_deadline_us = c->assign_deadline_ms * 1000,
        .forget_after_us = c->forget_after_s * 1000000,
        .model_digest = l->model->digest,
        .max_weights_requests = hd_weights_max_requests(l),
        .wait_for_model = true,
    };
    if (c->fixed.n > 0 && hd_fixed_validate(&c->fixed, l->units.heads, err) < 0)
        return hd_fail_in(err, "assignment.fixed");
    memcpy(o.cost, unit_costs, sizeof o.cost);
    hd_trust_options(l, &o.trust);
    hd_leader_unit_costs(l, o.unit);
    o.detector.phi_suspect = c->phi_suspect;
    o.detector.phi_offline = c->phi_offline;
    return hd_core_new(&l->core, &o, err);
}

/* Threads for rows. Workers that share the machine compute meanwhile, so they are a part of it. */
static int make_team(struct hd_leader *l, struct hd_error *err)
{
    unsigned threads = (unsigned)l->o.config->leader_threads, part = hd_cpus() / CPUS_A_THREAD;
    if (threads == 0)
        threads = part < 1 ? 1 : part > MOST_THREADS ? MOST_THREADS : part;
    if (threads == 1)
        return 0;
    struct hd_team_options o = {.threads = threads, .spin_us = SPIN_US, .name = "hydac-rows"};
    int rc = hd_team_new(&l->team, &o);
    return rc < 0 ? hd_fail(err, rc, "cannot start %u threads (%s)", threads, hd_error_name(rc))
                  : 0;
}

static int make_engine(struct hd_leader *l, struct hd_error *err)
{
    const struct hd_leader_config *c = l->o.config;
    struct hd_engine_options o = {
        .model = l->model,
        .units = &l->units,
        .digests = l->digests,
        .kernels = hd_kernels_get(hd_isa_best()),
        .team = l->team,
        .activations = l->activations,
        .wire = l->wire,
        .overlap_rows = (unsigned)c->overlap_rows,
        .max_drafts = c->speculation == HD_SPECULATION_OFF ? 0 : (unsigned)c->draft_rows,
        .draft_always = c->speculation == HD_SPECULATION_NGRAM,
        .tokenizer = l->tokenizer,
        .ops = {.arg = l,
                .sequence_open = engine_sequence_open,
                .sequence_fork = engine_sequence_fork,
                .sequence_kept = engine_sequence_kept,
                .sequence_cut = engine_sequence_cut,
                .may_draft = engine_may_draft,
                .sequence_adopt = engine_sequence_adopt,
                .sequence_close = engine_sequence_close,
                .half = engine_half,
                .step_done = engine_step_done,
                .step_abandoned = engine_step_abandoned,
                .wrong_row = hd_digests_wrong_row},
        .max_sequences = (unsigned)c->max_sequences,
        .sequences = hd_leader_sequences(l),
        .max_rows = (unsigned)c->max_rows,
        .max_queue = (unsigned)c->queue,
        .context = l->context,
        .serving = &l->serving,
    };
    return hd_engine_new(&l->engine, &o, err);
}

/* ---- Time ----*/

/* Requests wait for a worker only so long; those that came later wait longer. */
static void give_up_waiting(struct hd_leader *l, uint64_t now)
{
    uint64_t wait = l->o.config->wait_for_worker_ms * 1000;
    /* The tick's own event may have ended the readiness, which is later than `now`. */
    if (l->not_ready_since_us == 0 || now < l->not_ready_since_us + wait)
        return;
    char why[256];
    snprintf(why, sizeof why, "no cluster to serve it for %" PRIu64 " ms: %s", wait / 1000,
             hd_core_reason(l->core));
    hd_engine_fail(l->engine, now - wait, why);
}

static void on_tick(uv_timer_t *timer)
{
    struct hd_leader *l = timer->data;
    uint64_t now = hd_now_us();
    uint64_t late_us = now > l->tick_due_us ? now - l->tick_due_us : 0;
    struct hd_event ev = {.type = HD_EV_TICK, .late_us = late_us};
    l->tick_due_us = now + l->o.config->heartbeat_interval_ms * 1000;
    hd_leader_event(l, &ev);
    hd_cluster_check_greetings(l, now);
    hd_status_tick(l, now);
    hd_digests_tick(l, now);
    hd_leaders_tick(l, now, late_us);
    hd_follow_tick(l, now);
    give_up_waiting(l, now);
}

static int start_tick(struct hd_leader *l)
{
    uint64_t ms = l->o.config->heartbeat_interval_ms;
    hd_busy_poll_init(&l->busy_poll, l->o.loop, l->o.config->busy_poll_us);
    uv_timer_init(l->o.loop, &l->tick);
    l->tick.data = l;
    l->handles += 2;
    l->tick_due_us = hd_now_us() + ms * 1000;
    return uv_timer_start(&l->tick, on_tick, ms, ms);
}

static int start(struct hd_leader *l, struct hd_error *err)
{
    struct sockaddr_storage cluster, http;
    int rc = hd_address_parse(l->o.config->cluster_listen, &cluster, err);
    if (rc == 0)
        rc = hd_address_parse(l->o.config->http_listen, &http, err);
    if (rc == 0 && l->o.config->cluster_key[0])
        rc = hd_tls_context_load(&l->tls, "cluster.key", l->o.config->cluster_key, err);
    if (rc == 0)
        rc = open_model(l, err);
    if (rc == 0)
        rc = hd_trust_init(l, err);
    if (rc == 0)
        rc = hd_leaders_init(l, err);
    if (rc == 0)
        rc = hd_follow_init(l, err);
    if (rc == 0)
        rc = make_core(l, err);
    if (rc == 0)
        rc = make_team(l, err);
    if (rc == 0)
        rc = make_engine(l, err);
    if (rc == 0)
        rc = start_tick(l);
    if (rc == 0)
        rc = hd_cluster_listen(l, (const struct sockaddr *)&cluster, err);
    if (rc == 0)
        rc = hd_cluster_listen_local(l, err);
    if (rc == 0)
        rc = hd_backend_open(l, (const struct sockaddr *)&http, err);
    if (rc == 0)
        rc = hd_digests_start(l, err);
    return rc;
}

int hd_leader_new(struct hd_leader **out, const struct hd_leader_options *o, struct hd_error *err)
{
    struct hd_leader *l = calloc(1, sizeof *l);
    if (!l)
        return hd_fail(err, HD_E_NOMEM, "no memory for the leader");
    l->o = *o;
    l->not_ready_since_us = hd_now_us();
    hd_serving_init(&l->serving);
    hd_recoveries_init(&l->recoveries);
    int rc = start(l, err);
    if (rc < 0) {
        hd_leader_close(l, NULL, NULL);
        return rc;
    }
    *out = l;
    return 0;
}

struct hd_engine *hd_leader_engine(struct hd_leader *l)
{
    return l->engine;
}

unsigned hd_leader_cluster_port(const struct hd_leader *l)
{
    struct sockaddr_storage addr;
    int len = sizeof addr;
    if (uv_tcp_getsockname(&l->listener, (struct sockaddr *)&addr, &len) < 0)
        return 0;
    return hd_address_port((const struct sockaddr *)&addr);
}

unsigned hd_leader_http_port(const struct hd_leader *l)
{
    return hd_api_port(l->api);
}

/* ---- Closing ----*/

void hd_leader_maybe_closed(struct hd_leader *l)
{
    if (!l->closing || l->handles > 0 || l->peers || l->api || l->weights_jobs > 0 ||
        !hd_leaders_closed(l) || hd_journal_busy(&l->follow.journal))
        return;
    void (*closed)(void *) = l->closed;
    void *arg = l->closed_arg;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        hd_shared_unref(l->payloads[g].bytes);
    hd_audit_forget(l, 0);
    hd_follow_close(l);
    hd_actions_deinit(&l->actions);
    hd_engine_free(l->engine);
    hd_team_free(l->team);
    hd_core_free(l->core);
    hd_tokenizer_free(l->tokenizer);
    hd_digests_free(l->digests);
    hd_model_close(l->model);
    hd_tls_context_free(l->tls);
    free(l);
    if (closed)
        closed(arg);
}

static void on_api_closed(void *arg)
{
    struct hd_leader *l = arg;
    l->api = NULL;
    hd_leader_maybe_closed(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct hd_leader *l = handle->data;
    l->handles--;
    hd_leader_maybe_closed(l);
}

static void close_handle(uv_handle_t *handle)
{
    if (handle->data && !uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

void hd_leader_close(struct hd_leader *l, void (*closed)(void *arg), void *arg)
{
    if (l->closing)
        return;
    l->closing = true;
    atomic_store(&l->stop_reading, true);
    l->closed = closed;
    l->closed_arg = arg;
    if (l->engine)
        hd_engine_fail(l->engine, UINT64_MAX, "the leader is stopping");
    hd_status_close(l);
    if (l->busy_poll.idle.data)
        hd_busy_poll_close(&l->busy_poll, on_handle_closed, l);
    close_handle((uv_handle_t *)&l->tick);
    close_handle((uv_handle_t *)&l->listener);
    close_handle((uv_handle_t *)&l->local_listener);
    hd_cluster_close(l);
    hd_leaders_close(l);
    if (l->api)
        hd_api_close(l->api, on_api_closed, l);
    else
        hd_leader_maybe_closed(l);
}
