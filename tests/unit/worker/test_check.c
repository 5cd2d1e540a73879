/* What a leader may say of held units and of the log: limits, at the number either side. */
#include "rig.h"
#include "worker/link/check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct rig rig;
static struct hd_check check;
static struct hd_error err;

static void open_check(void)
{
    rig_open(&rig, &(struct rig_options){
                       .shape = "tiny", .type = HD_Q8_0, .kv = HD_KV_F16, .threads = 1});
    check = (struct hd_check){.model = rig.model, .units = &rig.units, .sizes = rig.node->sizes};
}

static void close_check(void)
{
    rig_close(&rig);
}

TestSuite(check, .init = open_check, .fini = close_check);

static void expect_error(int rc, const char *what)
{
    cr_assert_eq(rc, HD_E_PROTO);
    cr_assert_not_null(strstr(err.text, what), "\"%s\" is not in \"%s\"", what, err.text);
}

/* ---- Welcome ----*/

Test(check, activations_are_those_that_the_weights_take)
{
    Hydac__V1__Welcome m = HYDAC__V1__WELCOME__INIT;
    struct hd_model floats = *rig.model;
    m.max_rows = RIG_ROWS;
    m.max_positions = RIG_POSITIONS;
    m.max_sequences = RIG_SEQUENCES;
    cr_assert_eq(rig.model->activations, HD_ACTIVATIONS_Q8);
    for (m.activations = 0; m.activations <= HD_ACTIVATIONS_Q8; m.activations++)
        cr_assert_eq(hd_check_welcome(&check, &m, &err), 0, "%s", err.text);
    expect_error(hd_check_welcome(&check, &m, &err),
                 "Welcome: the kind of activations is 2, possible are 0 to 1");
    m.activations = UINT32_MAX;
    expect_error(hd_check_welcome(&check, &m, &err), "Welcome: the kind of activations");
    floats.activations = HD_ACTIVATIONS_F32;
    check.model = &floats;
    m.activations = HD_ACTIVATIONS_F32;
    cr_assert_eq(hd_check_welcome(&check, &m, &err), 0, "%s", err.text);
    m.activations = HD_ACTIVATIONS_Q8;
    expect_error(hd_check_welcome(&check, &m, &err),
                 "activations of 8 bits for weights that are floats");
}

Test(check, the_wire_mode_is_known_and_fits_the_model)
{
    Hydac__V1__Welcome m = HYDAC__V1__WELCOME__INIT;
    struct hd_model odd = *rig.model;
    m.max_rows = RIG_ROWS;
    m.max_positions = RIG_POSITIONS;
    m.max_sequences = RIG_SEQUENCES;
    for (m.wire = 0; m.wire <= HD_WIRE_COMPACT; m.wire++)
        cr_assert_eq(hd_check_welcome(&check, &m, &err), 0, "%s", err.text);
    expect_error(hd_check_welcome(&check, &m, &err),
                 "Welcome: the wire mode is 2, possible are 0 to 1");
    odd.shape.dim = 48;
    check.model = &odd;
    m.wire = HD_WIRE_EXACT;
    cr_assert_eq(hd_check_welcome(&check, &m, &err), 0, "%s", err.text);
    m.wire = HD_WIRE_COMPACT;
    expect_error(hd_check_welcome(&check, &m, &err), "rows of 48 values, not blocks of 32");
}

/* ---- Steps ----*/

Test(check, a_step_has_the_bytes_of_its_rows)
{
    enum { N = 3 };
    uint32_t sequences[N] = {0, 1, 2}, positions[N] = {0};
    int32_t shifts[N] = {0};
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.n_sequences = m.n_positions = m.n_shifts = N;
    m.sequences = sequences;
    m.positions = positions;
    m.shifts = shifts;
    m.half = HYDAC__V1__HALF__FFN;
    for (int a = HD_ACTIVATIONS_F32; a <= HD_ACTIVATIONS_Q8; a++) {
        check.sizes.activations = (enum hd_activations)a;
        size_t bytes = a == HD_ACTIVATIONS_Q8 ? N * 256 / 32 * 34 : N * 256 * 4;
        cr_assert_eq(hd_check_step(&check, &m, bytes, &err), 0, "%s", err.text);
        expect_error(hd_check_step(&check, &m, bytes - 1, &err), "Step: ");
        expect_error(hd_check_step(&check, &m, bytes + 1, &err), "bytes for 3 rows of ");
        size_t largest = bytes / N * RIG_ROWS; /* or a chunk of weights */
        largest = largest > HD_WEIGHTS_CHUNK ? largest : HD_WEIGHTS_CHUNK;
        cr_assert_eq(hd_check_limits(&check).max_payload, largest);
        m.group = HD_MAX_GROUPS - 1;
        cr_assert_eq(hd_check_step(&check, &m, bytes, &err), 0, "%s", err.text);
        m.group++;
        expect_error(hd_check_step(&check, &m, bytes, &err), "Step: the group is 2");
        m.group = 0;
    }
}

Test(check, a_step_for_logits_has_wants_and_temperatures)
{
    uint32_t sequence = 0, position = 0, want = 5;
    float temperature = 0.5f;
    Hydac__V1__Step m = HYDAC__V1__STEP__INIT;
    m.half = HYDAC__V1__HALF__LOGITS;
    m.n_sequences = m.n_positions = m.n_want = m.n_temperatures = 1;
    m.sequences = &sequence;
    m.positions = &position;
    m.want = &want;
    m.temperatures = &temperature;
    check.sizes.activations = HD_ACTIVATIONS_F32;
    cr_assert_eq(hd_check_step(&check, &m, 256 * 4, &err), 0, "%s", err.text);
    static const float wrong[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        temperature = wrong[i];
        expect_error(hd_check_step(&check, &m, 256 * 4, &err), "temperature");
    }
    m.n_temperatures = 0;
    expect_error(hd_check_step(&check, &m, 256 * 4, &err), "temperatures");
}

/* ---- Audits ----*/

Test(check, an_audit_is_a_step_of_some_units)
{
    enum { N = 3 };
    uint32_t sequences[N] = {0, 1, 1}, positions[N] = {0, 4, 5}, units[2] = {0, 0};
    int32_t shifts[N] = {0};
    size_t bytes = N * 256 * 4;
    Hydac__V1__Audit m = HYDAC__V1__AUDIT__INIT;
    m.n_sequences = m.n_positions = m.n_shifts = N;
    m.sequences = sequences;
    m.positions = positions;
    m.shifts = shifts;
    m.units = units;
    check.sizes.activations = HD_ACTIVATIONS_F32;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: no units");
    m.n_units = 1;
    cr_assert_eq(hd_check_audit(&check, &m, bytes, &err), 0, "%s", err.text);
    const uint32_t counts[] = {rig.units.heads, rig.units.ffn_blocks};
    for (int half = HYDAC__V1__HALF__ATTENTION; half <= HYDAC__V1__HALF__FFN; half++) {
        m.half = (Hydac__V1__Half)half;
        units[0] = counts[half] - 1;
        cr_assert_eq(hd_check_audit(&check, &m, bytes, &err), 0, "%s", err.text);
        units[0] = counts[half];
        expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: ");
        units[0] = UINT32_MAX;
        expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: ");
        units[0] = 0;
        m.n_units = 2;
        expect_error(hd_check_audit(&check, &m, bytes, &err), "not ascending");
        m.n_units = 1;
    }
    expect_error(hd_check_audit(&check, &m, bytes - 1, &err), "Audit: ");
    expect_error(hd_check_audit(&check, &m, bytes + 1, &err), "bytes for 3 rows of ");
    m.layer = rig.model->shape.n_layers;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: layer 4 of 4");
    m.layer--;
    positions[2] = 4;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: row 2: positions of sequence 1");
    positions[2] = RIG_POSITIONS;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: row 2: position 256 of 256");
    positions[2] = 5;
    sequences[0] = RIG_SEQUENCES;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: row 0: ");
    sequences[0] = 0;
    shifts[1] = HD_WORKER_MAX_SHIFT + 1;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: row 1: shift 101");
    shifts[1] = 0;
    m.n_shifts--;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "2 shifts");
    m.n_shifts = N;
    m.half = (Hydac__V1__Half)3;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: half 3 does not exist");
    m.half = (Hydac__V1__Half)-1;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "Audit: half -1 does not exist");
    m.half = HYDAC__V1__HALF__LOGITS;
    expect_error(hd_check_audit(&check, &m, bytes, &err), "3 shifts, 0 wants");
    m.n_sequences = m.n_positions = m.n_shifts = 0;
    expect_error(hd_check_audit(&check, &m, 0, &err), "Audit: 0 rows");
}

Test(check, the_largest_audit_fits_a_frame)
{
    enum { MOST = 512 };
    static uint32_t all[MOST], numbers[RIG_ROWS];
    static float temperatures[RIG_ROWS];
    Hydac__V1__Audit m = HYDAC__V1__AUDIT__INIT;
    for (uint32_t i = 0; i < MOST; i++)
        all[i] = i;
    for (uint32_t i = 0; i < RIG_ROWS; i++) {
        numbers[i] = UINT32_MAX;
        temperatures[i] = 0.3f;
    }
    m.id = UINT64_MAX;
    m.half = HYDAC__V1__HALF__LOGITS;
    m.layer = UINT32_MAX;
    m.fresh = true;
    m.units = all;
    m.n_units = rig.units.ffn_blocks > rig.units.vocab_blocks ? rig.units.ffn_blocks
                                                              : rig.units.vocab_blocks;
    m.n_sequences = m.n_positions = m.n_shifts = m.n_want = m.n_temperatures = RIG_ROWS;
    m.sequences = m.positions = m.want = numbers;
    m.shifts = (int32_t *)numbers;
    m.temperatures = temperatures;
    cr_assert_leq(m.n_units, MOST);
    cr_assert_leq(hydac__v1__audit__get_packed_size(&m), hd_check_limits(&check).max_body);
}

/* ---- The interrupted step ----*/

Test(check, the_second_group_is_not_ahead_of_the_first)
{
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    uint32_t layers = rig.model->shape.n_layers, done[HD_MAX_GROUPS + 1] = {layers, layers};
    m.layers_done = done;
    m.n_layers_done = HD_MAX_GROUPS;
    cr_assert_eq(hd_check_assign(&check, &m, &err), 0, "%s", err.text);
    done[0]--;
    expect_error(hd_check_assign(&check, &m, &err), "AssignHeads: layers_done");
    done[1]--;
    cr_assert_eq(hd_check_assign(&check, &m, &err), 0, "%s", err.text);
    m.n_layers_done++;
    expect_error(hd_check_assign(&check, &m, &err), "layers_done of 3 groups");
    done[0] = layers + 1;
    m.n_layers_done = 1;
    expect_error(hd_check_assign(&check, &m, &err), "AssignHeads: layers_done");
    done[0] = layers;
    cr_assert_eq(hd_check_assign(&check, &m, &err), 0, "%s", err.text);
}

Test(check, what_stays_of_a_sequence_fits_it)
{
    Hydac__V1__SequenceCut m = HYDAC__V1__SEQUENCE_CUT__INIT;
    m.sequence = RIG_SEQUENCES - 1;
    m.positions = RIG_POSITIONS;
    cr_assert_eq(hd_check_cut(&check, &m, &err), 0);
    m.positions++;
    expect_error(hd_check_cut(&check, &m, &err), "SequenceCut: the positions that stay is 257");
    m.positions = 0;
    m.sequence++;
    expect_error(hd_check_cut(&check, &m, &err), "SequenceCut: a sequence number");
}

/* ---- Held units ----*/

Test(check, held_units_exist_and_come_in_order)
{
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    Hydac__V1__Units hold = HYDAC__V1__UNITS__INIT;
    m.hold = &hold;
    uint32_t list[2] = {0, 0};
    uint32_t *const *lists[] = {&hold.heads, &hold.ffn_blocks, &hold.vocab_blocks};
    size_t *const counts[] = {&hold.n_heads, &hold.n_ffn_blocks, &hold.n_vocab_blocks};
    const uint32_t most[] = {rig.units.heads, rig.units.ffn_blocks, rig.units.vocab_blocks};
    for (int k = 0; k < HD_UNIT_KINDS; k++) {
        *(uint32_t **)lists[k] = list;
        *counts[k] = 1;
        list[0] = most[k] - 1;
        cr_assert_eq(hd_check_assign(&check, &m, &err), 0, "%s", err.text);
        list[0] = most[k];
        expect_error(hd_check_assign(&check, &m, &err), "held units");
        *counts[k] = 2;
        list[0] = list[1] = 0;
        expect_error(hd_check_assign(&check, &m, &err), "not ascending");
        *counts[k] = 0;
    }
    hold.bare_heads = list;
    hold.n_bare_heads = 1;
    list[0] = rig.units.heads - 1;
    cr_assert_eq(hd_check_assign(&check, &m, &err), 0, "%s", err.text);
    list[0] = rig.units.heads;
    expect_error(hd_check_assign(&check, &m, &err), "held units");
    hold.n_bare_heads = 2;
    list[0] = list[1] = 0;
    expect_error(hd_check_assign(&check, &m, &err), "not ascending");
}

Test(check, a_round_cannot_clear)
{
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    m.clear = true;
    cr_assert_eq(hd_check_assign(&check, &m, &err), 0);
    m.round = 1;
    expect_error(hd_check_assign(&check, &m, &err), "a round cannot clear");
}

Test(check, all_units_owned_and_held_fit_a_frame)
{
    enum { MOST = 512 };
    static uint32_t all[MOST];
    for (uint32_t i = 0; i < MOST; i++)
        all[i] = i;
    Hydac__V1__AssignHeads m = HYDAC__V1__ASSIGN_HEADS__INIT;
    cr_assert_leq(rig.units.ffn_blocks, MOST);
    cr_assert_leq(rig.units.vocab_blocks, MOST);
    Hydac__V1__Units units = HYDAC__V1__UNITS__INIT;
    units.heads = units.ffn_blocks = units.vocab_blocks = all;
    units.n_heads = rig.units.heads;
    units.n_ffn_blocks = rig.units.ffn_blocks;
    units.n_vocab_blocks = rig.units.vocab_blocks;
    m.own = m.hold = &units;
    m.epoch = m.round = UINT64_MAX;
    cr_assert_leq(hydac__v1__assign_heads__get_packed_size(&m), hd_check_limits(&check).max_body);
}

/* ---- The log ----*/

Test(check, what_is_to_be_filled_is_possible)
{
    Hydac__V1__SequenceNeed need = HYDAC__V1__SEQUENCE_NEED__INIT, *needs[] = {&need, &need};
    Hydac__V1__FillLog m = HYDAC__V1__FILL_LOG__INIT;
    m.n_sequences = 1;
    m.sequences = needs;
    need.sequence = RIG_SEQUENCES - 1;
    need.committed = RIG_POSITIONS - 1;
    uint32_t inflight[HD_MAX_GROUPS + 1] = {1};
    need.inflight = inflight;
    need.n_inflight = 1;
    m.layers_done = rig.model->shape.n_layers;
    cr_assert_eq(hd_check_fill(&check, &m, &err), 0, "%s", err.text);
    m.layers_done++;
    expect_error(hd_check_fill(&check, &m, &err), "FillLog: layers_done");
    m.layers_done = 0;
    inflight[0] = 2;
    expect_error(hd_check_fill(&check, &m, &err), "FillLog: sequence 3 needs more than 256");
    inflight[0] = UINT32_MAX;
    expect_error(hd_check_fill(&check, &m, &err), "needs more");
    need.n_inflight = HD_MAX_GROUPS;
    inflight[0] = 1;
    inflight[1] = UINT32_MAX;
    expect_error(hd_check_fill(&check, &m, &err), "needs more");
    need.n_inflight++;
    expect_error(hd_check_fill(&check, &m, &err), "rows of 3 groups");
    need.n_inflight = 0;
    m.n_sequences = 2;
    expect_error(hd_check_fill(&check, &m, &err), "comes twice");
    m.n_sequences = 1;
    need.sequence = RIG_SEQUENCES;
    expect_error(hd_check_fill(&check, &m, &err), "FillLog");
}

Test(check, what_is_fetched_is_possible)
{
    Hydac__V1__Fetch m = HYDAC__V1__FETCH__INIT;
    m.sequence = RIG_SEQUENCES - 1;
    m.layer = rig.model->shape.n_layers - 1;
    m.position = RIG_POSITIONS - 1;
    m.count = RIG_ROWS;
    cr_assert_eq(hd_check_fetch(&check, &m, &err), 0, "%s", err.text);
    m.count++;
    expect_error(hd_check_fetch(&check, &m, &err), "the number of rows is 97");
    m.count = 0;
    expect_error(hd_check_fetch(&check, &m, &err), "the number of rows is 0");
    m.count = 1;
    m.position++;
    expect_error(hd_check_fetch(&check, &m, &err), "the position");
    m.position = 0;
    m.layer++;
    expect_error(hd_check_fetch(&check, &m, &err), "the layer");
    m.layer = 0;
    m.sequence++;
    expect_error(hd_check_fetch(&check, &m, &err), "Fetch");
}

RIG_TEST(check, rows_have_the_bytes_that_they_say)
{
    Hydac__V1__Rows m = HYDAC__V1__ROWS__INIT;
    size_t bytes = hd_model_row_bytes(rig.model, *activations);
    check.sizes.activations = *activations;
    m.position = RIG_POSITIONS - RIG_ROWS;
    m.count = RIG_ROWS;
    cr_assert_eq(hd_check_rows(&check, &m, RIG_ROWS * bytes, &err), 0, "%s", err.text);
    cr_assert_leq(RIG_ROWS * bytes, hd_check_limits(&check).max_payload);
    expect_error(hd_check_rows(&check, &m, RIG_ROWS * bytes - 1, &err), "Rows: ");
    expect_error(hd_check_rows(&check, &m, RIG_ROWS * bytes + 1, &err), "Rows: ");
    m.position++;
    expect_error(hd_check_rows(&check, &m, RIG_ROWS * bytes, &err), "from position 161 of 256");
    m.position = 0;
    m.count++;
    expect_error(hd_check_rows(&check, &m, (RIG_ROWS + 1) * bytes, &err), "the number of rows");
    m.count = 0;
    cr_assert_eq(hd_check_rows(&check, &m, 0, &err), 0, "nobody has them");
    expect_error(hd_check_rows(&check, &m, 1, &err), "Rows: 1 bytes for 0 rows");
    m.layer = rig.model->shape.n_layers;
    expect_error(hd_check_rows(&check, &m, 0, &err), "the layer");
    m.layer = 0;
    m.sequence = RIG_SEQUENCES;
    expect_error(hd_check_rows(&check, &m, 0, &err), "Rows");
}

/* ---- Digests ----*/

Test(check, digests_come_in_order_and_whole)
{
    static uint64_t list[HD_PIECE_DIGESTS_MAX + 1];
    Hydac__V1__PieceDigests m = HYDAC__V1__PIECE_DIGESTS__INIT;
    struct hd_frame f = {.payload = (uint8_t *)list, .payload_len = 8 * sizeof *list};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        list[i] = i + 1;
    check.n_pieces = hd_piece_count(rig.model, &rig.units);
    check.n_digests = check.n_pieces - 8;
    m.first = check.n_digests;
    m.count = 8;
    cr_assert_eq(hd_check_digests(&check, &m, &f, &err), 0, "%s", err.text);
    m.first--;
    expect_error(hd_check_digests(&check, &m, &f, &err), "expected was");
    m.first += 2;
    expect_error(hd_check_digests(&check, &m, &f, &err), "expected was");
    m.first--;
    m.count = 9; /* one behind the last */
    f.payload_len = 9 * sizeof *list;
    expect_error(hd_check_digests(&check, &m, &f, &err), "9 pieces from");
    m.count = 0;
    expect_error(hd_check_digests(&check, &m, &f, &err), "0 pieces from");
    m.count = 8;
    expect_error(hd_check_digests(&check, &m, &f, &err), "72 bytes for 8 digests");
    f.payload_len = 8 * sizeof *list;
    list[3] = 0;
    expect_error(hd_check_digests(&check, &m, &f, &err), "has none");
    list[3] = 4;
    check.n_pieces += HD_PIECE_DIGESTS_MAX; /* as of a larger model */
    m.count = HD_PIECE_DIGESTS_MAX + 1;
    f.payload_len = m.count * (uint32_t)sizeof *list;
    expect_error(hd_check_digests(&check, &m, &f, &err), "pieces from");
    m.count--;
    f.payload_len -= (uint32_t)sizeof *list;
    cr_assert_eq(hd_check_digests(&check, &m, &f, &err), 0, "%s", err.text);
    cr_assert_leq(f.payload_len, hd_check_limits(&check).max_payload);
    cr_assert_leq(hydac__v1__piece_digests__get_packed_size(&m), HD_FRAME_SMALL_BODY);
}
