/* holds.h - who holds a unit without owning it: its weights are loaded and its K/V is kept current,
 * but it is in no sum. Standby copies are held for as long as there is memory for them; what is
 * about to move is held for a while by the one that will own it. Of a head the weights alone may be
 * held: its K/V is computed when it is owned. Pure. */
#ifndef HD_CORE_HOLDS_H
#define HD_CORE_HOLDS_H

#include "leader/core/plan.h"

/* Behind the kinds of units: heads, by who keeps their K/V current. Never without the weights. */
enum { HD_HOLD_KV = HD_UNIT_KINDS, HD_HOLD_KINDS };

struct hd_holds {
    uint32_t count[HD_HOLD_KINDS]; /* units of each kind */
    uint64_t *mask[HD_HOLD_KINDS]; /* [count]: the slots that hold it */
};

int hd_holds_init(struct hd_holds *h, const uint32_t count[HD_UNIT_KINDS]); /* nobody holds any */
void hd_holds_deinit(struct hd_holds *h);
void hd_holds_copy(struct hd_holds *to, const struct hd_holds *from); /* same counts */
void hd_holds_clear(struct hd_holds *h);
/* These slots hold nothing any more. */
void hd_holds_drop(struct hd_holds *h, uint64_t slots);
/* It holds the unit whole: a head with its K/V. */
void hd_holds_add(struct hd_holds *h, int kind, uint32_t unit, unsigned slot);
/* Nobody holds what he owns. */
void hd_holds_disown(struct hd_holds *h, const struct hd_plan *p);
/* Units of `kind`, or HD_HOLD_KV, that `slot` holds; with list != NULL their numbers, ascending. */
uint32_t hd_holds_list(const struct hd_holds *h, int kind, unsigned slot, uint32_t *list);
/* Heads of which it holds the weights alone. */
uint32_t hd_holds_bare(const struct hd_holds *h, unsigned slot, uint32_t *list);
/* The slots for which `a` and `b` differ. */
uint64_t hd_holds_differ(const struct hd_holds *a, const struct hd_holds *b);

/* Gives each unit `copies` holders beside its owner, or as many as there are workers and memory
 * for. Who holds a unit now (`have`) goes on, unless he then had more than his share; otherwise it
 * goes to who owns and holds the fewest of its kind. */
struct hd_standby_input {
    uint64_t workers;
    unsigned copies;
    bool kv; /* with K/V; the room that a head wants is that of both in any case */
    const struct hd_holds *have;
    const struct hd_unit_cost *unit;       /* [HD_UNIT_KINDS]: bytes */
    const struct hd_plan_worker *measured; /* [HD_MAX_WORKERS]: memory; 0 = as much as it takes */
};
void hd_standby_fill(struct hd_holds *out, const struct hd_plan *p,
                     const struct hd_standby_input *in);
/* Units without an owner in `alive` go to those of `takers` that hold them ready: to who owns the
 * fewest of the kind. A head goes to who has its K/V, else to who holds its weights, is of `logged`
 * and can compute it. The rest stay as they are. */
struct hd_standby_takers {
    uint64_t alive, takers, logged;
};
void hd_standby_claim(struct hd_plan *p, const struct hd_holds *ready,
                      const struct hd_standby_takers *who);

#endif
