/* fuzz_to_leader.c - what workers send, through the leader's core, its sums of logits and what its
 * engine makes of kept rows.
 *
 * The input is a list of messages: a byte for the kind and the worker, two for the length, the
 * message. Two workers have joined, a sequence is alive and two groups' half-steps are in hand; or,
 * after a 0xff, nobody has, and they may come with what they have kept of another leader. */
#include "fuzz.h"
#include "hydac.pb-c.h"
#include "leader/core/core.h"
#include "leader/engine/engine_impl.h"

#include <string.h>

#define DIGEST    77
#define VOCAB     100
#define CONTEXT   400
#define SEQUENCES 5

struct cluster {
    struct hd_core *core;
    struct hd_actions actions;
    struct hd_model model;   /* nothing but its vocabulary */
    struct hd_engine engine; /* of which only kept rows are used (adopt.c, cache.c) */
    uint64_t now_us;
};

static void step(struct cluster *c, struct hd_event *ev)
{
    ev->now_us = c->now_us += 1000;
    FUZZ_CHECK(hd_core_step(c->core, ev, &c->actions) == 0);
    FUZZ_CHECK(hd_core_check(c->core) == NULL);
    for (size_t i = 0; i < c->actions.n; i++)
        if (c->actions.list[i].type == HD_ACT_REPLAY) { /* it wants its answer at once */
            struct hd_event done = {.type = HD_EV_REPLAYED,
                                    .sequences = c->actions.list[i].sequences,
                                    .now_us = c->now_us};
            FUZZ_CHECK(hd_core_step(c->core, &done, &c->actions) == 0);
        }
    hd_actions_clear(&c->actions);
}

static void join(struct cluster *c, const char *name, uint64_t conn)
{
    struct hd_event hello = {
        .type = HD_EV_HELLO,
        .hello = {.conn = conn, .name = name, .model_digest = DIGEST, .threads = 1}};
    step(c, &hello);
}

static void op_adopt(void *cluster, const struct hd_kept_rows *k)
{
    struct hd_event ev = {.type = HD_EV_SEQ_ADOPT,
                          .adopt = {.sequence = k->sequence,
                                    .base = k->positions,
                                    .parent = k->parent,
                                    .shared = k->shared}};
    step(cluster, &ev);
}

static void op_close(void *cluster, uint32_t sequence)
{
    struct hd_event ev = {.type = HD_EV_SEQ_CLOSE, .sequence = sequence};
    step(cluster, &ev);
}

static void start_engine(struct cluster *c)
{
    c->model.shape.vocab = VOCAB;
    c->engine.o = (struct hd_engine_options){
        .model = &c->model,
        .sequences = SEQUENCES,
        .context = CONTEXT,
        .ops = {.arg = c, .sequence_adopt = op_adopt, .sequence_close = op_close},
    };
    c->engine.limit.cached = UINT64_MAX;
}

static void start(struct cluster *c, bool empty)
{
    struct hd_core_options o = {
        .units = {4, 4, 2},
        .n_layers = 2,
        .min_workers = 2,
        .strategy = hd_strategy_find("even"),
        .detector = hd_detector_defaults(50000),
        .step_deadline_us = 2000000,
        .assign_deadline_us = 2000000,
        .model_digest = DIGEST,
    };
    static const struct hd_seq_rows rows = {.sequence = 0, .rows = 1};
    *c = (struct cluster){.now_us = 1000000};
    start_engine(c);
    FUZZ_CHECK(hd_core_new(&c->core, &o, NULL) == 0);
    if (empty)
        return;
    join(c, "w1", 1);
    join(c, "w2", 2);
    for (unsigned slot = 0; slot < 2; slot++) {
        struct hd_event kv = {
            .type = HD_EV_KV_RESULT, .slot = slot, .kv = {.epoch = hd_core_epoch(c->core)}};
        step(c, &kv);
    }
    struct hd_event open = {.type = HD_EV_SEQ_OPEN};
    struct hd_event half = {
        .type = HD_EV_HALF,
        .half = {.step = 1, .groups = HD_MAX_GROUPS, .rows = &rows, .n_rows = 1}};
    step(c, &open);
    for (unsigned *group = &half.half.group;
         *group < half.half.groups && hd_core_state(c->core) == HD_CLUSTER_READY; (*group)++)
        step(c, &half);
}

/* ---- One of each ---------------------------------------------------------------------------- */

static void take_hello(struct cluster *c, const Hydac__V1__Hello *m)
{
    if (m->name[0] == '\0' || strlen(m->name) > 63)
        return;
    struct hd_event ev = {.type = HD_EV_HELLO,
                          .hello = {.conn = c->now_us,
                                    .name = m->name,
                                    .model_digest = m->model_digest,
                                    .kept = m->kept,
                                    .log_limit_bytes = m->log_limit_bytes,
                                    .threads = m->threads,
                                    .memory_bytes = m->memory_bytes,
                                    .multiply_adds_per_s = m->multiply_adds_per_s}};
    step(c, &ev);
}

static void take_kv_result(struct cluster *c, unsigned slot, const Hydac__V1__KvResult *m)
{
    enum { MOST = 256 };
    struct hd_kv_digest digests[MOST];
    struct hd_event ev = {.type = HD_EV_KV_RESULT,
                          .slot = slot,
                          .kv = {.epoch = m->epoch,
                                 .rows_rebuilt = m->rows_rebuilt,
                                 .rows_kept = m->rows_kept,
                                 .positions = m->positions,
                                 .bytes = m->bytes,
                                 .weights_us = m->weights_us,
                                 .rebuild_us = m->rebuild_us,
                                 .flops = m->flops,
                                 .heads = m->heads,
                                 .n_heads = m->n_heads,
                                 .gaps = m->gaps,
                                 .n_gaps = m->n_gaps,
                                 .digests = digests}};
    for (; ev.kv.n_digests < m->n_digests && ev.kv.n_digests < MOST; ev.kv.n_digests++) {
        const Hydac__V1__RowsDigest *d = m->digests[ev.kv.n_digests];
        digests[ev.kv.n_digests] = (struct hd_kv_digest){d->sequence, d->head, d->digest};
    }
    step(c, &ev);
}

/* The message's own bytes stand in for the payload. */
static void add_logits(const Hydac__V1__StepResult *m, const uint8_t *data, size_t size)
{
    static const struct hd_units units = {.vocab_blocks = 4, .vocab_width = 16};
    static const uint32_t blocks[] = {1, 3}, want[] = {0, 2};
    static const float temperatures[] = {0, 0.8f};
    struct hd_half_work work = {
        .half = HD_HALF_LOGITS, .rows = 2, .want = want, .temperatures = temperatures};
    struct hd_half_result r = {.payload = data,
                               .payload_len = size,
                               .bad = m->bad,
                               .n_bad = m->n_bad,
                               .vocab_blocks = blocks,
                               .n_vocab_blocks = 2};
    struct hd_logits l;
    struct hd_error err = {0};
    FUZZ_CHECK(hd_logits_init(&l, &units, 60, &work) == 0);
    FUZZ_CHECK(hd_logits_add(&l, &r, &err) == 0 || err.text[0]);
    hd_logits_deinit(&l);
}

static void take_result(struct cluster *c, unsigned slot, const Hydac__V1__StepResult *m)
{
    struct hd_event ev = {.type = HD_EV_RESULT,
                          .slot = slot,
                          .result = {.epoch = m->epoch,
                                     .step = m->step,
                                     .half = (enum hd_half)m->half,
                                     .layer = m->layer,
                                     .group = m->group,
                                     .compute_us = m->compute_us}};
    step(c, &ev);
}

static void take_kept(struct cluster *c, unsigned slot, const Hydac__V1__Kept *m)
{
    static const Hydac__V1__Units none = HYDAC__V1__UNITS__INIT;
    const Hydac__V1__Units *own = m->own ? m->own : &none, *hold = m->hold ? m->hold : &none;
    struct hd_event ev = {
        .type = HD_EV_KEPT,
        .slot = slot,
        .kept = {.units = {own->heads, own->ffn_blocks, own->vocab_blocks},
                 .n = {own->n_heads, own->n_ffn_blocks, own->n_vocab_blocks},
                 .held = {hold->heads, hold->ffn_blocks, hold->vocab_blocks},
                 .n_held = {hold->n_heads, hold->n_ffn_blocks, hold->n_vocab_blocks}},
    };
    step(c, &ev);
}

/* `logged` and `scope` stand in for the payload, too: how many tokens, and of which text. */
static void take_tokens(struct cluster *c, const Hydac__V1__SequenceTokens *m)
{
    int32_t tokens[CONTEXT + 8];
    struct hd_kept_rows k = {.sequence = m->sequence,
                             .parent = m->parent,
                             .shared = m->shared,
                             .positions = m->positions,
                             .scope = m->scope >> 32,
                             .tokens = tokens,
                             .n_tokens = m->logged % (CONTEXT + 8)};
    uint32_t other_from = (uint32_t)(m->scope & 0xffff);
    for (uint32_t i = 0; i < k.n_tokens; i++) /* each text like the others up to some token */
        tokens[i] = (int32_t)((k.shared + i < other_from ? i + k.shared : i * 3) % VOCAB);
    if (hd_engine_kept_wrong(&c->engine, &k) || hd_core_state(c->core) != HD_CLUSTER_WAITING)
        return;
    bool used = hd_engine_adopt(&c->engine, &k);
    FUZZ_CHECK(hd_prefixes_check(&c->engine.prefixes) == NULL);
    uint32_t n;
    FUZZ_CHECK(!used || (hd_engine_tokens(&c->engine, k.sequence, &n) && n <= CONTEXT));
}

static void take_ack(struct cluster *c, unsigned slot, const Hydac__V1__HeartbeatAck *m)
{
    struct hd_event ev = {
        .type = HD_EV_ACK, .slot = slot, .ack = {.seq = m->seq, .sent_us = m->sent_us}};
    step(c, &ev);
}

static const ProtobufCMessageDescriptor *const messages[] = {
    &hydac__v1__hello__descriptor,     &hydac__v1__heartbeat_ack__descriptor,
    &hydac__v1__kv_result__descriptor, &hydac__v1__step_result__descriptor,
    &hydac__v1__stats__descriptor,     &hydac__v1__error__descriptor,
    &hydac__v1__kept__descriptor,      &hydac__v1__sequence_tokens__descriptor,
};
#define KINDS (sizeof messages / sizeof *messages)

static void take(struct cluster *c, uint8_t what, const uint8_t *data, size_t size)
{
    unsigned slot = what / KINDS % 2;
    struct hd_worker_view view;
    bool known = hd_core_worker(c->core, slot, c->now_us, &view) &&
                 view.state != HD_WORKER_OFFLINE; /* the daemon has no connection of it else */
    ProtobufCMessage *m = protobuf_c_message_unpack(messages[what % KINDS], NULL, size, data);
    struct hd_event bad = {.type = HD_EV_BROKE_RULES, .slot = slot};
    if (m && what % KINDS == 0)
        take_hello(c, (const Hydac__V1__Hello *)m);
    else if (m && what % KINDS == 3)
        add_logits((const Hydac__V1__StepResult *)m, data, size);
    if (known && !m)
        step(c, &bad);
    else if (known && what % KINDS == 1)
        take_ack(c, slot, (const Hydac__V1__HeartbeatAck *)m);
    else if (known && what % KINDS == 2)
        take_kv_result(c, slot, (const Hydac__V1__KvResult *)m);
    else if (known && what % KINDS == 3)
        take_result(c, slot, (const Hydac__V1__StepResult *)m);
    else if (known && what % KINDS == 6)
        take_kept(c, slot, (const Hydac__V1__Kept *)m);
    else if (m && what % KINDS == 7)
        take_tokens(c, (const Hydac__V1__SequenceTokens *)m);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cluster c;
    bool empty = size > 0 && data[0] == 0xff;
    start(&c, empty);
    data += empty;
    size -= empty;
    while (size >= 3) {
        size_t n = (size_t)(data[1] | data[2] << 8);
        n = n < size - 3 ? n : size - 3;
        take(&c, data[0], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    hd_cache_free(&c.engine);
    hd_core_free(c.core);
    hd_actions_deinit(&c.actions);
    return 0;
}
