/* frames.c - what the leader sends: unpacked, checked, answered or handed to the crew. */
#include "common/util/clock.h"
#include "worker/link/session_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int hd_session_hello(struct hd_session *s)
{
    Hydac__V1__Hello m = HYDAC__V1__HELLO__INIT;
    const struct hd_worker_config *c = s->o.config;
    m.name = (char *)c->name;
    m.model_digest = s->o.model->digest;
    m.model_name = (char *)s->o.model->name;
    m.software = (char *)"hydac " HYDAC_VERSION;
    m.threads = s->o.threads;
    m.multiply_adds_per_s = s->o.speed;
    m.memory_bytes = s->o.memory;
    if (c->memory_limit > 0 && c->memory_limit < m.memory_bytes)
        m.memory_bytes = c->memory_limit;
    m.log_limit_bytes = c->log_keep ? c->log_limit : 0;
    m.pid = (uint32_t)getpid();
    m.wires = 1u << HD_WIRE_EXACT | 1u << HD_WIRE_COMPACT;
    m.term = s->term;
    m.epoch = s->epoch;
    m.kept = s->kept;
    return hd_conn_send(s->conn, HD_FRAME_HELLO, &m.base, NULL);
}

/* ---- One handler for each type of frame: 0, or the error that ends the connection. `m` is the
 * unpacked message; who keeps it or the frame sets the pointer, or the frame, to nothing. ----*/

struct incoming {
    struct hd_session *s;
    ProtobufCMessage *m;
    struct hd_frame *f;
};

static int submit(struct incoming *in, struct hd_job *job, struct hd_error *err)
{
    job->session = in->s->number;
    int rc = hd_crew_submit(in->s->crew, job);
    return rc < 0 ? hd_fail(err, rc, "the worker cannot take more work (%s)", hd_error_name(rc))
                  : 0;
}

/* It is of no use to ask it again before the others. */
static void leave_old_leader(struct hd_session *s, uint64_t term)
{
    hd_warn(s->o.log, "old_leader",
            "leader=%s term=%" PRIu64 " reason=\"term %" PRIu64 " has begun\"",
            hd_conn_peer(s->conn), term, s->term);
    hd_dial_leave(&s->dial);
    hd_session_set(s, ENDING);
    hd_conn_close(s->conn, false);
}

static int on_welcome(struct incoming *in, struct hd_error *err)
{
    struct hd_session *s = in->s;
    const Hydac__V1__Welcome *m = (const Hydac__V1__Welcome *)in->m;
    int rc = hd_check_welcome(&s->check, m, err);
    if (rc < 0)
        return rc;
    if (m->term < s->term) {
        leave_old_leader(s, m->term);
        return 0;
    }
    s->term = m->term;
    s->worked = true;
    uv_timer_stop(&s->grace_timer);
    s->check.sizes = (struct hd_node_sizes){
        .kv_type = (enum hd_kv_type)m->kv_type,
        .activations = (enum hd_activations)m->activations,
        .wire = (enum hd_wire)m->wire,
        .max_rows = m->max_rows,
        .max_positions = m->max_positions,
        .max_sequences = m->max_sequences,
        .audit_every = m->audit_every,
        .scrub_s = m->scrub_s,
    };
    s->check.n_digests = 0;
    s->number++;
    s->epoch = m->epoch;
    hd_dial_joined(&s->dial);
    hd_conn_set_limits(s->conn, hd_check_limits(&s->check));
    hd_session_set(s, JOINED);
    hd_info(s->o.log, "joined", "leader=%s worker_id=%u epoch=%" PRIu64, hd_conn_peer(s->conn),
            m->worker_id, m->epoch);
    struct hd_job job = {
        .type = HD_JOB_JOIN, .epoch = m->epoch, .sizes = s->check.sizes, .kept = s->kept};
    s->kept = false;
    return submit(in, &job, err);
}

static int on_reject(struct incoming *in, struct hd_error *err)
{
    struct hd_session *s = in->s;
    const Hydac__V1__Reject *m = (const Hydac__V1__Reject *)in->m;
    hd_errlog(s->o.log, "refused", "leader=%s code=%u reason=\"%s\"", hd_conn_peer(s->conn),
              m->code, m->reason);
    if (m->code != HD_REJECT_STANDBY) /* else who serves is in the list, or will soon be ready */
        hd_dial_pause_longest(&s->dial);
    s->refused = m->code == HD_REJECT_VERSION || m->code == HD_REJECT_MODEL;
    s->forgets = m->code == HD_REJECT_WRONG;
    hd_session_set(s, ENDING);
    hd_conn_close(s->conn, false);
    if (s->refused)
        s->o.refused(s->o.arg, m->reason);
    return 0;
}

static int on_heartbeat(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__Heartbeat *m = (const Hydac__V1__Heartbeat *)in->m;
    Hydac__V1__HeartbeatAck ack = HYDAC__V1__HEARTBEAT_ACK__INIT;
    struct hd_crew_totals t;
    hd_crew_totals(in->s->crew, &t);
    ack.seq = m->seq;
    ack.sent_us = m->sent_us;
    ack.steps = t.steps;
    ack.busy_us = t.busy_us;
    ack.kv_bytes = t.kv_bytes;
    ack.log_bytes = t.log_bytes;
    ack.weight_bytes = t.weight_bytes;
    ack.rss_bytes = hd_rss_bytes();
    ack.audits = t.audits;
    ack.scrub_rounds = t.scrub_rounds;
    ack.scrub_clean_us = t.scrub_clean_began_us ? hd_now_us() - t.scrub_clean_began_us : 0;
    ack.integrity_us = t.integrity_us;
    /* What keeps it from being sent also ends the connection. */
    hd_conn_send(in->s->conn, HD_FRAME_HEARTBEAT_ACK, &ack.base, NULL);
    return 0;
}

/* Hands the message over to the crew, as it is. */
static int submit_message(struct incoming *in, enum hd_job_type type, struct hd_error *err)
{
    struct hd_job job = {.type = type, .message = in->m};
    in->m = NULL;
    return submit(in, &job, err);
}

static int on_assign(struct incoming *in, struct hd_error *err)
{
    struct hd_session *s = in->s;
    const Hydac__V1__AssignHeads *m = (const Hydac__V1__AssignHeads *)in->m;
    int rc = hd_check_assign(&s->check, m, err);
    if (rc < 0)
        return rc;
    if (m->round != 0) /* no new epoch */
        return submit_message(in, HD_JOB_HOLD, err);
    if (m->epoch < s->epoch)
        return hd_fail(err, HD_E_PROTO, "AssignHeads: epoch %" PRIu64 " after %" PRIu64, m->epoch,
                       s->epoch);
    s->epoch = m->epoch;
    struct hd_job job = {.type = HD_JOB_ASSIGN, .epoch = m->epoch, .message = in->m};
    in->m = NULL;
    return submit(in, &job, err);
}

static int on_fill_log(struct incoming *in, struct hd_error *err)
{
    int rc = hd_check_fill(&in->s->check, (const Hydac__V1__FillLog *)in->m, err);
    return rc < 0 ? rc : submit_message(in, HD_JOB_FILL, err);
}

static int on_fetch(struct incoming *in, struct hd_error *err)
{
    int rc = hd_check_fetch(&in->s->check, (const Hydac__V1__Fetch *)in->m, err);
    return rc < 0 ? rc : submit_message(in, HD_JOB_FETCH, err);
}

static int on_rows(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__Rows *m = (const Hydac__V1__Rows *)in->m;
    int rc = hd_check_rows(&in->s->check, m, in->f->payload_len, err);
    if (rc < 0)
        return rc;
    struct hd_job job = {.type = HD_JOB_ROWS, .message = in->m, .frame = *in->f};
    in->m = NULL;
    memset(in->f, 0, sizeof *in->f);
    return submit(in, &job, err);
}

static int on_digests(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__PieceDigests *m = (const Hydac__V1__PieceDigests *)in->m;
    int rc = hd_check_digests(&in->s->check, m, in->f, err);
    if (rc < 0)
        return rc;
    in->s->check.n_digests += m->count;
    struct hd_job job = {.type = HD_JOB_DIGESTS, .message = in->m, .frame = *in->f};
    in->m = NULL;
    memset(in->f, 0, sizeof *in->f);
    return submit(in, &job, err);
}

static int on_weights(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__Weights *m = (const Hydac__V1__Weights *)in->m;
    int rc = hd_check_weights(&in->s->check, m, in->f->payload_len, err);
    if (rc < 0)
        return rc;
    struct hd_job job = {.type = HD_JOB_WEIGHTS, .message = in->m, .frame = *in->f};
    in->m = NULL;
    memset(in->f, 0, sizeof *in->f);
    return submit(in, &job, err);
}

static int on_step(struct incoming *in, struct hd_error *err)
{
    struct hd_session *s = in->s;
    const Hydac__V1__Step *m = (const Hydac__V1__Step *)in->m;
    int rc = hd_check_step(&s->check, m, in->f->payload_len, err);
    if (rc < 0)
        return rc;
    if (m->epoch > s->epoch)
        return hd_fail(err, HD_E_PROTO, "Step: epoch %" PRIu64 " was never announced", m->epoch);
    hd_busy_poll_came(&s->busy_poll);
    struct hd_job job = {.type = HD_JOB_STEP, .epoch = m->epoch, .message = in->m, .frame = *in->f};
    in->m = NULL;
    memset(in->f, 0, sizeof *in->f);
    return submit(in, &job, err);
}

static int on_audit(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__Audit *m = (const Hydac__V1__Audit *)in->m;
    int rc = hd_check_audit(&in->s->check, m, in->f->payload_len, err);
    if (rc < 0)
        return rc;
    struct hd_job job = {.type = HD_JOB_AUDIT, .message = in->m, .frame = *in->f};
    in->m = NULL;
    memset(in->f, 0, sizeof *in->f);
    return submit(in, &job, err);
}

static int on_self_test(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__SelfTest *m = (const Hydac__V1__SelfTest *)in->m;
    struct hd_job job = {.type = HD_JOB_SELF_TEST, .id = m->seed};
    return submit(in, &job, err);
}

static int drop_sequence(struct incoming *in, struct hd_job job, struct hd_error *err)
{
    int rc = hd_check_sequence(&in->s->check, job.sequence, err);
    if (rc == 0)
        rc = hd_check_share(&in->s->check, job.sequence, job.share, err);
    job.type = HD_JOB_DROP;
    return rc < 0 ? rc : submit(in, &job, err);
}

static int on_seq_open(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__SequenceOpen *m = (const Hydac__V1__SequenceOpen *)in->m;
    if (m->max_positions > in->s->check.sizes.max_positions)
        return hd_fail(err, HD_E_PROTO, "SequenceOpen: %u positions, Welcome allowed %u",
                       m->max_positions, in->s->check.sizes.max_positions);
    struct hd_job job = {
        .sequence = m->sequence, .share = {m->parent, m->shared}, .scope = m->scope};
    return drop_sequence(in, job, err);
}

static int on_seq_close(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__SequenceClose *m = (const Hydac__V1__SequenceClose *)in->m;
    return drop_sequence(in, (struct hd_job){.sequence = m->sequence}, err);
}

static int on_tokens(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__SequenceTokens *m = (const Hydac__V1__SequenceTokens *)in->m;
    int rc = hd_check_tokens(&in->s->check, m, in->f, err);
    if (rc < 0)
        return rc;
    struct hd_job job = {.type = HD_JOB_TOKENS, .message = in->m, .frame = *in->f};
    in->m = NULL;
    memset(in->f, 0, sizeof *in->f);
    return submit(in, &job, err);
}

static int on_seq_cut(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__SequenceCut *m = (const Hydac__V1__SequenceCut *)in->m;
    int rc = hd_check_cut(&in->s->check, m, err);
    struct hd_job job = {.type = HD_JOB_CUT, .sequence = m->sequence, .positions = m->positions};
    return rc < 0 ? rc : submit(in, &job, err);
}

static int on_stats(struct incoming *in, struct hd_error *err)
{
    const Hydac__V1__StatsRequest *m = (const Hydac__V1__StatsRequest *)in->m;
    struct hd_job job = {.type = HD_JOB_STATS, .id = m->id};
    return submit(in, &job, err);
}

static int on_drained(struct incoming *in, struct hd_error *err)
{
    (void)err;
    hd_session_drained(in->s, "the leader has given its units to others");
    return 0;
}

static int on_error(struct incoming *in, struct hd_error *err)
{
    struct hd_session *s = in->s;
    const Hydac__V1__Error *m = (const Hydac__V1__Error *)in->m;
    s->forgets = true;
    hd_errlog(s->o.log, "leader_gave_up", "code=%u reason=\"%s\"", m->code, m->text);
    hd_session_set(s, ENDING);
    hd_conn_close(s->conn, false);
    return 0;
}

/* ---- Dispatch ----*/

static const struct {
    enum session_state state; /* in which the frame is expected */
    bool greeting_too;        /* it may also come before Welcome */
    const ProtobufCMessageDescriptor *message;
    int (*take)(struct incoming *in, struct hd_error *err);
} frames[HD_FRAME_TYPES] = {
    [HD_FRAME_WELCOME] = {GREETING, true, &hydac__v1__welcome__descriptor, on_welcome},
    [HD_FRAME_REJECT] = {JOINED, true, &hydac__v1__reject__descriptor, on_reject},
    [HD_FRAME_HEARTBEAT] = {JOINED, false, &hydac__v1__heartbeat__descriptor, on_heartbeat},
    [HD_FRAME_ASSIGN] = {JOINED, false, &hydac__v1__assign_heads__descriptor, on_assign},
    [HD_FRAME_SEQ_OPEN] = {JOINED, false, &hydac__v1__sequence_open__descriptor, on_seq_open},
    [HD_FRAME_SEQ_CLOSE] = {JOINED, false, &hydac__v1__sequence_close__descriptor, on_seq_close},
    [HD_FRAME_SEQ_CUT] = {JOINED, false, &hydac__v1__sequence_cut__descriptor, on_seq_cut},
    [HD_FRAME_SEQ_TOKENS] = {JOINED, false, &hydac__v1__sequence_tokens__descriptor, on_tokens},
    [HD_FRAME_STEP] = {JOINED, false, &hydac__v1__step__descriptor, on_step},
    [HD_FRAME_STATS_REQUEST] = {JOINED, false, &hydac__v1__stats_request__descriptor, on_stats},
    [HD_FRAME_FILL_LOG] = {JOINED, false, &hydac__v1__fill_log__descriptor, on_fill_log},
    [HD_FRAME_FETCH] = {JOINED, false, &hydac__v1__fetch__descriptor, on_fetch},
    [HD_FRAME_ROWS] = {JOINED, false, &hydac__v1__rows__descriptor, on_rows},
    [HD_FRAME_PIECE_DIGESTS] = {JOINED, false, &hydac__v1__piece_digests__descriptor, on_digests},
    [HD_FRAME_WEIGHTS] = {JOINED, false, &hydac__v1__weights__descriptor, on_weights},
    [HD_FRAME_AUDIT] = {JOINED, false, &hydac__v1__audit__descriptor, on_audit},
    [HD_FRAME_SELF_TEST] = {JOINED, false, &hydac__v1__self_test__descriptor, on_self_test},
    [HD_FRAME_DRAINED] = {JOINED, false, &hydac__v1__drained__descriptor, on_drained},
    [HD_FRAME_ERROR] = {JOINED, true, &hydac__v1__error__descriptor, on_error},
};

static bool is_expected(const struct hd_session *s, int type)
{
    if (!frames[type].take)
        return false;
    return s->state == frames[type].state || (s->state == GREETING && frames[type].greeting_too);
}

static int dispatch(struct hd_session *s, struct hd_frame *f, struct hd_error *err)
{
    if (!is_expected(s, f->type))
        return hd_fail(err, HD_E_PROTO, "a %s frame makes no sense now",
                       hd_frame_type_name(f->type));
    struct incoming in = {.s = s, .f = f};
    in.m = protobuf_c_message_unpack(frames[f->type].message, NULL, f->body_len, f->body);
    if (!in.m)
        return hd_fail(err, HD_E_PROTO, "a %s frame cannot be read", hd_frame_type_name(f->type));
    int rc = frames[f->type].take(&in, err);
    if (in.m)
        protobuf_c_message_free_unpacked(in.m, NULL);
    return rc;
}

void hd_session_frame(struct hd_session *s, struct hd_frame *f)
{
    struct hd_error err = {0};
    if (s->state != ENDING && dispatch(s, f, &err) < 0)
        hd_session_break_off(s, &err);
    hd_frame_clear(f);
}
