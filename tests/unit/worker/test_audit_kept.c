/* What an auditor keeps for the next audit, what it cannot do, and where its weights come from. */
#include "common/net/answer_digest.h"
#include "audit_rig.h"
#include "supply_rig.h"
#include "worker/trust/audit.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- What is kept ----*/

static uint64_t rows_of(const struct rig *r, uint32_t layer)
{
    uint64_t rows = 0;
    for (uint32_t h = 0; h < r->units.heads; h++)
        rows += hd_kv_valid_total(r->node->kv, layer, h);
    return rows;
}

RIG_TEST(audit, what_was_loaded_serves_the_next_audit_but_its_rows_serve_nobody_else)
{
    struct audit_rig c;
    struct rig_rows rows;
    struct hd_audit_answer a;
    struct hd_kv_report report;
    audit_open_tiny(&c, NOTHING, *activations);
    uint32_t layers = c.worker.model->shape.n_layers;
    for (uint32_t l = 0; l < layers; l++)
        audit_attend(&c, &rows, l, 0, PROMPT);
    uint64_t before = hd_node_weight_bytes(c.auditor.node);
    uint64_t digest = audit_attend(&c, &rows, 1, PROMPT, 1);
    struct hd_half_step step = audit_same_step(&c, &rows, 1);
    audit_now(&c, &step, false);
    uint64_t loaded = hd_node_weight_bytes(c.auditor.node);
    cr_assert_gt(loaded, before);
    cr_assert_eq(rows_of(&c.auditor, 1), c.auditor.units.heads * (PROMPT + 1));
    digest = audit_attend(&c, &rows, 1, PROMPT + 1, 1);
    step = audit_same_step(&c, &rows, 1);
    audit_order(&c, &step, false);
    cr_assert_eq(audit_finish(&c, &a), 1, "all of it was there");
    cr_assert_eq(a.digest, digest);
    cr_assert_eq(hd_node_weight_bytes(c.auditor.node), loaded);
    /* All heads become the auditor's: what serves is computed as if no audit had been. */
    struct hd_sequence_need need = {.sequence = 0, .base = PROMPT, .inflight = {2}};
    struct hd_assignment own = {.needs = &need, .n_needs = 1, .layers_done = {2}};
    audit_order(&c, &step, false);
    audit_attend(&c, &rows, 0, PROMPT, 2);
    cr_assert_eq(rig_own_heads(&c.auditor, 0xf, &own, &report), 0);
    cr_assert_eq(report.n_gaps, 0);
    cr_assert_eq(report.rows_rebuilt, 2 * (layers * PROMPT + 2 * 2));
    hd_kv_report_deinit(&report);
    audit_finish(&c, &a);
    cr_assert_eq(a.digest, digest, "an audit may begin before and end after");
    for (size_t i = 0; i < 2; i++) {
        uint32_t h = hd_shard_owned(c.worker.node->shard, HD_UNIT_HEAD).list[i];
        rig_expect_same_lane(&c.worker, &c.auditor, (struct hd_kv_at){0, 1, h}, PROMPT + 2);
        rig_expect_same_lane(&c.worker, &c.auditor, (struct hd_kv_at){0, 0, h}, PROMPT + 2);
        cr_assert_eq(hd_kv_counters(c.auditor.node->kv, 1, h)->rebuilt, PROMPT + 2);
        cr_assert_eq(hd_kv_counters(c.auditor.node->kv, 1, h)->misses, 0);
    }
    audit_close(&c);
}

/* Audits attention and FFN halves of every layer; returns the weights that are there afterwards. */
static uint64_t audit_all_layers(struct audit_rig *c)
{
    struct rig_rows rows;
    for (uint32_t l = 0; l < c->worker.model->shape.n_layers; l++) {
        audit_attend(c, &rows, l, 0, 3);
        for (int kind = HD_UNIT_HEAD; kind <= HD_UNIT_FFN; kind++) {
            struct hd_half_step step = audit_same_step(c, &rows, l);
            step.units = (enum hd_unit_kind)kind;
            cr_assert_not(audit_now(c, &step, false).cannot);
        }
    }
    return hd_node_weight_bytes(c->auditor.node);
}

RIG_TEST(audit, a_few_layers_are_kept_or_all_of_them_when_all_is_audited)
{
    struct audit_rig c;
    uint64_t own, some, all, whole;
    audit_open_tiny(&c, NOTHING, *activations);
    own = hd_node_weight_bytes(c.auditor.node);
    some = audit_all_layers(&c);
    cr_assert_gt(some, own);
    cr_assert_eq(rows_of(&c.auditor, 0), 2 * 3, "the audited heads' rows went with their weights");
    cr_assert_eq(rows_of(&c.auditor, 3), 4 * 3);
    hd_node_leave(c.auditor.node);
    cr_assert_eq(hd_node_weight_bytes(c.auditor.node), own, "what was owned stays");
    audit_close(&c);
    audit_open_tiny(&c, NOTHING, *activations);
    c.auditor.node->sizes.audit_every = 1;
    all = audit_all_layers(&c);
    cr_assert_gt(all, some);
    cr_assert_eq(rows_of(&c.auditor, 0), 4 * 3);
    /* An audit of everything, fresh or not, needs no more than all that there is. */
    rig_own_part(&c.auditor, 0, 1);
    whole = hd_node_weight_bytes(c.auditor.node);
    cr_assert_lt(all, whole);
    cr_assert_eq(audit_all_layers(&c), whole, "what is owned is used");
    audit_close(&c);
}

/* Of bare heads the weights stay, and the rows that audits have computed are theirs alone. */
RIG_TEST(audit, rows_of_bare_heads_go_with_the_layers_that_are_given_up_and_with_the_session)
{
    struct audit_rig c;
    audit_open_tiny(&c, HEADS_BARE, *activations);
    audit_all_layers(&c);
    cr_assert_eq(rows_of(&c.auditor, 0), 2 * 3);
    cr_assert_eq(rows_of(&c.auditor, 3), 4 * 3);
    hd_node_rest(c.auditor.node);
    cr_assert_eq(rows_of(&c.auditor, 3), 2 * 3);
    for (uint32_t h = 0; h < c.auditor.units.heads; h++)
        cr_assert(
            hd_shard_has_whole(c.auditor.node->shard, (struct hd_shard_unit){HD_UNIT_HEAD, h}));
    audit_close(&c);
}

RIG_TEST(audit, of_vocabulary_blocks_the_latest_are_kept)
{
    struct audit_rig c;
    struct rig_rows rows;
    float *x;
    audit_open_tiny(&c, NOTHING, *activations);
    x = rig_random(1, c.worker.model->shape.dim, 3);
    rig_rows_of(&rows, 0, 0, 1, x);
    uint64_t own = hd_node_weight_bytes(c.auditor.node), one = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct hd_audit_answer a;
        struct hd_half_step step = audit_half_step(&c, &rows, HD_UNIT_VOCAB, 0);
        struct hd_audit_order o = {.step = step};
        o.units =
            (struct hd_unit_list){hd_shard_owned(c.worker.node->shard, HD_UNIT_VOCAB).list + i, 1};
        cr_assert_eq(hd_audit_add(c.auditor.node, &o), 0);
        audit_finish(&c, &a);
        cr_assert_not(a.cannot);
        one = one ? one : hd_node_weight_bytes(c.auditor.node) - own;
        cr_assert_gt(one, 0);
        cr_assert_eq(hd_node_weight_bytes(c.auditor.node), own + one);
    }
    free(x);
    audit_close(&c);
}

/* ---- What it cannot ----*/

static void expect_cannot(struct audit_rig *c, const char *why)
{
    struct hd_audit_answer a;
    audit_finish(c, &a);
    cr_assert(a.cannot);
    cr_assert_eq(a.digest, 0);
    cr_assert_not_null(strstr(a.why.text, why), "\"%s\" is not in \"%s\"", why, a.why.text);
}

RIG_TEST(audit, a_log_with_a_gap_is_no_basis)
{
    struct audit_rig c;
    struct rig_rows rows;
    audit_open_tiny(&c, NOTHING, *activations);
    c.late = true;
    uint64_t digest = audit_attend(&c, &rows, 0, 0, PROMPT);
    struct hd_half_step step = audit_same_step(&c, &rows, 0);
    cr_assert_eq(audit_now(&c, &step, false).digest, digest, "from position 0 nothing is needed");
    hd_node_drop(c.auditor.node, 0);
    audit_attend(&c, &rows, 0, PROMPT, 1);
    for (int fresh = 0; fresh < 2; fresh++) {
        step = audit_same_step(&c, &rows, 0);
        hd_node_log_inputs(c.auditor.node, 0, &step.rows);
        audit_order(&c, &step, fresh);
        expect_cannot(&c, "the log of sequence 0 lacks rows below position 70");
    }
    audit_close(&c);
}

RIG_TEST(audit, a_sequence_that_is_dropped_is_not_audited)
{
    struct audit_rig c;
    struct rig_rows rows;
    struct hd_kv_report report;
    audit_open_tiny(&c, NOTHING, *activations);
    audit_attend(&c, &rows, 0, 0, PROMPT);
    struct hd_half_step step = audit_same_step(&c, &rows, 0);
    audit_order(&c, &step, false);
    audit_order(&c, &step, true);
    hd_node_drop(c.auditor.node, 1);
    struct hd_audit_answer a;
    audit_finish(&c, &a);
    cr_assert_not(a.cannot, "it was another sequence");
    cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_WORKED, "it is in hand");
    struct hd_sequence_need need = {.sequence = 0, .replayed = true};
    struct hd_assignment again = {.needs = &need, .n_needs = 1};
    cr_assert_eq(rig_own_heads(&c.auditor, 0x1, &again, &report), 0);
    hd_kv_report_deinit(&report);
    expect_cannot(&c, "a sequence was dropped");
    cr_assert_not(hd_audit_pending(c.auditor.node));
    audit_close(&c);
}

RIG_TEST(audit, so_many_wait_and_none_outlives_the_session)
{
    struct audit_rig c;
    struct rig_rows rows;
    struct hd_audit_answer a;
    audit_open_tiny(&c, NOTHING, *activations);
    uint64_t digest = audit_attend(&c, &rows, 0, 0, PROMPT);
    struct hd_half_step step = audit_same_step(&c, &rows, 0);
    for (int i = 0; i < HD_AUDITS_MAX; i++)
        audit_order(&c, &step, i % 2);
    struct audit_units units = audit_owned(&c.worker, HD_UNIT_HEAD);
    struct hd_audit_order o = {.units = {units.list, units.n}, .step = step};
    cr_assert_eq(hd_audit_add(c.auditor.node, &o), HD_E_LIMIT);
    audit_finish(&c, &a);
    cr_assert(a.id == 1 && a.digest == digest, "in the order in which they came");
    cr_assert_eq(hd_audit_add(c.auditor.node, &o), 0);
    hd_node_leave(c.auditor.node);
    cr_assert_not(hd_audit_pending(c.auditor.node));
    cr_assert_eq(hd_audit_slice(c.auditor.node, &a), HD_AUDIT_IDLE);
    audit_close(&c);
}

/* ---- Without a model file: weights come from the leader ----*/

Test(audit, weights_are_asked_for_and_waited_for, .timeout = 60)
{
    struct audit_rig c;
    struct world w;
    struct hd_node *with_file;
    struct rig_rows rows;
    struct hd_error err = {0};
    char path[128];
    world_begin(&w, HD_Q8_0, PLENTY);
    snprintf(path, sizeof path, "%s/model.gguf", w.dir);
    audit_open(&c,
               (struct rig_options){
                   .model = path, .kv = HD_KV_F16, .activations = HD_ACTIVATIONS_Q8, .threads = 2},
               NOTHING);
    with_file = c.auditor.node;
    struct hd_node_options o = with_file->o;
    struct hd_device_options device = with_file->device->o;
    device.model = w.outline;
    cr_assert_eq(hd_cpu_device.create(&o.device, &device, &err), 0);
    o.supply = w.supply;
    cr_assert_eq(hd_node_new(&c.auditor.node, &o), 0);
    cr_assert_eq(hd_node_resize(c.auditor.node, &with_file->sizes, &err), 0);
    uint64_t digest = audit_attend(&c, &rows, 1, 0, PROMPT);
    struct hd_half_step step = audit_same_step(&c, &rows, 1);
    for (int fresh = 0; fresh < 2; fresh++) {
        struct hd_audit_answer a;
        unsigned waits = 0;
        int rc;
        audit_order(&c, &step, fresh);
        while ((rc = hd_audit_slice(c.auditor.node, &a)) != HD_AUDIT_DONE) {
            if (rc == HD_AUDIT_WORKED)
                continue;
            waits++;
            hd_supply_pump(w.supply);
            cr_assert_gt(w.n_asked, 0);
            cr_assert_eq(world_answer(&w, &err), 0, "%s", err.text);
        }
        cr_assert_not(a.cannot, "%s", a.why.text);
        cr_assert_eq(a.digest, digest, "fresh %d", fresh);
        cr_assert(fresh || waits > 0, "nothing was at hand");
    }
    hd_node_free(c.auditor.node);
    hd_device_free(o.device);
    c.auditor.node = with_file;
    audit_close(&c);
    world_end(&w);
}
