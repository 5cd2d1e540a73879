/* policy.c - reuse, standby and full, each a row of the table. */
#include "leader/core/policy.h"

/* Who holds a unit ready gets it. */
static void claim(const struct hd_loss_input *in, struct hd_plan *p, uint64_t logged)
{
    struct hd_standby_takers who = {.alive = in->alive, .takers = in->takers, .logged = logged};
    hd_standby_claim(p, in->ready, &who);
}

/* Survivors keep what they have, and compute lost heads from their logs: who holds a unit ready
 * gets it, other heads go to logs that hold everything. Without such a log the rest is replayed. */
static void keep(const struct hd_loss_input *in, struct hd_plan *p, struct hd_loss_orders *out)
{
    out->preferred = in->live ? in->covering : 0;
    if (!out->preferred)
        out->preferred = in->best_covering;
    claim(in, p, out->preferred ? out->preferred : in->takers);
}

/* As if nothing had been computed: the traditional way. */
static void begin_anew(const struct hd_loss_input *in, struct hd_plan *p,
                       struct hd_loss_orders *out)
{
    out->replay = in->live;
    out->clear = true;
    claim(in, p, in->takers);
}

static double rebuild_s(const struct hd_loss_cost *cost)
{
    return cost->load + cost->rebuild;
}

static double nothing_s(const struct hd_loss_cost *cost)
{
    return 0; /* the copies are ready */
}

static double replay_s(const struct hd_loss_cost *cost)
{
    return cost->load + cost->replay;
}

#define ROWS(ROW)                                                                                  \
    ROW(HD_POLICY_REUSE, "reuse", false, keep, rebuild_s)                                          \
    ROW(HD_POLICY_STANDBY, "standby", true, keep, nothing_s)                                       \
    ROW(HD_POLICY_FULL, "full", false, begin_anew, replay_s)

#define POLICY(at, what, with_copies, how, cost)                                                   \
    [at] = {.name = what, .copies = with_copies, .recover = how, .stall_s = cost},
#define NAME(at, what, with_copies, how, cost) [at] = what,

const struct hd_policy hd_policies[HD_POLICIES] = {ROWS(POLICY)};
const char *const hd_policy_names[HD_POLICIES + 1] = {ROWS(NAME)};
