/* advice.c - estimates what a loss would cost with each policy from measured speeds, and says why.
 */
#include "leader/core/advice.h"

#include <math.h>
#include <stdio.h>

#define MIB 1048576.0

static bool in_set(uint64_t set, unsigned slot)
{
    return set >> slot & 1;
}

/* Multiply-adds a second; a worker that was not measured is taken for the mean of the others. */
static double speed_of(const struct hd_advice_input *in, uint64_t workers)
{
    double sum = 0;
    unsigned known = 0, n = 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        if (!in_set(workers, s))
            continue;
        n++;
        known += in->measured[s].speed > 0;
        sum += in->measured[s].speed;
    }
    return known ? sum / known * n : 1e9 * n;
}

static double weight_bytes(const struct hd_advice_input *in, unsigned slot)
{
    double bytes = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        double unit = in->unit[k].bytes - (k == HD_UNIT_HEAD ? in->kv_bytes : 0);
        bytes += hd_plan_owned(in->plan, k, slot, NULL) * unit;
    }
    return bytes;
}

static double work_of_a_row(const struct hd_advice_input *in)
{
    double work = 0;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        work += in->plan->count[k] * in->unit[k].work;
    return work;
}

/* The stalls that the loss of one worker would cause, if they are longer than those found so far.
 */
static void add_loss(const struct hd_advice_input *in, unsigned lost, struct hd_advice *out)
{
    uint64_t survivors = in->workers & ~(UINT64_C(1) << lost);
    double n = __builtin_popcountll(survivors), speed = speed_of(in, survivors);
    bool loads = in->load_rate > 0 && !in->loaded;
    double load = loads ? weight_bytes(in, lost) / (n * in->load_rate) : 0;
    double heads = hd_plan_owned(in->plan, HD_UNIT_HEAD, lost, NULL);
    struct hd_loss_cost cost = {
        .load = load,
        .rebuild = (double)in->positions * heads * in->kv_work / speed,
        .replay = (double)in->positions * work_of_a_row(in) / speed,
    };
    for (int p = 0; p < HD_POLICIES; p++)
        out->stall_s[p] = fmax(out->stall_s[p], hd_policies[p].stall_s(&cost));
}

/* Whether every unit would get its copies; sets what they take. */
static int plan_copies(const struct hd_advice_input *in, struct hd_advice *out, bool *fit)
{
    struct hd_holds none, copies;
    int rc = hd_holds_init(&none, in->plan->count);
    if (rc < 0)
        return rc;
    rc = hd_holds_init(&copies, in->plan->count);
    if (rc < 0) {
        hd_holds_deinit(&none);
        return rc;
    }
    hd_standby_fill(&copies, in->plan,
                    &(struct hd_standby_input){.workers = in->workers & ~in->without_log,
                                               .copies = in->copies,
                                               .have = &none,
                                               .unit = in->unit,
                                               .measured = in->measured});
    *fit = true;
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        for (uint32_t u = 0; u < copies.count[k]; u++)
            *fit = *fit && copies.mask[k][u] != 0;
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        double bytes = 0;
        for (int k = 0; k < HD_UNIT_KINDS; k++)
            bytes += hd_holds_list(&copies, k, s, NULL) * in->unit[k].bytes;
        out->copy_bytes = fmax(out->copy_bytes, bytes);
    }
    hd_holds_deinit(&none);
    hd_holds_deinit(&copies);
    return 0;
}

static void choose(const struct hd_advice_input *in, struct hd_advice *out)
{
    double reuse = out->stall_s[HD_POLICY_REUSE], full = out->stall_s[HD_POLICY_FULL];
    bool fits = isfinite(out->stall_s[HD_POLICY_STANDBY]);
    out->best = fits && reuse > HD_NOTICED_S ? HD_POLICY_STANDBY : HD_POLICY_REUSE;
    if (in->workers == in->without_log) {
        out->best = HD_POLICY_FULL;
        snprintf(out->why, sizeof out->why,
                 "no worker keeps an input log, so a loss is a replay of about %.0f ms",
                 full * 1e3);
    } else if (out->best == HD_POLICY_STANDBY) {
        snprintf(out->why, sizeof out->why,
                 "a loss would stall answers for about %.0f ms with reuse and not at all with "
                 "standby, whose copies take up to %.0f MiB of a worker",
                 reuse * 1e3, out->copy_bytes / MIB);
    } else {
        snprintf(out->why, sizeof out->why,
                 "a loss would stall answers for about %.0f ms (full: %.0f ms)%s", reuse * 1e3,
                 full * 1e3,
                 fits                   ? ", which is hardly noticed"
                 : reuse > HD_NOTICED_S ? "; there is no memory for standby copies of everything"
                                        : "");
    }
}

int hd_advise(const struct hd_advice_input *in, struct hd_advice *out)
{
    *out = (struct hd_advice){.best = HD_POLICY_REUSE};
    if (__builtin_popcountll(in->workers) < 2) {
        snprintf(out->why, sizeof out->why,
                 "with one worker nobody survives a loss; add a second one");
        return 0;
    }
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++)
        if (in_set(in->workers, s))
            add_loss(in, s, out);
    bool fit;
    int rc = plan_copies(in, out, &fit);
    if (rc < 0)
        return rc;
    for (int p = 0; p < HD_POLICIES && !fit; p++)
        if (hd_policies[p].copies)
            out->stall_s[p] = INFINITY;
    choose(in, out);
    return 0;
}
