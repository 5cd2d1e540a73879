/* room.c - what the workers' logs have room for. Each has a limit of its own: who cannot hold a
 * sequence logs others, is not asked to complete it, and gets no heads because of it. What a worker
 * says of its log (logs.c) is what counts; this is to spare it what cannot be. */
#include "leader/core/core_impl.h"

/* Positions are kept in chunks. */
static uint64_t chunks_of(const struct hd_core *c, uint64_t positions)
{
    uint32_t chunk = c->o.log.positions ? c->o.log.positions : 1;
    return positions / chunk + (positions % chunk != 0);
}

/* Of the whole log. */
static uint64_t chunks_in(const struct hd_core *c, unsigned slot)
{
    return c->o.log.bytes ? c->logs.of[slot].limit / c->o.log.bytes : UINT64_MAX;
}

bool core_keeps_log(const struct hd_core *c, unsigned slot)
{
    return c->logs.of[slot].limit > 0 && chunks_in(c, slot) > 0;
}

bool core_log_fits(const struct hd_core *c, unsigned slot, unsigned sequence)
{
    const struct worker_log *w = &c->logs.of[slot];
    uint64_t need = chunks_of(c, core_positions(c, sequence)) + 1; /* it will grow */
    for (uint64_t left = (w->covers | w->filling) & ~core_bit(sequence); left; left &= left - 1)
        need += chunks_of(c, core_positions(c, core_first(left)));
    return need <= chunks_in(c, slot);
}

uint64_t core_best_covering(const struct hd_core *c)
{
    uint64_t best = 0, most = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        uint64_t covers = c->logs.of[core_first(left)].covers & core_live(c), positions = 0;
        for (; covers; covers &= covers - 1)
            positions += core_positions(c, core_first(covers));
        if (positions > most)
            best = 0;
        most = positions > most ? positions : most;
        if (positions == most && most > 0)
            best |= core_bit(core_first(left));
    }
    return best;
}

static uint64_t log_positions(const struct hd_core *c, unsigned slot)
{
    if (!core_keeps_log(c, slot))
        return 0;
    return c->o.log.bytes ? chunks_in(c, slot) * c->o.log.positions : UINT64_MAX;
}

uint64_t hd_core_log_room(const struct hd_core *c)
{
    uint64_t most = 0;
    for (uint64_t left = core_alive(c); left; left &= left - 1) {
        uint64_t room = log_positions(c, core_first(left));
        most = room > most ? room : most;
    }
    return most > 0 ? most : UINT64_MAX; /* without logs there is nothing to overflow */
}

void hd_core_log_view(const struct hd_core *c, unsigned slot, struct hd_log_view *out)
{
    const struct worker_log *w = &c->logs.of[slot];
    *out = (struct hd_log_view){
        .limit_bytes = w->limit,
        .positions = log_positions(c, slot),
        .sequences = core_count(core_live(c)),
        .covers = core_count(core_live(c) & w->covers),
        .too_large = core_count(core_live(c) & w->no_room),
    };
}
