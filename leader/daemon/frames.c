/* frames.c - what workers send: unpacked, and made an event for the core. A frame that cannot be
 * read, or that makes no sense, breaks the rules. */
#include "leader/daemon/leader_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tell_broken_rules(const struct hd_peer *p, const char *why)
{
    hd_warn(p->leader->o.log, "worker_broke_rules", "slot=%d address=%s reason=\"%s\"", p->slot,
            hd_conn_peer(p->conn), why);
}

void hd_peer_broke_rules(struct hd_peer *p, const char *why)
{
    tell_broken_rules(p, why);
    if (p->slot < 0) {
        p->forgotten = true;
        hd_conn_close(p->conn, false);
        return;
    }
    struct hd_event ev = {.type = HD_EV_BROKE_RULES, .slot = (unsigned)p->slot};
    hd_leader_event(p->leader, &ev);
}

/* For the status: of what a peer sends only what is printable goes there. */
static void keep_software(struct hd_peer *p, const char *software)
{
    snprintf(p->software, sizeof p->software, "%s", software);
    for (char *c = p->software; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* A worker of an older release would send what is not expected here, again and again. */
static void refuse_wire(struct hd_peer *p, const char *name)
{
    char why[256];
    snprintf(why, sizeof why,
             "this cluster's compute.wire is %s, which %.64s of worker %s does not know; update "
             "it, or set exact on the leader",
             hd_wires[p->leader->wire], p->software, name);
    hd_peer_refuse(p, HD_REJECT_VERSION, why);
}

static void on_hello(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Hello *m = hydac__v1__hello__unpack(NULL, f->body_len, f->body);
    if (!m || m->name[0] == '\0' || strlen(m->name) > 63) {
        hd_peer_broke_rules(p, "Hello cannot be read");
        goto out;
    }
    p->greeted = true;
    keep_software(p, m->software);
    if (p->leader->changed[0]) {
        hd_peer_refuse(p, HD_REJECT_SHUTDOWN, p->leader->changed);
        goto out;
    }
    if (hd_leaders_standby(p->leader)) {
        hd_leaders_refused(p->leader);
        hd_peer_refuse(p, HD_REJECT_STANDBY, hd_leaders_standby(p->leader));
        goto out;
    }
    if (p->leader->wire != HD_WIRE_EXACT && !(m->wires >> p->leader->wire & 1)) {
        refuse_wire(p, m->name);
        goto out;
    }
    p->kept = m->kept;
    hd_leaders_heard(p->leader, m->term);
    struct hd_event ev = {
        .type = HD_EV_HELLO,
        .hello = {.conn = p->id,
                  .name = m->name,
                  .model_digest = m->model_digest,
                  .log_limit_bytes = m->log_limit_bytes,
                  .threads = m->threads,
                  .memory_bytes = m->memory_bytes,
                  .multiply_adds_per_s = m->multiply_adds_per_s,
                  .epoch = m->epoch,
                  .kept = m->kept},
    };
    hd_info(p->leader->o.log, "hello",
            "worker=%s address=%s model=%s software=\"%s\" threads=%u memory_bytes=%" PRIu64
            " multiply_adds_per_s=%" PRIu64,
            m->name, hd_conn_peer(p->conn), m->model_name, p->software, m->threads, m->memory_bytes,
            m->multiply_adds_per_s);
    hd_leader_event(p->leader, &ev);
    hd_follow_serve(p->leader); /* who asks for an answer when this one serves finds it */
out:
    if (m)
        hydac__v1__hello__free_unpacked(m, NULL);
}

static void on_ack(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__HeartbeatAck *m = hydac__v1__heartbeat_ack__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "HeartbeatAck cannot be read");
        return;
    }
    hd_beats_read(&p->seen, m);
    struct hd_event ev = {
        .type = HD_EV_ACK,
        .slot = (unsigned)p->slot,
        .ack = {.seq = m->seq, .sent_us = m->sent_us},
    };
    hydac__v1__heartbeat_ack__free_unpacked(m, NULL);
    hd_leader_event(p->leader, &ev);
}

static void on_kv_result(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__KvResult *m = hydac__v1__kv_result__unpack(NULL, f->body_len, f->body);
    struct hd_kv_digest *digests = m ? calloc(m->n_digests + 1, sizeof *digests) : NULL;
    if (!digests) {
        hd_peer_broke_rules(p, m ? "no memory for a KvResult" : "KvResult cannot be read");
        goto out;
    }
    for (size_t i = 0; i < m->n_digests; i++)
        digests[i] = (struct hd_kv_digest){m->digests[i]->sequence, m->digests[i]->head,
                                           m->digests[i]->digest};
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
               .heads = m->heads,
               .n_heads = m->n_heads,
               .ready = m->ready_heads,
               .n_ready = m->n_ready_heads,
               .gaps = m->gaps,
               .n_gaps = m->n_gaps,
               .digests = digests,
               .n_digests = m->n_digests},
    };
    hd_info(p->leader->o.log, "kv_result",
            "slot=%d epoch=%" PRIu64 " round=%" PRIu64 " heads=%zu ready=%zu rows_rebuilt=%" PRIu64
            " rows_kept=%" PRIu64 " weights_us=%" PRIu64 " rebuild_us=%" PRIu64 " digests=%zu",
            p->slot, m->epoch, m->round, m->n_heads, m->n_ready_heads, m->rows_rebuilt,
            m->rows_kept, m->weights_us, m->rebuild_us, m->n_digests);
    if (m->round == 0 && m->n_heads > 0)
        hd_advice_loaded(p->leader, p, m->weights_us);
    hd_watch_confirmed(p, m);
    hd_leader_event(p->leader, &ev);
out:
    if (m)
        hydac__v1__kv_result__free_unpacked(m, NULL);
    free(digests);
}

static void count_received(struct hd_peer *p, const struct hd_frame *f, int half)
{
    struct hd_traffic_frame counted = {
        .type = f->type,
        .half = half,
        .way = HD_TRAFFIC_UP,
        .bytes = HD_FRAME_HEADER + (uint64_t)f->body_len + f->payload_len,
    };
    hd_traffic_count(&p->leader->traffic, &counted);
}

/* Adds a result to its group's half-step in hand. */
static int add_up(struct hd_peer *p, const struct hd_frame *f, const Hydac__V1__StepResult *m,
                  struct hd_error *err)
{
    struct hd_leader *l = p->leader;
    struct hd_half_result r = {
        .group = m->group,
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

static uint64_t payload_bytes(const struct hd_leader *l, uint32_t group)
{
    const struct hd_shared *bytes = group < HD_MAX_GROUPS ? l->payloads[group].bytes : NULL;
    return bytes ? hd_shared_len(bytes) : 0;
}

/* A StepResult, while the core looks at it. */
struct answer {
    struct hd_peer *p;
    const struct hd_frame *f;
    const Hydac__V1__StepResult *m;
};

/* hd_result_info.use */
static int use_result(void *arg, uint64_t audit, uint64_t *digest)
{
    const struct answer *a = arg;
    struct hd_error err = {0};
    int rc = add_up(a->p, a->f, a->m, &err);
    if (rc < 0)
        tell_broken_rules(a->p, err.text);
    else
        *digest = hd_audit_answer(a->p, a->f, a->m, audit);
    return rc;
}

static void on_step_result(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__StepResult *m = hydac__v1__step_result__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "StepResult cannot be read");
        return;
    }
    struct answer a = {.p = p, .f = f, .m = m};
    struct hd_event ev = {
        .type = HD_EV_RESULT,
        .slot = (unsigned)p->slot,
        .result = {.epoch = m->epoch,
                   .step = m->step,
                   .half = (enum hd_half)m->half,
                   .layer = m->layer,
                   .group = m->group,
                   .bytes = f->payload_len + payload_bytes(p->leader, m->group),
                   .compute_us = m->compute_us,
                   .flops = m->flops,
                   .use = use_result,
                   .arg = &a},
    };
    count_received(p, f, (int)m->half);
    hd_leader_event(p->leader, &ev);
    hydac__v1__step_result__free_unpacked(m, NULL);
}

static void on_stats(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Stats *m = hydac__v1__stats__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "Stats cannot be read");
        return;
    }
    hd_status_stats(p->leader, p, m);
    hydac__v1__stats__free_unpacked(m, NULL);
}

static void on_log_state(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__LogState *m = hydac__v1__log_state__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "LogState cannot be read");
        return;
    }
    hd_info(p->leader->o.log, "log_state", "slot=%d sequence=%u complete=%d", p->slot, m->sequence,
            m->complete);
    struct hd_event ev = {
        .type = HD_EV_LOG_STATE,
        .slot = (unsigned)p->slot,
        .log = {.sequence = m->sequence, .complete = m->complete, .again = m->again}};
    hydac__v1__log_state__free_unpacked(m, NULL);
    hd_leader_event(p->leader, &ev);
}

static void on_fetch(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Fetch *m = hydac__v1__fetch__unpack(NULL, f->body_len, f->body);
    if (!m) {
        hd_peer_broke_rules(p, "Fetch cannot be read");
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
        hd_peer_broke_rules(p,
                            m ? "Rows of another length than they count" : "Rows cannot be read");
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
        .type = HD_EV_DRAIN, .slot = (unsigned)p->slot, .drain = {.on = true, .leaving = true}};
    hd_info(p->leader->o.log, "worker_leaves", "slot=%d", p->slot);
    hd_leader_event(p->leader, &ev);
}

static void on_error(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Error *m = hydac__v1__error__unpack(NULL, f->body_len, f->body);
    struct hd_event ev = {.type = HD_EV_GAVE_UP, .slot = (unsigned)p->slot};
    hd_warn(p->leader->o.log, "worker_gave_up", "slot=%d address=%s reason=\"%s\"", p->slot,
            hd_conn_peer(p->conn), m ? m->text : "it gave none");
    hd_leader_event(p->leader, &ev);
    if (m)
        hydac__v1__error__free_unpacked(m, NULL);
}

void hd_peer_frame(struct hd_peer *p, const struct hd_frame *f)
{
    if (p->slot < 0) {
        if (f->type == HD_FRAME_HELLO && !p->greeted)
            on_hello(p, f);
        else if (f->type == HD_FRAME_MODEL_REQUEST && !p->greeted)
            hd_peer_model_request(p);
        else if (f->type == HD_FRAME_LEADER_STATE && !p->greeted && p->leader->role.n > 0)
            hd_leaders_asked(p, f);
        else if (f->type == HD_FRAME_RECORDS && !p->greeted && p->leader->role.n > 0)
            hd_follow_told(p, f);
        else
            hd_peer_broke_rules(p, "a worker must say Hello first, once");
        return;
    }
    if (f->type != HD_FRAME_STEP_RESULT) /* that one when its half is known */
        count_received(p, f, 0);
    switch (f->type) {
    case HD_FRAME_HEARTBEAT_ACK:
        on_ack(p, f);
        break;
    case HD_FRAME_KV_RESULT:
        on_kv_result(p, f);
        break;
    case HD_FRAME_STEP_RESULT:
        hd_busy_poll_came(&p->leader->busy_poll);
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
    case HD_FRAME_WEIGHTS_REQUEST:
        hd_peer_weights_request(p, f);
        break;
    case HD_FRAME_DRAIN:
        on_drain(p);
        break;
    case HD_FRAME_SELF_TEST_RESULT:
        hd_peer_self_test_result(p, f);
        break;
    case HD_FRAME_AUDIT_RESULT:
        hd_peer_audit_result(p, f);
        break;
    case HD_FRAME_DAMAGE:
        hd_peer_damage(p, f);
        break;
    case HD_FRAME_SEQ_TOKENS:
        hd_peer_seq_tokens(p, f);
        break;
    case HD_FRAME_KEPT:
        hd_peer_kept(p, f);
        break;
    case HD_FRAME_ERROR:
        on_error(p, f);
        break;
    default:
        hd_peer_broke_rules(p, "a frame that only a leader sends");
    }
}
