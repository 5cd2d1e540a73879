/* room.c - what the workers' logs have room for. Each has a limit of its own: who cannot hold a
 * sequence logs others, is not asked to complete it, and gets no heads because of it. What a worker
 * says of its log (fill.c) is what counts; this is to spare it what cannot be. */
#include "leader/core/core_impl.h"

/* Positions are kept in chunks. */
static uint64_t chunks_of(const struct hd_core *c, uint64_t positions)
{
    uint32_t chunk = c->o.log.positions ? c->o.log.positions : 1;
    return positions / chunk + (positions % chunk != 0);
}

/* Of the whole log. */
static uint64_t chunks_in(const struct hd_core *c, const struct worker *w)
{
    return c->o.log.bytes ? w->log_limit / c->o.log.bytes : UINT64_MAX;
}

static uint64_t positions_of(const struct hd_core *c, unsigned sequence)
{
    return c->sequences[sequence].base + core_inflight(&c->sequences[sequence]);
}

bool core_keeps_log(const struct hd_core *c, const struct worker *w)
{
    return w->log_limit > 0 && chunks_in(c, w) > 0;
}

bool core_log_fits(const struct hd_core *c, unsigned slot, unsigned sequence)
{
    const struct worker *w = &c->workers[slot];
    uint64_t need = chunks_of(c, positions_of(c, sequence)) + 1; /* it will grow */
    for (uint64_t left = (w->covers | w->filling) & ~core_bit(sequence); left; left &= left - 1)
        need += chunks_of(c, positions_of(c, core_first(left)));
    return need <= chunks_in(c, w);
}

uint64_t core_best_covering(const struct hd_core *c)
{
    uint64_t best = 0, most = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        uint64_t covers = c->workers[core_first(left)].covers & c->live, positions = 0;
        for (; covers; covers &= covers - 1)
            positions += positions_of(c, core_first(covers));
        if (positions > most)
            best = 0;
        most = positions > most ? positions : most;
        if (positions == most && most > 0)
            best |= core_bit(core_first(left));
    }
    return best;
}

static uint64_t log_positions(const struct hd_core *c, const struct worker *w)
{
    if (!core_keeps_log(c, w))
        return 0;
    return c->o.log.bytes ? chunks_in(c, w) * c->o.log.positions : UINT64_MAX;
}

uint64_t hd_core_log_room(const struct hd_core *c)
{
    uint64_t most = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        uint64_t room = log_positions(c, &c->workers[core_first(left)]);
        most = room > most ? room : most;
    }
    return most > 0 ? most : UINT64_MAX; /* without logs there is nothing to overflow */
}

void hd_core_log_view(const struct hd_core *c, unsigned slot, struct hd_log_view *out)
{
    const struct worker *w = &c->workers[slot];
    *out = (struct hd_log_view){
        .limit_bytes = w->log_limit,
        .positions = log_positions(c, w),
        .sequences = (unsigned)__builtin_popcountll(c->live),
        .covers = (unsigned)__builtin_popcountll(c->live & w->covers),
        .too_large = (unsigned)__builtin_popcountll(c->live & w->no_room),
    };
}
