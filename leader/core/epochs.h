/* epochs.h - the plan in force, its epoch, and who has yet to confirm it. */
#ifndef HD_CORE_EPOCHS_H
#define HD_CORE_EPOCHS_H

#include "leader/core/core.h"

struct epochs {
    enum hd_cluster_state state;
    uint64_t number;
    bool served; /* was READY once */
    struct hd_plan plan;
    struct hd_plan scratch;
    char plan_error[256];               /* why there is no plan, "" otherwise */
    uint64_t assigning;                 /* slots that have not confirmed the present epoch */
    uint64_t confirmed[HD_MAX_WORKERS]; /* latest epoch that each confirmed */
    uint64_t since_us;                  /* assigned at, moved on by our own lateness */
    uint64_t gaps;    /* sequences that some log could not give, in the present epoch */
    uint64_t told;    /* sequences that the latest orders spoke of and that have not ended since */
    uint64_t spoiled; /* sequences that an epoch has to begin anew, now */
    struct {
        uint64_t epoch, alive;
    } complete; /* the plan of this epoch has only owners among these; epoch 0: not looked yet */
};

int core_epochs_init(struct hd_core *c);
void core_epochs_deinit(struct hd_core *c);
void core_kv_result(struct hd_core *c, unsigned slot, const struct hd_kv_info *kv);
/* The end of every event: begins the epoch that the whole calls for. */
void core_settle(struct hd_core *c);
void core_epochs_tick(struct hd_core *c, uint64_t late_us);
/* `epoch`: the newest that it was told, by whatever leader. */
void core_epochs_joined(struct hd_core *c, unsigned slot, uint64_t epoch);
void core_epochs_lost(struct hd_core *c, unsigned slot);
void core_epochs_ended(struct hd_core *c,
                       uint64_t sequences); /* nothing is to be done about them */

uint64_t core_spoiled(const struct hd_core *c);
bool core_is_ready(const struct hd_core *c);
uint64_t core_assigning(const struct hd_core *c);
uint64_t core_assigning_since(const struct hd_core *c);
const char *core_plan_error(const struct hd_core *c);
bool core_has_served(const struct hd_core *c);
bool core_owns_any(const struct hd_core *c, unsigned slot);
/* These owners from the next epoch on; everybody is ready for them. */
void core_set_plan(struct hd_core *c, const struct hd_plan *plan);
/* These sequences have to begin anew. */
void core_spoil(struct hd_core *c, uint64_t sequences);
/* Orders go out now that speak of all live sequences. */
void core_spoke_of_all(struct hd_core *c);
/* Sequences that its log could not give, of those that are still alive. */
uint64_t core_gaps(const struct hd_core *c, const struct hd_kv_info *kv);
/* The strategy's plan for all workers that may own units, from nothing. False: core_plan_error says
 * why. */
bool core_ideal_plan(struct hd_core *c, struct hd_plan *out);
/* Gives what of `p` is not owned by `workers` to them, by the strategy; heads to `preferred`, if
 * that is not empty. False likewise. */
bool core_fill_plan(struct hd_core *c, struct hd_plan *p, uint64_t workers, uint64_t preferred);
const char *core_check_epochs(const struct hd_core *c);

#endif
