/* kept.c - what a worker says it has kept of an earlier leader, or of this one: SequenceTokens of
 * each sequence, then Kept. The engine says which of it is of use; what is not the worker drops. */
#include "leader/daemon/leader_impl.h"

#include "common/text/tokenizer.h"

#include <inttypes.h>

/* Rows of compact sums are a function of the plan of then as well. */
static bool may_adopt(const struct hd_leader *l)
{
    return hd_core_state(l->core) == HD_CLUSTER_WAITING && l->wire == HD_WIRE_EXACT;
}

/* NULL, or what is wrong. */
static const char *check(const struct hd_leader *l, const struct hd_kept_rows *k, size_t bytes)
{
    if (k->sequence >= hd_leader_sequences(l) || k->parent >= hd_leader_sequences(l))
        return "SequenceTokens of a sequence that cannot be";
    if (bytes % sizeof *k->tokens || k->n_tokens == 0 || k->shared % HD_LOG_CHUNK ||
        (k->shared > 0 && k->parent == k->sequence))
        return "SequenceTokens that are none";
    if (k->shared > l->context || k->n_tokens > l->context - k->shared ||
        k->positions > k->shared + k->n_tokens)
        return "SequenceTokens of more positions than a sequence has";
    for (uint32_t i = 0; i < k->n_tokens; i++)
        if (k->tokens[i] < 0 || (uint32_t)k->tokens[i] >= l->model->shape.vocab)
            return "SequenceTokens with a token that the model has not";
    return NULL;
}

static void take_sequence(struct hd_peer *p, const struct hd_kept_rows *k, uint32_t logged)
{
    struct hd_leader *l = p->leader;
    uint64_t bit = UINT64_C(1) << k->sequence;
    bool used = may_adopt(l) && hd_engine_adopt(l->engine, k);
    uint32_t n = 0;
    if (used)
        hd_engine_tokens(l->engine, k->sequence, &n);
    hd_info(l->o.log, "kept", "slot=%d sequence=%u positions=%u tokens=%u logged=%u of_use=%s",
            p->slot, k->sequence, k->positions, k->shared + k->n_tokens, logged,
            used ? "yes" : "no");
    if (used && logged >= n)
        p->kept_covers |= bit;
    else if (!used && hd_send_sequence(l, p, k->sequence, false) < 0)
        hd_conn_close(p->conn, false);
}

void hd_peer_seq_tokens(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__SequenceTokens *m = hydac__v1__sequence_tokens__unpack(NULL, f->body_len, f->body);
    if (!m || !p->kept) {
        hd_peer_broke_rules(p, m ? "SequenceTokens without a Hello that says so"
                                 : "SequenceTokens cannot be read");
        goto out;
    }
    struct hd_kept_rows k = {
        .sequence = m->sequence,
        .parent = m->parent,
        .shared = m->shared,
        .positions = m->positions,
        .scope = m->scope,
        .tokens = (const int32_t *)f->payload, /* 64 bytes aligned */
        .n_tokens = f->payload_len / (uint32_t)sizeof(int32_t),
    };
    const char *wrong = check(p->leader, &k, f->payload_len);
    if (wrong)
        hd_peer_broke_rules(p, wrong);
    else
        take_sequence(p, &k, m->logged);
out:
    if (m)
        hydac__v1__sequence_tokens__free_unpacked(m, NULL);
}

void hd_peer_kept(struct hd_peer *p, const struct hd_frame *f)
{
    Hydac__V1__Kept *m = hydac__v1__kept__unpack(NULL, f->body_len, f->body);
    if (!m || !p->kept || !m->own) {
        hd_peer_broke_rules(p, m ? "Kept out of place" : "Kept cannot be read");
        goto out;
    }
    struct hd_event ev = {
        .type = HD_EV_KEPT,
        .slot = (unsigned)p->slot,
        .kept = {.units = {m->own->heads, m->own->ffn_blocks, m->own->vocab_blocks},
                 .n = {m->own->n_heads, m->own->n_ffn_blocks, m->own->n_vocab_blocks},
                 .covers = p->kept_covers},
    };
    p->kept = false;
    hd_info(p->leader->o.log, "kept_units", "slot=%d heads=%zu ffn_blocks=%zu vocab_blocks=%zu",
            p->slot, m->own->n_heads, m->own->n_ffn_blocks, m->own->n_vocab_blocks);
    hd_leader_event(p->leader, &ev);
out:
    if (m)
        hydac__v1__kept__free_unpacked(m, NULL);
}
