/* advice.c - what the cluster is told to use, from what was measured of it. */
#include "leader/daemon/leader_impl.h"

#include "common/util/clock.h"
#include "leader/api/failover_json.h"
#include "leader/core/advice.h"

#include <string.h>

#define USUAL_POSITIONS 1024 /* of a conversation, while none is live */
#define USUAL_RATE      5e8  /* bytes of weights a second, before anybody has loaded any */
#define MIN_LOAD_US     1000 /* less was not loading */

double hd_leader_owned_weights(const struct hd_leader *l, unsigned slot)
{
    struct hd_unit_cost unit[HD_UNIT_KINDS];
    const struct hd_plan *plan = hd_core_plan(l->core);
    double bytes = 0;
    hd_leader_unit_costs(l, unit);
    unit[HD_UNIT_HEAD].bytes -= hd_leader_kv_bytes(l);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        bytes += hd_plan_owned(plan, k, slot, NULL) * unit[k].bytes;
    return bytes;
}

void hd_advice_loaded(struct hd_leader *l, struct hd_peer *p, uint64_t weights_us)
{
    if (p->has_loaded || weights_us < MIN_LOAD_US)
        return;
    p->has_loaded = true; /* later on it has some of it already */
    double rate = hd_leader_owned_weights(l, (unsigned)p->slot) * 1e6 / (double)weights_us;
    l->load_rate = l->load_rate > 0 ? (l->load_rate + rate) / 2 : rate;
}

static uint64_t live_positions(const struct hd_leader *l)
{
    uint64_t sum = hd_core_positions(l->core);
    if (sum == 0)
        sum = l->context < USUAL_POSITIONS ? l->context : USUAL_POSITIONS;
    return sum;
}

json_t *hd_advice_json(const struct hd_leader *l)
{
    const struct hd_model_shape *m = &l->model->shape;
    struct hd_unit_cost unit[HD_UNIT_KINDS];
    struct hd_plan_worker measured[HD_MAX_WORKERS];
    struct hd_advice_input in = {
        .plan = hd_core_plan(l->core),
        .measured = measured,
        .unit = unit,
        .kv_work = 2.0 * m->head_dim * m->dim * m->n_layers,
        .kv_bytes = hd_leader_kv_bytes(l),
        .load_rate = l->load_rate > 0 ? l->load_rate : USUAL_RATE,
        .positions = live_positions(l),
        .copies = (unsigned)l->o.config->standby,
    };
    struct hd_advice a;
    struct hd_move_view held;
    hd_core_move_view(l->core, &held);
    in.loaded = held.copies > 0 && held.missing == 0;
    hd_leader_unit_costs(l, unit);
    hd_core_measured(l->core, measured);
    for (unsigned s = 0; s < HD_MAX_WORKERS; s++) {
        in.workers |= l->slots[s] ? UINT64_C(1) << s : 0;
        struct hd_log_view log;
        hd_core_log_view(l->core, s, &log);
        in.without_log |= l->slots[s] && log.positions == 0 ? UINT64_C(1) << s : 0;
    }
    if (hd_advise(&in, &a) < 0)
        return json_null();
    json_t *stall = json_object();
    for (int p = 0; p < HD_POLICIES; p++)
        json_object_set_new(stall, hd_policies[p].name, hd_real_json(a.stall_s[p] * 1e3));
    return json_pack("{ss ss so sf}", "policy", hd_policies[a.best].name, "why", a.why, "stall_ms",
                     stall, "copy_bytes", a.copy_bytes);
}
