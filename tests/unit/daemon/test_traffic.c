/* What a frame's bytes are counted as. */
#include "common/net/frame.h"
#include "leader/daemon/traffic.h"

#include <criterion/criterion.h>

static struct hd_traffic t;

static void count(int type, int half, enum hd_traffic_way way, uint64_t bytes)
{
    hd_traffic_count(&t, &(struct hd_traffic_frame){type, half, way, bytes});
}

Test(traffic, every_frame_has_its_kind)
{
    for (int half = -1; half <= 3; half++)
        count(HD_FRAME_STEP_RESULT, half, HD_TRAFFIC_UP, 1);
    cr_assert_eq(t.bytes[HD_TRAFFIC_ATTENTION][HD_TRAFFIC_UP], 1);
    cr_assert_eq(t.bytes[HD_TRAFFIC_FFN][HD_TRAFFIC_UP], 1);
    cr_assert_eq(t.bytes[HD_TRAFFIC_LOGITS][HD_TRAFFIC_UP], 1);
    cr_assert_eq(t.bytes[HD_TRAFFIC_REST][HD_TRAFFIC_UP], 2, "halves that do not exist");
    count(HD_FRAME_ROWS, 0, HD_TRAFFIC_DOWN, 10);
    count(HD_FRAME_WEIGHTS, 0, HD_TRAFFIC_DOWN, 20);
    count(HD_FRAME_HEARTBEAT, 0, HD_TRAFFIC_DOWN, 30);
    cr_assert_eq(t.bytes[HD_TRAFFIC_LOGS][HD_TRAFFIC_DOWN], 10);
    cr_assert_eq(t.bytes[HD_TRAFFIC_WEIGHTS][HD_TRAFFIC_DOWN], 20);
    cr_assert_eq(t.bytes[HD_TRAFFIC_REST][HD_TRAFFIC_DOWN], 30);
    cr_assert_eq(t.bytes[HD_TRAFFIC_ATTENTION][HD_TRAFFIC_DOWN], 0);
}

static void half(enum hd_half which, unsigned group, unsigned groups,
                 const struct hd_seq_rows *rows, size_t n)
{
    struct hd_half_work w = {
        .half = which, .group = group, .groups = groups, .by_sequence = rows, .n_sequences = n};
    for (size_t i = 0; i < n; i++)
        w.rows += rows[i].rows;
    hd_traffic_half(&t, &w);
}

Test(traffic, steps_of_single_rows_are_told_apart)
{
    const struct hd_seq_rows answers[] = {{4, 1}, {2, 1}}, prompt[] = {{4, 1}, {2, 7}};
    half(HD_HALF_ATTENTION, 0, 1, prompt, 2);
    half(HD_HALF_FFN, 0, 1, prompt, 2);
    count(HD_FRAME_STEP, HD_HALF_FFN, HD_TRAFFIC_DOWN, 800);
    count(HD_FRAME_HEARTBEAT, 0, HD_TRAFFIC_DOWN, 99);
    hd_traffic_step_done(&t);
    half(HD_HALF_ATTENTION, 0, 1, answers, 2);
    half(HD_HALF_FFN, 0, 1, answers, 2);
    count(HD_FRAME_STEP, HD_HALF_FFN, HD_TRAFFIC_DOWN, 50);
    count(HD_FRAME_STEP_RESULT, HD_HALF_FFN, HD_TRAFFIC_UP, 70);
    hd_traffic_step_done(&t);
    cr_assert_eq(t.steps[0].rows, 8);
    cr_assert_eq(t.steps[0].bytes[HD_TRAFFIC_DOWN], 800);
    cr_assert_eq(t.steps[1].rows, 2);
    json_t *o = hd_traffic_json(&t), *decode = json_object_get(o, "decode");
    cr_assert_eq(json_real_value(json_object_get(decode, "down_per_row")), 25);
    cr_assert_eq(json_real_value(json_object_get(decode, "up_per_row")), 35);
    json_decref(o);
}

/* Also a group in which every sequence has one row belongs to a step of others; one that is given
 * up and made again counts once. */
Test(traffic, two_groups_are_one_step)
{
    const struct hd_seq_rows first[] = {{4, 1}, {2, 7}}, second[] = {{2, 1}, {3, 1}};
    for (int times = 0; times < 2; times++) {
        half(HD_HALF_ATTENTION, 0, 2, first, 2);
        half(HD_HALF_ATTENTION, 1, 2, second, 2);
        count(HD_FRAME_STEP, HD_HALF_ATTENTION, HD_TRAFFIC_DOWN, 100);
    }
    hd_traffic_step_done(&t);
    cr_assert_eq(t.steps[0].rows, 10);
    cr_assert_eq(t.steps[0].bytes[HD_TRAFFIC_DOWN], 200);
    cr_assert_eq(t.steps[1].rows, 0);
}

Test(traffic, nothing_is_divided_by_nothing)
{
    json_t *o = hd_traffic_json(&t), *prefill = json_object_get(o, "prefill");
    cr_assert_eq(json_real_value(json_object_get(prefill, "up_per_row")), 0);
    json_decref(o);
}
