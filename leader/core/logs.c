/* logs.c - logs that lack rows are completed from those of others.
 *
 * Happy path: between two steps a worker whose log does not hold a live sequence from its start is
 * told to complete it (FILL). It asks for rows piece by piece (FETCH), the core picks a worker that
 * has them, the rows pass through the leader, and when all are there it says so (LOG_STATE). From
 * then on it can take over any head. Failure modes: 1. the source is lost, or has not got the rows
 * after all: another one is asked; 2. nobody has them: the worker is told so, and waits until the
 * sequence ends; 3. the sequence ends or is replayed: nothing more is to be done; 4. rows of a log
 * are damaged: its worker says so, and it begins again. */
#include "leader/core/core_impl.h"

/* Somebody beside `slot` whose log holds the sequence from the start. */
static int find_source(const struct hd_core *c, unsigned slot, uint32_t sequence)
{
    int slow = -1;
    for (unsigned i = 1; i < HD_MAX_WORKERS; i++) {
        unsigned s = (slot + i) % HD_MAX_WORKERS; /* several that come at once ask different ones */
        if (!core_is_online(c, s) || !(c->logs.of[s].covers & core_bit(sequence)))
            continue;
        if (!core_is_slow(c, s))
            return (int)s;
        slow = (int)s;
    }
    return slow;
}

void core_fill_logs(struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    uint64_t spare = core_spare(c);
    const struct hd_orders *all = NULL;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct worker_log *w = &c->logs.of[s];
        if (!(alive & core_bit(s)) || !core_keeps_log(c, s))
            continue;
        uint64_t lacks = core_live(c) & w->knows & ~(w->covers | w->filling | w->cannot), fill = 0;
        w->no_room &= ~lacks;
        for (; lacks; lacks &= lacks - 1) {
            unsigned q = core_first(lacks);
            if (!core_log_fits(c, s, q)) {
                w->no_room |= core_bit(q);
                if (!(spare & core_bit(q))) /* those that nobody needs make room */
                    core_forget(c, spare & w->covers);
            } else if (find_source(c, s, q) < 0) {
                core_forget(c, core_bit(q)); /* if nobody needs it */
            } else {
                fill |= core_bit(q);
                w->filling |= core_bit(q);
            }
        }
        if (!fill)
            continue;
        struct hd_action *a = core_push(c, HD_ACT_FILL, s);
        a->fill.all = all = all ? all : core_orders(c);
        a->fill.sequences = fill;
    }
}

void core_log_state(struct hd_core *c, unsigned slot, const struct hd_log_info *log)
{
    struct worker_log *w = &c->logs.of[slot];
    if (!(core_alive(c) & core_bit(slot)) || log->sequence >= HD_MAX_SEQUENCES)
        return;
    uint64_t bit = core_bit(log->sequence);
    if (!(core_live(c) & w->knows & bit))
        return; /* it has ended meanwhile */
    w->filling &= ~bit;
    w->covers = log->complete ? w->covers | bit : w->covers & ~bit;
    /* What its limit keeps out it is asked for again when others have ended. */
    bool no_room = !log->complete && !core_log_fits(c, slot, log->sequence);
    w->no_room = no_room ? w->no_room | bit : w->no_room & ~bit;
    w->cannot = log->complete || no_room || log->again ? w->cannot & ~bit : w->cannot | bit;
    core_stir(c);
}

/* ---- Fetches ----*/

static void push_fetch(struct hd_core *c, enum hd_action_type type, unsigned to,
                       struct hd_fetch rows)
{
    core_push(c, type, to)->fetch = rows;
}

/* Asks a source; if there is none, says so. */
static void ask(struct hd_core *c, struct fetch *f)
{
    int source = find_source(c, f->rows.requester, f->rows.sequence);
    struct hd_fetch rows = f->rows;
    f->active = source >= 0;
    if (f->active) {
        f->source = (unsigned)source;
        rows.id = f->asked = ++c->logs.questions;
        push_fetch(c, HD_ACT_FETCH, f->source, rows);
        return;
    }
    rows.count = 0;
    push_fetch(c, HD_ACT_NO_ROWS, rows.requester, rows);
}

void core_fetch(struct hd_core *c, unsigned slot, const struct hd_fetch *rows)
{
    struct fetch *f = &c->logs.fetches[slot];
    if (!(core_alive(c) & core_bit(slot)))
        return;
    if (rows->sequence >= HD_MAX_SEQUENCES || rows->layer >= c->o.n_layers) {
        core_lose(c, slot, HD_LOSS_PROTOCOL);
        return;
    }
    if (!(c->logs.of[slot].filling & core_bit(rows->sequence)))
        return; /* the sequence has ended: the worker is being told */
    *f = (struct fetch){.rows = *rows};
    f->rows.requester = slot;
    ask(c, f);
}

bool hd_core_expects_rows(const struct hd_core *c, unsigned slot, const struct hd_fetch *rows)
{
    if (rows->requester >= HD_MAX_WORKERS)
        return false;
    const struct fetch *f = &c->logs.fetches[rows->requester];
    return f->active && f->source == slot && f->asked == rows->id;
}

void core_rows(struct hd_core *c, unsigned slot, const struct hd_fetch *rows)
{
    if (!hd_core_expects_rows(c, slot, rows))
        return; /* of a fetch that is over */
    struct fetch *f = &c->logs.fetches[rows->requester];
    if (rows->count > f->rows.count) {
        core_lose(c, slot, HD_LOSS_PROTOCOL);
        return;
    }
    if (rows->count == 0) {
        c->logs.of[slot].covers &= ~core_bit(f->rows.sequence);
        ask(c, f);
        return;
    }
    f->active = false;
    core_contributed(c, slot);
    f->rows.count = rows->count;
    push_fetch(c, HD_ACT_ROWS, f->rows.requester, f->rows);
}

void core_fetches_lost(struct hd_core *c, unsigned slot)
{
    c->logs.fetches[slot].active = false;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->logs.fetches[s].active && c->logs.fetches[s].source == slot)
            ask(c, &c->logs.fetches[s]);
}

void core_logs_ended(struct hd_core *c, uint64_t sequences)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct fetch *f = &c->logs.fetches[s];
        struct worker_log *w = &c->logs.of[s];
        if (f->active && sequences & core_bit(f->rows.sequence))
            f->active = false;
        w->filling &= ~sequences;
        w->cannot &= ~sequences;
        w->no_room &= ~sequences;
    }
}

/* ---- What happens ----*/

void core_logs_joined(struct hd_core *c, unsigned slot, uint64_t limit)
{
    c->logs.of[slot] = (struct worker_log){.limit = limit};
}

void core_logs_lost(struct hd_core *c, unsigned slot)
{
    c->logs.of[slot] = (struct worker_log){.limit = c->logs.of[slot].limit};
}

void core_log_told(struct hd_core *c, unsigned slot)
{
    c->logs.of[slot].knows |= core_live(c);
}

void core_log_has(struct hd_core *c, unsigned slot, uint64_t sequences)
{
    struct worker_log *w = &c->logs.of[slot];
    w->covers |= core_keeps_log(c, slot) ? sequences & w->knows : 0;
}

void core_log_opened(struct hd_core *c, unsigned slot, unsigned sequence)
{
    struct worker_log *w = &c->logs.of[slot];
    w->knows |= core_bit(sequence);
    w->covers |= core_keeps_log(c, slot) ? core_bit(sequence) : 0;
}

bool core_log_closed(struct hd_core *c, unsigned slot, unsigned sequence)
{
    struct worker_log *w = &c->logs.of[slot];
    bool known = w->knows & core_bit(sequence);
    w->knows &= ~core_bit(sequence);
    w->covers &= ~core_bit(sequence);
    return known;
}

void core_logs_replayed(struct hd_core *c, uint64_t sequences)
{
    core_logs_ended(c, sequences);
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        struct worker_log *w = &c->logs.of[core_first(left)];
        if (core_keeps_log(c, core_first(left)))
            w->covers |= sequences & w->knows; /* it will see every row */
    }
}

void core_log_lacks(struct hd_core *c, unsigned slot, uint64_t sequences)
{
    c->logs.of[slot].covers &= ~sequences;
}

/* ---- Views ----*/

uint64_t core_covers(const struct hd_core *c, unsigned slot)
{
    return c->logs.of[slot].covers;
}

/* What requests need, and what else it could have. */
static uint64_t should_cover(const struct hd_core *c, unsigned slot, uint64_t spare)
{
    const struct worker_log *w = &c->logs.of[slot];
    uint64_t never = core_keeps_log(c, slot) ? w->cannot | w->no_room : UINT64_MAX;
    return core_live(c) & ~(spare & never);
}

uint64_t core_covering(const struct hd_core *c)
{
    uint64_t set = core_alive(c), spare = core_spare(c);
    for (uint64_t left = set; left; left &= left - 1)
        if (should_cover(c, core_first(left), spare) & ~c->logs.of[core_first(left)].covers)
            set &= ~core_bit(core_first(left));
    return set;
}

uint64_t core_covering_needed(const struct hd_core *c)
{
    uint64_t set = core_alive(c), needed = core_live(c) & ~core_spare(c);
    for (uint64_t left = set; left; left &= left - 1)
        if (needed & ~c->logs.of[core_first(left)].covers)
            set &= ~core_bit(core_first(left));
    return set;
}

void core_view_log(const struct hd_core *c, unsigned slot, struct hd_worker_view *out)
{
    out->covers = core_covering(c) & core_bit(slot);
    out->logs_filled = core_count(c->logs.of[slot].filling);
}

const char *core_check_logs(const struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        const struct worker_log *w = &c->logs.of[s];
        if (!(alive & core_bit(s)) && (w->knows | w->covers))
            return "only workers that are alive know sequences";
        if (w->covers & ~w->knows)
            return "a log covers only sequences its worker was told of";
        if (w->knows & ~core_live(c))
            return "workers know only live sequences";
    }
    return NULL;
}
