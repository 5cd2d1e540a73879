/* check.c - one function a message; what passes can be used without another look. */
#include "worker/link/check.h"

#include "worker/crew/lists.h"

#include "common/model/piece.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VARINT32 5    /* bytes of the longest unsigned 32-bit number in a message */
#define MARGIN   4096 /* tags, lengths and single numbers of any message */

static int in_range(uint32_t value, uint32_t min, uint32_t max, const char *what,
                    struct hd_error *err)
{
    if (value >= min && value <= max)
        return 0;
    return hd_fail(err, HD_E_PROTO, "%s is %u, possible are %u to %u", what, value, min, max);
}

int hd_check_welcome(const struct hd_check *c, const Hydac__V1__Welcome *m, struct hd_error *err)
{
    int rc = in_range(m->kv_type, HD_KV_F16, HD_KV_F32, "Welcome: the K/V type", err);
    if (rc == 0)
        rc = in_range(m->activations, HD_ACTIVATIONS_F32, HD_ACTIVATIONS_Q8,
                      "Welcome: the kind of activations", err);
    if (rc == 0 && m->activations == HD_ACTIVATIONS_Q8 &&
        c->model->activations != HD_ACTIVATIONS_Q8)
        rc = hd_fail(err, HD_E_PROTO, "Welcome: activations of 8 bits for weights that are floats");
    if (rc == 0)
        rc = in_range(m->wire, HD_WIRE_EXACT, HD_WIRE_COMPACT, "Welcome: the wire mode", err);
    if (rc == 0 && hd_model_sum_bytes(c->model, (enum hd_wire)m->wire) == 0)
        rc =
            hd_fail(err, HD_E_PROTO, "Welcome: compact sums of rows of %u values, not blocks of 32",
                    c->model->shape.dim);
    if (rc == 0)
        rc = in_range(m->max_rows, 1, HD_WORKER_MAX_ROWS, "Welcome: rows of a step", err);
    if (rc == 0)
        rc = in_range(m->max_positions, 1, HD_MAX_CONTEXT, "Welcome: positions of a sequence", err);
    if (rc == 0)
        rc = in_range(m->max_sequences, 1, HD_MAX_SEQUENCES, "Welcome: sequences", err);
    uint64_t payload = (uint64_t)m->max_rows * c->model->shape.dim * sizeof(float);
    if (rc == 0 && payload > UINT32_MAX)
        rc = hd_fail(err, HD_E_PROTO, "Welcome: %u rows of %u values do not fit a frame",
                     m->max_rows, c->model->shape.dim);
    return rc;
}

/* Unit numbers: they exist, and are ascending. */
static int check_units(const struct hd_check *c, enum hd_unit_kind kind, struct hd_unit_list l,
                       struct hd_error *err)
{
    static const char *const names[] = {"head", "FFN block", "vocab block"};
    const uint32_t counts[] = {c->units->heads, c->units->ffn_blocks, c->units->vocab_blocks};
    for (size_t i = 0; i < l.n; i++) {
        if (l.list[i] >= counts[kind])
            return hd_fail(err, HD_E_PROTO, "%s %u of %u", names[kind], l.list[i], counts[kind]);
        if (i > 0 && l.list[i] <= l.list[i - 1])
            return hd_fail(err, HD_E_PROTO, "%s numbers are not ascending", names[kind]);
    }
    return 0;
}

int hd_check_sequence(const struct hd_check *c, uint32_t sequence, struct hd_error *err)
{
    return in_range(sequence, 0, c->sizes.max_sequences - 1, "a sequence number", err);
}

int hd_check_share(const struct hd_check *c, uint32_t sequence, struct hd_kv_share share,
                   struct hd_error *err)
{
    if (share.shared == 0)
        return 0;
    if (share.shared % HD_LOG_CHUNK != 0 || share.shared >= c->sizes.max_positions)
        return hd_fail(err, HD_E_PROTO, "sequence %u shares %u positions: not whole blocks of %d",
                       sequence, share.shared, HD_LOG_CHUNK);
    if (share.parent == sequence)
        return hd_fail(err, HD_E_PROTO, "sequence %u shares with itself", sequence);
    return in_range(share.parent, 0, c->sizes.max_sequences - 1, "a parent's number", err);
}

int hd_check_cut(const struct hd_check *c, const Hydac__V1__SequenceCut *m, struct hd_error *err)
{
    int rc = hd_check_sequence(c, m->sequence, err);
    if (rc == 0)
        rc = in_range(m->positions, 0, c->sizes.max_positions, "the positions that stay", err);
    return rc < 0 ? hd_fail_in(err, "SequenceCut") : 0;
}

struct needs {
    const char *message;
    Hydac__V1__SequenceNeed *const *list;
    size_t n;
};

static int check_needs(const struct hd_check *c, const struct needs *needs, struct hd_error *err)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < needs->n; i++) {
        const Hydac__V1__SequenceNeed *n = needs->list[i];
        if (hd_check_sequence(c, n->sequence, err) < 0)
            return hd_fail_in(err, "%s", needs->message);
        if (seen >> n->sequence & 1)
            return hd_fail(err, HD_E_PROTO, "%s: sequence %u comes twice", needs->message,
                           n->sequence);
        seen |= UINT64_C(1) << n->sequence;
        uint64_t positions = n->committed;
        for (size_t g = 0; g < n->n_inflight; g++)
            positions += n->inflight[g];
        if (n->n_inflight > HD_MAX_GROUPS)
            return hd_fail(err, HD_E_PROTO, "%s: sequence %u has rows of %zu groups",
                           needs->message, n->sequence, n->n_inflight);
        if (positions > c->sizes.max_positions)
            return hd_fail(err, HD_E_PROTO, "%s: sequence %u needs more than %u positions",
                           needs->message, n->sequence, c->sizes.max_positions);
        if (hd_check_share(c, n->sequence, (struct hd_kv_share){n->parent, n->shared}, err) < 0)
            return hd_fail_in(err, "%s", needs->message);
    }
    return 0;
}

/* The lists of units that are owned, or held; *n grows by how many. */
static int check_lists(const struct hd_check *c, const Hydac__V1__Units *m, size_t *n,
                       struct hd_error *err)
{
    struct hd_unit_list lists[HD_UNIT_KINDS];
    int rc = 0;
    hd_units_of(m, lists);
    for (int k = 0; k < HD_UNIT_KINDS && rc == 0; k++) {
        rc = check_units(c, (enum hd_unit_kind)k, lists[k], err);
        *n += lists[k].n;
    }
    if (rc == 0 && m)
        rc = check_units(c, HD_UNIT_HEAD, (struct hd_unit_list){m->bare_heads, m->n_bare_heads},
                         err);
    return rc < 0 ? hd_fail_in(err, "AssignHeads") : 0;
}

/* No group is ahead of the one before it. */
static int check_layers_done(const struct hd_check *c, const Hydac__V1__AssignHeads *m,
                             struct hd_error *err)
{
    uint32_t most = c->model->shape.n_layers;
    int rc =
        m->n_layers_done <= HD_MAX_GROUPS
            ? 0
            : hd_fail(err, HD_E_PROTO, "AssignHeads: layers_done of %zu groups", m->n_layers_done);
    for (size_t g = 0; rc == 0 && g < m->n_layers_done; g++) {
        rc = in_range(m->layers_done[g], 0, most, "AssignHeads: layers_done", err);
        most = m->layers_done[g];
    }
    return rc;
}

int hd_check_assign(const struct hd_check *c, const Hydac__V1__AssignHeads *m, struct hd_error *err)
{
    size_t units = 0;
    int rc = check_lists(c, m->own, &units, err);
    if (rc == 0 && check_lists(c, m->hold, &units, err) < 0)
        rc = hd_fail_in(err, "held units");
    if (rc == 0 && units > 0 && c->n_digests < c->n_pieces)
        rc = hd_fail(err, HD_E_PROTO, "AssignHeads: before the digests of all pieces");
    if (rc == 0)
        rc = check_layers_done(c, m, err);
    if (rc == 0 && m->round != 0 && m->clear)
        rc = hd_fail(err, HD_E_PROTO, "AssignHeads: a round cannot clear");
    struct needs needs = {"AssignHeads", m->sequences, m->n_sequences};
    return rc < 0 ? rc : check_needs(c, &needs, err);
}

/* ---- The log ----*/

int hd_check_fill(const struct hd_check *c, const Hydac__V1__FillLog *m, struct hd_error *err)
{
    struct needs needs = {"FillLog", m->sequences, m->n_sequences};
    int rc = in_range(m->layers_done, 0, c->model->shape.n_layers, "FillLog: layers_done", err);
    return rc < 0 ? rc : check_needs(c, &needs, err);
}

int hd_check_tokens(const struct hd_check *c, const Hydac__V1__SequenceTokens *m,
                    const struct hd_frame *f, struct hd_error *err)
{
    size_t n = f->payload_len / sizeof(int32_t);
    int rc = hd_check_sequence(c, m->sequence, err);
    if (rc == 0)
        rc = hd_check_share(c, m->sequence, (struct hd_kv_share){m->parent, m->shared}, err);
    if (rc == 0 && (f->payload_len % sizeof(int32_t) || n > c->sizes.max_positions - m->shared))
        rc = hd_fail(err, HD_E_PROTO, "%u bytes of tokens from position %u of %u on",
                     f->payload_len, m->shared, c->sizes.max_positions);
    return rc < 0 ? hd_fail_in(err, "SequenceTokens") : 0;
}

static int check_log_at(const struct hd_check *c, struct hd_log_at at, struct hd_error *err)
{
    int rc = hd_check_sequence(c, at.sequence, err);
    if (rc == 0)
        rc = in_range(at.layer, 0, c->model->shape.n_layers - 1, "the layer", err);
    return rc < 0 ? rc : in_range(at.position, 0, c->sizes.max_positions - 1, "the position", err);
}

int hd_check_fetch(const struct hd_check *c, const Hydac__V1__Fetch *m, struct hd_error *err)
{
    int rc = check_log_at(c, (struct hd_log_at){m->sequence, m->layer, m->position}, err);
    if (rc == 0)
        rc = in_range(m->count, 1, c->sizes.max_rows, "the number of rows", err);
    return rc < 0 ? hd_fail_in(err, "Fetch") : 0;
}

int hd_check_rows(const struct hd_check *c, const Hydac__V1__Rows *m, size_t payload_len,
                  struct hd_error *err)
{
    size_t bytes = hd_model_row_bytes(c->model, c->sizes.activations);
    int rc = check_log_at(c, (struct hd_log_at){m->sequence, m->layer, m->position}, err);
    if (rc == 0)
        rc = in_range(m->count, 0, c->sizes.max_rows, "the number of rows", err);
    if (rc < 0)
        return hd_fail_in(err, "Rows");
    if (m->count > c->sizes.max_positions - m->position)
        return hd_fail(err, HD_E_PROTO, "Rows: %u rows from position %u of %u", m->count,
                       m->position, c->sizes.max_positions);
    if (payload_len != m->count * bytes)
        return hd_fail(err, HD_E_PROTO, "Rows: %zu bytes for %u rows of %zu bytes", payload_len,
                       m->count, bytes);
    return 0;
}

/* ---- Weights ----*/

int hd_check_digests(const struct hd_check *c, const Hydac__V1__PieceDigests *m,
                     const struct hd_frame *f, struct hd_error *err)
{
    if (m->first != c->n_digests)
        return hd_fail(err, HD_E_PROTO,
                       "PieceDigests: from piece %llu on, expected was %llu of %llu",
                       (unsigned long long)m->first, (unsigned long long)c->n_digests,
                       (unsigned long long)c->n_pieces);
    if (m->count < 1 || m->count > HD_PIECE_DIGESTS_MAX || m->count > c->n_pieces - m->first)
        return hd_fail(err, HD_E_PROTO, "PieceDigests: %u pieces from %llu on, there are %llu",
                       m->count, (unsigned long long)m->first, (unsigned long long)c->n_pieces);
    if (f->payload_len != m->count * sizeof(uint64_t))
        return hd_fail(err, HD_E_PROTO, "PieceDigests: %u bytes for %u digests", f->payload_len,
                       m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t digest;
        memcpy(&digest, f->payload + i * sizeof digest, sizeof digest);
        if (digest == 0)
            return hd_fail(err, HD_E_PROTO, "PieceDigests: piece %llu has none",
                           (unsigned long long)(m->first + i));
    }
    return 0;
}

int hd_check_weights(const struct hd_check *c, const Hydac__V1__Weights *m, size_t payload_len,
                     struct hd_error *err)
{
    struct hd_piece_at at = {(enum hd_unit_kind)m->kind, m->unit, m->layer};
    if (m->kind >= HD_UNIT_KINDS || !hd_piece_exists(c->model, c->units, at))
        return hd_fail(err, HD_E_PROTO, "Weights: kind %u, unit %u, layer %u does not exist",
                       m->kind, m->unit, m->layer);
    if (payload_len > HD_WEIGHTS_CHUNK)
        return hd_fail(err, HD_E_PROTO, "Weights: %zu bytes at once", payload_len);
    return 0;
}

/* ---- Steps ----*/

/* Sequences and positions of a step's rows. */
static int check_rows(const struct hd_check *c, const Hydac__V1__Step *m, struct hd_error *err)
{
    uint32_t next[HD_MAX_SEQUENCES] = {0}; /* the lowest position that may follow */
    for (size_t i = 0; i < m->n_sequences; i++) {
        uint32_t s = m->sequences[i], p = m->positions[i];
        if (hd_check_sequence(c, s, err) < 0)
            return hd_fail_in(err, "row %zu", i);
        if (p >= c->sizes.max_positions)
            return hd_fail(err, HD_E_PROTO, "row %zu: position %u of %u", i, p,
                           c->sizes.max_positions);
        if (p < next[s])
            return hd_fail(err, HD_E_PROTO, "row %zu: positions of sequence %u go back", i, s);
        next[s] = p + 1;
    }
    return 0;
}

static int check_numbers(const Hydac__V1__Step *m, struct hd_error *err)
{
    for (size_t i = 0; i < m->n_shifts; i++)
        if (m->shifts[i] < -HD_WORKER_MAX_SHIFT || m->shifts[i] > HD_WORKER_MAX_SHIFT)
            return hd_fail(err, HD_E_PROTO, "row %zu: shift %d", i, m->shifts[i]);
    for (size_t i = 0; i < m->n_temperatures; i++)
        if (!(m->temperatures[i] >= 0 && m->temperatures[i] < INFINITY))
            return hd_fail(err, HD_E_PROTO, "row %zu: temperature %g", i,
                           (double)m->temperatures[i]);
    return 0;
}

/* What each row takes of the experts, if it is for them to compute. */
static int check_experts(const struct hd_check *c, const Hydac__V1__Step *m, struct hd_error *err)
{
    const struct hd_model_shape *s = &c->model->shape;
    size_t used = m->half == HYDAC__V1__HALF__FFN ? s->n_used : 0, want = used * m->n_sequences;
    if (m->n_experts != want || m->n_weights != want)
        return hd_fail(err, HD_E_PROTO, "%zu experts and %zu weights where %zu were expected",
                       m->n_experts, m->n_weights, want);
    for (size_t i = 0; i < want; i++) {
        if (m->experts[i] >= s->n_experts)
            return hd_fail(err, HD_E_PROTO, "row %zu: expert %u of %u", i / used, m->experts[i],
                           s->n_experts);
        if (i % used > 0 && m->experts[i] <= m->experts[i - 1])
            return hd_fail(err, HD_E_PROTO, "row %zu: experts are not ascending", i / used);
        if (!(m->weights[i] >= 0 && m->weights[i] < INFINITY))
            return hd_fail(err, HD_E_PROTO, "row %zu: weight %g", i / used, (double)m->weights[i]);
    }
    return 0;
}

/* All of it but the epoch and the group. */
static int check_half(const struct hd_check *c, const Hydac__V1__Step *m, size_t payload_len,
                      struct hd_error *err)
{
    size_t rows = m->n_sequences;
    bool logits = m->half == HYDAC__V1__HALF__LOGITS;
    if ((int)m->half < HYDAC__V1__HALF__ATTENTION || m->half > HYDAC__V1__HALF__LOGITS)
        return hd_fail(err, HD_E_PROTO, "half %d does not exist", (int)m->half);
    if (m->layer >= c->model->shape.n_layers)
        return hd_fail(err, HD_E_PROTO, "layer %u of %u", m->layer, c->model->shape.n_layers);
    if (rows < 1 || rows > c->sizes.max_rows)
        return hd_fail(err, HD_E_PROTO, "%zu rows, possible are 1 to %u", rows, c->sizes.max_rows);
    if (m->n_positions != rows || m->n_shifts != (logits ? 0 : rows) ||
        m->n_want != (logits ? rows : 0) || m->n_temperatures != m->n_want)
        return hd_fail(err, HD_E_PROTO,
                       "%zu rows with %zu positions, %zu shifts, %zu wants and %zu "
                       "temperatures",
                       rows, m->n_positions, m->n_shifts, m->n_want, m->n_temperatures);
    size_t bytes = hd_model_row_bytes(c->model, c->sizes.activations);
    if (payload_len != rows * bytes)
        return hd_fail(err, HD_E_PROTO, "%zu bytes for %zu rows of %zu bytes", payload_len, rows,
                       bytes);
    bool first = m->half == HYDAC__V1__HALF__ATTENTION && m->layer == 0;
    if (m->n_tokens > 0 && (m->n_tokens != rows || !first))
        return hd_fail(err, HD_E_PROTO, "%zu tokens for %zu rows of half %d of layer %u",
                       m->n_tokens, rows, (int)m->half, m->layer);
    int rc = check_rows(c, m, err);
    if (rc == 0)
        rc = check_numbers(m, err);
    return rc < 0 ? rc : check_experts(c, m, err);
}

int hd_check_step(const struct hd_check *c, const Hydac__V1__Step *m, size_t payload_len,
                  struct hd_error *err)
{
    int rc = check_half(c, m, payload_len, err);
    if (rc == 0)
        rc = in_range(m->group, 0, HD_MAX_GROUPS - 1, "the group", err);
    return rc < 0 ? hd_fail_in(err, "Step") : 0;
}

int hd_check_audit(const struct hd_check *c, const Hydac__V1__Audit *m, size_t payload_len,
                   struct hd_error *err)
{
    Hydac__V1__Step step = HYDAC__V1__STEP__INIT; /* of which it speaks; borrows the lists */
    step.half = m->half;
    step.layer = m->layer;
    step.n_sequences = m->n_sequences;
    step.sequences = m->sequences;
    step.n_positions = m->n_positions;
    step.positions = m->positions;
    step.n_shifts = m->n_shifts;
    step.shifts = m->shifts;
    step.n_want = m->n_want;
    step.want = m->want;
    step.n_temperatures = m->n_temperatures;
    step.temperatures = m->temperatures;
    step.n_experts = m->n_experts;
    step.experts = m->experts;
    step.n_weights = m->n_weights;
    step.weights = m->weights;
    int rc = check_half(c, &step, payload_len, err);
    if (rc == 0 && m->n_units == 0)
        rc = hd_fail(err, HD_E_PROTO, "no units");
    struct hd_unit_list units = {m->units, m->n_units};
    if (rc == 0)
        rc = check_units(c, hd_half_units(m->half), units, err);
    return rc < 0 ? hd_fail_in(err, "Audit") : 0;
}

struct hd_frame_limits hd_check_limits(const struct hd_check *c)
{
    uint64_t rows = c->sizes.max_rows;
    uint64_t units = (uint64_t)c->units->heads + c->units->ffn_blocks + c->units->vocab_blocks;
    uint64_t used = c->model->shape.n_used;
    uint64_t step = (6 + 2 * used) * VARINT32 * rows; /* sequence, position, token, shift, want,
                                                       * temperature, experts and their weights */
    uint64_t assign = 2 * VARINT32 * units + /* owned and held; an audit has a step and units */
                      HD_MAX_SEQUENCES * (uint64_t)(12 * VARINT32); /* a need: 7, tags, length */
    uint64_t payload = rows * hd_model_row_bytes(c->model, c->sizes.activations);
    if (payload < HD_WEIGHTS_CHUNK) /* a list of digests is smaller */
        payload = HD_WEIGHTS_CHUNK;
    if (payload < c->sizes.max_positions * (uint64_t)sizeof(int32_t))
        payload = c->sizes.max_positions * (uint64_t)sizeof(int32_t);
    return (struct hd_frame_limits){
        .max_body = (uint32_t)(step + assign + MARGIN),
        .max_payload = (uint32_t)payload,
    };
}
