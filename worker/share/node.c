/* node.c - the stores are made together, grow together and are dropped together. */
#include "worker/share/node.h"

#include <stdlib.h>

int hd_node_new_shard(const struct hd_node *n, struct hd_shard **out)
{
    int rc = hd_shard_new(out, n->device);
    if (rc == 0)
        hd_shard_set_supply(*out, n->o.supply);
    return rc;
}

void hd_node_unload(struct hd_node *n)
{
    struct hd_shard *empty;
    if (hd_node_new_shard(n, &empty) < 0)
        return;
    hd_shard_tell_loading(empty, n->o.loading);
    hd_shard_free(n->shard);
    n->shard = empty;
}

/* What is shared is so there, too. */
int hd_node_new_kv(const struct hd_node *n, struct hd_kv **out)
{
    int rc = hd_kv_new(out, n->device);
    for (uint32_t s = 0; rc == 0 && n->kv && s < n->sizes.max_sequences; s++)
        hd_kv_share(*out, s, hd_kv_shared(n->kv, s));
    return rc;
}

int hd_node_open(struct hd_node **out, const struct hd_node_options *o)
{
    struct hd_node *n = calloc(1, sizeof *n);
    if (!n)
        return HD_E_NOMEM;
    n->o = *o;
    n->device = o->device;
    n->model = n->device->o.model;
    n->team = n->device->o.team;
    int rc = hd_node_new_shard(n, &n->shard);
    if (rc < 0) {
        free(n);
        return rc;
    }
    hd_shard_tell_loading(n->shard, o->loading);
    *out = n;
    return 0;
}

static void free_stores(struct hd_node *n)
{
    hd_input_log_free(n->input_log);
    hd_kv_free(n->kv);
    for (uint32_t s = 0; n->known && s < n->sizes.max_sequences; s++)
        hd_known_free(&n->known[s]);
    free(n->known);
    free(n->fresh);
    n->input_log = NULL;
    n->kv = NULL;
    n->known = NULL;
    n->fresh = NULL;
}

void hd_node_close(struct hd_node *n)
{
    if (!n)
        return;
    free_stores(n);
    hd_shard_free(n->shard);
    free(n);
}

static int resize_device(struct hd_node *n)
{
    return n->device->ops->resize(
        n->device, &(struct hd_device_sizes){.kv_type = n->sizes.kv_type,
                                             .activations = n->sizes.activations,
                                             .wire = n->sizes.wire,
                                             .max_rows = n->sizes.max_rows,
                                             .max_positions = n->sizes.max_positions,
                                             .max_sequences = n->sizes.max_sequences});
}

static int make_stores(struct hd_node *n)
{
    const struct hd_model_shape *m = &n->model->shape;
    int rc = resize_device(n);
    if (rc == 0)
        rc = hd_input_log_new(
            &n->input_log, &(struct hd_input_log_options){.dir = n->o.state_dir,
                                                          .layers = m->n_layers,
                                                          .row_bytes = hd_node_row_bytes(n),
                                                          .sequences = n->sizes.max_sequences,
                                                          .max_positions = n->sizes.max_positions,
                                                          .limit = n->o.log_limit});
    n->fresh = malloc((size_t)m->n_kv_heads * n->sizes.max_rows);
    n->known = calloc(n->sizes.max_sequences, sizeof *n->known);
    if (rc == 0 && (!n->fresh || !n->known))
        rc = HD_E_NOMEM;
    return rc < 0 ? rc : hd_node_new_kv(n, &n->kv);
}

int hd_node_make_stores(struct hd_node *n, const struct hd_node_sizes *sizes)
{
    free_stores(n);
    n->assigned = n->goes_on = false;
    n->holes = n->lost = 0;
    n->sizes = *sizes;
    int rc = make_stores(n);
    if (rc < 0)
        free_stores(n);
    return rc;
}

void hd_node_clear(struct hd_node *n)
{
    if (!n->kv)
        return;
    hd_kv_clear(n->kv);
    hd_input_log_clear(n->input_log);
    for (uint32_t s = 0; s < n->sizes.max_sequences; s++)
        hd_known_clear(&n->known[s], 0);
    n->holes = n->lost = 0;
}

static void clear_own(struct hd_node *n, uint32_t sequence)
{
    hd_kv_drop_sequence(n->kv, sequence);
    hd_input_log_drop(n->input_log, sequence);
    hd_known_clear(&n->known[sequence], 0);
    n->holes &= ~(UINT64_C(1) << sequence);
    n->lost &= ~(UINT64_C(1) << sequence);
}

void hd_node_clear_sequence(struct hd_node *n, uint32_t sequence)
{
    uint64_t all = UINT64_C(1) << sequence;
    for (uint32_t s = 0; s < n->sizes.max_sequences; s++)
        if (hd_kv_lineage(n->kv, s) >> sequence & 1)
            all |= UINT64_C(1) << s;
    for (; all; all &= all - 1)
        clear_own(n, (uint32_t)__builtin_ctzll(all));
}

void hd_node_share(struct hd_node *n, uint32_t sequence, struct hd_kv_share with)
{
    struct hd_kv_share has = hd_kv_shared(n->kv, sequence);
    if (has.shared == with.shared && (with.shared == 0 || has.parent == with.parent))
        return;
    clear_own(n, sequence);
    hd_kv_share(n->kv, sequence, with);
    hd_input_log_start_at(n->input_log, sequence, with.shared);
    hd_known_clear(&n->known[sequence], with.shared);
}

void hd_node_know(struct hd_node *n, const struct hd_rows *rows, const uint32_t *tokens)
{
    for (size_t i = 0; i < rows->n; i++)
        hd_known_add(&n->known[rows->sequences[i]], rows->positions[i], (int32_t)tokens[i]);
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
