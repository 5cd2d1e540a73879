/* plan.h - who owns what. Pure.
 *
 * A plan gives every unit (KV head, FFN block, vocab block) exactly one owner, a worker slot. A
 * strategy is a small pure function from (units, workers, what is owned now) to owners. */
#ifndef HD_CORE_PLAN_H
#define HD_CORE_PLAN_H

#include "common/model/unit.h"
#include "common/util/error.h"
#include "leader/core/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_NOBODY 0xff

struct hd_plan {
    uint32_t count[HD_UNIT_KINDS]; /* units of each kind */
    uint8_t *owner[HD_UNIT_KINDS]; /* [count]: slot or HD_NOBODY */
};

int hd_plan_init(struct hd_plan *p, const uint32_t count[HD_UNIT_KINDS]); /* all HD_NOBODY */
void hd_plan_deinit(struct hd_plan *p);
void hd_plan_copy(struct hd_plan *to, const struct hd_plan *from); /* same counts */
void hd_plan_clear(struct hd_plan *p);                             /* all HD_NOBODY */
/* Units of `kind` that `slot` owns; with list != NULL their numbers, ascending. */
uint32_t hd_plan_owned(const struct hd_plan *p, enum hd_unit_kind kind, unsigned slot,
                       uint32_t *list);
/* The set of slots that own a unit of `kind`. */
uint64_t hd_plan_owners(const struct hd_plan *p, enum hd_unit_kind kind);
/* True when every unit has an owner in `workers`. */
bool hd_plan_complete(const struct hd_plan *p, uint64_t workers);

/* Moves units of `p` to the workers in `to`: as many of each kind as `ideal` gives them, from those
 * that own more than theirs; with `exact` the very units that `ideal` gives them. Nobody else gains
 * any. */
void hd_plan_give(struct hd_plan *p, const struct hd_plan *ideal, uint64_t to, bool exact);

/* What is known of a worker; 0 = unknown, which strategies take for the mean of what is known. */
struct hd_plan_worker {
    double speed;  /* multiply-adds a second */
    double memory; /* bytes it has for units; 0 = as many as it takes */
    double rtt_s;  /* seconds a message and its answer are on the way */
    double rate;   /* bytes a second over its link, either way */
};

/* What a unit costs. */
struct hd_unit_cost {
    double work;       /* multiply-adds for one row, in all layers; 0 = 1 */
    double bytes;      /* of weights and K/V */
    double trips;      /* half-steps of this kind that one row takes; 0 = 1 */
    double trip_bytes; /* that a worker receives and sends for one of them, however many units */
};

/* What a strategy may look at. */
struct hd_plan_input {
    uint64_t workers;   /* slots that may own units, never 0 */
    uint64_t preferred; /* subset of `workers` that should get orphaned heads (their logs cover all
                         * live sequences); 0 = no preference */
    uint64_t avoid;     /* subset of `workers` that keep what they own but get more only when nobody
                         * else is there (suspected of being dead) */
    double cost[HD_UNIT_KINDS];         /* a unit's cost relative to the others'; 0 = 1 */
    const struct hd_fixed_table *fixed; /* strategy `fixed` */
    const char *const *names;           /* [HD_MAX_WORKERS] */
    const char *target;                 /* strategy `single`: a worker's name; NULL or "" = any */
    uint64_t epoch;                     /* strategy `single`: what picks the target */
    /* Strategies `weighted` and `bandwidth`, of `even` the bytes; as is ... */
    struct hd_unit_cost unit[HD_UNIT_KINDS];
    const struct hd_plan_worker *measured; /* ... [HD_MAX_WORKERS], NULL = nothing is known */
};

/* The config's table for `fixed`: heads by worker name. FFN and vocab blocks follow the heads'
 * proportions. */
struct hd_fixed_entry {
    char name[64];
    uint32_t heads[128];
    uint32_t n_heads;
};
struct hd_fixed_table {
    struct hd_fixed_entry entries[HD_MAX_WORKERS];
    size_t n;
};
/* HD_E_CONFIG unless every head of 0 .. heads - 1 stands in the table exactly once, and no other,
 * under names that differ. */
int hd_fixed_validate(const struct hd_fixed_table *table, uint32_t heads, struct hd_error *err);

struct hd_strategy {
    const char *name;
    bool exact;       /* which units a worker gets matters, not only how many */
    bool wants_links; /* a fresh plan should wait until the round trips are measured */
    /* Give every unit whose owner is not in in->workers (orphans; all of them for a fresh plan) to
     * a worker of in->workers. Units with a live owner never move. Balances the slowest worker. */
    int (*fill)(struct hd_plan *p, const struct hd_plan_input *in, struct hd_error *err);
};
/* "even", "fixed", "single", "weighted", "bandwidth"; NULL for an unknown name. */
const struct hd_strategy *hd_strategy_find(const char *name);
extern const struct hd_strategy *const hd_strategies[]; /* NULL-terminated, for usage texts */

#endif
