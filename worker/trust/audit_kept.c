/* audit_kept.c - weights and K/V rows that were loaded for audits and stay for the next ones. */
#include "common/util/clock.h"
#include "worker/share/damage.h"
#include "worker/trust/audit_impl.h"

#include <string.h>

static bool has_unit(struct hd_unit_list l, uint32_t unit)
{
    for (size_t i = 0; i < l.n; i++)
        if (l.list[i] == unit)
            return true;
    return false;
}

bool hd_audit_is_ours(const struct hd_node *n, struct hd_shard_unit u)
{
    return hd_shard_keeps(n->shard, u);
}

/* A unit that has pieces in no layer any more is forgotten whole. Of a bare head the weights stay.
 */
static void release_piece(struct hd_node *n, struct hd_shard_unit u, uint32_t layer)
{
    if (hd_shard_holds(n->shard, u)) {
        hd_kv_drop_lanes(n->kv, layer, u.unit);
        return;
    }
    hd_damage_look_at_piece(n, u, layer, hd_now_us()); /* it may be left over from what was owned */
    hd_shard_release_piece(n->shard, u, layer);
    if (u.kind == HD_UNIT_HEAD)
        hd_kv_drop_lanes(n->kv, layer, u.unit);
    uint32_t layers = u.kind == HD_UNIT_VOCAB ? 1 : n->model->shape.n_layers;
    for (uint32_t l = 0; l < layers; l++)
        if (hd_shard_has(n->shard, u, l))
            return;
    hd_shard_release(n->shard, u);
}

/* Gives up what is not ours nor among `but`. */
static void evict(struct hd_node *n, enum hd_unit_kind kind, uint32_t layer,
                  struct hd_unit_list but)
{
    const struct hd_units *all = hd_shard_units(n->shard);
    const uint32_t counts[] = {all->heads, all->ffn_blocks, all->vocab_blocks};
    for (uint32_t i = 0; i < counts[kind]; i++) {
        struct hd_shard_unit u = {kind, i};
        if (hd_shard_has(n->shard, u, layer) && !hd_audit_is_ours(n, u) && !has_unit(but, i))
            release_piece(n, u, layer);
    }
}

/* The place of this layer among what is kept; there may have to be made room for it. */
static struct kept *place_of(struct hd_node *n, enum hd_unit_kind kind, uint32_t layer)
{
    struct hd_audit *a = n->audit;
    struct kept *oldest = a->kept;
    for (size_t i = 0; i < a->n_kept; i++) {
        struct kept *k = &a->kept[i];
        if (k->kind == kind && k->layer == layer)
            return k;
        if (k->used < oldest->used)
            oldest = k;
    }
    if (a->n_kept < HD_AUDIT_KEPT)
        oldest = &a->kept[a->n_kept++];
    else
        evict(n, oldest->kind, oldest->layer, (struct hd_unit_list){0});
    *oldest = (struct kept){.kind = kind, .layer = layer};
    return oldest;
}

void hd_audit_keep(struct hd_node *n, const struct order *order)
{
    struct hd_audit *a = n->audit;
    const struct hd_half_step *step = &order->o.step;
    bool needs_others = false;
    for (size_t i = 0; i < order->o.units.n; i++) {
        struct hd_shard_unit u = {step->units, order->o.units.list[i]};
        if (hd_audit_is_ours(n, u))
            continue;
        needs_others = true;
        if (u.kind == HD_UNIT_HEAD)
            a->lanes[step->layer * n->model->shape.n_kv_heads + u.unit] = 1;
    }
    a->keeps = a->keeps || needs_others;
    if (!needs_others || n->sizes.audit_every == 1) /* then every layer comes again soon */
        return;
    place_of(n, step->units, step->layer)->used = ++a->n_used;
    if (step->units == HD_UNIT_VOCAB) /* blocks are drawn at random: none comes again soon */
        evict(n, HD_UNIT_VOCAB, 0, order->o.units);
}

void hd_audit_reassign(struct hd_node *n)
{
    struct hd_audit *a = n->audit;
    uint32_t heads = n->model->shape.n_kv_heads;
    for (size_t i = 0; i < a->n_lanes; i++) {
        if (a->lanes[i])
            hd_kv_drop_lanes(n->kv, (uint32_t)(i / heads), (uint32_t)(i % heads));
        a->lanes[i] = 0;
    }
}

void hd_audit_keep_nothing(struct hd_node *n)
{
    struct hd_shard_unit u;
    struct hd_audit *a = n->audit;
    if (n->kv)
        hd_audit_reassign(n); /* also of bare heads, which are not surplus */
    while (a->keeps && hd_shard_surplus(n->shard, &u)) {
        hd_damage_look_at_unit(n, u, hd_now_us());
        hd_shard_release(n->shard, u);
        if (n->kv && u.kind == HD_UNIT_HEAD)
            hd_kv_drop_head(n->kv, u.unit);
    }
    a->keeps = false;
    a->n_kept = 0;
    memset(a->lanes, 0, a->n_lanes);
}
