/* The worker as its leader sees it, over a real socket. */
#include "fake_leader.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig; /* the model's file, and what the worker's answers must be */

static void open_rig(void)
{
    rig_open(&rig, &(struct rig_options){
                       .shape = "tiny-gqa3", .type = HD_Q8_0, .kv = HD_KV_F16, .threads = 1});
    rig_own_part(&rig, 0, 1);
}

static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(session, .init = open_rig, .fini = close_rig, .timeout = 120);

/* Takes a KvResult and returns how many sequences it calls gaps. */
static size_t take_kv_result(struct fake_leader *f, uint64_t epoch, size_t new_heads)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_KV_RESULT);
    Hydac__V1__KvResult *m = hydac__v1__kv_result__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_eq(m->epoch, epoch);
    cr_assert_eq(m->n_heads, new_heads);
    size_t gaps = m->n_gaps;
    hydac__v1__kv_result__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
    return gaps;
}

/* Asks for the counters: log_rows and the misses of (layer 0, head 0). */
static void take_stats(struct fake_leader *f, uint64_t *log_rows, uint64_t *misses)
{
    Hydac__V1__StatsRequest ask = HYDAC__V1__STATS_REQUEST__INIT;
    ask.id = 5;
    fake_send(f, HD_FRAME_STATS_REQUEST, &ask.base, NULL, 0);
    struct hd_frame frame = fake_take(f, HD_FRAME_STATS);
    Hydac__V1__Stats *m = hydac__v1__stats__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_eq(m->id, 5);
    *log_rows = m->log_rows;
    *misses = m->n_heads ? m->heads[0]->misses : 0;
    cr_assert(m->n_heads == 0 || m->n_heads == 3 * 3);
    cr_assert_gt(m->rss_bytes, 0);
    hydac__v1__stats__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
}

/* ---- The happy path ----*/

static void take_step_result(struct fake_leader *f, const struct rig_rows *rows,
                             enum hd_unit_kind half)
{
    struct hd_half_output out;
    struct hd_error err;
    struct hd_half_step step = rig_step(&rig, rows, half, 0);
    cr_assert_eq(hd_node_step(rig.node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    struct hd_frame frame = fake_take(f, HD_FRAME_STEP_RESULT);
    Hydac__V1__StepResult *m = hydac__v1__step_result__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_eq(m->epoch, 4);
    cr_assert_eq(m->step, 77);
    cr_assert_eq((int)m->half, (int)half);
    cr_assert_eq(m->group, f->group);
    cr_assert_eq(m->n_bad, 0);
    cr_assert_eq(frame.payload_len, hd_shared_len(out.payload));
    cr_assert_arr_eq(frame.payload, hd_shared_data(out.payload), frame.payload_len);
    hydac__v1__step_result__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
    hd_shared_unref(out.payload);
}

static void expect_step_result(struct fake_leader *f, const struct rig_rows *rows,
                               enum hd_unit_kind half)
{
    fake_step(f, rows, 4, (Hydac__V1__Half)half);
    take_step_result(f, rows, half);
}

Test(session, a_worker_joins_takes_units_and_computes)
{
    struct fake_leader f;
    struct rig_rows rows;
    uint64_t log_rows, misses;
    float *x = rig_random(3, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    cr_assert_eq(take_kv_result(&f, 4, 3), 0);
    Hydac__V1__SequenceOpen open = HYDAC__V1__SEQUENCE_OPEN__INIT;
    open.sequence = 2;
    open.max_positions = RIG_POSITIONS;
    fake_send(&f, HD_FRAME_SEQ_OPEN, &open.base, NULL, 0);
    rig_rows_of(&rows, 2, 0, 3, x);
    rows.want[1] = 7;
    for (int half = HD_UNIT_HEAD; half <= HD_UNIT_VOCAB; half++)
        expect_step_result(&f, &rows, hd_half_units(half));
    take_stats(&f, &log_rows, &misses);
    cr_assert_eq(log_rows, 3);
    cr_assert_eq(misses, 3);
    Hydac__V1__Heartbeat beat = HYDAC__V1__HEARTBEAT__INIT;
    beat.seq = 9;
    beat.sent_us = 123456;
    fake_send(&f, HD_FRAME_HEARTBEAT, &beat.base, NULL, 0);
    struct hd_frame frame = fake_take(&f, HD_FRAME_HEARTBEAT_ACK);
    Hydac__V1__HeartbeatAck *ack =
        hydac__v1__heartbeat_ack__unpack(NULL, frame.body_len, frame.body);
    cr_assert_eq(ack->seq, 9);
    cr_assert_eq(ack->sent_us, 123456);
    cr_assert_eq(ack->steps, 3);
    cr_assert_gt(ack->kv_bytes, 0);
    cr_assert_gt(ack->weight_bytes, 0);
    hydac__v1__heartbeat_ack__free_unpacked(ack, NULL);
    hd_frame_clear(&frame);
    fake_stop(&f);
    free(x);
}

/* Both groups of a step are on their way at once, a sequence is cut between them, and half-steps
 * are so quick that the loop thread takes what it can: each is answered, in order, as if it were
 * alone. */
Test(session, two_groups_at_once)
{
    struct fake_leader f;
    struct rig_rows rows[2];
    uint64_t log_rows, misses;
    float *x = rig_random(3, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    cr_assert_eq(take_kv_result(&f, 4, 3), 0);
    for (uint32_t position = 0; position < 30; position += 3) {
        rig_rows_of(&rows[0], 2, position, 1, x);
        rig_rows_of(&rows[1], 2, position + 1, 2, x + rig.model->shape.dim);
        for (int half = HD_UNIT_HEAD; half <= HD_UNIT_FFN; half++) {
            for (f.group = 0; f.group < 2; f.group++)
                fake_step(&f, &rows[f.group], 4, (Hydac__V1__Half)half);
            for (f.group = 0; f.group < 2; f.group++)
                take_step_result(&f, &rows[f.group], hd_half_units(half));
        }
    }
    take_stats(&f, &log_rows, &misses);
    cr_assert_eq(log_rows, 30);
    cr_assert_eq(misses, 30);
    fake_stop(&f);
    free(x);
}

/* From the second time on the loop thread computes quick half-steps itself, when nothing else is to
 * be done: the same answers, logged all the same, and jobs between them are done in their order. */
Test(session, quick_half_steps_one_after_the_other)
{
    struct fake_leader f;
    struct rig_rows rows;
    uint64_t log_rows, misses;
    float *x = rig_random(1, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    cr_assert_eq(take_kv_result(&f, 4, 3), 0);
    for (uint32_t position = 0; position < 20; position++) {
        rig_rows_of(&rows, 2, position, 1, x);
        for (int half = HD_UNIT_HEAD; half <= HD_UNIT_VOCAB; half++)
            expect_step_result(&f, &rows, hd_half_units(half));
        if (position % 5 != 0)
            continue;
        take_stats(&f, &log_rows, &misses);
        cr_assert_eq(log_rows, position + 1);
        cr_assert_eq(misses, position + 1);
    }
    fake_stop(&f);
    free(x);
}

Test(session, hello_says_who_it_is)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    struct hd_frame frame = fake_take(&f, HD_FRAME_HELLO);
    Hydac__V1__Hello *m = hydac__v1__hello__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_str_eq(m->name, "w1");
    cr_assert_eq(m->model_digest, rig.model->digest);
    cr_assert_eq(m->threads, 2);
    cr_assert_eq(m->log_limit_bytes, f.config.log_limit);
    cr_assert_eq(strncmp(m->software, "hydac ", 6), 0);
    hydac__v1__hello__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
    fake_stop(&f);
}

/* ---- Epochs, connections ----*/

Test(session, a_step_of_an_old_epoch_is_not_answered)
{
    struct fake_leader f;
    struct rig_rows rows;
    uint64_t log_rows, misses;
    float *x = rig_random(2, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 1);
    fake_assign_all(&f, &rig, 2, NULL);
    take_kv_result(&f, 2, 3);
    rig_rows_of(&rows, 0, 0, 2, x);
    fake_step(&f, &rows, 1, HYDAC__V1__HALF__ATTENTION);
    take_stats(&f, &log_rows, &misses);
    cr_assert_eq(misses, 0);
    cr_assert_eq(log_rows, 0);
    fake_stop(&f);
    free(x);
}

Test(session, who_owns_nothing_yet_logs_and_is_silent)
{
    struct fake_leader f;
    struct rig_rows rows;
    uint64_t log_rows, misses;
    float *x = rig_random(2, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 3);
    rig_rows_of(&rows, 0, 0, 2, x);
    fake_step(&f, &rows, 3, HYDAC__V1__HALF__ATTENTION);
    take_stats(&f, &log_rows, &misses);
    cr_assert_eq(log_rows, 2);
    fake_stop(&f);
    free(x);
}

Test(session, a_lost_connection_is_made_again_and_without_grace_all_is_forgotten)
{
    struct fake_leader f;
    struct rig_rows rows;
    float *x = rig_random(3, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    take_kv_result(&f, 4, 3);
    rig_rows_of(&rows, 0, 0, 3, x);
    expect_step_result(&f, &rows, HD_UNIT_HEAD);
    f.config.grace_ms = 0;
    hd_conn_close(f.conn, false);
    fake_wait_gone(&f);
    fake_welcome(&f, 6);
    cr_assert(f.joins == 2 && !f.kept);
    Hydac__V1__SequenceNeed need = HYDAC__V1__SEQUENCE_NEED__INIT;
    need.committed = 3;
    fake_assign_all(&f, &rig, 7, &need);
    cr_assert_eq(take_kv_result(&f, 7, 3), 1, "the sequence's log is gone");
    fake_stop(&f);
    free(x);
}

/* ---- What outlives a leader ----*/

static void walk_layers(struct fake_leader *f, const struct rig_rows *rows, uint64_t epoch)
{
    for (f->layer = 0; f->layer < rig.model->shape.n_layers; f->layer++) {
        fake_step(f, rows, epoch, HYDAC__V1__HALF__ATTENTION);
        struct hd_frame frame = fake_take(f, HD_FRAME_STEP_RESULT);
        hd_frame_clear(&frame);
    }
}

/* Sequence 0 has three positions of these tokens. */
static void take_tokens(struct fake_leader *f, const uint32_t *tokens)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_SEQ_TOKENS);
    Hydac__V1__SequenceTokens *m =
        hydac__v1__sequence_tokens__unpack(NULL, frame.body_len, frame.body);
    cr_assert(m->sequence == 0 && m->shared == 0 && m->scope == 99);
    cr_assert(m->positions == 3 && m->logged == 3);
    cr_assert_eq(frame.payload_len, 3 * sizeof *tokens);
    cr_assert_arr_eq(frame.payload, tokens, 3 * sizeof *tokens);
    hydac__v1__sequence_tokens__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
}

static void take_kept(struct fake_leader *f, size_t heads)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_KEPT);
    Hydac__V1__Kept *m = hydac__v1__kept__unpack(NULL, frame.body_len, frame.body);
    cr_assert_eq(m->own->n_heads, heads);
    hydac__v1__kept__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
}

/* Units, rows and log stay; the next leader hears of them, and whose they are. A sequence of which
 * no token was named is no use to it. */
Test(session, what_there_is_outlives_the_leader)
{
    static const uint32_t tokens[3] = {11, 12, 13};
    struct fake_leader f;
    struct rig_rows rows, others;
    float *x = rig_random(3, rig.model->shape.dim, 1);
    Hydac__V1__SequenceOpen open = HYDAC__V1__SEQUENCE_OPEN__INIT;
    Hydac__V1__SequenceNeed need = HYDAC__V1__SEQUENCE_NEED__INIT;
    fake_start(&f, &rig);
    f.term = 3;
    fake_welcome(&f, 4);
    cr_assert(!f.kept);
    fake_assign_all(&f, &rig, 4, NULL);
    take_kv_result(&f, 4, 3);
    open.max_positions = 8;
    open.scope = 99;
    fake_send(&f, HD_FRAME_SEQ_OPEN, &open.base, NULL, 0);
    rig_rows_of(&rows, 0, 0, 3, x);
    rig_rows_of(&others, 1, 0, 3, x);
    walk_layers(&f, &others, 4);
    f.tokens = tokens;
    walk_layers(&f, &rows, 4);
    hd_conn_close(f.conn, false);
    fake_wait_gone(&f);
    fake_welcome(&f, 6);
    cr_assert(f.kept && f.joins == 2);
    take_tokens(&f, tokens);
    take_kept(&f, 3);
    need.committed = 3;
    fake_assign_all(&f, &rig, 7, &need);
    cr_assert_eq(take_kv_result(&f, 7, 3), 0, "all is there");
    need.sequence = 1;
    fake_assign_all(&f, &rig, 8, &need);
    cr_assert_eq(take_kv_result(&f, 8, 0), 1, "nobody knows what it was of");
    fake_stop(&f);
    free(x);
}

/* An old leader that does not know what has happened since is left at once; and what a worker has
 * is not kept when it was told off. */
Test(session, an_old_leader_is_left_and_who_was_told_off_forgets)
{
    struct fake_leader f;
    Hydac__V1__Reject reject = HYDAC__V1__REJECT__INIT;
    fake_start(&f, &rig);
    f.term = 3;
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    take_kv_result(&f, 4, 3);
    hd_conn_close(f.conn, false);
    fake_wait_gone(&f);
    f.old_term = true;
    fake_welcome_only(&f, 5);
    fake_wait_gone(&f);
    f.old_term = false;
    fake_welcome(&f, 6);
    cr_assert(f.kept && f.joins == 3);
    take_kept(&f, 3);
    reject.code = HD_REJECT_WRONG;
    reject.reason = (char *)"wrong";
    fake_send(&f, HD_FRAME_REJECT, &reject.base, NULL, 0);
    fake_wait_gone(&f);
    fake_welcome(&f, 7);
    cr_assert(!f.kept);
    fake_stop(&f);
}

/* ---- What weights must be ----*/

static void expect_text(struct fake_leader *f, const char *text)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_ERROR);
    Hydac__V1__Error *m = hydac__v1__error__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(strstr(m->text, text), "%s", m->text);
    hydac__v1__error__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
    fake_wait_gone(f);
}

Test(session, nothing_is_owned_before_all_digests_are_known)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome_only(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    expect_text(&f, "before the digests of all pieces");
    fake_welcome(&f, 5);
    fake_assign_all(&f, &rig, 5, NULL);
    take_kv_result(&f, 5, 3);
    fake_stop(&f);
}

/* Weights that are loaded outlive a session; not one whose leader has another file. What the
 * worker's file does not have is told, and asked for. */
Test(session, another_leaders_weights_are_not_kept)
{
    const uint32_t layers = rig.model->shape.n_layers; /* pieces of head 0 */
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    take_kv_result(&f, 4, 3);
    hd_conn_close(f.conn, false);
    fake_wait_gone(&f);
    fake_welcome_only(&f, 6);
    take_kept(&f, 3);
    fake_digests(&f, layers);
    fake_assign_all(&f, &rig, 7, NULL);
    for (uint32_t i = 0; i < layers; i++) {
        struct hd_frame frame = fake_take(&f, HD_FRAME_DAMAGE);
        Hydac__V1__Damage *m = hydac__v1__damage__unpack(NULL, frame.body_len, frame.body);
        cr_assert(m->kind == HD_DAMAGE_FILE && m->unit_kind == HD_UNIT_HEAD && m->unit == 0);
        cr_assert_eq(m->layer, i);
        cr_assert_not_null(strstr(m->text, "model.gguf, from byte "), "%s", m->text);
        hydac__v1__damage__free_unpacked(m, NULL);
        hd_frame_clear(&frame);
    }
    for (uint32_t i = 0; i < layers; i++) {
        struct hd_frame frame = fake_take(&f, HD_FRAME_WEIGHTS_REQUEST);
        hd_frame_clear(&frame);
    }
    fake_stop(&f);
}

/* ---- A leader that makes no sense ----*/

Test(session, garbage_ends_the_connection_and_nothing_else)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    f.garbage = "HTTP/1.1 400 Bad Request\r\n\r\nthis is not the leader";
    fake_welcome(&f, 1);
    cr_assert_eq(f.joins, 2);
    fake_stop(&f);
}

enum nonsense {
    BAD_LAYER,
    BAD_HALF,
    BAD_SEQUENCE,
    BAD_POSITION,
    BAD_ORDER,
    BAD_SHIFT,
    BAD_COUNT,
    BAD_PAYLOAD,
    BAD_EPOCH,
    BAD_HOLE,
    BAD_HEAD,
    BAD_OLD_ASSIGN,
    BAD_TYPE,
    BAD_BODY,
    BAD_DIGESTS,
    NONSENSES
};

static void send_bad_step(struct fake_leader *f, enum nonsense what, const float *x)
{
    uint32_t sequences[2] = {0, 0}, positions[2] = {0, 1};
    int32_t shifts[2] = {20, 20};
    size_t len = 2 * rig.model->shape.dim * sizeof *x;
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.epoch = what == BAD_EPOCH ? 5 : 4;
    m.layer = what == BAD_LAYER ? rig.model->shape.n_layers : 0;
    m.half = (Hydac__V1__Half)(what == BAD_HALF ? 3 : 0);
    sequences[1] = what == BAD_SEQUENCE ? RIG_SEQUENCES : 0;
    positions[1] = what == BAD_POSITION ? RIG_POSITIONS : what == BAD_HOLE ? 2 : 1;
    positions[0] = what == BAD_ORDER ? 1 : 0;
    shifts[0] = what == BAD_SHIFT ? 1000 : 20;
    m.n_sequences = m.n_shifts = 2;
    m.n_positions = what == BAD_COUNT ? 1 : 2;
    m.sequences = sequences;
    m.positions = positions;
    m.shifts = shifts;
    fake_send(f, HD_FRAME_STEP, &m.base, x, what == BAD_PAYLOAD ? len - 4 : len);
}

static void send_nonsense(struct fake_leader *f, enum nonsense what, const float *x)
{
    Hydac__V1__AssignHeads assign = HYDAC__V1__ASSIGN_HEADS__INIT;
    Hydac__V1__Error binary = HYDAC__V1__ERROR__INIT;
    uint32_t head = what == BAD_HEAD ? rig.units.heads : 0;
    assign.epoch = what == BAD_OLD_ASSIGN ? 3 : 5;
    Hydac__V1__Units own = HYDAC__V1__UNITS__INIT;
    own.n_heads = 1;
    own.heads = &head;
    assign.own = &own;
    binary.text = (char *)"\xff\xff\xff";
    if (what == BAD_HEAD || what == BAD_OLD_ASSIGN)
        fake_send(f, HD_FRAME_ASSIGN, &assign.base, NULL, 0);
    else if (what == BAD_TYPE)
        fake_send(f, HD_FRAME_KV_RESULT, NULL, NULL, 0);
    else if (what == BAD_DIGESTS) /* a second time */
        fake_digests(f, 0);
    else if (what ==
             BAD_BODY) /* field 2 of AssignHeads is a list of numbers, and these never end */
        fake_send(f, HD_FRAME_ASSIGN, &binary.base, NULL, 0);
    else
        send_bad_step(f, what, x);
}

ParameterizedTestParameters(session, nonsense_is_answered_with_an_error_and_survived)
{
    static enum nonsense all[NONSENSES];
    for (int i = 0; i < NONSENSES; i++)
        all[i] = (enum nonsense)i;
    return cr_make_param_array(enum nonsense, all, NONSENSES);
}

ParameterizedTest(enum nonsense *what, session, nonsense_is_answered_with_an_error_and_survived)
{
    struct fake_leader f;
    float *x = rig_random(2, rig.model->shape.dim, 1);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fake_assign_all(&f, &rig, 4, NULL);
    take_kv_result(&f, 4, 3);
    send_nonsense(&f, *what, x);
    struct hd_frame frame = fake_take(&f, HD_FRAME_ERROR);
    Hydac__V1__Error *m = hydac__v1__error__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_gt(strlen(m->text), 10);
    hydac__v1__error__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
    fake_wait_gone(&f);
    fake_welcome(&f, 9);
    cr_assert_eq(f.joins, 2);
    fake_stop(&f);
    free(x);
}

/* ---- Refusals ----*/

static void reject(struct fake_leader *f, unsigned code)
{
    struct hd_frame hello = fake_take(f, HD_FRAME_HELLO);
    hd_frame_clear(&hello);
    Hydac__V1__Reject m = HYDAC__V1__REJECT__INIT;
    m.code = code;
    m.reason = (char *)"because";
    fake_send(f, HD_FRAME_REJECT, &m.base, NULL, 0);
    fake_wait_gone(f);
}

Test(session, another_model_is_final)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    reject(&f, HD_REJECT_MODEL);
    cr_assert_str_eq(f.refused, "because");
    cr_assert_eq(f.joins, 1);
    fake_stop(&f);
}

Test(session, a_name_in_use_is_tried_again)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    reject(&f, HD_REJECT_NAME);
    fake_welcome(&f, 1);
    cr_assert_str_eq(f.refused, "");
    cr_assert_eq(f.joins, 2);
    fake_stop(&f);
}

Test(session, a_worker_can_be_closed_while_it_looks_for_its_leader)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_stop(&f);
}
