/* Self tests and audits as the leader sees them. */
#include "common/math/self_test.h"
#include "common/net/answer_digest.h"
#include "fake_leader.h"
#include "worker/trust/audit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;

static void open_rig(void)
{
    rig_open(&rig, &(struct rig_options){.shape = "tiny-gqa3",
                                         .type = HD_Q8_0,
                                         .kv = HD_KV_F16,
                                         .activations = HD_ACTIVATIONS_Q8,
                                         .threads = 1});
    rig_own_part(&rig, 0, 2); /* what the audited worker owns */
}

static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(audit_session, .init = open_rig, .fini = close_rig, .timeout = 120);

static uint64_t right_digest(const struct rig_rows *rows, enum hd_unit_kind half)
{
    struct hd_half_output out;
    struct hd_error err;
    struct hd_half_step step = rig_step(&rig, rows, half, 0);
    cr_assert_eq(hd_node_step(rig.node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    uint64_t digest = hd_answer_digest(&(struct hd_answer){hd_shared_data(out.payload),
                                                           hd_shared_len(out.payload), out.wide,
                                                           out.bad, out.n_wide, out.n_bad});
    hd_shared_unref(out.payload);
    return digest;
}

static Hydac__V1__AuditResult *take_result(struct fake_leader *f)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_AUDIT_RESULT);
    Hydac__V1__AuditResult *m = hydac__v1__audit_result__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    hd_frame_clear(&frame);
    return m;
}

static void expect_digest(struct fake_leader *f, enum hd_unit_kind half, uint64_t digest)
{
    Hydac__V1__AuditResult *m = take_result(f);
    cr_assert_eq(m->id, 1000u + half);
    cr_assert_not(m->cannot);
    cr_assert_eq(m->digest, digest);
    hydac__v1__audit_result__free_unpacked(m, NULL);
}

static Hydac__V1__HeartbeatAck *beat(struct fake_leader *f)
{
    Hydac__V1__Heartbeat m = HYDAC__V1__HEARTBEAT__INIT;
    fake_send(f, HD_FRAME_HEARTBEAT, &m.base, NULL, 0);
    struct hd_frame frame = fake_take(f, HD_FRAME_HEARTBEAT_ACK);
    Hydac__V1__HeartbeatAck *ack =
        hydac__v1__heartbeat_ack__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(ack);
    hd_frame_clear(&frame);
    return ack;
}

Test(audit_session, the_known_answer_is_given_at_any_time)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        Hydac__V1__SelfTest m = HYDAC__V1__SELF_TEST__INIT;
        struct hd_self_test t;
        m.seed = seed;
        fake_send(&f, HD_FRAME_SELF_TEST, &m.base, NULL, 0);
        struct hd_frame frame = fake_take(&f, HD_FRAME_SELF_TEST_RESULT);
        Hydac__V1__SelfTestResult *r =
            hydac__v1__self_test_result__unpack(NULL, frame.body_len, frame.body);
        cr_assert_not_null(r);
        cr_assert_eq(hd_kernels_self_test(hd_kernels_get(HD_ISA_PORTABLE), seed, NULL, &t), 0);
        cr_assert_eq(r->seed, seed);
        cr_assert_eq(r->digest, t.digest);
        hydac__v1__self_test_result__free_unpacked(r, NULL);
        hd_frame_clear(&frame);
    }
    fake_stop(&f);
}

/* Half-steps that nothing here answers (the worker owns nothing) are audited behind their Steps. */
static void converse(struct fake_leader *f)
{
    struct rig_rows rows;
    float *x = rig_random(RIG_POSITIONS, rig.model->shape.dim, 1);
    for (uint32_t position = 0; position < 40; position += position ? 1 : 30) {
        rig_rows_of(&rows, 2, position, position ? 1 : 30, x);
        for (int half = HD_UNIT_HEAD; half <= HD_UNIT_VOCAB; half++) {
            fake_step(f, &rows, 4, (Hydac__V1__Half)half);
            fake_audit(f, &rows, (Hydac__V1__Half)half, position % 2);
            expect_digest(f, hd_half_units(half), right_digest(&rows, hd_half_units(half)));
        }
    }
    free(x);
}

static void run(uint32_t audit_every)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    f.audit_every = audit_every;
    fake_welcome(&f, 4);
    converse(&f);
    Hydac__V1__HeartbeatAck *ack = beat(&f);
    cr_assert_eq(ack->audits, 3 * 11);
    cr_assert_gt(ack->integrity_us, 0);
    cr_assert_leq(ack->integrity_us, ack->busy_us);
    cr_assert_gt(ack->weight_bytes, 0);
    cr_assert_gt(ack->kv_bytes, 0);
    hydac__v1__heartbeat_ack__free_unpacked(ack, NULL);
    fake_stop(&f);
}

Test(audit_session, audits_are_answered_beside_the_steps)
{
    run(256);
}

Test(audit_session, all_half_steps_can_be_audited)
{
    run(1);
}

/* Many more audits than may wait: each is answered, by its digest or by that it cannot be done, and
 * steps are answered among them. */
Test(audit_session, each_of_many_audits_is_answered_and_so_are_steps)
{
    enum { ASKED = 3 * HD_AUDITS_MAX };
    struct fake_leader f;
    struct rig_rows prompt, row;
    float *x = rig_random(RIG_POSITIONS, rig.model->shape.dim, 1);
    unsigned cannot = 0, right = 0, steps = 0;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    struct hd_frame frame = fake_take(&f, HD_FRAME_KV_RESULT);
    hd_frame_clear(&frame);
    rig_rows_of(&prompt, 2, 0, RIG_ROWS, x);
    rig_rows_of(&row, 2, RIG_ROWS, 1, x);
    uint64_t digest = right_digest(&prompt, HD_UNIT_HEAD);
    fake_step(&f, &prompt, 4, HYDAC__V1__HALF__ATTENTION);
    for (unsigned i = 0; i < ASKED; i++)
        fake_audit(&f, &prompt, HYDAC__V1__HALF__ATTENTION, true);
    fake_step(&f, &row, 4, HYDAC__V1__HALF__ATTENTION);
    while (cannot + right < ASKED || steps < 2) {
        while (f.n_frames == 0)
            uv_run(&f.loop, UV_RUN_ONCE);
        if (f.frames[0].type == HD_FRAME_STEP_RESULT) {
            frame = fake_take(&f, HD_FRAME_STEP_RESULT);
            hd_frame_clear(&frame);
            steps++;
            continue;
        }
        Hydac__V1__AuditResult *m = take_result(&f);
        cr_assert(m->cannot || m->digest == digest);
        cannot += m->cannot != 0;
        right += m->cannot == 0;
        hydac__v1__audit_result__free_unpacked(m, NULL);
    }
    cr_assert_geq(right, HD_AUDITS_MAX);
    fake_stop(&f);
    free(x);
}

/* The sequence is closed while its audit waits, and another begins under its number. */
Test(audit_session, a_closed_sequence_is_not_audited)
{
    struct fake_leader f;
    struct rig_rows rows;
    float *x = rig_random(RIG_POSITIONS, rig.model->shape.dim, 1);
    Hydac__V1__SequenceClose close = HYDAC__V1__SEQUENCE_CLOSE__INIT;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    rig_rows_of(&rows, 2, 0, 5, x);
    fake_step(&f, &rows, 4, HYDAC__V1__HALF__ATTENTION);
    close.sequence = 2;
    fake_send(&f, HD_FRAME_SEQ_CLOSE, &close.base, NULL, 0);
    rig_rows_of(&rows, 2, 5, 1, x);
    fake_audit(&f, &rows, HYDAC__V1__HALF__ATTENTION, false);
    Hydac__V1__AuditResult *m = take_result(&f);
    cr_assert(m->cannot);
    cr_assert_eq(m->digest, 0);
    hydac__v1__audit_result__free_unpacked(m, NULL);
    fake_stop(&f);
    free(x);
}

static void expect_broken_off(struct fake_leader *f, const char *why)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_ERROR);
    Hydac__V1__Error *m = hydac__v1__error__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_not_null(strstr(m->text, why), "%s", m->text);
    hydac__v1__error__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
    fake_wait_gone(f);
}

Test(audit_session, an_impossible_audit_ends_the_session)
{
    struct fake_leader f;
    struct rig_rows rows;
    float *x = rig_random(1, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    rig_rows_of(&rows, RIG_SEQUENCES, 0, 1, x);
    fake_audit(&f, &rows, HYDAC__V1__HALF__FFN, false);
    expect_broken_off(&f, "Audit: row 0: ");
    fake_stop(&f);
    free(x);
}
