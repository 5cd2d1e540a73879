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
    const char *wrong = f->payload_len % sizeof *k.tokens
                            ? "SequenceTokens that are none"
                            : hd_engine_kept_wrong(p->leader->engine, &k);
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
    static const Hydac__V1__Units none = HYDAC__V1__UNITS__INIT;
    Hydac__V1__Kept *m = hydac__v1__kept__unpack(NULL, f->body_len, f->body);
    if (!m || !p->kept || !m->own) {
        hd_peer_broke_rules(p, m ? "Kept out of place" : "Kept cannot be read");
        goto out;
    }
    const Hydac__V1__Units *own = m->own, *hold = m->hold ? m->hold : &none;
    struct hd_event ev = {
        .type = HD_EV_KEPT,
        .slot = (unsigned)p->slot,
        .kept = {.units = {own->heads, own->ffn_blocks, own->vocab_blocks},
                 .n = {own->n_heads, own->n_ffn_blocks, own->n_vocab_blocks},
                 .held = {hold->heads, hold->ffn_blocks, hold->vocab_blocks},
                 .n_held = {hold->n_heads, hold->n_ffn_blocks, hold->n_vocab_blocks},
                 .bare = hold->bare_heads,
                 .n_bare = hold->n_bare_heads,
                 .covers = p->kept_covers},
    };
    p->kept = false;
    hd_info(p->leader->o.log, "kept_units",
            "slot=%d heads=%zu ffn_blocks=%zu vocab_blocks=%zu held_heads=%zu without_kv=%zu",
            p->slot, own->n_heads, own->n_ffn_blocks, own->n_vocab_blocks, hold->n_heads,
            hold->n_bare_heads);
    hd_leader_event(p->leader, &ev);
out:
    if (m)
        hydac__v1__kept__free_unpacked(m, NULL);
}
