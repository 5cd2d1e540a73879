/* pair.c - the same half-steps on the CPU and on another device, byte by byte. */
#include "pair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = PAIR_ROWS, OTHERS = 3 };

void pair_open(struct pair *p, struct rig_options o, const struct hd_device_kind *other)
{
    o.threads = 2;
    rig_open(&p->cpu, &o);
    char path[128];
    rig_model_path(&p->cpu, path, sizeof path);
    o.model = path;
    o.threads = 1;
    o.device = other;
    rig_open(&p->other, &o);
    rig_own_part(&p->cpu, 0, 1);
    rig_own_part(&p->other, 0, 1);
}

void pair_close(struct pair *p)
{
    rig_close(&p->other);
    rig_close(&p->cpu);
}

struct hd_half_output pair_answer(struct rig *r, const struct rig_rows *rows,
                                  enum hd_unit_kind units, uint32_t layer)
{
    struct hd_half_step step = rig_step(r, rows, units, layer);
    struct hd_half_output out;
    struct hd_error err = {0};
    if (units == HD_UNIT_HEAD)
        hd_node_log_inputs(r->node, layer, &step.rows);
    cr_assert_eq(hd_node_step(r->node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    return out;
}

void pair_expect_same_answer(struct pair *p, const struct rig_rows *rows, enum hd_unit_kind units,
                             uint32_t layer)
{
    struct hd_half_output a = pair_answer(&p->cpu, rows, units, layer);
    struct hd_half_output b = pair_answer(&p->other, rows, units, layer);
    cr_assert_eq(hd_shared_len(a.payload), hd_shared_len(b.payload));
    cr_assert_arr_eq(hd_shared_data(a.payload), hd_shared_data(b.payload), hd_shared_len(a.payload),
                     "%s, layer %u", hd_unit_kind_name(units), layer);
    cr_assert_eq(a.n_wide, b.n_wide);
    cr_assert_eq(a.n_bad, b.n_bad);
    for (size_t i = 0; i < a.n_wide; i++)
        cr_assert_eq(a.wide[i], b.wide[i]);
    for (size_t i = 0; i < a.n_bad; i++)
        cr_assert_eq(a.bad[i], b.bad[i]);
    cr_assert_eq(a.flops, b.flops);
    hd_shared_unref(a.payload);
    hd_shared_unref(b.payload);
}

/* Rows of two sequences; the last one is asked again, as in a retry. */
void pair_expect_same(struct rig_options o, const struct hd_device_kind *other)
{
    struct pair p;
    struct rig_rows rows;
    pair_open(&p, o, other);
    size_t dim = p.cpu.model->shape.dim;
    float *x = rig_random(N + OTHERS, dim, 17);
    rig_rows_of(&rows, 0, 0, N, x);
    rows.n += OTHERS;
    for (size_t i = 0; i < OTHERS; i++) {
        rows.sequences[N + i] = 1;
        rows.positions[N + i] = (uint32_t)i;
        rows.shifts[N + i] = i ? RIG_SHIFT : 40; /* one that does not fit 32 bits */
        rows.temperatures[N + i] = 0.7f * (float)i;
        rows.want[N + i] = (uint32_t)(7 * i);
    }
    for (uint32_t l = 0; l < PAIR_LAYERS; l++) {
        pair_expect_same_answer(&p, &rows, HD_UNIT_HEAD, l);
        pair_expect_same_answer(&p, &rows, HD_UNIT_FFN, l);
    }
    struct rig_rows last = rows;
    last.n = 1;
    pair_expect_same_answer(&p, &last, HD_UNIT_HEAD, 0);
    pair_expect_same_answer(&p, &rows, HD_UNIT_VOCAB, 0);
    for (uint32_t h = 0; h < p.cpu.units.heads; h++)
        rig_expect_same_lane(&p.cpu, &p.other, (struct hd_kv_at){0, 1, h}, N);
    free(x);
    pair_close(&p);
}

void pair_expect_same_far(struct rig_options o, const struct hd_device_kind *other)
{
    struct pair p;
    struct rig_rows rows;
    o.positions = 3 * HD_ATTN_SEGMENT;
    pair_open(&p, o, other);
    float *x = rig_random(N, p.cpu.model->shape.dim, 29);
    for (uint32_t at = 0; at < 2 * HD_ATTN_SEGMENT + N; at += N) {
        rig_rows_of(&rows, 0, at, N, x);
        pair_expect_same_answer(&p, &rows, HD_UNIT_HEAD, 0);
    }
    free(x);
    pair_close(&p);
}

/* A head that moves is rebuilt from the log: the same rows, and the same digest of them. */
void pair_expect_same_rebuild(struct rig_options o, const struct hd_device_kind *other)
{
    struct pair p;
    struct rig *both[2] = {&p.cpu, &p.other};
    struct hd_kv_report report[2];
    struct hd_sequence_need need = {.sequence = 0, .base = N};
    struct hd_assignment a = {.needs = &need, .n_needs = 1};
    pair_open(&p, o, other);
    for (int i = 0; i < 2; i++) {
        uint32_t layers = both[i]->model->shape.n_layers;
        cr_assert_eq(rig_own_heads(both[i], 0x1, &(struct hd_assignment){0}, &report[i]), 0);
        hd_kv_report_deinit(&report[i]);
        hd_kv_clear(both[i]->node->kv);
        rig_feed(both[i], (struct rig_feed){0, layers, 0, N});
        cr_assert_eq(rig_own_heads(both[i], 0xf, &a, &report[i]), 0);
    }
    cr_assert_eq(report[0].rows_rebuilt, report[1].rows_rebuilt);
    cr_assert_gt(report[0].rows_rebuilt, 0);
    cr_assert_eq(report[0].n_digests, report[1].n_digests);
    cr_assert_eq(report[0].n_digests, 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(report[0].digests[i].digest, report[1].digests[i].digest);
    for (size_t i = 0; i < 2; i++)
        hd_kv_report_deinit(&report[i]);
    rig_expect_same_lane(&p.cpu, &p.other, (struct hd_kv_at){0, 1, 3}, N);
    pair_close(&p);
}

void pair_expect_same_best(struct rig_options o, const struct hd_device_kind *other)
{
    struct pair p;
    struct rig_rows rows;
    static const float temperatures[] = {0, 1, 0.7f, 1.3f};
    pair_open(&p, o, other);
    float *x = rig_random(N, p.cpu.model->shape.dim, 31);
    rig_rows_of(&rows, 0, 0, N, x);
    for (size_t i = 0; i < N; i++) {
        rows.want[i] = 1 + (uint32_t)i % 64;
        rows.temperatures[i] = temperatures[i % 4];
    }
    memset(x, 0, p.cpu.model->shape.dim * sizeof *x); /* all logits of a row are equal */
    pair_expect_same_answer(&p, &rows, HD_UNIT_VOCAB, 0);
    x[p.cpu.model->shape.dim + 3] = INFINITY;
    pair_expect_same_answer(&p, &rows, HD_UNIT_VOCAB, 0);
    free(x);
    pair_close(&p);
}

void pair_expect_same_bad_rows(const struct hd_device_kind *other)
{
    struct pair p;
    struct rig_rows rows;
    pair_open(&p, (struct rig_options){.shape = "tiny", .type = HD_F32}, other);
    float *x = rig_random(3, p.cpu.model->shape.dim, 4);
    x[p.cpu.model->shape.dim + 5] = INFINITY;
    rig_rows_of(&rows, 0, 0, 3, x);
    pair_expect_same_answer(&p, &rows, HD_UNIT_FFN, 0);
    struct hd_half_output out = pair_answer(&p.other, &rows, HD_UNIT_FFN, 0);
    cr_assert_eq(out.n_bad, 1);
    cr_assert_eq(out.bad[0], 1);
    hd_shared_unref(out.payload);
    free(x);
    pair_close(&p);
}
