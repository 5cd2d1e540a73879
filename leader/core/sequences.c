/* sequences.c - the steps' sequences: opened, kept, replayed, closed, and what is needed of them.
 */
#include "leader/core/core_impl.h"

#include <string.h>

static uint32_t inflight(const struct sequence *q)
{
    uint32_t rows = 0;
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        rows += q->inflight[g];
    return rows;
}

/* Nothing is known of it any more. */
static void forget_all(struct hd_core *c, uint32_t sequence)
{
    uint64_t bit = core_bit(sequence);
    c->steps.live &= ~bit;
    c->steps.kept &= ~bit;
    c->steps.forgotten &= ~bit;
    c->steps.replayed &= ~bit;
    c->steps.replaying &= ~bit;
    c->steps.sequences[sequence] = (struct sequence){0};
}

void core_seq_open(struct hd_core *c, uint32_t sequence)
{
    if (sequence >= HD_MAX_SEQUENCES)
        return;
    forget_all(c, sequence);
    c->steps.live |= core_bit(sequence);
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        core_log_opened(c, core_first(left), sequence);
        core_push(c, HD_ACT_SEQ_OPEN, core_first(left))->sequence = sequence;
    }
}

void core_seq_fork(struct hd_core *c, const struct hd_fork *fork)
{
    if (fork->sequence >= HD_MAX_SEQUENCES || fork->parent >= HD_MAX_SEQUENCES)
        return;
    forget_all(c, fork->sequence);
    c->steps.live |= core_bit(fork->sequence);
    c->steps.sequences[fork->sequence] =
        (struct sequence){.base = fork->shared, .parent = fork->parent, .shared = fork->shared};
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        core_log_opened(c, core_first(left), fork->sequence);
        core_push(c, HD_ACT_SEQ_FORK, core_first(left))->fork = *fork;
    }
}

void core_seq_kept(struct hd_core *c, uint32_t sequence, bool kept)
{
    uint64_t bit = sequence < HD_MAX_SEQUENCES ? core_bit(sequence) & c->steps.live : 0;
    c->steps.kept = kept ? c->steps.kept | bit : c->steps.kept & ~bit;
    core_stir(c); /* it was perhaps the one that a log lacked */
}

/* Nobody is told: who has the rows has said so. */
void core_seq_adopt(struct hd_core *c, const struct hd_adopt_info *a)
{
    if (a->sequence >= HD_MAX_SEQUENCES || a->parent >= HD_MAX_SEQUENCES)
        return;
    uint64_t bit = core_bit(a->sequence);
    core_adopted(c, bit);
    if (c->steps.live & ~c->steps.kept & bit)
        return;
    forget_all(c, a->sequence);
    c->steps.live |= bit;
    c->steps.kept |= bit;
    c->steps.sequences[a->sequence] =
        (struct sequence){.base = a->base, .parent = a->parent, .shared = a->shared};
    for (uint64_t left = core_alive(c); left; left &= left - 1)
        core_log_told(c, core_first(left));
}

uint64_t core_with_parents(const struct hd_core *c, uint64_t set)
{
    for (uint64_t left = set; left; left &= left - 1)
        for (unsigned i = core_first(left); c->steps.sequences[i].shared > 0;) {
            i = c->steps.sequences[i].parent;
            set |= core_bit(i);
        }
    return set;
}

/* The set with all that has begun with rows of it. */
static uint64_t with_children(const struct hd_core *c, uint64_t set)
{
    uint64_t all = set;
    for (uint64_t left = c->steps.live & ~set; left; left &= left - 1)
        if (core_with_parents(c, left & -left) & set)
            all |= left & -left;
    return all;
}

uint64_t core_spare(const struct hd_core *c)
{
    return c->steps.kept ? c->steps.kept & ~core_with_parents(c, c->steps.live & ~c->steps.kept)
                         : 0;
}

void core_forget(struct hd_core *c, uint64_t sequences)
{
    sequences = with_children(c, sequences & core_spare(c)) & ~c->steps.forgotten;
    c->steps.forgotten |= sequences;
    if (sequences)
        core_push(c, HD_ACT_FORGET, 0)->sequences = sequences;
}

void core_seq_cut(struct hd_core *c, const struct hd_seq_cut *cut)
{
    if (cut->sequence >= HD_MAX_SEQUENCES || !(c->steps.live & core_bit(cut->sequence)))
        return;
    struct sequence *q = &c->steps.sequences[cut->sequence];
    q->base = q->base < cut->positions ? q->base : cut->positions;
    q->target = q->target < cut->positions ? q->target : cut->positions;
    for (uint64_t left = core_alive(c); left; left &= left - 1) /* whoever has logged rows of it */
        core_push(c, HD_ACT_SEQ_CUT, core_first(left))->cut = *cut;
}

void core_seq_close(struct hd_core *c, uint32_t sequence)
{
    if (sequence >= HD_MAX_SEQUENCES)
        return;
    uint64_t bit = core_bit(sequence);
    if (inflight(&c->steps.sequences[sequence]) > 0)
        core_abandon_step(c); /* sequences end between steps, or with the step they are in */
    forget_all(c, sequence);
    core_epochs_ended(c, bit);
    core_stir(c); /* it was perhaps the one that a log lacked */
    core_logs_ended(c, bit);
    core_audit_spoiled(c, bit);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (core_log_closed(c, s, sequence))
            core_push(c, HD_ACT_SEQ_CLOSE, s)->sequence = sequence;
}

void core_replay(struct hd_core *c, uint64_t sequences)
{
    sequences = with_children(c, sequences);
    c->steps.replaying |= sequences;
    for (uint64_t left = sequences; left; left &= left - 1)
        c->steps.sequences[core_first(left)].shared = 0; /* each stands alone from now on */
    if (sequences)
        core_push(c, HD_ACT_REPLAY, 0)->sequences = sequences;
}

void core_replayed(struct hd_core *c, uint64_t sequences)
{
    uint64_t again = sequences & c->steps.live;
    for (uint64_t left = again; left; left &= left - 1) {
        struct sequence *q = &c->steps.sequences[core_first(left)];
        if (q->base + inflight(q) > q->target)
            q->target = q->base + inflight(q);
        q->base = 0;
    }
    core_abandon_step(c);
    core_audit_spoiled(c, again);
    c->steps.replaying &= ~sequences;
    c->steps.replayed |= again;
    core_logs_replayed(c, again);
}

void core_all_dropped(struct hd_core *c)
{
    c->steps.replayed = 0;
}

void core_commit_rows(struct hd_core *c)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        c->steps.sequences[i].base += inflight(&c->steps.sequences[i]);
}

/* ---- What others ask ----*/

uint64_t core_live(const struct hd_core *c)
{
    return c->steps.live;
}

uint64_t core_needed(const struct hd_core *c)
{
    return c->steps.live & ~c->steps.forgotten;
}

uint64_t core_dropping(const struct hd_core *c)
{
    return c->steps.replayed;
}

uint32_t core_positions(const struct hd_core *c, unsigned sequence)
{
    const struct sequence *q = &c->steps.sequences[sequence];
    return q->base + inflight(q) - q->shared;
}

uint64_t core_in_hand(const struct hd_core *c)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        set |= inflight(&c->steps.sequences[i]) > 0 ? core_bit(i) : 0;
    return set;
}

bool core_catching_up(const struct hd_core *c)
{
    bool logits = c->steps.half[0].half == HD_HALF_LOGITS;
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++) {
        const struct sequence *q = &c->steps.sequences[i];
        if (q->base + (logits ? inflight(q) : 0) < q->target)
            return true;
    }
    return false;
}

bool core_replays_any(const struct hd_core *c)
{
    for (unsigned i = 0; i < HD_MAX_SEQUENCES; i++)
        if (c->steps.sequences[i].base < c->steps.sequences[i].target)
            return true;
    return false;
}

void core_needs(const struct hd_core *c, struct hd_orders *out)
{
    uint64_t replayed = c->steps.replayed | c->steps.replaying;
    bool abandoned = c->steps.replaying != 0; /* the step in hand will be, by then */
    out->n_needs = 0;
    for (uint64_t left = c->steps.live & ~c->steps.forgotten; left; left &= left - 1) {
        unsigned i = core_first(left);
        struct hd_seq_need *need = &out->needs[out->n_needs++];
        *need = (struct hd_seq_need){.sequence = i,
                                     .parent = c->steps.sequences[i].parent,
                                     .shared = c->steps.sequences[i].shared,
                                     .replayed = replayed & core_bit(i)};
        if (need->replayed)
            continue;
        need->base = c->steps.sequences[i].base;
        if (!abandoned)
            memcpy(need->inflight, c->steps.sequences[i].inflight, sizeof need->inflight);
    }
    for (unsigned g = 0; g < HD_MAX_GROUPS; g++)
        out->layers_done[g] = abandoned ? 0 : c->steps.layers_done[g];
}

uint64_t hd_core_positions(const struct hd_core *c)
{
    uint64_t sum = 0;
    for (uint64_t left = c->steps.live & ~c->steps.replayed; left; left &= left - 1)
        sum +=
            c->steps.sequences[core_first(left)].base - c->steps.sequences[core_first(left)].shared;
    return sum;
}

/* ---- What must be true ----*/

static const char *check_half(const struct hd_core *c, unsigned group)
{
    const struct half *h = &c->steps.half[group];
    bool ready = core_is_ready(c);
    if (h->sent && (!ready || !h->active))
        return "half-steps are with workers only while ready";
    if (h->sent != (h->awaited != 0))
        return "a half-step that was sent is awaited from somebody";
    if (h->awaited & ~core_alive(c))
        return "only workers that are alive are awaited";
    if (h->active && ready && !h->sent && !h->held)
        return "when ready the half-steps in hand are with the workers";
    if (h->held && (h->sent || !h->active))
        return "only what is in hand waits for an audit";
    if (h->held && ready && !core_audit_full(c))
        return "nothing waits for an audit longer than it must";
    if (h->again && !h->active)
        return "what is asked for again is in hand";
    return c->steps.layers_done[group] > c->o.n_layers ? "no more layers are done than there are"
                                                       : NULL;
}

/* Who shares rows has a live parent that shares fewer. */
static bool forks_hold(const struct hd_core *c)
{
    for (uint64_t left = c->steps.live; left; left &= left - 1) {
        const struct sequence *q = &c->steps.sequences[core_first(left)];
        const struct sequence *parent = &c->steps.sequences[q->parent];
        if (q->shared > 0 &&
            (!(c->steps.live & core_bit(q->parent)) || parent->shared >= q->shared))
            return false;
    }
    return true;
}

const char *core_check_steps(const struct hd_core *c)
{
    const char *broken = NULL;
    for (unsigned g = 0; g < HD_MAX_GROUPS && !broken; g++)
        broken = check_half(c, g);
    for (unsigned g = 1; g < HD_MAX_GROUPS && !broken; g++)
        if (c->steps.layers_done[g] > c->steps.layers_done[g - 1])
            broken = "a group is not ahead of the one before it";
    for (unsigned i = 0; i < HD_MAX_SEQUENCES && !broken; i++)
        if (!(c->steps.live & core_bit(i)) && core_positions(c, i))
            broken = "closed sequences hold nothing";
    if (!broken && !forks_hold(c))
        broken = "what a sequence shares its parent has, and that lives";
    if (!broken && c->steps.kept & ~c->steps.live)
        broken = "only live sequences are kept";
    if (!broken && c->steps.forgotten & ~core_spare(c))
        broken = "no request needs what is forgotten";
    if (!broken && core_is_ready(c) && c->steps.replayed)
        broken = "nothing is left to drop when ready";
    return broken;
}
