/* A log and tables that are not what they were: found within a round; and how long a round takes.
 */
#include "hydac.pb-c.h"
#include "scrub_rig.h"
#include "supply_rig.h"
#include "worker/crew/reply.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* ---- The log ----*/

/* Puts a row where it was. */
static void append_again(struct rig *r, struct hd_log_at at)
{
    struct hd_error err;
    float *x = rig_random(RIG_POSITIONS, r->model->shape.dim, 100 * (at.sequence + 1) + at.layer);
    uint8_t *rows = rig_encode(r, x, RIG_POSITIONS);
    cr_assert_eq(hd_input_log_append(r->node->input_log, at,
                                     rows + at.position * hd_node_row_bytes(r->node), &err),
                 HD_LOG_KEPT);
    free(rows);
    free(x);
}

Test(scrub, a_row_of_the_log_is_cut_out_and_the_log_can_be_filled)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    struct hd_log_at at = {0, 3, 65};
    scrub_flip_log(&r, at);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_eq(scrub_found->kind, HD_DAMAGE_LOG);
    cr_assert_eq(scrub_found->layer, 3);
    cr_assert_eq(scrub_found->sequence, 0);
    cr_assert_eq(hd_input_log_count(r.node->input_log, 0, 3), 65);
    cr_assert_eq(hd_input_log_tail(r.node->input_log, 0, 3), 66);
    rig_feed(&r, (struct rig_feed){0, LAYERS, N0, N0 + 2});
    append_again(&r, at);
    cr_assert_eq(hd_input_log_count(r.node->input_log, 0, 3), N0 + 2);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    rig_close(&r);
}

Test(scrub, damage_in_the_log_does_not_get_into_a_rebuild)
{
    struct rig r, other;
    struct hd_kv_report report;
    scrub_open(&other, 0xf, HD_ACTIVATIONS_Q8);
    scrub_open(&r, 0x3, HD_ACTIVATIONS_Q8);
    scrub_flip_log(&r, (struct hd_log_at){0, 1, 70});
    scrub_flip_log(&r, (struct hd_log_at){0, 1, 30});
    cr_assert_eq(rig_own_heads(&r, 0xf, &scrub_need_both, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    cr_assert_eq(report.gaps[0], 0);
    cr_assert_eq(report.rows_rebuilt, LAYERS * N1 * 2);
    cr_assert_eq(report.rows_kept, LAYERS * N1 * 2);
    cr_assert_eq(report.positions, N1);
    hd_kv_report_deinit(&report);
    cr_assert_eq(scrub_n_found, 2, "each row once, whichever heads need it");
    for (uint32_t l = 0; l < LAYERS; l++)
        rig_expect_same_lane(&r, &other, (struct hd_kv_at){1, l, 3}, N1);
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, damage_in_the_log_does_not_get_into_a_held_head)
{
    struct rig r, other;
    struct hd_kv_report report;
    scrub_open(&other, 0xf, HD_ACTIVATIONS_Q8);
    scrub_open(&r, 0x7, HD_ACTIVATIONS_Q8);
    struct hd_assignment a = scrub_need_both;
    struct hd_log_at at = {0, 1, 70};
    uint32_t head = 3;
    a.hold[HD_UNIT_HEAD] = (struct hd_unit_list){&head, 1};
    a.round = 9;
    hd_node_hold(r.node, &a);
    scrub_flip_log(&r, at);
    cr_assert_eq(rig_slices(&r), HD_HOLD_READY);
    cr_assert_eq(hd_hold_report(r.node, &report), 0);
    cr_assert_eq(report.n_gaps, 1);
    hd_kv_report_deinit(&report);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_leq(hd_kv_valid(r.node->kv, (struct hd_kv_at){0, 1, 3}), 70);
    append_again(&r, at);
    hd_hold_behind(r.node, 1);
    cr_assert_eq(rig_slices(&r), HD_HOLD_IDLE);
    scrub_expect_lanes(&r, &other, 0xf);
    rig_close(&r);
    rig_close(&other);
}

Test(scrub, damage_in_the_log_does_not_get_to_another_worker)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    scrub_flip_log(&r, (struct hd_log_at){0, 2, 50});
    Hydac__V1__Fetch fetch = HYDAC__V1__FETCH__INIT;
    fetch.layer = 2;
    fetch.position = 40;
    fetch.count = 30;
    struct hd_reply *reply = hd_reply_new(1);
    cr_assert_eq(hd_reply_rows(reply, &fetch, r.node), 0);
    const Hydac__V1__Rows *m = (const Hydac__V1__Rows *)reply->message;
    cr_assert_eq(m->count, 10);
    cr_assert_eq(hd_shared_len(reply->payload), 10 * hd_node_row_bytes(r.node));
    cr_assert_eq(scrub_n_found, 1);
    hd_reply_free(reply);
    fetch.position = 50;
    reply = hd_reply_new(1);
    cr_assert_eq(hd_reply_rows(reply, &fetch, r.node), 0);
    cr_assert_eq(((const Hydac__V1__Rows *)reply->message)->count, 0);
    cr_assert_eq(scrub_n_found, 1);
    hd_reply_free(reply);
    rig_close(&r);
}

/* ---- Tables ----*/

Test(scrub, angles_are_computed_again)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    struct hd_rope_table *t = hd_compute_angles(hd_cpu_compute(r.device));
    float *cs = (float *)hd_rope_table_at(t, 70, 0), was = cs[3];
    cs[3] += 0.25f;
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_eq(scrub_found->kind, HD_DAMAGE_WEIGHTS);
    cr_assert(scrub_found->repaired);
    cr_assert(strstr(scrub_found->text, "position 70"), "%s", scrub_found->text);
    cr_assert_eq(cs[3], was);
    rig_close(&r);
}

Test(scrub, a_damaged_list_of_units_ends_the_session)
{
    struct rig r;
    struct hd_error err = {0};
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    ((uint32_t *)hd_shard_owned(r.node->shard, HD_UNIT_FFN).list)[1] ^= 1;
    scrub_now_us = hd_scrub_at(r.node);
    cr_assert_eq(hd_scrub_slice(r.node, scrub_now_us, &err), HD_E_STATE);
    cr_assert_eq(scrub_n_found, 1);
    cr_assert_not(scrub_found->repaired);
    rig_close(&r);
}

/* ---- Rounds ----*/

/* The time of one round when something else is done for up to `busy_us` between two looks at the
 * clock, and whether one was ever early. */
static uint64_t round_time(struct rig *r, uint64_t busy_us)
{
    scrub_round(r->node);
    uint64_t begin = scrub_now_us, end = scrub_rounds(r->node) + 1;
    struct hd_error err = {0};
    while (scrub_rounds(r->node) < end) {
        scrub_now_us += busy_us;
        if (scrub_now_us >= hd_scrub_at(r->node))
            cr_assert_eq(hd_scrub_slice(r->node, scrub_now_us, &err), HD_SCRUB_WHOLE);
    }
    return scrub_now_us - begin;
}

Test(scrub, rounds_end_in_time_however_busy_the_worker_is)
{
    static const uint64_t busy_us[] = {50, 1000, 20000, 150000, 400000};
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    for (size_t i = 0; i < sizeof busy_us / sizeof *busy_us; i++) {
        uint64_t took = round_time(&r, busy_us[i]);
        cr_assert_leq(took, ROUND_S * 1100000u, "busy for %u us: %u", (unsigned)busy_us[i],
                      (unsigned)took);
        cr_assert_geq(took, ROUND_S * 500000u, "busy for %u us: %u", (unsigned)busy_us[i],
                      (unsigned)took);
    }
    rig_close(&r);
}

Test(scrub, a_standstill_is_made_up_for_without_a_rush)
{
    struct rig r;
    struct hd_error err = {0};
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    scrub_round(r.node);
    scrub_slice(r.node);
    uint64_t period = hd_scrub_at(r.node) - scrub_now_us, end = scrub_rounds(r.node) + 1;
    scrub_now_us += ROUND_S * 500000u;
    uint64_t begin = scrub_now_us;
    while (scrub_rounds(r.node) < end) {
        cr_assert_eq(hd_scrub_slice(r.node, scrub_now_us, &err), HD_SCRUB_WHOLE);
        cr_assert_geq(hd_scrub_at(r.node) - scrub_now_us, period / 2);
        scrub_now_us = hd_scrub_at(r.node);
    }
    cr_assert_leq(scrub_now_us - begin, ROUND_S * 600000u);
    rig_close(&r);
}

Test(scrub, rounds_that_found_nothing_are_counted_apart)
{
    struct rig r;
    struct hd_scrub_totals t;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    uint64_t began_us = scrub_now_us;
    scrub_round(r.node);
    hd_scrub_totals(r.node, &t);
    cr_assert_eq(t.rounds, 2);
    cr_assert_eq(t.clean_began_us, began_us);
    scrub_flip_kv(&r, (struct hd_kv_at){0, 2, 1}, 20);
    scrub_round(r.node);
    hd_scrub_totals(r.node, &t);
    cr_assert_eq(t.rounds, 3);
    cr_assert_eq(t.clean_began_us, began_us);
    r.node->sizes.scrub_s = 0;
    hd_scrub_begin(r.node, scrub_now_us);
    cr_assert_eq(hd_scrub_at(r.node), UINT64_MAX, "0: never");
    rig_close(&r);
}

Test(scrub, sequences_may_go_while_a_round_is_with_them)
{
    struct rig r;
    scrub_open(&r, 0xf, HD_ACTIVATIONS_Q8);
    for (int i = 0; i < 60; i++) {
        scrub_slice(r.node);
        hd_node_drop(r.node, (uint32_t)i % 2);
        scrub_slice(r.node);
        rig_feed(&r, (struct rig_feed){(uint32_t)i % 2, LAYERS, 0, 20 + (uint32_t)i});
    }
    hd_node_forget(r.node);
    scrub_round(r.node);
    hd_node_leave(r.node);
    scrub_round(r.node);
    cr_assert_eq(scrub_n_found, 0);
    rig_close(&r);
}
