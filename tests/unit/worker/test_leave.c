/* A worker that is to stop: it says so, and serves until its leader lets it go. */
#include "fake_leader.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct rig rig; /* the model's file */

static void open_rig(void)
{
    rig_open(&rig, &(struct rig_options){
                       .shape = "tiny-gqa3", .type = HD_Q8_0, .kv = HD_KV_F16, .threads = 1});
}

static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(leave, .init = open_rig, .fini = close_rig, .timeout = 120);

static void on_drained(void *arg)
{
    ++*(unsigned *)arg;
}

static void wait_for(struct fake_leader *f, const unsigned *count)
{
    while (*count == 0)
        uv_run(&f->loop, UV_RUN_ONCE);
}

/* Joined, with all units, and told to leave. */
static void start(struct fake_leader *f, uint64_t drain_ms, unsigned *drained)
{
    *drained = 0;
    fake_start_with(f, &rig, &(struct fake_options){.drain_ms = drain_ms});
    fake_welcome(f, 4);
    fake_assign_all(f, &rig, 4, NULL);
    struct hd_frame frame = fake_take(f, HD_FRAME_KV_RESULT);
    hd_frame_clear(&frame);
    hd_worker_drain(f->worker, on_drained, drained);
}

static void take_drain(struct fake_leader *f)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_DRAIN);
    hd_frame_clear(&frame);
}

Test(leave, it_serves_until_the_leader_lets_it_go)
{
    struct fake_leader f;
    struct rig_rows rows;
    unsigned drained;
    float *x = rig_random(1, rig.model->shape.dim, 1);
    start(&f, 600000, &drained);
    take_drain(&f);
    rig_rows_of(&rows, 0, 0, 1, x);
    fake_step(&f, &rows, 4, HYDAC__V1__HALF__ATTENTION);
    struct hd_frame frame = fake_take(&f, HD_FRAME_STEP_RESULT);
    hd_frame_clear(&frame);
    cr_assert_eq(drained, 0);
    Hydac__V1__Drained m = HYDAC__V1__DRAINED__INIT;
    fake_send(&f, HD_FRAME_DRAINED, &m.base, NULL, 0);
    wait_for(&f, &drained);
    cr_assert_eq(drained, 1);
    cr_assert_not_null(f.conn, "leaving is the caller's");
    fake_stop(&f);
    cr_assert_eq(drained, 1);
    free(x);
}

Test(leave, the_end_of_the_connection_lets_it_go)
{
    struct fake_leader f;
    unsigned drained;
    start(&f, 600000, &drained);
    take_drain(&f);
    hd_conn_close(f.conn, false);
    wait_for(&f, &drained);
    fake_stop(&f);
    cr_assert_eq(drained, 1);
}

Test(leave, it_does_not_wait_for_ever)
{
    struct fake_leader f;
    unsigned drained;
    start(&f, 20, &drained);
    take_drain(&f);
    wait_for(&f, &drained);
    fake_stop(&f);
    cr_assert_eq(drained, 1);
}

Test(leave, without_a_wait_or_a_leader_it_goes_at_once)
{
    struct fake_leader f;
    unsigned drained;
    start(&f, 0, &drained);
    cr_assert_eq(drained, 1);
    fake_stop(&f);
    drained = 0;
    fake_start_with(&f, &rig, &(struct fake_options){.drain_ms = 600000});
    hd_worker_drain(f.worker, on_drained, &drained);
    cr_assert_eq(drained, 1);
    fake_stop(&f);
}

Test(leave, it_can_be_closed_before_the_leader_answers)
{
    struct fake_leader f;
    unsigned drained;
    start(&f, 600000, &drained);
    fake_stop(&f);
    cr_assert_eq(drained, 0);
}

Test(leave, to_be_let_go_unasked_means_nothing)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    Hydac__V1__Drained m = HYDAC__V1__DRAINED__INIT;
    fake_send(&f, HD_FRAME_DRAINED, &m.base, NULL, 0);
    fake_assign_all(&f, &rig, 4, NULL);
    struct hd_frame frame = fake_take(&f, HD_FRAME_KV_RESULT);
    hd_frame_clear(&frame);
    fake_stop(&f);
}
