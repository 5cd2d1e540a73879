/* holds.c - sets of bits, and who should hold copies so that the loss of any worker is covered. */
#include "leader/core/holds.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

static uint64_t bit(unsigned slot)
{
    return UINT64_C(1) << slot;
}

/* The kind of the units that are listed. */
static int units_of(int kind)
{
    return kind == HD_HOLD_KV ? HD_UNIT_HEAD : kind;
}

int hd_holds_init(struct hd_holds *h, const uint32_t count[HD_UNIT_KINDS])
{
    *h = (struct hd_holds){0};
    for (int k = 0; k < HD_HOLD_KINDS; k++) {
        h->count[k] = count[units_of(k)];
        h->mask[k] =
            calloc((size_t)h->count[k] + 1, sizeof *h->mask[k]); /* a kind may have no unit */
        if (!h->mask[k]) {
            hd_holds_deinit(h);
            return HD_E_NOMEM;
        }
    }
    return 0;
}

void hd_holds_deinit(struct hd_holds *h)
{
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        free(h->mask[k]);
    *h = (struct hd_holds){0};
}

void hd_holds_copy(struct hd_holds *to, const struct hd_holds *from)
{
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        memcpy(to->mask[k], from->mask[k], from->count[k] * sizeof *from->mask[k]);
}

void hd_holds_clear(struct hd_holds *h)
{
    hd_holds_drop(h, UINT64_MAX);
}

void hd_holds_drop(struct hd_holds *h, uint64_t slots)
{
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        for (uint32_t u = 0; u < h->count[k]; u++)
            h->mask[k][u] &= ~slots;
}

void hd_holds_disown(struct hd_holds *h, const struct hd_plan *p)
{
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        for (uint32_t u = 0; u < h->count[k]; u++)
            if (p->owner[units_of(k)][u] != HD_NOBODY)
                h->mask[k][u] &= ~bit(p->owner[units_of(k)][u]);
}

void hd_holds_add(struct hd_holds *h, int kind, uint32_t unit, unsigned slot)
{
    h->mask[kind][unit] |= bit(slot);
    if (kind == HD_UNIT_HEAD)
        h->mask[HD_HOLD_KV][unit] |= bit(slot);
}

/* Of [count] units those that `slot` has in `in`, and not in `but`, if that is not NULL. */
static uint32_t list_units(uint32_t count, const uint64_t *in, const uint64_t *but, unsigned slot,
                           uint32_t *list)
{
    uint32_t n = 0;
    for (uint32_t u = 0; u < count; u++) {
        if (!(in[u] & bit(slot)) || (but && but[u] & bit(slot)))
            continue;
        if (list)
            list[n] = u;
        n++;
    }
    return n;
}

uint32_t hd_holds_list(const struct hd_holds *h, int kind, unsigned slot, uint32_t *list)
{
    return list_units(h->count[kind], h->mask[kind], NULL, slot, list);
}

uint32_t hd_holds_bare(const struct hd_holds *h, unsigned slot, uint32_t *list)
{
    return list_units(h->count[HD_UNIT_HEAD], h->mask[HD_UNIT_HEAD], h->mask[HD_HOLD_KV], slot,
                      list);
}

uint64_t hd_holds_differ(const struct hd_holds *a, const struct hd_holds *b)
{
    uint64_t slots = 0;
    for (int k = 0; k < HD_HOLD_KINDS; k++)
        for (uint32_t u = 0; u < a->count[k]; u++)
            slots |= a->mask[k][u] ^ b->mask[k][u];
    return slots;
}

/* ---- Standby ----*/

struct fill {
    const struct hd_standby_input *in;
    const struct hd_plan *p;
    struct hd_holds *out;
    uint32_t load[HD_MAX_WORKERS]; /* units of the present kind, owned and held */
    double room[HD_MAX_WORKERS];   /* bytes */
};

static void measure_room(struct fill *f)
{
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double memory = f->in->measured ? f->in->measured[s].memory : 0;
        f->room[s] = memory > 0 ? memory : DBL_MAX;
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            f->room[s] -= hd_plan_owned(f->p, k, s, NULL) * f->in->unit[k].bytes;
    }
}

/* Who may hold the unit one time more. */
static uint64_t candidates(const struct fill *f, enum hd_unit_kind kind, uint32_t unit)
{
    uint64_t set = f->in->workers & ~f->out->mask[kind][unit];
    uint8_t owner = f->p->owner[kind][unit];
    if (owner != HD_NOBODY)
        set &= ~bit(owner);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (f->room[s] < f->in->unit[kind].bytes)
            set &= ~bit(s);
    return set;
}

static unsigned least_loaded(const struct fill *f, uint64_t set)
{
    unsigned best = HD_MAX_WORKERS;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (set & bit(s) && (best == HD_MAX_WORKERS || f->load[s] < f->load[best]))
            best = s;
    return best;
}

static void give(struct fill *f, enum hd_unit_kind kind, uint32_t unit, unsigned slot)
{
    f->out->mask[kind][unit] |= bit(slot);
    f->load[slot]++;
    f->room[slot] -= f->in->unit[kind].bytes;
}

static unsigned holders(const struct fill *f, enum hd_unit_kind kind, uint32_t unit)
{
    return (unsigned)__builtin_popcountll(f->out->mask[kind][unit]);
}

/* Who holds it now goes on, as long as he has no more than his share. */
static void keep(struct fill *f, enum hd_unit_kind kind, uint32_t unit, uint32_t share)
{
    uint64_t set = candidates(f, kind, unit) & f->in->have->mask[kind][unit];
    while (set && holders(f, kind, unit) < f->in->copies) {
        unsigned s = least_loaded(f, set);
        if (f->load[s] >= share)
            return;
        give(f, kind, unit, s);
        set &= ~bit(s);
    }
}

static void add(struct fill *f, enum hd_unit_kind kind, uint32_t unit)
{
    while (holders(f, kind, unit) < f->in->copies) {
        unsigned s = least_loaded(f, candidates(f, kind, unit));
        if (s == HD_MAX_WORKERS)
            return;
        give(f, kind, unit, s);
    }
}

/* The `nth` unit of a kind that `slot` owns; false when it owns fewer. */
static bool nth_owned(const struct hd_plan *p, enum hd_unit_kind kind, unsigned slot, uint32_t nth,
                      uint32_t *unit)
{
    for (uint32_t u = 0; u < p->count[kind]; u++)
        if (p->owner[kind][u] == slot && nth-- == 0) {
            *unit = u;
            return true;
        }
    return false;
}

/* One unit of each owner after the other, so that each one's copies are spread over all others. */
static void add_all(struct fill *f, enum hd_unit_kind kind)
{
    uint32_t unit;
    bool any = true;
    for (uint32_t nth = 0; any; nth++) {
        any = false;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            if (nth_owned(f->p, kind, s, nth, &unit)) {
                add(f, kind, unit);
                any = true;
            }
    }
}

void hd_standby_fill(struct hd_holds *out, const struct hd_plan *p,
                     const struct hd_standby_input *in)
{
    struct fill f = {.in = in, .p = p, .out = out};
    unsigned workers = (unsigned)__builtin_popcountll(in->workers);
    hd_holds_clear(out);
    if (workers == 0 || in->copies == 0)
        return;
    measure_room(&f);
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        unsigned copies = in->copies < workers ? in->copies : workers - 1;
        uint32_t share = (p->count[k] * (1 + copies) + workers - 1) / workers;
        for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
            f.load[s] = hd_plan_owned(p, k, s, NULL);
        for (uint32_t u = 0; u < p->count[k]; u++)
            keep(&f, k, u, share);
        add_all(&f, k);
    }
    if (in->kv)
        memcpy(out->mask[HD_HOLD_KV], out->mask[HD_UNIT_HEAD],
               out->count[HD_HOLD_KV] * sizeof *out->mask[HD_HOLD_KV]);
}

/* Of those that hold the unit ready. */
static uint64_t may_claim(const struct hd_holds *ready, int kind, uint32_t unit,
                          const struct hd_standby_takers *who)
{
    uint64_t set = ready->mask[kind][unit] & who->takers;
    uint64_t current = kind == HD_UNIT_HEAD ? ready->mask[HD_HOLD_KV][unit] & who->takers : set;
    return current ? current : set & who->logged;
}

void hd_standby_claim(struct hd_plan *p, const struct hd_holds *ready,
                      const struct hd_standby_takers *who)
{
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < p->count[k]; u++) {
            uint8_t owner = p->owner[k][u];
            if (owner != HD_NOBODY && who->alive & bit(owner))
                continue;
            uint64_t set = may_claim(ready, k, u, who);
            int best = -1;
            uint32_t fewest = UINT32_MAX;
            for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
                uint32_t has = hd_plan_owned(p, k, s, NULL);
                if (set & bit(s) && has < fewest) {
                    best = (int)s;
                    fewest = has;
                }
            }
            if (best >= 0)
                p->owner[k][u] = (uint8_t)best;
        }
}
