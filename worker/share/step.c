/* step.c - half-steps: which rows are new, room for them, the device's part, and what is valid
 * behind it. */
#include "worker/share/node.h"

struct marking {
    struct hd_kv *kv;
    const struct hd_rows *rows;
    bool uncounted;
};

/* Marks the rows of one head that must be stored, reserves their blocks and counts them. */
static int prepare_head(const struct marking *m, struct hd_kv_at at, uint8_t *fresh,
                        struct hd_error *err)
{
    struct hd_kv_counters *count = hd_kv_counters(m->kv, at.layer, at.head);
    uint32_t next[HD_MAX_SEQUENCES]; /* the position that continues a sequence */
    uint64_t seen = 0;
    for (size_t i = 0; i < m->rows->n; i++) {
        uint32_t p = m->rows->positions[i];
        at.sequence = m->rows->sequences[i];
        if (!(seen >> at.sequence & 1)) {
            next[at.sequence] = hd_kv_valid(m->kv, at);
            if (!hd_kv_shared_valid(m->kv, at))
                return hd_fail(err, HD_E_PROTO,
                               "layer %u head %u lacks rows that sequence %u shares", at.layer,
                               at.head, at.sequence);
        }
        seen |= UINT64_C(1) << at.sequence;
        fresh[i] = p >= next[at.sequence];
        if (p > next[at.sequence])
            return hd_fail(err, HD_E_PROTO,
                           "position %u of sequence %u comes where %u of layer %u head %u is next",
                           p, at.sequence, next[at.sequence], at.layer, at.head);
        if (fresh[i] && hd_kv_reserve(m->kv, at, p + 1) < 0)
            return hd_fail(err, HD_E_NOMEM, "out of memory for K/V of sequence %u", at.sequence);
        next[at.sequence] += fresh[i];
        count->misses += fresh[i] && !m->uncounted;
        count->hits += !fresh[i] && !m->uncounted;
    }
    return 0;
}

static int prepare(struct hd_node *n, const struct hd_half_step *step,
                   const struct hd_half_order *order, struct hd_error *err)
{
    struct marking m = {order->from.kv, &step->rows, order->uncounted};
    int rc = 0;
    for (size_t i = 0; i < order->units.n && rc == 0; i++) {
        struct hd_kv_at at = {.layer = step->layer, .head = order->units.list[i]};
        rc = prepare_head(&m, at, n->fresh + i * step->rows.n, err);
    }
    return rc;
}

static void commit(const struct hd_half_step *step, const struct hd_half_order *order)
{
    for (size_t u = 0; u < order->units.n; u++)
        for (size_t i = 0; i < step->rows.n; i++) {
            struct hd_kv_at at = {step->rows.sequences[i], step->layer, order->units.list[u]};
            hd_kv_commit(order->from.kv, at, step->rows.positions[i] + 1);
        }
}

int hd_half(struct hd_node *n, const struct hd_half_step *step, const struct hd_half_order *order,
            struct hd_half_output *out, struct hd_error *err)
{
    bool heads = step->units == HD_UNIT_HEAD;
    struct hd_half_task task = {
        .from = {hd_shard_memory(order->from.shard), hd_kv_memory(order->from.kv)},
        .kind = step->units,
        .layer = step->layer,
        .units = order->units,
        .rows = &step->rows,
        .fresh = n->fresh,
    };
    *out = (struct hd_half_output){0};
    int rc = heads ? prepare(n, step, order, err) : 0;
    if (rc == 0)
        rc = n->device->ops->half(n->device, &task, out, err);
    if (rc == 0 && heads)
        commit(step, order);
    return rc;
}

static bool is_lost(const struct hd_node *n, const struct hd_half_step *step)
{
    for (size_t i = 0; n->lost && i < step->rows.n; i++)
        if (n->lost & hd_kv_lineage(n->kv, step->rows.sequences[i]))
            return step->units == HD_UNIT_HEAD;
    return false;
}

int hd_node_step(struct hd_node *n, const struct hd_half_step *step, struct hd_half_output *out,
                 struct hd_error *err)
{
    struct hd_half_order order = {
        .from = hd_node_stores(n),
        .units = hd_shard_owned(n->shard, step->units),
    };
    if (!n->assigned || order.units.n == 0 || is_lost(n, step))
        return HD_STEP_NOT_OURS;
    return hd_half(n, step, &order, out, err);
}
