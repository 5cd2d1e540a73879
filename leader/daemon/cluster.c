/* cluster.c - the workers' connections: listen, greet, frames in.
 *
 * Happy path: accept -> Hello (within HD_GREETING_US, with small limits) -> the core gives a slot
 * -> frames of that slot become events. Failure modes: 1. no Hello in time, or another frame first:
 * cut off; 2. a frame that makes no sense, or bytes that are none: the core is told that the slot
 * broke the rules; 3. the connection ends: the core is told at once; 4. too many strangers: an
 * address that connects too often is turned away before anything is allocated, and of those that
 * have no slot yet the oldest makes room (common/net/bounds.h). A peer that the core has written
 * off is ignored until its connection is gone. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void broke_rules(struct hd_peer *p, const char *why)
{
    hd_warn(p->leader->o.log, "worker_broke_rules", "slot=%d address=%s reason=\"%s\"", p->slot,
            hd_conn_peer(p->conn), why);
    if (p->slot < 0) {
        p->forgotten = true;
        hd_conn_close(p->conn, false);
        return;
    }
    struct hd_event ev = {.type = HD_EV_BROKE_RULES, .slot = (unsigned)p->slot};
    hd_leader_event(p->leader, &ev);
}

/* ---- Frames ----*/

static void on_hello(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Hello *m = hydac__v1__hello__unpack(NULL, f->body_len, f->body);
    if (!m || m->name[0] == '\0' || strlen(m->name) > 63) {
        broke_rules(p, "Hello cannot be read");
        goto out;
    }
    p->greeted = true;
    p->log_limit = m->log_limit_bytes;
    struct hd_event ev = {
        .type = HD_EV_HELLO,
        .conn = p->id,
        .hello = {.name = m->name,
                  .model_digest = m->model_digest,
                  .log_limit_bytes = m->log_limit_bytes,
                  .threads = m->threads,
                  .memory_bytes = m->memory_bytes,
                  .multiply_adds_per_s = m->multiply_adds_per_s},
    };
    hd_info(p->leader->o.log, "hello",
            "worker=%s address=%s model=%s software=\"%s\" threads=%u memory_bytes=%" PRIu64
            " multiply_adds_per_s=%" PRIu64,
            m->name, hd_conn_peer(p->conn), m->model_name, m->software, m->threads, m->memory_bytes,
            m->multiply_adds_per_s);
    hd_leader_event(p->leader, &ev);
out:
    if (m)
        hydac__v1__hello__free_unpacked(m, NULL);
}

static void on_ack(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__HeartbeatAck *m = hydac__v1__heartbeat_ack__unpack(NULL, f->body_len, f->body);
    if (!m) {
        broke_rules(p, "HeartbeatAck cannot be read");
        return;
    }
    p->seen = (struct hd_peer_totals){.kv_bytes = m->kv_bytes,
                                      .log_bytes = m->log_bytes,
                                      .weight_bytes = m->weight_bytes,
                                      .rss_bytes = m->rss_bytes,
                                      .busy_us = m->busy_us};
    struct hd_event ev = {
        .type = HD_EV_ACK, .slot = (unsigned)p->slot, .seq = m->seq, .sent_us = m->sent_us};
    hydac__v1__heartbeat_ack__free_unpacked(m, NULL);
    hd_leader_event(p->leader, &ev);
}

static void on_kv_result(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__KvResult *m = hydac__v1__kv_result__unpack(NULL, f->body_len, f->body);
    if (!m) {
        broke_rules(p, "KvResult cannot be read");
        return;
    }
    struct hd_event ev = {
        .type = HD_EV_KV_RESULT,
        .slot = (unsigned)p->slot,
        .kv = {.epoch = m->epoch,
               .round = m->round,
               .rows_rebuilt = m->rows_rebuilt,
               .rows_kept = m->rows_kept,
               .positions = m->positions,
               .bytes = m->bytes,
               .weights_us = m->weights_us,
               .rebuild_us = m->rebuild_us,
               .flops = m->flops,
               .digest = m->digest,
               .heads = m->heads,
               .n_heads = m->n_heads,
               .ready = m->ready_heads,
               .n_ready = m->n_ready_heads,
               .gaps = m->gaps,
               .n_gaps = m->n_gaps},
    };
    hd_info(p->leader->o.log, "kv_result",
            "slot=%d epoch=%" PRIu64 " round=%" PRIu64 " heads=%zu ready=%zu rows_rebuilt=%" PRIu64
            " rows_kept=%" PRIu64 " weights_us=%" PRIu64 " rebuild_us=%" PRIu64
            " digest=%016" PRIx64,
            p->slot, m->epoch, m->round, m->n_heads, m->n_ready_heads, m->rows_rebuilt,
            m->rows_kept, m->weights_us, m->rebuild_us, m->digest);
    if (m->round == 0 && m->n_heads > 0)
        hd_advice_loaded(p->leader, p, m->weights_us);
    hd_leader_event(p->leader, &ev);
    hydac__v1__kv_result__free_unpacked(m, NULL);
}

/* Adds a result that the core expects to the half-step in hand. */
static int use_result(struct hd_peer *p, const struct hd_frame *f, const Hydac__V1__StepResult *m,
                      struct hd_error *err)
{
    struct hd_leader *l = p->leader;
    struct hd_half_result r = {
        .payload = f->payload,
        .payload_len = f->payload_len,
        .wide = m->wide,
        .n_wide = m->n_wide,
        .bad = m->bad,
        .n_bad = m->n_bad,
    };
    uint32_t *blocks = NULL;
    if (m->half == HYDAC__V1__HALF__LOGITS) {
        int rc =
            hd_owned_units(hd_core_plan(l->core), p, HD_UNIT_VOCAB, &blocks, &r.n_vocab_blocks);
        if (rc < 0)
            return hd_fail(err, rc, "no memory for a list of vocab blocks");
        r.vocab_blocks = blocks;
    }
    int rc = hd_engine_use_result(l->engine, &r, err);
    free(blocks);
    return rc;
}

static void on_step_result(struct hd_peer *p, const struct hd_frame *f)
{
    struct hd_leader *l = p->leader;
    unsigned slot = (unsigned)p->slot;
    struct hd_error err = {0};
    Hydac__V1__StepResult *m = hydac__v1__step_result__unpack(NULL, f->body_len, f->body);
    if (!m) {
        broke_rules(p, "StepResult cannot be read");
        return;
    }
    struct hd_event ev = {.type = HD_EV_RESULT,
                          .slot = slot,
                          .epoch = m->epoch,
                          .step = m->step,
                          .half = (enum hd_half)m->half,
                          .layer = m->layer,
                          .bytes = f->payload_len + (l->payload ? hd_shared_len(l->payload) : 0),
                          .compute_us = m->compute_us,
                          .flops = m->flops};
    bool wanted = hd_core_expects(l->core, slot, m->epoch, m->step, ev.half, m->layer);
    if (wanted && use_result(p, f, m, &err) < 0)
        broke_rules(p, err.text);
    else
        hd_leader_event(l, &ev);
    hydac__v1__step_result__free_unpacked(m, NULL);
}

static void on_stats(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Stats *m = hydac__v1__stats__unpack(NULL, f->body_len, f->body);
    if (!m) {
        broke_rules(p, "Stats cannot be read");
        return;
    }
    hd_status_stats(p->leader, p, m);
    hydac__v1__stats__free_unpacked(m, NULL);
}

static void on_log_state(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__LogState *m = hydac__v1__log_state__unpack(NULL, f->body_len, f->body);
    if (!m) {
        broke_rules(p, "LogState cannot be read");
        return;
    }
    hd_info(p->leader->o.log, "log_state", "slot=%d sequence=%u complete=%d", p->slot, m->sequence,
            m->complete);
    struct hd_event ev = {.type = HD_EV_LOG_STATE,
                          .slot = (unsigned)p->slot,
                          .sequence = m->sequence,
                          .complete = m->complete};
    hydac__v1__log_state__free_unpacked(m, NULL);
    hd_leader_event(p->leader, &ev);
}

static void on_fetch(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Fetch *m = hydac__v1__fetch__unpack(NULL, f->body_len, f->body);
    if (!m) {
        broke_rules(p, "Fetch cannot be read");
        return;
    }
    struct hd_event ev = {.type = HD_EV_FETCH,
                          .slot = (unsigned)p->slot,
                          .fetch = {.id = m->id,
                                    .sequence = m->sequence,
                                    .layer = m->layer,
                                    .position = m->position,
                                    .count = m->count}};
    hydac__v1__fetch__free_unpacked(m, NULL);
    hd_leader_event(p->leader, &ev);
}

/* Rows for another worker: passed on as they are, if it waits for them. */
static void on_rows(struct hd_peer *p, const struct hd_frame *f)
{
    struct hd_leader *l = p->leader;
    Hydac__V1__Rows *m = hydac__v1__rows__unpack(NULL, f->body_len, f->body);
    if (!m || f->payload_len != m->count * (uint64_t)hd_model_row_bytes(l->model, l->activations)) {
        broke_rules(p, m ? "Rows of another length than they count" : "Rows cannot be read");
        goto out;
    }
    struct hd_event ev = {.type = HD_EV_ROWS,
                          .slot = (unsigned)p->slot,
                          .fetch = {.id = m->id, .requester = m->requester, .count = m->count}};
    if (!hd_core_expects_rows(l->core, ev.slot, &ev.fetch))
        goto out;
    l->rows = hd_shared_new(f->payload_len);
    if (!l->rows)
        ev.fetch.count = 0; /* as good as none */
    else if (f->payload_len > 0)
        memcpy(hd_shared_data(l->rows), f->payload, f->payload_len);
    hd_leader_event(l, &ev);
    hd_shared_unref(l->rows);
    l->rows = NULL;
out:
    if (m)
        hydac__v1__rows__free_unpacked(m, NULL);
}

static void on_drain(struct hd_peer *p)
{
    struct hd_event ev = {
        .type = HD_EV_DRAIN, .slot = (unsigned)p->slot, .on = true, .leaving = true};
    hd_info(p->leader->o.log, "worker_leaves", "slot=%d", p->slot);
    hd_leader_event(p->leader, &ev);
}

static void on_error(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Error *m = hydac__v1__error__unpack(NULL, f->body_len, f->body);
    broke_rules(p, m ? m->text : "gave up without a reason");
    if (m)
        hydac__v1__error__free_unpacked(m, NULL);
}

static void dispatch(struct hd_peer *p, const struct hd_frame *f)
{
    if (p->slot < 0) {
        if (f->type == HD_FRAME_HELLO && !p->greeted)
            on_hello(p, f);
        else
            broke_rules(p, "a worker must say Hello first, once");
        return;
    }
    switch (f->type) {
    case HD_FRAME_HEARTBEAT_ACK:
        on_ack(p, f);
        break;
    case HD_FRAME_KV_RESULT:
        on_kv_result(p, f);
        break;
    case HD_FRAME_STEP_RESULT:
        on_step_result(p, f);
        break;
    case HD_FRAME_STATS:
        on_stats(p, f);
        break;
    case HD_FRAME_LOG_STATE:
        on_log_state(p, f);
        break;
    case HD_FRAME_FETCH:
        on_fetch(p, f);
        break;
    case HD_FRAME_ROWS:
        on_rows(p, f);
        break;
    case HD_FRAME_DRAIN:
        on_drain(p);
        break;
    case HD_FRAME_ERROR:
        on_error(p, f);
        break;
    default:
        broke_rules(p, "a frame that only a leader sends");
    }
}

/* ---- Connections ----*/

static void on_frame(void *arg, struct hd_conn *c, struct hd_frame *f)
{
    struct hd_peer *p = arg;
    if (!p->forgotten && !p->leader->closing)
        dispatch(p, f);
    hd_frame_clear(f);
}

static void on_version(void *arg, struct hd_conn *c, unsigned version, const char *why)
{
    struct hd_peer *p = arg;
    hd_warn(p->leader->o.log, "worker_refused", "address=%s reason=\"%s\"", hd_conn_peer(c), why);
    hd_send_reject(p, HD_REJECT_VERSION, why);
}

/* Bytes that are no frame, or a peer that does not read: unlike a machine that died. */
static bool is_own_doing(int code)
{
    return code == HD_E_PROTO || code == HD_E_LIMIT;
}

static void on_close(void *arg, struct hd_conn *c, int code, const char *why)
{
    struct hd_peer *p = arg;
    struct hd_leader *l = p->leader;
    struct hd_peer **at = &l->peers;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    enum hd_log_level level = code == 0 ? HD_LOG_DEBUG : HD_LOG_INFO;
    if (code == HD_E_PROTO || code == HD_E_LIMIT) /* a person has to do something */
        level = HD_LOG_WARN;
    hd_log_write(l->o.log, level, "disconnected", "slot=%d address=%s reason=\"%s\"", p->slot,
                 hd_conn_peer(c), why);
    hd_status_peer_gone(l, p);
    bool known = p->slot >= 0 && !p->forgotten;
    if (known)
        l->slots[p->slot] = NULL;
    if (known && !l->closing) {
        struct hd_event ev = {.type = is_own_doing(code) ? HD_EV_BROKE_RULES : HD_EV_CLOSED,
                              .slot = (unsigned)p->slot};
        hd_leader_event(l, &ev);
    }
    free(p);
    hd_leader_maybe_closed(l);
}

static bool admit(void *arg, const struct sockaddr *addr)
{
    struct hd_leader *l = ((struct hd_peer *)arg)->leader;
    if (hd_door_admit(&l->door, addr, hd_now_us()))
        return true;
    l->strangers.turned_away++;
    hd_address_text(addr, l->strangers.last);
    return false;
}

/* One line a second at most, however many they are. */
static void tell_of_strangers(struct hd_leader *l, uint64_t now_us)
{
    struct hd_strangers *s = &l->strangers;
    if (s->turned_away == 0 || now_us - s->told_us < 1000000)
        return;
    hd_warn(l->o.log, "turned_away",
            "connections=%" PRIu64 " last_address=%s reason=\"one address may connect %d times at "
            "once and %d times a second\"",
            s->turned_away, s->last, HD_DOOR_BURST, HD_DOOR_PER_SECOND);
    s->turned_away = 0;
    s->told_us = now_us;
}

/* Too many without a slot: the oldest of them goes. */
static void make_room(struct hd_leader *l)
{
    struct hd_peer *oldest = NULL;
    unsigned n = 0;
    for (struct hd_peer *p = l->peers; p; p = p->next)
        if (p->slot < 0 && !p->dropped) {
            oldest = p;
            n++;
        }
    if (n <= HD_MAX_HALF_OPEN)
        return;
    hd_warn(l->o.log, "too_many_strangers", "dropped=%s limit=%d", hd_conn_peer(oldest->conn),
            HD_MAX_HALF_OPEN);
    oldest->forgotten = oldest->dropped = true;
    hd_conn_drop(oldest->conn);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct hd_leader *l = listener->data;
    struct hd_error err = {0};
    if (status < 0 || l->closing)
        return;
    struct hd_peer *p = calloc(1, sizeof *p);
    if (!p) {
        hd_errlog(l->o.log, "accept_failed", "reason=\"out of memory\"");
        return;
    }
    *p = (struct hd_peer){.leader = l, .id = ++l->next_peer, .slot = -1, .since_us = hd_now_us()};
    struct hd_conn_options o = {
        .events = {.on_frame = on_frame, .on_close = on_close, .on_version = on_version},
        .arg = p,
        .limits = {.max_body = HD_FRAME_GREETING_BODY, .max_payload = 0},
        .max_queued = HD_MAX_QUEUED,
        .tls = l->tls,
        .admit = admit,
    };
    int rc = hd_conn_accept(&p->conn, listener, &o, &err);
    if (rc != 0) {
        if (rc < 0)
            hd_warn(l->o.log, "accept_failed", "reason=\"%s\"", err.text);
        free(p);
        return;
    }
    p->next = l->peers;
    l->peers = p;
    make_room(l);
}

int hd_cluster_listen(struct hd_leader *l, const struct sockaddr *addr, struct hd_error *err)
{
    int rc = uv_tcp_init(l->o.loop, &l->listener);
    if (rc < 0)
        return hd_fail(err, HD_E_IO, "cannot make a socket: %s", uv_strerror(rc));
    l->handles++;
    l->listener.data = l;
    rc = uv_tcp_bind(&l->listener, addr, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->listener, 128, on_connection);
    if (rc < 0)
        return hd_fail(err, HD_E_IO, "cannot listen for workers on %s: %s",
                       l->o.config->cluster_listen, uv_strerror(rc));
    return 0;
}

void hd_cluster_check_greetings(struct hd_leader *l, uint64_t now_us)
{
    for (struct hd_peer *p = l->peers; p; p = p->next)
        if (p->slot < 0 && !p->forgotten && now_us - p->since_us > HD_GREETING_US)
            broke_rules(p, "said no Hello in time");
    tell_of_strangers(l, now_us);
}

void hd_cluster_close(struct hd_leader *l)
{
    for (struct hd_peer *p = l->peers; p; p = p->next) {
        if (!p->forgotten)
            hd_send_reject(p, HD_REJECT_SHUTDOWN, "the leader is stopping");
        hd_conn_close(p->conn, true);
    }
}
