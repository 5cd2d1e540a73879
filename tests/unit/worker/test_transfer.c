/* Held units and the completing of a log, as the leader sees them. */
#include "fake_leader.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig; /* the model's file, and what the worker's answers must be */
static size_t row_bytes;

enum { LAYERS = 3, HEADS = 3 };

static void open_rig(void)
{
    rig_open(&rig, &(struct rig_options){.shape = "tiny-gqa3",
                                         .type = HD_Q8_0,
                                         .kv = HD_KV_F16,
                                         .activations = HD_ACTIVATIONS_Q8,
                                         .threads = 1});
    rig_own_part(&rig, 0, 1);
    row_bytes = hd_node_row_bytes(rig.node);
    cr_assert_eq(rig.model->shape.n_layers, LAYERS);
    cr_assert_eq(rig.units.heads, HEADS);
}

static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(transfer, .init = open_rig, .fini = close_rig, .timeout = 120);

/* ---- The session ----*/

static uint32_t all_heads[HEADS] = {0, 1, 2};

/* Own the first `own` heads and hold the others. */
static void assign(struct fake_leader *f, uint64_t epoch, uint64_t round, size_t own)
{
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    Hydac__V1__SequenceNeed need = HYDAC__V1__SEQUENCE_NEED__INIT, *needs[] = {&need};
    m.epoch = epoch;
    m.round = round;
    Hydac__V1__Units owned = HYDAC__V1__UNITS__INIT, held = HYDAC__V1__UNITS__INIT;
    owned.heads = all_heads;
    owned.n_heads = own;
    held.heads = all_heads + own;
    held.n_heads = HEADS - own;
    m.own = &owned;
    m.hold = &held;
    m.sequences = needs;
    m.n_sequences = 1;
    fake_send(f, HD_FRAME_ASSIGN, &m.base, NULL, 0);
}

static Hydac__V1__KvResult *take_kv_result(struct fake_leader *f)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_KV_RESULT);
    Hydac__V1__KvResult *m = hydac__v1__kv_result__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    hd_frame_clear(&frame);
    return m;
}

static void take_assigned(struct fake_leader *f, uint64_t epoch)
{
    Hydac__V1__KvResult *m = take_kv_result(f);
    cr_assert_eq(m->epoch, epoch);
    cr_assert_eq(m->round, 0);
    hydac__v1__kv_result__free_unpacked(m, NULL);
}

/* The rows that all tests send: as rig_feed's, [RIG_POSITIONS] of row_bytes. The caller frees. */
static uint8_t *rows_of_layer(uint32_t layer)
{
    float *x = rig_random(RIG_POSITIONS, rig.model->shape.dim, 100 + layer);
    uint8_t *rows = rig_encode(&rig, x, RIG_POSITIONS);
    free(x);
    return rows;
}

/* An attention half of every layer: positions [first, end) of sequence 0; answered when something
 * is owned. */
static void steps(struct fake_leader *f, uint32_t first, uint32_t end, bool answered)
{
    for (uint32_t l = 0; l < LAYERS; l++) {
        struct rig_rows rows;
        Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
        uint8_t *x = rows_of_layer(l);
        rig_rows_of(&rows, 0, first, end - first, NULL);
        m.epoch = 4;
        m.layer = l;
        m.n_sequences = m.n_positions = m.n_shifts = rows.n;
        m.sequences = rows.sequences;
        m.positions = rows.positions;
        m.shifts = rows.shifts;
        fake_send(f, HD_FRAME_STEP, &m.base, x + first * row_bytes, (end - first) * row_bytes);
        free(x);
        if (answered) {
            struct hd_frame frame = fake_take(f, HD_FRAME_STEP_RESULT);
            hd_frame_clear(&frame);
        }
    }
}

static Hydac__V1__Stats *take_stats(struct fake_leader *f)
{
    Hydac__V1__StatsRequest ask = HYDAC__V1__STATS_REQUEST__INIT;
    fake_send(f, HD_FRAME_STATS_REQUEST, &ask.base, NULL, 0);
    struct hd_frame frame = fake_take(f, HD_FRAME_STATS);
    Hydac__V1__Stats *m = hydac__v1__stats__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    hd_frame_clear(&frame);
    return m;
}

static void take_log_state(struct fake_leader *f, uint32_t sequence, bool complete)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_LOG_STATE);
    Hydac__V1__LogState *m = hydac__v1__log_state__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    cr_assert_eq(m->sequence, sequence);
    cr_assert_eq((bool)m->complete, complete);
    hydac__v1__log_state__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
}

/* ---- Held units ----*/

Test(transfer, a_round_is_answered_when_all_is_ready_and_the_heads_are_then_owned_at_once)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    assign(&f, 4, 0, 0);
    take_assigned(&f, 4);
    steps(&f, 0, 70, false);
    assign(&f, 4, 8, 0);
    Hydac__V1__KvResult *m = take_kv_result(&f);
    cr_assert_eq(m->round, 8);
    cr_assert_eq(m->epoch, 4);
    cr_assert_eq(m->n_heads, HEADS);
    cr_assert_eq(m->n_gaps, 0);
    cr_assert_eq(m->rows_rebuilt + m->rows_kept, HEADS * LAYERS * 70);
    hydac__v1__kv_result__free_unpacked(m, NULL);
    steps(&f, 70, 72, false);
    assign(&f, 5, 0, HEADS);
    m = take_kv_result(&f);
    cr_assert_eq(m->epoch, 5);
    cr_assert_eq(m->n_heads, HEADS);
    cr_assert_eq(m->n_ready_heads, HEADS);
    cr_assert_eq(m->rows_rebuilt, 0);
    cr_assert_eq(m->weights_us, 0);
    cr_assert_eq(m->rebuild_us, 0);
    hydac__v1__kv_result__free_unpacked(m, NULL);
    fake_stop(&f);
}

/* Weights that nobody has asked for end the session; the next one's work begins at once. */
Test(transfer, weights_that_come_unasked_hold_up_nothing)
{
    struct fake_leader f;
    Hydac__V1__Weights weights = HYDAC__V1__WEIGHTS__INIT;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    assign(&f, 4, 0, HEADS);
    take_assigned(&f, 4);
    steps(&f, 0, 1, true);
    fake_send(&f, HD_FRAME_WEIGHTS, &weights.base, "byte", 4);
    struct hd_frame frame = fake_take(&f, HD_FRAME_ERROR);
    hd_frame_clear(&frame);
    fake_wait_gone(&f);
    fake_welcome(&f, 5);
    assign(&f, 5, 0, 0);
    take_assigned(&f, 5);
    steps(&f, 0, 70, false);
    assign(&f, 5, 8, 0);
    hydac__v1__kv_result__free_unpacked(take_kv_result(&f), NULL);
    fake_stop(&f);
}

Test(transfer, held_heads_are_in_no_sum_and_in_the_stats)
{
    struct fake_leader f;
    struct rig_rows rows;
    struct hd_half_output out;
    struct hd_error err;
    struct hd_kv_report report;
    float *x = rig_random(RIG_POSITIONS, rig.model->shape.dim, 100);
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    assign(&f, 4, 0, 1);
    take_assigned(&f, 4);
    assign(&f, 4, 1, 1); /* an answer to wait for: the weights are there */
    hydac__v1__kv_result__free_unpacked(take_kv_result(&f), NULL);
    rig_rows_of(&rows, 0, 0, 3, x);
    fake_step(&f, &rows, 4, HYDAC__V1__HALF__ATTENTION);
    cr_assert_eq(rig_own_heads(&rig, 0x1, &(struct hd_assignment){0}, &report), 0);
    hd_kv_report_deinit(&report);
    struct hd_half_step step = rig_step(&rig, &rows, HD_UNIT_HEAD, 0);
    cr_assert_eq(hd_node_step(rig.node, &step, &out, &err), HD_STEP_DONE);
    struct hd_frame frame = fake_take(&f, HD_FRAME_STEP_RESULT);
    cr_assert_eq(frame.payload_len, hd_shared_len(out.payload));
    cr_assert_arr_eq(frame.payload, hd_shared_data(out.payload), frame.payload_len);
    hd_frame_clear(&frame);
    hd_shared_unref(out.payload);
    Hydac__V1__Stats *m = take_stats(&f);
    cr_assert_eq(m->n_heads, HEADS * LAYERS);
    for (size_t i = 0; i < m->n_heads; i++) {
        const Hydac__V1__HeadStats *s = m->heads[i];
        cr_assert_eq((bool)s->held, s->head != 0);
        cr_assert_eq(s->misses, s->layer == 0 && s->head == 0 ? 3 : 0);
        cr_assert_eq(s->standby, s->layer == 0 && s->head != 0 ? 3 : 0);
        cr_assert_eq(s->valid, s->layer == 0 ? 3 : 0);
    }
    hydac__v1__stats__free_unpacked(m, NULL);
    fake_stop(&f);
    free(x);
}

/* ---- The log ----*/

static Hydac__V1__Fetch *take_fetch(struct fake_leader *f)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_FETCH);
    Hydac__V1__Fetch *m = hydac__v1__fetch__unpack(NULL, frame.body_len, frame.body);
    cr_assert_not_null(m);
    hd_frame_clear(&frame);
    return m;
}

/* Answers with the rows of `steps`; `id` is added to the fetch's. */
static void answer(struct fake_leader *f, const Hydac__V1__Fetch *fetch, uint32_t count,
                   uint64_t id)
{
    Hydac__V1__Rows m = HYDAC__V1__ROWS__INIT;
    uint8_t *x = rows_of_layer(fetch->layer);
    m.id = fetch->id + id;
    m.sequence = fetch->sequence;
    m.layer = fetch->layer;
    m.position = fetch->position;
    m.count = count;
    m.requester = 1;
    fake_send(f, HD_FRAME_ROWS, &m.base, x + fetch->position * row_bytes, count * row_bytes);
    free(x);
}

static void fill(struct fake_leader *f, uint32_t committed)
{
    Hydac__V1__SequenceNeed need = HYDAC__V1__SEQUENCE_NEED__INIT, *needs[] = {&need};
    Hydac__V1__FillLog m = HYDAC__V1__FILL_LOG__INIT;
    need.committed = committed;
    m.sequences = needs;
    m.n_sequences = 1;
    fake_send(f, HD_FRAME_FILL_LOG, &m.base, NULL, 0);
}

/* Fetches until all of sequence 0 up to position `end` has come. */
static void serve(struct fake_leader *f, uint32_t end)
{
    for (uint32_t rows = 0; rows < LAYERS * end;) {
        Hydac__V1__Fetch *fetch = take_fetch(f);
        cr_assert_leq(fetch->position + fetch->count, end);
        cr_assert_leq(fetch->count, RIG_ROWS);
        answer(f, fetch, 1, 1000); /* of another fetch */
        answer(f, fetch, fetch->count, 0);
        rows += fetch->count;
        hydac__v1__fetch__free_unpacked(fetch, NULL);
    }
}

Test(transfer, a_late_log_is_completed_and_its_heads_can_be_rebuilt)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    assign(&f, 4, 0, 0);
    take_assigned(&f, 4);
    fill(&f, 150);
    steps(&f, 150, 160, false);
    serve(&f, 150);
    take_log_state(&f, 0, true);
    Hydac__V1__Stats *stats = take_stats(&f);
    cr_assert_eq(stats->log_rows, LAYERS * 160);
    hydac__v1__stats__free_unpacked(stats, NULL);
    assign(&f, 4, 3, 0);
    Hydac__V1__KvResult *m = take_kv_result(&f);
    cr_assert_eq(m->round, 3);
    cr_assert_eq(m->n_gaps, 0);
    cr_assert_eq(m->rows_rebuilt + m->rows_kept, HEADS * LAYERS * 160);
    hydac__v1__kv_result__free_unpacked(m, NULL);
    fake_stop(&f);
}

Test(transfer, rows_that_nobody_has_end_the_filling_of_a_sequence)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fill(&f, 20);
    Hydac__V1__Fetch *fetch = take_fetch(&f);
    answer(&f, fetch, 0, 0);
    hydac__v1__fetch__free_unpacked(fetch, NULL);
    take_log_state(&f, 0, false);
    fake_stop(&f);
}

Test(transfer, a_sequence_that_is_closed_is_filled_no_more)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fill(&f, 20);
    Hydac__V1__Fetch *fetch = take_fetch(&f);
    Hydac__V1__SequenceClose close = HYDAC__V1__SEQUENCE_CLOSE__INIT;
    fake_send(&f, HD_FRAME_SEQ_CLOSE, &close.base, NULL, 0);
    answer(&f, fetch, fetch->count, 0);
    hydac__v1__fetch__free_unpacked(fetch, NULL);
    Hydac__V1__Stats *stats = take_stats(&f); /* the next frame: no LogState, no Fetch */
    cr_assert_eq(stats->log_rows, 0);
    hydac__v1__stats__free_unpacked(stats, NULL);
    fake_stop(&f);
}

Test(transfer, wrong_rows_for_a_fetch_end_the_connection)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    fill(&f, 20);
    Hydac__V1__Fetch *fetch = take_fetch(&f);
    fetch->position++;
    answer(&f, fetch, 1, 0);
    hydac__v1__fetch__free_unpacked(fetch, NULL);
    struct hd_frame frame = fake_take(&f, HD_FRAME_ERROR);
    hd_frame_clear(&frame);
    fake_wait_gone(&f);
    fake_welcome(&f, 5);
    fake_stop(&f);
}

static void ask(struct fake_leader *f, uint32_t position, uint32_t count)
{
    Hydac__V1__Fetch m = HYDAC__V1__FETCH__INIT;
    m.id = 77;
    m.layer = 1;
    m.position = position;
    m.count = count;
    m.requester = 6;
    fake_send(f, HD_FRAME_FETCH, &m.base, NULL, 0);
}

static void expect_rows(struct fake_leader *f, uint32_t position, uint32_t count)
{
    struct hd_frame frame = fake_take(f, HD_FRAME_ROWS);
    Hydac__V1__Rows *m = hydac__v1__rows__unpack(NULL, frame.body_len, frame.body);
    uint8_t *x = rows_of_layer(1);
    cr_assert_not_null(m);
    cr_assert_eq(m->id, 77);
    cr_assert_eq(m->requester, 6);
    cr_assert_eq(m->sequence, 0);
    cr_assert_eq(m->layer, 1);
    cr_assert_eq(m->position, position);
    cr_assert_eq(m->count, count);
    cr_assert_eq(frame.payload_len, count * row_bytes);
    if (count > 0)
        cr_assert_arr_eq(frame.payload, x + position * row_bytes, frame.payload_len);
    free(x);
    hydac__v1__rows__free_unpacked(m, NULL);
    hd_frame_clear(&frame);
}

Test(transfer, a_worker_serves_what_its_log_has)
{
    struct fake_leader f;
    fake_start(&f, &rig);
    fake_welcome(&f, 4);
    steps(&f, 0, 90, false);
    ask(&f, 40, 30);
    expect_rows(&f, 40, 30);
    ask(&f, 80, RIG_ROWS);
    expect_rows(&f, 80, 10);
    ask(&f, 90, 1);
    expect_rows(&f, 90, 0);
    steps(&f, 100, 102, false); /* a tail is not the prefix */
    ask(&f, 100, 1);
    expect_rows(&f, 100, 0);
    fake_stop(&f);
}

Test(transfer, a_log_at_its_limit_is_said_once)
{
    struct fake_leader f;
    uint64_t chunk = LAYERS * HD_LOG_CHUNK * row_bytes;
    fake_start_with(&f, &rig, &(struct fake_options){.log_limit = chunk + chunk / 2});
    fake_welcome(&f, 4);
    steps(&f, 0, 70, false);
    take_log_state(&f, 0, false);
    steps(&f, 70, 140, false);
    Hydac__V1__Stats *stats = take_stats(&f); /* the next frame */
    cr_assert_leq(stats->log_rows, LAYERS * HD_LOG_CHUNK);
    cr_assert_eq(stats->log_bytes, 0);
    hydac__v1__stats__free_unpacked(stats, NULL);
    fake_stop(&f);
}

Test(transfer, a_worker_without_a_log_holds_heads_all_the_same)
{
    struct fake_leader f;
    fake_start_with(&f, &rig, &(struct fake_options){.no_log = true});
    fake_welcome(&f, 4);
    assign(&f, 4, 1, 0);
    hydac__v1__kv_result__free_unpacked(take_kv_result(&f), NULL);
    steps(&f, 0, 5, false);
    fill(&f, 5);
    take_log_state(&f, 0, false);
    Hydac__V1__Stats *m = take_stats(&f);
    cr_assert_eq(m->log_rows, 0);
    cr_assert_eq(m->n_heads, HEADS * LAYERS);
    for (size_t i = 0; i < m->n_heads; i++)
        cr_assert_eq(m->heads[i]->valid, 5);
    hydac__v1__stats__free_unpacked(m, NULL);
    fake_stop(&f);
}
