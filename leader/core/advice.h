/* advice.h - which way of recovery a cluster should use, and why. Pure.
 *
 * For the loss of each worker in turn it is estimated how long answers would stand still; the worst
 * counts. Survivors share the work in proportion to their speeds:
 *
 *     load(w)  = weight bytes of w's units / (survivors x loading rate); 0 if others hold them
 *     full     = load + positions x work of a row in all units / speed of the survivors
 *     reuse    = load + positions x w's heads x work of a K/V row in all layers / their speed
 *     standby  = 0: the copies are ready
 *
 * Speeds are those of one row, measured when workers joined; many rows at once are faster, so that
 * full and reuse are overestimated alike. Detection is the same for all and left out. */
#ifndef HD_CORE_ADVICE_H
#define HD_CORE_ADVICE_H

#include "leader/core/core.h"

#define HD_NOTICED_S 0.1 /* a pause that a reader notices: shorter ones are not worth memory */

struct hd_advice_input {
    const struct hd_plan *plan;
    uint64_t workers;     /* that are alive and may own units */
    uint64_t without_log; /* those of them that keep none: nothing is rebuilt there */
    const struct hd_plan_worker *measured; /* [HD_MAX_WORKERS]: speed, memory */
    const struct hd_unit_cost *unit;       /* [HD_UNIT_KINDS]: work, bytes */
    double kv_work;                        /* multiply-adds for a K and a V row, in all layers */
    double kv_bytes;                       /* of unit[HD_UNIT_HEAD].bytes, what is not weights */
    double load_rate;                      /* bytes of weights a second that a worker loads */
    uint64_t positions;                    /* of all live sequences */
    bool loaded;                           /* the weights of every unit are held besides */
    unsigned copies;                       /* that standby would keep */
};

struct hd_advice {
    double stall_s[HD_POLICIES]; /* by policy; infinite: it cannot be used */
    double copy_bytes;           /* that the copies would take of the worker that gets most */
    enum hd_policy_index best;
    char why[256]; /* one sentence */
};

/* 0, or HD_E_NOMEM. Fewer than two workers: nothing survives a loss, and `why` says so. */
int hd_advise(const struct hd_advice_input *in, struct hd_advice *out);

#endif
