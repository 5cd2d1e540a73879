/* session.c - the states of the connection; what comes over it is in frames.c. */
#include "worker/link/session_impl.h"

#include "common/util/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS           12  /* in the time that a leader may say nothing ... */
#define LONGEST_LOOK_MS 500 /* ... but this at most from one to the next */
#define GRACE_RETRY_MS  200 /* somebody waits for what there is */
#define NEWS            16  /* such a part of what was said has to be missing */
#define MIB             1048576.0
#define MAX_QUEUED      (UINT64_C(1) << 30) /* bytes that may wait for a leader that reads slowly */

static const char *const state_names[] = {"paused",   "resolving", "connecting",
                                          "greeting", "joined",    "ending"};

static void start(struct hd_session *s);
static void on_timer(uv_timer_t *timer);

void hd_session_set(struct hd_session *s, enum session_state to)
{
    bool changed = (s->state == JOINED) != (to == JOINED);
    hd_debug(s->o.log, "session", "from=%s to=%s", state_names[s->state], state_names[to]);
    s->state = to;
    if (changed && s->o.joined)
        s->o.joined(s->o.arg, to == JOINED);
}

/* ---- Ending, and beginning again ----*/

static void maybe_closed(struct hd_session *s)
{
    if (!s->closing || s->conn || s->state == RESOLVING || s->handles > 0)
        return;
    void (*closed)(void *arg) = s->closed;
    void *arg = s->closed_arg;
    free(s);
    closed(arg);
}

static void pause_session(struct hd_session *s, const char *why)
{
    hd_session_set(s, PAUSED);
    if (s->closing || s->refused) {
        maybe_closed(s);
        return;
    }
    uint64_t ms = hd_dial_pause(&s->dial, why);
    if (s->kept && ms > GRACE_RETRY_MS)
        ms = GRACE_RETRY_MS;
    uv_timer_start(&s->timer, on_timer, ms, 0);
}

void hd_session_break_off(struct hd_session *s, const struct hd_error *err)
{
    if (s->state != GREETING && s->state != JOINED)
        return;
    Hydac__V1__Error m = HYDAC__V1__ERROR__INIT;
    s->forgets = true;
    hd_errlog(s->o.log, "session_broken", "reason=\"%s\"", err->text);
    m.code = (uint32_t)-err->code;
    m.text = (char *)err->text;
    hd_session_set(s, ENDING);
    /* If it cannot be sent the connection is ending anyway. */
    hd_conn_send(s->conn, HD_FRAME_ERROR, &m.base, NULL);
    hd_conn_close(s->conn, true);
}

static void look_later(struct hd_session *s)
{
    uint64_t ms = hd_dial_patience_ms(&s->dial, s->state == JOINED) / LOOKS;
    ms = ms < LONGEST_LOOK_MS ? ms : LONGEST_LOOK_MS;
    s->look_due_us = hd_now_us() + ms * 1000;
    uv_timer_start(&s->timer, on_timer, ms, 0);
}

/* From now on silence counts. */
static void wait_for_leader(struct hd_session *s)
{
    s->silence = (struct hd_silence){.heard_us = hd_now_us()};
    look_later(s);
}

/* Whoever was late to look has not read yet what has come meanwhile. */
static bool is_silent(struct hd_session *s)
{
    uint64_t now = hd_now_us();
    if (now > s->look_due_us)
        hd_silence_excuse(&s->silence, now - s->look_due_us);
    return hd_silence_of(&s->silence, now) >=
           hd_dial_patience_ms(&s->dial, s->state == JOINED) * 1000;
}

static void on_timer(uv_timer_t *timer)
{
    struct hd_session *s = timer->data;
    if (s->state == PAUSED) {
        start(s);
        return;
    }
    if (!is_silent(s)) {
        look_later(s);
        return;
    }
    hd_dial_shun(&s->dial);
    hd_warn(s->o.log, "leader_silent", "state=%s", state_names[s->state]);
    hd_session_set(s, ENDING);
    hd_conn_close(s->conn, false);
}

/* ---- The connection ----*/

static void on_open(void *arg, struct hd_conn *conn)
{
    struct hd_session *s = arg;
    hd_session_set(s, GREETING);
    if (hd_session_hello(s) < 0)
        hd_conn_close(conn, false);
}

static void on_frame(void *arg, struct hd_conn *conn, struct hd_frame *f)
{
    struct hd_session *s = arg;
    hd_silence_heard(&s->silence, hd_now_us());
    hd_session_frame(s, f);
}

/* ---- What there is outlives the leader for a while ----*/

/* Lost for want of memory it costs nothing but memory: joining forgets everything as well. */
static void leave(struct hd_session *s)
{
    struct hd_job job = {.type = HD_JOB_LEAVE, .session = ++s->number, .kept = s->kept};
    hd_crew_submit(s->crew, &job);
}

static void on_grace_timer(uv_timer_t *timer)
{
    struct hd_session *s = timer->data;
    hd_info(s->o.log, "forgotten", "reason=\"no leader for leader.grace_ms\"");
    s->kept = false;
    leave(s);
}

/* A session that was joined has ended, in one way or another. */
static void begin_grace(struct hd_session *s)
{
    uint64_t ms = s->o.config->grace_ms;
    s->kept = ms > 0 && !s->forgets && !s->drained && !s->refused && !s->closing;
    if (s->kept)
        uv_timer_start(&s->grace_timer, on_grace_timer, ms, 0);
}

static void on_close(void *arg, struct hd_conn *conn, int code, const char *why)
{
    struct hd_session *s = arg;
    s->conn = NULL;
    if (!uv_is_closing((uv_handle_t *)&s->timer))
        uv_timer_stop(&s->timer);
    if (s->worked || s->forgets)
        begin_grace(s);
    s->worked = s->forgets = false;
    leave(s);
    hd_session_drained(s, "the connection has ended");
    pause_session(s, code == 0 ? "the connection was given up" : why);
}

static void on_address(void *arg, int code, const struct sockaddr *addr, const char *why)
{
    struct hd_session *s = arg;
    struct hd_error err = {0};
    if (code < 0 || s->closing) {
        pause_session(s, why);
        return;
    }
    struct hd_conn_options o = {
        .events = {.on_open = on_open, .on_frame = on_frame, .on_close = on_close},
        .arg = s,
        .limits = {.max_body = HD_FRAME_GREETING_BODY},
        .max_queued = MAX_QUEUED,
    };
    if (hd_dial_connect(&s->dial, addr, &o, &s->conn, &err) < 0) {
        pause_session(s, err.text);
        return;
    }
    hd_session_set(s, CONNECTING);
    wait_for_leader(s);
}

static void start(struct hd_session *s)
{
    struct hd_error err = {0};
    hd_session_set(s, RESOLVING);
    if (hd_dial_look_up(&s->dial, &err) < 0)
        pause_session(s, err.text);
}

/* ---- The session ----*/

int hd_session_new(struct hd_session **out, const struct hd_session_options *o)
{
    struct hd_session *s = calloc(1, sizeof *s);
    if (!s)
        return HD_E_NOMEM;
    s->o = *o;
    hd_model_units(o->model, &s->units);
    s->check.model = o->model;
    s->check.units = &s->units;
    s->check.n_pieces = hd_piece_count(o->model, &s->units);
    s->dial = (struct hd_dial){.loop = o->loop, .config = o->config, .log = o->log, .tls = o->tls};
    hd_dial_init(&s->dial, on_address, s);
    *out = s;
    return 0;
}

void hd_session_free(struct hd_session *s)
{
    free(s);
}

void hd_session_start(struct hd_session *s, struct hd_crew *crew)
{
    s->crew = crew;
    uv_timer_init(s->o.loop, &s->timer);
    uv_timer_init(s->o.loop, &s->drain_timer);
    uv_timer_init(s->o.loop, &s->grace_timer);
    s->timer.data = s->drain_timer.data = s->grace_timer.data = s;
    hd_busy_poll_init(&s->busy_poll, s->o.loop, s->o.config->busy_poll_us);
    s->handles = 4;
    uv_timer_start(&s->timer, on_timer, 0, 0);
}

static void log_result(struct hd_session *s, const Hydac__V1__KvResult *m)
{
    hd_info(s->o.log, m->round ? "prepared" : "assigned",
            "epoch=%" PRIu64 " round=%" PRIu64 " heads=%zu ready=%zu rows_rebuilt=%" PRIu64
            " rows_kept=%" PRIu64 " weights_us=%" PRIu64 " rebuild_us=%" PRIu64 " gaps=%zu",
            m->epoch, m->round, m->n_heads, m->n_ready_heads, m->rows_rebuilt, m->rows_kept,
            m->weights_us, m->rebuild_us, m->n_gaps);
}

/* What a driver says to be free, others may have, and what is planned for leaves out what steps
 * take. The next Hello says what there was room for, so that the plan is one that fits; where that
 * is no news, or nothing at all, the others are not to be disturbed again soon. */
static void learn_memory(struct hd_session *s, const char *why, struct hd_error *err)
{
    struct hd_crew_totals t;
    hd_crew_totals(s->crew, &t);
    uint64_t had = t.weight_bytes + t.kv_bytes, said = s->o.memory;
    bool is_less = said == 0 || had < said;
    if (is_less)
        s->o.memory = had > 0 ? had : 1; /* 0 is unknown */
    if (!is_less || had == 0 || (said > 0 && said - had < said / NEWS))
        hd_dial_pause_longest(&s->dial);
    hd_fail(err, HD_E_NOMEM,
            "%.300s; its device has room for %.1f MiB of weights and K/V, not %.1f", why,
            (double)had / MIB, (double)said / MIB);
}

static void give_up(struct hd_session *s, const struct hd_error *why)
{
    struct hd_error err = *why;
    if (err.code == HD_E_NOMEM)
        learn_memory(s, why->text, &err);
    hd_session_break_off(s, &err);
    s->refused = err.code == HD_E_DEVICE; /* a new process may open it again */
    if (s->refused)
        s->o.refused(s->o.arg, err.text);
}

void hd_session_reply(struct hd_session *s, struct hd_reply *r)
{
    static const struct hd_error no_memory = {HD_E_NOMEM, "the worker is out of memory"};
    if (s->state != JOINED)
        return;
    if (!r || r->type == HD_FRAME_ERROR) {
        give_up(s, r ? &r->error : &no_memory);
        return;
    }
    if (r->type == HD_FRAME_KV_RESULT)
        log_result(s, (const Hydac__V1__KvResult *)r->message);
    /* A failure closes the connection or finds it closing: on_close comes either way. */
    if (hd_conn_send(s->conn, r->type, r->message, r->payload) == HD_E_NOMEM)
        hd_session_break_off(s, &no_memory);
    else if (r->type == HD_FRAME_STEP_RESULT)
        hd_busy_poll_expect(&s->busy_poll);
}

/* ---- Leaving ----*/

void hd_session_drained(struct hd_session *s, const char *why)
{
    void (*drained)(void *arg) = s->drained;
    if (!drained)
        return;
    hd_info(s->o.log, "drained", "reason=\"%s\"", why);
    s->drained = NULL;
    uv_timer_stop(&s->drain_timer);
    drained(s->drained_arg);
}

static void on_drain_timer(uv_timer_t *timer)
{
    hd_session_drained(timer->data, "worker.drain_ms have passed");
}

void hd_session_drain(struct hd_session *s, void (*drained)(void *arg), void *arg)
{
    Hydac__V1__Drain m = HYDAC__V1__DRAIN__INIT;
    uint64_t limit_ms = s->o.config->drain_ms;
    s->drained = drained;
    s->drained_arg = arg;
    if (s->state != JOINED || limit_ms == 0) {
        hd_session_drained(s, s->state == JOINED ? "worker.drain_ms is 0" : "no leader is joined");
        return;
    }
    hd_info(s->o.log, "draining", "limit_ms=%" PRIu64, limit_ms);
    uv_timer_start(&s->drain_timer, on_drain_timer, limit_ms, 0);
    /* What keeps it from being sent also ends the connection. */
    hd_conn_send(s->conn, HD_FRAME_DRAIN, &m.base, NULL);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct hd_session *s = handle->data;
    s->handles--;
    maybe_closed(s);
}

void hd_session_close(struct hd_session *s, void (*closed)(void *arg), void *arg)
{
    s->closing = true;
    s->drained = NULL;
    s->closed = closed;
    s->closed_arg = arg;
    if (s->state == RESOLVING)
        hd_resolve_cancel(&s->dial.resolve);
    else if (s->conn)
        hd_conn_close(s->conn, false);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->drain_timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->grace_timer, on_handle_closed);
    hd_busy_poll_close(&s->busy_poll, on_handle_closed, s);
}
