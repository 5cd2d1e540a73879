/* weights.c - the model for workers that have no file, or one with other bytes: its outline, and
 * its weights by pieces.
 *
 * Happy path: WeightsRequest -> the piece's bytes are gathered, and for its beginning compared with
 * its digest, on libuv's thread pool, since they may have to come from the disk -> Weights. Failure
 * modes: 1. a piece that does not exist, or more requests than are allowed at once: the worker
 * broke the rules; 2. the worker is gone when the bytes are there: they are dropped; 3. no memory
 * for them: the connection ends; 4. the piece is not what it was: the leader stops taking requests
 * (digests.c), and the worker is sent away. */
#include "common/model/digests.h"
#include "common/model/outline.h"
#include "leader/daemon/leader_impl.h"

#include <stdlib.h>

/* ---- The outline ----*/

static void fill_outline(Hydac__V1__ModelOutline *m, const struct hd_outline *o)
{
    m->digest = o->digest;
    m->name = (char *)o->name;
    m->layers = o->shape.n_layers;
    m->dim = o->shape.dim;
    m->heads = o->shape.n_heads;
    m->kv_heads = o->shape.n_kv_heads;
    m->head_dim = o->shape.head_dim;
    m->ffn_dim = o->shape.ffn_dim;
    m->experts = o->shape.n_experts;
    m->experts_used = o->shape.n_used;
    m->vocab = o->shape.vocab;
    m->context = o->shape.context;
    m->norm_eps = o->shape.norm_eps;
    m->tied_output = o->shape.tied_output;
    m->rope_order = o->rope_order;
    m->rope_freq = (double *)o->rope_freq;
    m->n_rope_freq = o->n_rope_freq;
    m->rope_scale = (float *)o->rope_scale;
    m->n_rope_scale = o->n_rope_scale;
    m->long_from = o->long_from;
    m->types = (ProtobufCBinaryData){.data = (uint8_t *)o->types, .len = o->n_types};
    m->rope_dim = o->shape.rope_dim;
    m->windows = (uint32_t *)o->windows;
    m->n_windows = o->n_windows;
    m->layer_rope = (ProtobufCBinaryData){.data = (uint8_t *)o->layer_rope, .len = o->n_layer_rope};
    m->activation = o->activation;
    m->norm = o->norm;
    m->norm_offset = o->block.norm_offset;
    m->attention_scale = o->block.attention_scale;
    m->attention_cap = o->block.attention_cap;
    m->logit_scale = o->block.logit_scale;
    m->logit_cap = o->block.logit_cap;
    m->clamp_alpha = o->block.clamp.alpha;
    m->clamp_limit = o->block.clamp.limit;
    m->growth = o->block.growth;
    m->growth_from = o->block.growth_from;
    m->slots = o->slots;
}

_Static_assert(HD_SLOTS + 6 <= 48, "HD_FRAME_OUTLINE_BODY has room for 48 bytes a layer");

static int send_outline(struct hd_peer *p)
{
    Hydac__V1__ModelOutline m = HYDAC__V1__MODEL_OUTLINE__INIT;
    struct hd_outline_room room;
    struct hd_outline o;
    hd_outline_of(p->leader->model, &room, &o);
    fill_outline(&m, &o);
    return hd_peer_send(p, HD_FRAME_MODEL_OUTLINE, &m.base, NULL);
}

void hd_peer_model_request(struct hd_peer *p)
{
    if (p->asked_model) {
        hd_peer_broke_rules(p, "asked for the model twice");
        return;
    }
    p->asked_model = true;
    hd_info(p->leader->o.log, "outline_sent", "address=%s", hd_conn_peer(p->conn));
    send_outline(p); /* what keeps it from being sent also ends the connection */
}

/* ---- Pieces ----*/

struct weights_job {
    uv_work_t work;
    struct hd_leader *leader;
    uint64_t peer; /* its id: it may be gone */
    struct hd_piece_at at;
    uint64_t offset;
    uint64_t digest; /* that it must have */
    struct hd_shared *payload;
    bool no_memory, wrong;
};

uint64_t hd_weights_max_requests(const struct hd_leader *l)
{
    size_t n = hd_piece_count(l->model, &l->units), requests = 0;
    for (size_t i = 0; i < n; i++) {
        struct hd_cuts c = hd_piece_cuts(l->model, &l->units, hd_piece_nth(l->model, &l->units, i));
        requests += 1 + hd_piece_bytes(&c) / HD_WEIGHTS_CHUNK;
    }
    return requests;
}

/* Pool thread: is the whole piece what it was? No memory counts as yes: the payload fails next. */
static bool is_wrong(const struct weights_job *j, const struct hd_cuts *cuts, size_t bytes)
{
    uint8_t *whole = malloc(bytes);
    if (!whole)
        return false;
    hd_piece_copy(cuts, 0, bytes, whole);
    bool wrong = hd_piece_digest(whole, bytes) != j->digest;
    free(whole);
    return wrong;
}

/* Chunks behind the first are not looked at: the worker hashes the whole piece. */
static void gather(uv_work_t *work)
{
    struct weights_job *j = work->data;
    struct hd_cuts cuts = hd_piece_cuts(j->leader->model, &j->leader->units, j->at);
    size_t bytes = hd_piece_bytes(&cuts), n = bytes - (size_t)j->offset;
    j->wrong = j->offset == 0 && is_wrong(j, &cuts, bytes);
    if (j->wrong)
        return;
    n = n < HD_WEIGHTS_CHUNK ? n : HD_WEIGHTS_CHUNK;
    j->payload = hd_shared_new(n);
    j->no_memory = !j->payload;
    if (j->payload)
        hd_piece_copy(&cuts, (size_t)j->offset, n, hd_shared_data(j->payload));
}

static int send_weights(struct hd_peer *p, const struct weights_job *j)
{
    Hydac__V1__Weights m = HYDAC__V1__WEIGHTS__INIT;
    m.kind = (uint32_t)j->at.kind;
    m.unit = j->at.unit;
    m.layer = j->at.layer;
    m.offset = j->offset;
    m.digest = j->offset == 0 ? j->digest : 0;
    p->weights_sent += hd_shared_len(j->payload);
    return hd_peer_send(p, HD_FRAME_WEIGHTS, &m.base, j->payload);
}

/* What nobody has cannot be waited for: the worker goes, and others may have it. */
static void send_away(struct hd_peer *p)
{
    hd_send_reject(p, HD_REJECT_SHUTDOWN, p->leader->changed);
    hd_conn_close(p->conn, true);
}

static void on_gathered(uv_work_t *work, int status)
{
    struct weights_job *j = work->data;
    struct hd_leader *l = j->leader;
    struct hd_peer *p = hd_peer_by_id(l, j->peer);
    if (p)
        p->weights_in_flight--;
    if (j->wrong && !l->closing)
        hd_digests_wrong_piece(l, j->at);
    if (p && !p->forgotten && !l->closing) {
        if (status < 0 || j->no_memory)
            hd_conn_close(p->conn, false);
        else if (j->wrong)
            send_away(p);
        else
            send_weights(p, j);
    }
    hd_shared_unref(j->payload);
    free(j);
    l->weights_jobs--;
    hd_leader_maybe_closed(l);
}

/* The request's piece and offset, if they exist. */
static bool is_possible(const struct hd_leader *l, const Hydac__V1__WeightsRequest *m)
{
    struct hd_piece_at at = {(enum hd_unit_kind)m->kind, m->unit, m->layer};
    if (m->kind >= HD_UNIT_KINDS || !hd_piece_exists(l->model, &l->units, at))
        return false;
    struct hd_cuts cuts = hd_piece_cuts(l->model, &l->units, at);
    return m->offset < hd_piece_bytes(&cuts);
}

static void start_job(struct hd_peer *p, const Hydac__V1__WeightsRequest *m)
{
    struct hd_leader *l = p->leader;
    struct weights_job *j = calloc(1, sizeof *j);
    if (!j) {
        hd_conn_close(p->conn, false);
        return;
    }
    *j = (struct weights_job){.leader = l,
                              .peer = p->id,
                              .at = {(enum hd_unit_kind)m->kind, m->unit, m->layer},
                              .offset = m->offset};
    j->digest = l->digests->piece[hd_piece_index(l->model, &l->units, j->at)];
    j->work.data = j;
    if (uv_queue_work(l->o.loop, &j->work, gather, on_gathered) < 0) {
        free(j);
        hd_conn_close(p->conn, false);
        return;
    }
    p->weights_in_flight++;
    l->weights_jobs++;
}

void hd_peer_weights_request(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__WeightsRequest *m = hydac__v1__weights_request__unpack(NULL, f->body_len, f->body);
    const char *wrong = !m                           ? "WeightsRequest cannot be read"
                        : !p->leader->digests_known  ? "WeightsRequest before any assignment"
                        : !is_possible(p->leader, m) ? "WeightsRequest for what does not exist"
                        : p->weights_in_flight >= HD_WEIGHTS_IN_FLIGHT
                            ? "more WeightsRequests at once than are allowed"
                            : NULL;
    if (wrong) {
        hd_peer_broke_rules(p, wrong);
    } else {
        struct hd_event ev = {.type = HD_EV_WEIGHTS, .slot = (unsigned)p->slot};
        p->weights_asked = true;
        start_job(p, m);
        hd_leader_event(p->leader, &ev);
    }
    if (m)
        hydac__v1__weights_request__free_unpacked(m, NULL);
}
