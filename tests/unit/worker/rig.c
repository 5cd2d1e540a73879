/* rig.c - a small model, a node, a plan, and steps by hand. */
#include "rig.h"

#include "common/math/q8.h"
#include "common/model/synth.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RIG_ROW_BYTES 1024 /* of a K row, at most */

void rig_model_path(const struct rig *r, char *path, size_t size)
{
    snprintf(path, size, "%s/model.gguf", r->dir);
}

struct criterion_test_params rig_activations(void)
{
    static enum hd_activations both[] = {HD_ACTIVATIONS_F32, HD_ACTIVATIONS_Q8};
    return cr_make_param_array(enum hd_activations, both, 2);
}

struct hd_digests *rig_digests(const struct hd_model *model)
{
    static const _Atomic bool go_on;
    struct hd_digests *d;
    struct hd_error err = {0};
    cr_assert_eq(hd_digests_new(&d, model), 0);
    cr_assert_eq(hd_digests_make(d, 2, &go_on, &err), 0, "%s", err.text);
    return d;
}

void rig_open(struct rig *r, const struct rig_options *o)
{
    struct hd_error err = {0};
    char path[128];
    *r = (struct rig){.log = {.level = HD_LOG_ERROR, .fd = 2, .who = "rig"}};
    strcpy(r->dir, "/tmp/hydac-rig-XXXXXX");
    cr_assert_not_null(mkdtemp(r->dir));
    rig_model_path(r, path, sizeof path);
    struct hd_synth_options synth = {.shape = o->shape, .type = o->type, .seed = 7, .out = path};
    if (!o->model)
        cr_assert_eq(hd_synth_write(&synth, &err), 0, "%s", err.text);
    cr_assert_eq(hd_model_open(&r->model, o->model ? o->model : path, &err), 0, "%s", err.text);
    hd_model_units(r->model, &r->units);
    struct hd_team_options team = {.threads = o->threads, .spin_us = 0, .name = "rig"};
    cr_assert_eq(hd_team_new(&r->team, &team), 0);
    struct hd_device_options device = {
        .model = r->model, .threads = o->threads, .isa = hd_isa_best(), .team = r->team};
    const struct hd_device_kind *kind = o->device ? o->device : &hd_cpu_device;
    r->kernels = hd_kernels_get(device.isa);
    cr_assert_eq(kind->create(&r->device, &device, &err), 0, "%s", err.text);
    struct hd_node_options node = {
        .device = r->device,
        .log = &r->log,
        .state_dir = r->dir,
        .log_limit = UINT64_C(1) << 30,
        .keep_log = true,
    };
    cr_assert_eq(hd_node_new(&r->node, &node), 0);
    struct hd_node_sizes sizes = {.kv_type = o->kv,
                                  .activations = o->activations,
                                  .wire = o->wire,
                                  .max_rows = RIG_ROWS,
                                  .max_positions = o->positions ? o->positions : RIG_POSITIONS,
                                  .max_sequences = RIG_SEQUENCES};
    cr_assert_eq(hd_node_resize(r->node, &sizes, &err), 0, "%s", err.text);
}

void rig_close(struct rig *r)
{
    char path[128];
    free(r->encoded);
    hd_node_free(r->node);
    hd_device_free(r->device);
    hd_team_free(r->team);
    hd_model_close(r->model);
    rig_model_path(r, path, sizeof path);
    unlink(path);
    cr_assert_eq(rmdir(r->dir), 0, "the input log left a file behind");
}

static struct hd_unit_list every_nth(uint32_t count, uint32_t part, uint32_t of)
{
    uint32_t *list = malloc((count + 1) * sizeof *list);
    size_t n = 0;
    for (uint32_t u = part; u < count; u += of)
        list[n++] = u;
    return (struct hd_unit_list){list, n};
}

static int assign(struct rig *r, struct hd_assignment *a, struct hd_kv_report *report)
{
    struct hd_error err = {0};
    int rc = hd_node_assign(r->node, a, report, &err);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        free((void *)a->want[k].list);
    return rc;
}

void rig_own_part(struct rig *r, uint32_t part, uint32_t of)
{
    struct hd_kv_report report;
    struct hd_assignment a = {.want = {every_nth(r->units.heads, part, of),
                                       every_nth(r->units.ffn_blocks, part, of),
                                       every_nth(r->units.vocab_blocks, part, of)}};
    cr_assert_eq(assign(r, &a, &report), 0);
    hd_kv_report_deinit(&report);
}

int rig_own_heads(struct rig *r, uint64_t heads, const struct hd_assignment *needs,
                  struct hd_kv_report *report)
{
    uint32_t *list = malloc(64 * sizeof *list);
    size_t n = 0;
    for (uint32_t h = 0; h < 64; h++)
        if (heads >> h & 1)
            list[n++] = h;
    struct hd_assignment a = *needs;
    a.want[HD_UNIT_HEAD] = (struct hd_unit_list){list, n};
    a.want[HD_UNIT_FFN] = every_nth(r->units.ffn_blocks, 0, 1);
    a.want[HD_UNIT_VOCAB] = every_nth(r->units.vocab_blocks, 0, 1);
    return assign(r, &a, report);
}

float *rig_random(size_t n, size_t dim, uint64_t seed)
{
    float *x = malloc(n * dim * sizeof *x);
    uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < n * dim; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((double)(int32_t)(s >> 32) / 2147483648.0 * 1.7);
    }
    return x;
}

void rig_rows_of(struct rig_rows *rows, uint32_t sequence, uint32_t position, size_t n,
                 const float *x)
{
    rows->n = n;
    rows->x = x;
    for (size_t i = 0; i < n; i++) {
        rows->sequences[i] = sequence;
        rows->positions[i] = position + (uint32_t)i;
        rows->shifts[i] = RIG_SHIFT;
        rows->want[i] = 0;
        rows->temperatures[i] = 0;
    }
}

uint8_t *rig_encode(const struct rig *r, const float *x, size_t n)
{
    size_t dim = r->model->shape.dim, bytes = hd_node_row_bytes(r->node);
    uint8_t *rows = malloc(n * bytes);
    for (size_t i = 0; i < n; i++) {
        if (r->node->sizes.activations == HD_ACTIVATIONS_Q8)
            hd_q8_encode(r->kernels, x + i * dim, dim, rows + i * bytes);
        else
            memcpy(rows + i * bytes, x + i * dim, dim * sizeof *x);
        struct hd_row_tail tail = {0.25f + 0.125f * (float)(i % 5), 1.5f, i % 3 == 1, 0};
        if (hd_model_has_tail(r->model))
            memcpy(rows + (i + 1) * bytes - sizeof tail, &tail, sizeof tail);
    }
    return rows;
}

void rig_round(const struct rig *r, float *x, size_t n)
{
    size_t dim = r->model->shape.dim, bytes = hd_node_row_bytes(r->node);
    uint8_t *rows = rig_encode(r, x, n);
    for (size_t i = 0; i < n && r->node->sizes.activations == HD_ACTIVATIONS_Q8; i++)
        hd_q8_decode(rows + i * bytes, dim, x + i * dim);
    free(rows);
}

/* n_used of the experts, ascending, and a weight for each. */
static void pick_experts(struct rig *r, const struct rig_rows *rows)
{
    uint32_t experts = r->model->shape.n_experts, used = r->model->shape.n_used, n = 0;
    cr_assert_leq(used, RIG_USED);
    for (size_t i = 0; i < rows->n; i++) {
        uint64_t s = rows->sequences[i] * UINT64_C(1000) + rows->positions[i];
        uint32_t left = used;
        for (uint32_t e = 0; e < experts; e++) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            if ((s >> 33) % (experts - e) >= left)
                continue;
            left--;
            r->experts[n] = e;
            r->weights[n++] = (float)(s >> 40 & 0xffff) / 65536;
        }
    }
}

struct hd_half_step rig_step(struct rig *r, const struct rig_rows *rows, enum hd_unit_kind units,
                             uint32_t layer)
{
    free(r->encoded);
    r->encoded = rig_encode(r, rows->x, rows->n);
    bool experts = units == HD_UNIT_FFN && r->model->shape.n_used;
    if (experts)
        pick_experts(r, rows);
    return (struct hd_half_step){
        .units = units,
        .layer = layer,
        .rows = {.x = r->encoded,
                 .n = rows->n,
                 .sequences = rows->sequences,
                 .positions = rows->positions,
                 .shifts = rows->shifts,
                 .want = rows->want,
                 .temperatures = rows->temperatures,
                 .experts = experts ? r->experts : NULL,
                 .weights = experts ? r->weights : NULL},
    };
}

void rig_decode(const struct hd_half_output *out, size_t rows, size_t dim, int64_t *sums)
{
    const uint8_t *p = hd_shared_data(out->payload);
    size_t wide = 0;
    cr_assert_eq(hd_shared_len(out->payload), (rows + out->n_wide) * dim * 4);
    for (size_t i = 0; i < rows; i++) {
        bool is_wide = wide < out->n_wide && out->wide[wide] == i;
        wide += is_wide;
        for (size_t d = 0; d < dim; d++) {
            int32_t narrow;
            if (is_wide) {
                memcpy(&sums[i * dim + d], p + d * 8, 8);
            } else {
                memcpy(&narrow, p + d * 4, 4);
                sums[i * dim + d] = narrow;
            }
        }
        p += dim * (is_wide ? 8 : 4);
    }
}

void rig_sums(struct rig *r, enum hd_unit_kind units, uint32_t layer, const struct rig_rows *rows,
              int64_t *sums)
{
    struct hd_half_step step = rig_step(r, rows, units, layer);
    struct hd_half_output out;
    struct hd_error err = {0};
    if (units == HD_UNIT_HEAD)
        hd_node_log_inputs(r->node, layer, &step.rows);
    cr_assert_eq(hd_node_step(r->node, &step, &out, &err), HD_STEP_DONE, "%s", err.text);
    cr_assert_eq(out.n_bad, 0);
    rig_decode(&out, rows->n, r->model->shape.dim, sums);
    hd_shared_unref(out.payload);
}

int rig_slices(struct rig *r)
{
    struct hd_error err = {0};
    int rc;
    do {
        rc = hd_hold_slice(r->node, &err);
        cr_assert_geq(rc, 0, "%s", err.text);
    } while (rc == HD_HOLD_WORKED);
    return rc;
}

void rig_feed(struct rig *r, struct rig_feed feed)
{
    size_t dim = r->model->shape.dim;
    struct rig_rows rows;
    for (uint32_t l = 0; l < feed.layers; l++) {
        float *x = rig_random(RIG_POSITIONS, dim, 100 * (feed.sequence + 1) + l);
        rig_rows_of(&rows, feed.sequence, feed.first, feed.end - feed.first, x + feed.first * dim);
        struct hd_half_step step = rig_step(r, &rows, HD_UNIT_HEAD, l);
        struct hd_half_output out = {0};
        struct hd_error err;
        hd_node_log_inputs(r->node, l, &step.rows);
        cr_assert_geq(hd_node_step(r->node, &step, &out, &err), 0, "%s", err.text);
        hd_hold_follow(r->node, l, &step.rows);
        hd_shared_unref(out.payload);
        free(x);
    }
}

void rig_expect_same_lane(const struct rig *a, const struct rig *b, struct hd_kv_at at,
                          uint32_t positions)
{
    size_t row = hd_kv_row_bytes(a->node->kv);
    cr_assert_eq(hd_kv_valid(a->node->kv, at), positions);
    cr_assert_eq(hd_kv_valid(b->node->kv, at), positions);
    uint8_t x[2 * RIG_ROW_BYTES], y[2 * RIG_ROW_BYTES];
    cr_assert_leq(row, RIG_ROW_BYTES);
    for (uint32_t p = 0; p < positions; p++) {
        hd_kv_read(a->node->kv, at, p, x, x + row);
        hd_kv_read(b->node->kv, at, p, y, y + row);
        cr_assert_arr_eq(x, y, 2 * row, "K and V of layer %u, head %u, position %u", at.layer,
                         at.head, p);
    }
}
