/* messages.c - the leader's frames. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"

#include <stdlib.h>
#include <string.h>

int hd_peer_send(struct hd_peer *p, int type, const ProtobufCMessage *m, struct hd_shared *payload)
{
    uint64_t before = hd_conn_bytes_taken(p->conn);
    int rc = hd_conn_send(p->conn, type, m, payload);
    if (p->slot < 0)
        return rc;
    struct hd_traffic_frame f = {
        .type = type,
        .half = type == HD_FRAME_STEP ? (int)((const Hydac__V1__Step *)m)->half : 0,
        .way = HD_TRAFFIC_DOWN,
        .bytes = hd_conn_bytes_taken(p->conn) - before,
    };
    hd_traffic_count(&p->leader->traffic, &f);
    return rc;
}

int hd_send_welcome(struct hd_leader *l, struct hd_peer *p)
{
    Hydac__V1__Welcome m = HYDAC__V1__WELCOME__INIT;
    const struct hd_leader_config *c = l->o.config;
    m.worker_id = (uint32_t)p->slot;
    m.epoch = hd_core_epoch(l->core);
    m.heartbeat_ms = (uint32_t)c->heartbeat_interval_ms;
    m.kv_type = (uint32_t)c->kv_type;
    m.activations = l->activations;
    m.wire = l->wire;
    m.max_rows = (uint32_t)c->max_rows;
    m.max_positions = l->context;
    m.max_sequences = hd_leader_sequences(l);
    m.scrub_s = (uint32_t)c->scrub_s;
    m.audit_every = (uint32_t)c->audit_every;
    m.term = l->role.served;
    return hd_peer_send(p, HD_FRAME_WELCOME, &m.base, NULL);
}

int hd_send_reject(struct hd_peer *p, unsigned code, const char *text)
{
    Hydac__V1__Reject m = HYDAC__V1__REJECT__INIT;
    m.code = code;
    m.reason = (char *)text;
    return hd_peer_send(p, HD_FRAME_REJECT, &m.base, NULL);
}

int hd_send_heartbeat(struct hd_peer *p, uint64_t seq)
{
    Hydac__V1__Heartbeat m = HYDAC__V1__HEARTBEAT__INIT;
    m.seq = seq;
    m.sent_us = hd_now_us();
    return hd_peer_send(p, HD_FRAME_HEARTBEAT, &m.base, NULL);
}

int hd_owned_units(const struct hd_plan *plan, const struct hd_peer *p, enum hd_unit_kind kind,
                   uint32_t **list, size_t *n)
{
    *list = malloc((plan->count[kind] + 1) * sizeof **list);
    if (!*list)
        return HD_E_NOMEM;
    *n = hd_plan_owned(plan, kind, (unsigned)p->slot, *list);
    return 0;
}

static int held_units(const struct hd_holds *h, const struct hd_peer *p, int kind, uint32_t **list,
                      size_t *n)
{
    *list = malloc((h->count[kind] + 1) * sizeof **list);
    if (!*list)
        return HD_E_NOMEM;
    *n = hd_holds_list(h, kind, (unsigned)p->slot, *list);
    return 0;
}

static int bare_heads(const struct hd_holds *h, const struct hd_peer *p, uint32_t **list, size_t *n)
{
    *list = malloc((h->count[HD_UNIT_HEAD] + 1) * sizeof **list);
    if (!*list)
        return HD_E_NOMEM;
    *n = hd_holds_bare(h, (unsigned)p->slot, *list);
    return 0;
}

/* What is needed of the sequences in the set `of`. */
struct needs {
    Hydac__V1__SequenceNeed need[HD_MAX_SEQUENCES], *refs[HD_MAX_SEQUENCES];
    size_t n;
};

/* The message borrows: `all` is not changed, though protobuf-c knows no const. */
static void list_needs(const struct hd_orders *all, uint64_t of, struct needs *out)
{
    out->n = 0;
    for (size_t i = 0; i < all->n_needs; i++) {
        const struct hd_seq_need *need = &all->needs[i];
        if (!(of >> need->sequence & 1))
            continue;
        Hydac__V1__SequenceNeed *m = &out->need[out->n];
        hydac__v1__sequence_need__init(m);
        m->sequence = need->sequence;
        m->committed = need->base;
        m->inflight = (uint32_t *)need->inflight;
        m->n_inflight = HD_MAX_GROUPS;
        m->replayed = need->replayed;
        m->parent = need->shared ? need->parent : 0;
        m->shared = need->shared;
        out->refs[out->n++] = m;
    }
}

/* 0 or HD_E_NOMEM; free_units is right in both cases. */
static int list_units(const struct hd_orders *all, const struct hd_peer *p, Hydac__V1__Units *own,
                      Hydac__V1__Units *hold)
{
    int rc = hd_owned_units(&all->plan, p, HD_UNIT_HEAD, &own->heads, &own->n_heads);
    if (rc == 0)
        rc = hd_owned_units(&all->plan, p, HD_UNIT_FFN, &own->ffn_blocks, &own->n_ffn_blocks);
    if (rc == 0)
        rc = hd_owned_units(&all->plan, p, HD_UNIT_VOCAB, &own->vocab_blocks, &own->n_vocab_blocks);
    if (rc == 0)
        rc = held_units(&all->hold, p, HD_UNIT_HEAD, &hold->heads, &hold->n_heads);
    if (rc == 0)
        rc = held_units(&all->hold, p, HD_UNIT_FFN, &hold->ffn_blocks, &hold->n_ffn_blocks);
    if (rc == 0)
        rc = held_units(&all->hold, p, HD_UNIT_VOCAB, &hold->vocab_blocks, &hold->n_vocab_blocks);
    if (rc == 0)
        rc = bare_heads(&all->hold, p, &hold->bare_heads, &hold->n_bare_heads);
    return rc;
}

static void free_units(Hydac__V1__Units *m)
{
    free(m->heads);
    free(m->ffn_blocks);
    free(m->vocab_blocks);
    free(m->bare_heads);
}

/* HD_ACT_ASSIGN, HD_ACT_PREPARE */
int hd_send_assign(struct hd_peer *p, const struct hd_action *a)
{
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    Hydac__V1__Units own = HYDAC__V1__UNITS__INIT, hold = HYDAC__V1__UNITS__INIT;
    const struct hd_orders *all = a->assign.all;
    struct needs needs;
    list_needs(all, UINT64_MAX, &needs);
    m.epoch = a->epoch;
    m.round = a->assign.round;
    m.clear = a->assign.clear;
    m.sequences = needs.refs;
    m.n_sequences = needs.n;
    m.layers_done = (uint32_t *)all->layers_done;
    m.n_layers_done = HD_MAX_GROUPS;
    m.own = &own;
    m.hold = &hold;
    int rc = list_units(all, p, &own, &hold);
    if (rc == 0)
        rc = hd_peer_send(p, HD_FRAME_ASSIGN, &m.base, NULL);
    free_units(&own);
    free_units(&hold);
    return rc;
}

/* Whose rows they are that it lacks: it has seen none of their tokens. */
static int send_tokens(struct hd_leader *l, struct hd_peer *p, const struct hd_seq_need *need)
{
    Hydac__V1__SequenceTokens m = HYDAC__V1__SEQUENCE_TOKENS__INIT;
    uint32_t n;
    const int32_t *tokens = hd_engine_tokens(l->engine, need->sequence, &n);
    if (!tokens || n <= need->shared)
        return 0;
    size_t bytes = (n - need->shared) * sizeof *tokens;
    struct hd_shared *payload = hd_shared_new(bytes);
    if (!payload)
        return HD_E_NOMEM;
    memcpy(hd_shared_data(payload), tokens + need->shared, bytes);
    m.sequence = need->sequence;
    m.parent = need->shared ? need->parent : 0;
    m.shared = need->shared;
    m.scope = hd_engine_scope(l->engine, need->sequence);
    int rc = hd_peer_send(p, HD_FRAME_SEQ_TOKENS, &m.base, payload);
    hd_shared_unref(payload);
    return rc;
}

/* HD_ACT_FILL */
int hd_send_fill(struct hd_peer *p, const struct hd_action *a)
{
    Hydac__V1__FillLog m = HYDAC__V1__FILL_LOG__INIT;
    const struct hd_orders *all = a->fill.all;
    struct needs needs;
    int rc = 0;
    for (size_t i = 0; i < all->n_needs && rc == 0; i++)
        if (a->fill.sequences >> all->needs[i].sequence & 1)
            rc = send_tokens(p->leader, p, &all->needs[i]);
    if (rc < 0)
        return rc;
    list_needs(all, a->fill.sequences, &needs);
    m.sequences = needs.refs;
    m.n_sequences = needs.n;
    m.layers_done = all->layers_done[0]; /* between two steps: 0 */
    return hd_peer_send(p, HD_FRAME_FILL_LOG, &m.base, NULL);
}

int hd_send_fetch(struct hd_peer *p, const struct hd_fetch *f)
{
    Hydac__V1__Fetch m = HYDAC__V1__FETCH__INIT;
    m.id = f->id;
    m.sequence = f->sequence;
    m.layer = f->layer;
    m.position = f->position;
    m.count = f->count;
    m.requester = f->requester;
    return hd_peer_send(p, HD_FRAME_FETCH, &m.base, NULL);
}

int hd_send_rows(struct hd_peer *p, const struct hd_fetch *f, struct hd_shared *rows)
{
    Hydac__V1__Rows m = HYDAC__V1__ROWS__INIT;
    m.id = f->id;
    m.sequence = f->sequence;
    m.layer = f->layer;
    m.position = f->position;
    m.count = f->count;
    m.requester = f->requester;
    return hd_peer_send(p, HD_FRAME_ROWS, &m.base, rows);
}

int hd_send_drained(struct hd_peer *p)
{
    Hydac__V1__Drained m = HYDAC__V1__DRAINED__INIT;
    return hd_peer_send(p, HD_FRAME_DRAINED, &m.base, NULL);
}

int hd_send_sequence(struct hd_leader *l, struct hd_peer *p, uint32_t sequence, bool open)
{
    if (open) {
        Hydac__V1__SequenceOpen m = HYDAC__V1__SEQUENCE_OPEN__INIT;
        m.sequence = sequence;
        m.max_positions = l->context;
        m.scope = hd_engine_scope(l->engine, sequence);
        return hd_peer_send(p, HD_FRAME_SEQ_OPEN, &m.base, NULL);
    }
    Hydac__V1__SequenceClose m = HYDAC__V1__SEQUENCE_CLOSE__INIT;
    m.sequence = sequence;
    return hd_peer_send(p, HD_FRAME_SEQ_CLOSE, &m.base, NULL);
}

int hd_send_fork(struct hd_leader *l, struct hd_peer *p, const struct hd_fork *fork)
{
    Hydac__V1__SequenceOpen m = HYDAC__V1__SEQUENCE_OPEN__INIT;
    m.sequence = fork->sequence;
    m.max_positions = l->context;
    m.parent = fork->parent;
    m.shared = fork->shared;
    m.scope = hd_engine_scope(l->engine, fork->sequence);
    return hd_peer_send(p, HD_FRAME_SEQ_OPEN, &m.base, NULL);
}

int hd_send_cut(struct hd_peer *p, const struct hd_seq_cut *cut)
{
    Hydac__V1__SequenceCut m = HYDAC__V1__SEQUENCE_CUT__INIT;
    m.sequence = cut->sequence;
    m.positions = cut->positions;
    return hd_peer_send(p, HD_FRAME_SEQ_CUT, &m.base, NULL);
}

/* The half-step's input as bytes to send, made once and shared by every worker and every retry. */
static struct hd_shared *payload_of(struct hd_leader *l, const struct hd_half_work *w)
{
    struct hd_payload *p = &l->payloads[w->group];
    if (p->bytes && p->step == w->step && p->half == w->half && p->layer == w->layer)
        return p->bytes;
    hd_shared_unref(p->bytes);
    *p = (struct hd_payload){.step = w->step, .half = w->half, .layer = w->layer};
    p->bytes = hd_shared_new(w->rows * w->row_bytes);
    if (p->bytes)
        memcpy(hd_shared_data(p->bytes), w->x, w->rows * w->row_bytes);
    return p->bytes;
}

int hd_send_half(struct hd_leader *l, struct hd_peer *p, const struct hd_action *a)
{
    const struct hd_half_work *w = hd_engine_work(l->engine, a->group);
    if (!w)
        return HD_E_STATE;
    struct hd_shared *payload = payload_of(l, w);
    if (!payload)
        return HD_E_NOMEM;
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.epoch = a->epoch;
    m.step = w->step;
    m.group = w->group;
    m.half = (Hydac__V1__Half)w->half;
    m.layer = w->half == HD_HALF_LOGITS ? 0 : w->layer;
    m.n_sequences = m.n_positions = w->rows;
    m.sequences = (uint32_t *)w->sequences;
    m.positions = (uint32_t *)w->positions;
    if (w->half == HD_HALF_LOGITS) {
        m.n_want = m.n_temperatures = w->rows;
        m.want = (uint32_t *)w->want;
        m.temperatures = (float *)w->temperatures;
    } else {
        m.n_shifts = w->rows;
        m.shifts = (int32_t *)w->shifts;
    }
    if (w->tokens) {
        m.n_tokens = w->rows;
        m.tokens = (uint32_t *)w->tokens;
    }
    if (w->experts) {
        m.n_experts = m.n_weights = w->rows * l->model->shape.n_used;
        m.experts = (uint32_t *)w->experts;
        m.weights = (float *)w->weights;
    }
    return hd_peer_send(p, HD_FRAME_STEP, &m.base, payload);
}

struct hd_frame_limits hd_worker_frame_limits(const struct hd_leader *l)
{
    /* Partial sums: every row in 64 bits, the most in either wire mode. Logits: the last row of
     * each sequence, guesses behind it and rows of a prompt that is scored, as if all came in full.
     */
    const struct hd_leader_config *c = l->o.config;
    uint64_t rows = c->max_rows, sampled = HD_MAX_SEQUENCES + c->draft_rows + HD_MAX_FULL_ROWS;
    uint64_t partial = rows * l->model->shape.dim * 8;
    uint64_t full = (rows < sampled ? rows : sampled) *
                    ((uint64_t)l->model->shape.vocab * 8 + l->units.vocab_blocks * 8u);
    uint64_t most = partial > full ? partial : full;
    uint64_t tokens = l->context * (uint64_t)sizeof(int32_t); /* SequenceTokens */
    most = most > tokens ? most : tokens;
    return (struct hd_frame_limits){
        .max_body = HD_MAX_REPLY_BODY,
        .max_payload = most > UINT32_MAX ? UINT32_MAX : (uint32_t)most,
    };
}
