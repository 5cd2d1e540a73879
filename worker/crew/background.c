/* background.c - what the compute thread does between the jobs, see crew.h. */
#include "common/model/files.h"
#include "common/util/clock.h"
#include "worker/crew/crew_impl.h"
#include "worker/share/hold.h"
#include "worker/trust/audit.h"

void hd_crew_wake_background(struct hd_crew *c)
{
    c->hold_pending = hd_hold_pending(c->node);
    c->audit_pending = hd_audit_pending(c->node);
    c->fill_us = hd_fill_pending(c->fill) ? 0 : UINT64_MAX;
}

uint64_t hd_crew_background_at(const struct hd_crew *c)
{
    uint64_t at = c->hold_pending || c->audit_pending ? c->hold_us : UINT64_MAX;
    uint64_t supply = hd_crew_supply_at(c);
    uint64_t scrub = hd_crew_scrub_at(c);
    at = c->fill_us < at ? c->fill_us : at;
    at = scrub < at ? scrub : at;
    at = supply < at ? supply : at;
    return hd_crew_must_repair(c) ? 0 : at;
}

void hd_crew_send_log_state(struct hd_crew *c, uint64_t sequences, bool complete)
{
    for (; sequences; sequences &= sequences - 1) {
        struct hd_reply *r = hd_reply_new(c->joined);
        uint32_t s = (uint32_t)__builtin_ctzll(sequences);
        hd_crew_finish(c, r, r ? hd_reply_log_state(r, s, complete) : 0);
    }
}

/* ---- Completing the log ----*/

static void run_fill(struct hd_crew *c)
{
    struct hd_fill_action a = hd_fill_next(c->fill, hd_now_us());
    c->fill_us = 0;
    if (a.what == HD_FILL_NOTHING) {
        c->fill_us = a.at_us;
    } else if (a.what == HD_FILL_STATE) {
        hd_info(c->o.log, "log_state", "sequence=%u complete=%s", a.piece.sequence,
                a.complete ? "true" : "false");
        hd_crew_send_log_state(c, UINT64_C(1) << a.piece.sequence, a.complete);
    } else {
        struct hd_reply *r = hd_reply_new(c->joined);
        hd_crew_finish(c, r, r ? hd_reply_fetch(r, &a.piece) : 0);
    }
}

/* ---- Holding ----*/

static void send_round(struct hd_crew *c)
{
    struct hd_kv_report report;
    struct hd_reply *r = hd_reply_new(c->joined);
    int rc = hd_hold_report(c->node, &report);
    if (r && rc == 0)
        rc = hd_reply_kv_result(r, &report);
    hd_crew_finish(c, r, rc);
    hd_kv_report_deinit(&report);
}

static void run_slice(struct hd_crew *c)
{
    struct hd_error err = {0};
    uint64_t t0 = hd_now_us();
    hd_supply_set_window(c->supply, 1); /* what nobody waits for holds up nobody */
    int rc = hd_hold_slice(c->node, &err);
    uint64_t now = hd_now_us();
    c->hold_pending = rc > HD_HOLD_IDLE;
    c->hold_worked |= rc == HD_HOLD_WORKED;
    if (c->hold_worked && rc != HD_HOLD_WORKED) {
        hd_model_let_go(c->o.model);
        c->hold_worked = false;
    }
    if (rc == HD_HOLD_READY)
        send_round(c);
    else if (rc < 0)
        hd_crew_send_error(c, c->joined, &err);
    if (rc != HD_HOLD_WORKED)
        return;
    c->hold_us = hd_pace_next(&c->pace, now, now - t0);
    hd_crew_publish(c, now - t0);
}

void hd_crew_background(struct hd_crew *c)
{
    uint64_t now = hd_now_us();
    hd_crew_take_arrived(c);
    if (hd_crew_must_repair(c))
        hd_crew_run_repair(c);
    else if (now >= c->fill_us)
        run_fill(c);
    else if (c->hold_pending && now >= c->hold_us)
        run_slice(c);
    else if (c->audit_pending && now >= c->hold_us)
        hd_crew_run_audit(c);
    else if (now >= hd_crew_supply_at(c))
        hd_crew_run_supply(c);
    hd_crew_run_scrub(c);
}
