/* policy.h - the ways of recovery, as a table like the strategies'. A policy says what follows for
 * the sequences from a loss, and what is to be held ready before there is one. Pure.
 *
 * One more is one more row: a name, its functions in policy.c, a sentence in the help of
 * recovery.policy (daemon/settings.c), a test. */
#ifndef HD_CORE_POLICY_H
#define HD_CORE_POLICY_H

#include "leader/core/holds.h"

/* In the order of the table. */
enum hd_policy_index { HD_POLICY_REUSE, HD_POLICY_STANDBY, HD_POLICY_FULL, HD_POLICIES };

/* What it may look at. */
struct hd_loss_input {
    uint64_t live;                /* sequences */
    uint64_t alive;               /* slots */
    uint64_t takers;              /* of these, who may be given what they hold */
    uint64_t covering;            /* whose logs hold all live sequences */
    uint64_t best_covering;       /* whose logs hold the most of them */
    const struct hd_holds *ready; /* who holds what ready without owning it */
};

/* What it decides. */
struct hd_loss_orders {
    uint64_t preferred; /* slots that should get the lost heads; 0 = no preference */
    uint64_t replay;    /* sequences that begin anew */
    bool clear;         /* all K/V is dropped: nothing is reused */
};

/* What the loss of one worker would cost, in seconds (advice.h). */
struct hd_loss_cost {
    double load;    /* loading the weights of its units */
    double rebuild; /* computing the K/V of its heads from logs */
    double replay;  /* running all positions again */
};

struct hd_policy {
    const char *name;
    bool copies; /* recovery.standby others hold each unit ready, K/V too; without, the weights
                  * alone are held by recovery.standby_weights of them */
    /* Some units of `p` have owners that are lost: gives those away that it knows a better owner
     * for than the strategy does, which gets the rest. */
    void (*recover)(const struct hd_loss_input *in, struct hd_plan *p, struct hd_loss_orders *out);
    double (*stall_s)(const struct hd_loss_cost *cost); /* how long answers stand still */
};

extern const struct hd_policy hd_policies[HD_POLICIES];
extern const char *const hd_policy_names[HD_POLICIES + 1]; /* NULL-terminated */

#endif
