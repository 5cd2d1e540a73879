/* fuzz_to_worker.c - what a leader sends, through the worker's checks. The first byte chooses the
 * message. What they let pass is used here as the worker uses it: as sizes and as indices. */
#include "fuzz.h"
#include "worker/link/bootstrap.h"
#include "worker/link/check.h"

#include "common/model/piece.h"

#include <string.h>

static const struct hd_model model = {.shape = {.n_layers = 4, .dim = 64, .vocab = 1000}};
static const struct hd_model with_experts = {
    .shape = {.n_layers = 4, .dim = 64, .vocab = 1000, .n_experts = 8, .n_used = 2}};
static const struct hd_units units = {
    .heads = 8, .ffn_blocks = 32, .experts = 1, .vocab_blocks = 32};

static void take_welcome(struct hd_check *c, const Hydac__V1__Welcome *m)
{
    struct hd_error err = {0};
    if (hd_check_welcome(c, m, &err) < 0)
        return;
    c->sizes = (struct hd_node_sizes){.kv_type = (enum hd_kv_type)m->kv_type,
                                      .max_rows = m->max_rows,
                                      .max_positions = m->max_positions,
                                      .max_sequences = m->max_sequences};
    struct hd_frame_limits l = hd_check_limits(c);
    FUZZ_CHECK(l.max_body > 0 && l.max_payload >= m->max_rows * 64 * sizeof(float));
}

static void take_assign(const struct hd_check *c, const Hydac__V1__AssignHeads *m)
{
    struct hd_error err = {0};
    if (hd_check_assign(c, m, &err) < 0)
        return;
    const Hydac__V1__Units *own = m->own;
    FUZZ_CHECK(!own || (own->n_heads <= units.heads && own->n_ffn_blocks <= units.ffn_blocks));
    FUZZ_CHECK(!own || own->n_vocab_blocks <= units.vocab_blocks);
    FUZZ_CHECK(m->n_layers_done <= HD_MAX_GROUPS);
    FUZZ_CHECK(m->n_sequences <= c->sizes.max_sequences);
    for (size_t i = 0; own && i < own->n_heads; i++)
        FUZZ_CHECK(own->heads[i] < units.heads);
    for (size_t i = 0; i < m->n_sequences; i++)
        FUZZ_CHECK(m->sequences[i]->sequence < HD_MAX_SEQUENCES &&
                   m->sequences[i]->n_inflight <= HD_MAX_GROUPS);
}

/* What a row takes can be used as an index. */
static void use_experts(const struct hd_check *c, const uint32_t *experts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(experts[i] < c->model->shape.n_experts);
}

static void take_step(const struct hd_check *c, const Hydac__V1__Step *m, size_t payload)
{
    struct hd_error err = {0};
    if (hd_check_step(c, m, payload, &err) < 0)
        return;
    FUZZ_CHECK(m->n_positions == m->n_sequences && m->n_sequences <= c->sizes.max_rows);
    for (size_t i = 0; i < m->n_sequences; i++)
        FUZZ_CHECK(m->sequences[i] < c->sizes.max_sequences &&
                   m->positions[i] < c->sizes.max_positions);
    FUZZ_CHECK(m->n_experts == m->n_weights);
    use_experts(c, m->experts, m->n_experts);
}

static void take_audit(const struct hd_check *c, const Hydac__V1__Audit *m, size_t payload)
{
    static const uint32_t counts[] = {8, 32, 32}; /* units of each half */
    struct hd_error err = {0};
    if (hd_check_audit(c, m, payload, &err) < 0)
        return;
    FUZZ_CHECK(m->n_positions == m->n_sequences && m->n_sequences <= c->sizes.max_rows);
    FUZZ_CHECK(m->n_units >= 1 && m->n_units <= counts[m->half]);
    for (size_t i = 0; i < m->n_units; i++)
        FUZZ_CHECK(m->units[i] < counts[m->half] && m->layer < model.shape.n_layers);
    for (size_t i = 0; i < m->n_sequences; i++)
        FUZZ_CHECK(m->sequences[i] < c->sizes.max_sequences &&
                   m->positions[i] < c->sizes.max_positions);
    use_experts(c, m->experts, m->n_experts);
}

/* A model that is taken can be cut into pieces. */
static void take_outline(const Hydac__V1__ModelOutline *m)
{
    struct hd_model *made;
    struct hd_error err = {0};
    struct hd_units u;
    if (hd_model_from_message(&made, m, &err) < 0) {
        FUZZ_CHECK(err.text[0]);
        return;
    }
    hd_model_units(made, &u);
    size_t n = hd_piece_count(made, &u);
    FUZZ_CHECK(n > 0);
    for (size_t i = 0; i < n; i += 1 + n / 16) {
        struct hd_cuts cuts = hd_piece_cuts(made, &u, hd_piece_nth(made, &u, i));
        FUZZ_CHECK(hd_piece_bytes(&cuts) > 0);
    }
    hd_model_close(made);
}

static void take_weights(const struct hd_check *c, const Hydac__V1__Weights *m)
{
    struct hd_error err = {0};
    if (hd_check_weights(c, m, 0, &err) < 0)
        return;
    struct hd_piece_at at = {(enum hd_unit_kind)m->kind, m->unit, m->layer};
    FUZZ_CHECK(hd_piece_index(&model, &units, at) < hd_piece_count(&model, &units));
}

/* With the payload that its count asks for, if that can be; the second half of the list is told. */
static void take_digests(struct hd_check *c, const Hydac__V1__PieceDigests *m)
{
    static uint64_t digests[HD_PIECE_DIGESTS_MAX + 1];
    struct hd_error err = {0};
    uint32_t n = m->count < HD_PIECE_DIGESTS_MAX ? m->count : HD_PIECE_DIGESTS_MAX + 1;
    struct hd_frame f = {.payload = (uint8_t *)digests, .payload_len = n * 8};
    memset(digests, 1, sizeof digests);
    c->n_pieces = hd_piece_count(&model, &units);
    c->n_digests = c->n_pieces / 2;
    if (hd_check_digests(c, m, &f, &err) < 0) {
        FUZZ_CHECK(err.text[0]);
        return;
    }
    FUZZ_CHECK(m->count > 0 && m->first + m->count <= c->n_pieces);
    FUZZ_CHECK(m->count * sizeof *digests <= hd_check_limits(c).max_payload);
}

static void take_cut(const struct hd_check *c, const Hydac__V1__SequenceCut *m)
{
    struct hd_error err;
    if (hd_check_cut(c, m, &err) == 0 &&
        (m->sequence >= c->sizes.max_sequences || m->positions > c->sizes.max_positions))
        abort();
}

static const ProtobufCMessageDescriptor *const messages[] = {
    &hydac__v1__welcome__descriptor,
    &hydac__v1__assign_heads__descriptor,
    &hydac__v1__step__descriptor,
    &hydac__v1__heartbeat__descriptor,
    &hydac__v1__sequence_open__descriptor,
    &hydac__v1__sequence_close__descriptor,
    &hydac__v1__reject__descriptor,
    &hydac__v1__stats_request__descriptor,
    &hydac__v1__error__descriptor,
    &hydac__v1__model_outline__descriptor,
    &hydac__v1__weights__descriptor,
    &hydac__v1__audit__descriptor,
    &hydac__v1__self_test__descriptor,
    &hydac__v1__piece_digests__descriptor,
    &hydac__v1__step__descriptor,
    &hydac__v1__audit__descriptor, /* of a model with experts */
    &hydac__v1__sequence_cut__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hd_check c = {
        .model = &model,
        .units = &units,
        .sizes = {.kv_type = HD_KV_F16, .max_rows = 16, .max_positions = 512, .max_sequences = 8}};
    if (size == 0)
        return 0;
    size_t kind = data[0] % (sizeof messages / sizeof *messages);
    ProtobufCMessage *m = protobuf_c_message_unpack(messages[kind], NULL, size - 1, data + 1);
    if (!m)
        return 0;
    if (kind == 14 || kind == 15)
        c.model = &with_experts;
    if (kind == 0)
        take_welcome(&c, (const Hydac__V1__Welcome *)m);
    else if (kind == 1)
        take_assign(&c, (const Hydac__V1__AssignHeads *)m);
    else if (kind == 2 || kind == 14) /* with the payload that its rows ask for */
        take_step(&c, (const Hydac__V1__Step *)m,
                  ((const Hydac__V1__Step *)m)->n_sequences * 64 * sizeof(float));
    else if (kind == 4)
        hd_check_sequence(&c, ((const Hydac__V1__SequenceOpen *)m)->sequence, NULL);
    else if (kind == 9)
        take_outline((const Hydac__V1__ModelOutline *)m);
    else if (kind == 10)
        take_weights(&c, (const Hydac__V1__Weights *)m);
    else if (kind == 11 || kind == 15)
        take_audit(&c, (const Hydac__V1__Audit *)m,
                   ((const Hydac__V1__Audit *)m)->n_sequences * 64 * sizeof(float));
    else if (kind == 16)
        take_cut(&c, (const Hydac__V1__SequenceCut *)m);
    else if (kind == 13)
        take_digests(&c, (const Hydac__V1__PieceDigests *)m);
    protobuf_c_message_free_unpacked(m, NULL);
    return 0;
}
