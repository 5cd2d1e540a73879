/* core_impl.h - the core's insides, shared by its own files only.
 *
 * The core is made of parts. Each owns its fields: only its own files reach into its struct, others
 * call its functions (tests/unit/core/parts.py looks after that).
 *
 *   part     struct    files               knows
 *   members  members   members.c signs.c   who is there
 *   epochs   epochs    epochs.c planning.c the plan in force, and who has yet to confirm it
 *   steps    steps     steps.c sequences.c sequences, half-steps in hand
 *   moves    moves     moves.c drain.c     who is to own and to hold what next
 *   logs     logs      logs.c room.c       which log holds which sequence
 *   reports  reports   reports.c           what recoveries cost
 *   audits   audits    audit.c verdict.c   which answers are looked at by others
 *   rows     rows      rows.c              which K/V two workers have computed alike
 *   trust    trust     trust.c             who is let in, and who is not any more
 *   adoption adoption  adoption.c          what workers have kept of an earlier leader
 *   pace     pacing    pace.c relief.c     who has become slow
 *
 * An event's handler changes the part that it is about and pushes what follows from it at once;
 * core_settle then looks at the whole (who is alive, is the plan complete, has everybody confirmed)
 * and begins the epoch that this calls for. So several losses in one event make one epoch. */
#ifndef HD_CORE_CORE_IMPL_H
#define HD_CORE_CORE_IMPL_H

#include "leader/core/adoption.h"
#include "leader/core/audits.h"
#include "leader/core/core.h"
#include "leader/core/epochs.h"
#include "leader/core/logs.h"
#include "leader/core/members.h"
#include "leader/core/moves.h"
#include "leader/core/pace.h"
#include "leader/core/reports.h"
#include "leader/core/rows.h"
#include "leader/core/steps.h"
#include "leader/core/trust.h"

/* The most actions of one event: each worker lost (close, state), assigned, sent a half-step of
 * each group, told to fill its log, sent on a fetch, slow or well, with room to spare; reserved
 * before the event is applied. */
#define MAX_ACTIONS (12 * HD_MAX_WORKERS + 4 * MAX_REPORTS + MAX_AUDIT_ACTIONS)
/* An event may end every audit under way, by asking others for each of them, or those who spoke. */
#define MAX_AUDIT_ACTIONS (HD_MAX_ROUNDS * HD_MAX_WORKERS * (MAX_OPINIONS + 1))

struct hd_core {
    struct hd_core_options o;
    uint64_t now_us;        /* of the event in hand */
    struct hd_actions *out; /* of the event in hand */
    char reason[256];
    struct members members;
    struct epochs epochs;
    struct steps steps;
    struct moves moves;
    struct logs logs;
    struct reports reports;
    struct audits audits;
    struct rows rows;
    struct trust trust;
    struct pacing pace;
    struct adoption adoption;
};

static inline uint64_t core_bit(unsigned i)
{
    return UINT64_C(1) << i;
}
/* The lowest slot of a set that is not empty. */
static inline unsigned core_first(uint64_t set)
{
    return (unsigned)__builtin_ctzll(set);
}
static inline uint64_t core_owners(const struct hd_plan *p) /* of any units */
{
    uint64_t set = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        set |= hd_plan_owners(p, k);
    return set;
}
static inline unsigned core_count(uint64_t set)
{
    return (unsigned)__builtin_popcountll(set);
}

/* check.c: in debug and sanitizer builds aborts when an invariant is broken */
void core_checked(const struct hd_core *c);

/* actions.c */
int core_reserve(const struct hd_core *c, struct hd_actions *a); /* room for one event's */
struct hd_action *core_push(struct hd_core *c, enum hd_action_type type, unsigned slot);
/* As things are now, for ASSIGN, PREPARE and FILL; at most a few for one event. */
const struct hd_orders *core_orders(struct hd_core *c);

#endif
