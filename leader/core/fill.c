/* fill.c - logs that lack rows are completed from those of others.
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
        if (c->workers[s].state != HD_WORKER_ONLINE || !(c->workers[s].covers & core_bit(sequence)))
            continue;
        if (!c->workers[s].pace.slow)
            return (int)s;
        slow = (int)s;
    }
    return slow;
}

void core_fill_logs(struct hd_core *c)
{
    uint64_t alive = core_alive(c);
    const struct hd_orders *all = NULL;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct worker *w = &c->workers[s];
        if (!(alive & core_bit(s)) || !core_keeps_log(c, w))
            continue;
        uint64_t lacks = c->live & w->knows & ~(w->covers | w->filling | w->cannot), fill = 0;
        w->no_room &= ~lacks;
        for (; lacks; lacks &= lacks - 1) {
            unsigned q = core_first(lacks);
            if (!core_log_fits(c, s, q)) {
                w->no_room |= core_bit(q);
            } else if (find_source(c, s, q) >= 0) {
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

void core_log_state(struct hd_core *c, const struct hd_event *ev)
{
    struct worker *w = &c->workers[ev->slot];
    if (!(core_alive(c) & core_bit(ev->slot)) || ev->log.sequence >= HD_MAX_SEQUENCES)
        return;
    uint64_t bit = core_bit(ev->log.sequence);
    if (!(c->live & w->knows & bit))
        return; /* it has ended meanwhile */
    w->filling &= ~bit;
    w->covers = ev->log.complete ? w->covers | bit : w->covers & ~bit;
    /* What its limit keeps out it is asked for again when others have ended. */
    bool no_room = !ev->log.complete && !core_log_fits(c, ev->slot, ev->log.sequence);
    w->no_room = no_room ? w->no_room | bit : w->no_room & ~bit;
    w->cannot = ev->log.complete || no_room || ev->log.again ? w->cannot & ~bit : w->cannot | bit;
    c->restless = true;
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
        rows.id = f->asked = ++c->questions;
        push_fetch(c, HD_ACT_FETCH, f->source, rows);
        return;
    }
    rows.count = 0;
    push_fetch(c, HD_ACT_NO_ROWS, rows.requester, rows);
}

void core_fetch(struct hd_core *c, const struct hd_event *ev)
{
    const struct worker *w = &c->workers[ev->slot];
    struct fetch *f = &c->fetches[ev->slot];
    if (!(core_alive(c) & core_bit(ev->slot)))
        return;
    if (ev->fetch.sequence >= HD_MAX_SEQUENCES || ev->fetch.layer >= c->o.n_layers) {
        core_lose(c, ev->slot, HD_LOSS_PROTOCOL);
        return;
    }
    if (!(w->filling & core_bit(ev->fetch.sequence)))
        return; /* the sequence has ended: the worker is being told */
    *f = (struct fetch){.rows = ev->fetch};
    f->rows.requester = ev->slot;
    ask(c, f);
}

bool hd_core_expects_rows(const struct hd_core *c, unsigned slot, const struct hd_fetch *rows)
{
    if (rows->requester >= HD_MAX_WORKERS)
        return false;
    const struct fetch *f = &c->fetches[rows->requester];
    return f->active && f->source == slot && f->asked == rows->id;
}

void core_rows(struct hd_core *c, const struct hd_event *ev)
{
    if (!hd_core_expects_rows(c, ev->slot, &ev->fetch))
        return; /* of a fetch that is over */
    struct fetch *f = &c->fetches[ev->fetch.requester];
    if (ev->fetch.count > f->rows.count) {
        core_lose(c, ev->slot, HD_LOSS_PROTOCOL);
        return;
    }
    if (ev->fetch.count == 0) {
        c->workers[ev->slot].covers &= ~core_bit(f->rows.sequence);
        ask(c, f);
        return;
    }
    f->active = false;
    c->workers[ev->slot].contributed = true;
    f->rows.count = ev->fetch.count;
    push_fetch(c, HD_ACT_ROWS, f->rows.requester, f->rows);
}

void core_fetches_lost(struct hd_core *c, unsigned slot)
{
    c->fetches[slot].active = false;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (c->fetches[s].active && c->fetches[s].source == slot)
            ask(c, &c->fetches[s]);
}

void core_fetches_end(struct hd_core *c, uint64_t sequences)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        struct fetch *f = &c->fetches[s];
        if (f->active && sequences & core_bit(f->rows.sequence))
            f->active = false;
        c->workers[s].filling &= ~sequences;
        c->workers[s].cannot &= ~sequences;
        c->workers[s].no_room &= ~sequences;
    }
}
