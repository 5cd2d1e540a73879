/* node.c - the stores are made together, grow together and are dropped together. */
#include "worker/share/node.h"

#include "worker/share/hold.h"
#include "worker/trust/audit.h"
#include "worker/trust/scrub.h"

#include <stdlib.h>

int hd_node_new_shard(const struct hd_node *n, struct hd_shard **out)
{
    int rc = hd_shard_new(out, n->o.model, n->o.team);
    if (rc == 0)
        hd_shard_set_supply(*out, n->o.supply);
    return rc;
}

int hd_node_new_kv(const struct hd_node *n, struct hd_kv **out)
{
    const struct hd_model_shape *m = &n->o.model->shape;
    return hd_kv_new(out, &(struct hd_kv_options){.layers = m->n_layers,
                                                  .heads = m->n_kv_heads,
                                                  .head_dim = m->head_dim,
                                                  .sequences = n->sizes.max_sequences,
                                                  .max_positions = n->sizes.max_positions,
                                                  .type = n->sizes.kv_type});
}

int hd_node_new(struct hd_node **out, const struct hd_node_options *o)
{
    struct hd_node *n = calloc(1, sizeof *n);
    if (!n)
        return HD_E_NOMEM;
    n->o = *o;
    int rc = hd_node_new_shard(n, &n->shard);
    if (rc == 0)
        rc = hd_hold_new(&n->hold);
    if (rc == 0)
        rc = hd_audit_new(&n->audit, &o->model->shape);
    if (rc == 0)
        rc = hd_scrub_new(&n->scrub);
    if (rc < 0) {
        hd_node_free(n);
        return rc;
    }
    *out = n;
    return 0;
}

static void free_stores(struct hd_node *n)
{
    hd_compute_free(n->compute);
    hd_input_log_free(n->input_log);
    hd_kv_free(n->kv);
    n->compute = NULL;
    n->input_log = NULL;
    n->kv = NULL;
}

void hd_node_free(struct hd_node *n)
{
    if (!n)
        return;
    free_stores(n);
    hd_audit_free(n->audit);
    hd_hold_free(n->hold);
    hd_scrub_free(n->scrub);
    hd_shard_free(n->shard);
    free(n);
}

static int make_stores(struct hd_node *n)
{
    const struct hd_model_shape *m = &n->o.model->shape;
    int rc = hd_node_new_kv(n, &n->kv);
    if (rc < 0)
        return rc;
    rc = hd_input_log_new(&n->input_log,
                          &(struct hd_input_log_options){.dir = n->o.state_dir,
                                                         .layers = m->n_layers,
                                                         .row_bytes = hd_node_row_bytes(n),
                                                         .sequences = n->sizes.max_sequences,
                                                         .max_positions = n->sizes.max_positions,
                                                         .limit = n->o.log_limit});
    if (rc < 0)
        return rc;
    return hd_compute_new(&n->compute,
                          &(struct hd_compute_options){.model = n->o.model,
                                                       .kernels = n->o.kernels,
                                                       .team = n->o.team,
                                                       .activations = n->sizes.activations,
                                                       .wire = n->sizes.wire,
                                                       .max_rows = n->sizes.max_rows});
}

int hd_node_resize(struct hd_node *n, const struct hd_node_sizes *sizes, struct hd_error *err)
{
    hd_audit_leave(n);
    free_stores(n);
    hd_hold_leave(n);
    n->assigned = false;
    n->holes = n->lost = 0;
    n->sizes = *sizes;
    int rc = make_stores(n);
    if (rc < 0) {
        free_stores(n);
        return hd_fail(err, rc, "out of memory for steps of %u rows", sizes->max_rows);
    }
    return 0;
}

void hd_node_forget(struct hd_node *n)
{
    if (!n->kv)
        return;
    hd_audit_drop(n, UINT64_MAX);
    hd_kv_clear(n->kv);
    hd_input_log_clear(n->input_log);
    n->holes = n->lost = 0;
}

void hd_node_leave(struct hd_node *n)
{
    hd_node_forget(n);
    if (n->kv) /* whom could it be told? */
        hd_kv_free_dropped(n->kv);
    hd_audit_leave(n);
    hd_hold_leave(n);
    n->assigned = false;
}

void hd_node_drop(struct hd_node *n, uint32_t sequence)
{
    hd_audit_drop(n, UINT64_C(1) << sequence);
    hd_kv_drop_sequence(n->kv, sequence);
    hd_input_log_drop(n->input_log, sequence);
    n->holes &= ~(UINT64_C(1) << sequence);
    n->lost &= ~(UINT64_C(1) << sequence);
}

uint64_t hd_node_weight_bytes(const struct hd_node *n)
{
    return hd_shard_bytes(n->shard) + hd_audit_weight_bytes(n);
}

uint64_t hd_node_kv_bytes(const struct hd_node *n)
{
    return (n->kv ? hd_kv_bytes(n->kv) : 0) + hd_audit_kv_bytes(n);
}

int hd_node_log_row(struct hd_node *n, struct hd_log_at at, const void *row)
{
    struct hd_error err;
    int rc = hd_input_log_append(n->input_log, at, row, &err);
    if (rc == HD_LOG_GAP && err.code != 0)
        hd_warn(n->o.log, "input_log_gap",
                "sequence=%u position=%u reason=\"%s\" effect=\"a head that moves here costs a "
                "replay of this sequence\"",
                at.sequence, at.position, err.text);
    return rc;
}

uint64_t hd_node_log_inputs(struct hd_node *n, uint32_t layer, const struct hd_rows *rows)
{
    const uint8_t *x = rows->x;
    size_t bytes = hd_node_row_bytes(n);
    uint64_t lost = 0;
    if (!n->o.keep_log)
        return 0;
    for (size_t i = 0; i < rows->n; i++) {
        struct hd_log_at at = {rows->sequences[i], layer, rows->positions[i]};
        if (hd_node_log_row(n, at, x + i * bytes) == HD_LOG_GAP)
            lost |= UINT64_C(1) << at.sequence;
    }
    lost &= ~n->holes;
    for (uint64_t left = lost; left; left &= left - 1)
        hd_node_log_hole(n, (uint32_t)__builtin_ctzll(left));
    return lost;
}

void hd_node_log_hole(struct hd_node *n, uint32_t sequence)
{
    n->holes |= UINT64_C(1) << sequence;
    hd_input_log_give_up(n->input_log, sequence);
}

void hd_node_log_again(struct hd_node *n, uint32_t sequence)
{
    n->holes &= ~(UINT64_C(1) << sequence);
    hd_input_log_try_again(n->input_log, sequence);
}

static bool is_lost(const struct hd_node *n, const struct hd_half_step *step)
{
    for (size_t i = 0; n->lost && i < step->rows.n; i++)
        if (n->lost >> step->rows.sequences[i] & 1)
            return step->units == HD_UNIT_HEAD;
    return false;
}

int hd_node_step(struct hd_node *n, const struct hd_half_step *step, struct hd_half_output *out,
                 struct hd_error *err)
{
    struct hd_half_task work = {
        .from = hd_node_stores(n),
        .kind = step->units,
        .layer = step->layer,
        .units = hd_shard_owned(n->shard, step->units),
        .rows = &step->rows,
    };
    if (!n->assigned || work.units.n == 0 || is_lost(n, step))
        return HD_STEP_NOT_OURS;
    return hd_compute_half(n->compute, &work, out, err);
}
