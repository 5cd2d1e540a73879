/* damage.c - one sentence in the log and one report for each finding. */
#include "worker/share/damage.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const kinds[HD_DAMAGE_KINDS] = {"weights", "kv", "log", "file"};

uint64_t hd_damage_since(const struct hd_node *n, uint64_t seen_us, uint64_t now_us)
{
    return now_us - (seen_us ? seen_us : n->whole_us);
}

void hd_damage_tell(struct hd_node *n, const struct hd_finding *f)
{
    if (n->device->ops->lost(n->device, NULL) < 0)
        return; /* it was not read at all */
    n->damaged = true;
    hd_warn(n->o.log, "memory_damaged",
            "kind=%s what=\"%s\" since_us=%" PRIu64 " repaired=%s replay=%s", kinds[f->kind],
            f->text, f->since_us, f->repaired ? "true" : "false", f->replay ? "true" : "false");
    if (n->o.found)
        n->o.found(n->o.found_arg, f);
}

struct hd_finding hd_damage_of_piece(const struct hd_node *n, struct hd_shard_unit u,
                                     uint32_t layer, uint64_t now_us)
{
    const struct hd_piece_seal *seal = hd_shard_seal_of(n->shard, u, layer);
    struct hd_finding f = {.kind = HD_DAMAGE_WEIGHTS,
                           .unit = u,
                           .layer = layer,
                           .since_us = hd_damage_since(n, seal->seen_us, now_us)};
    snprintf(f.text, sizeof f.text, "packed weights of %s %u, layer %u", hd_unit_kind_name(u.kind),
             u.unit, layer);
    return f;
}

void hd_damage_look_at_piece(struct hd_node *n, struct hd_shard_unit u, uint32_t layer,
                             uint64_t now_us)
{
    struct hd_piece_walk walk = {0};
    if (n->sizes.scrub_s == 0 || !hd_shard_has(n->shard, u, layer))
        return;
    while (hd_shard_walk(n->shard, u, layer, &walk) > 0)
        ;
    if (walk.digest == hd_shard_seal_of(n->shard, u, layer)->digest)
        return;
    struct hd_finding f = hd_damage_of_piece(n, u, layer, now_us);
    hd_damage_tell(n, &f);
}

void hd_damage_look_at_unit(struct hd_node *n, struct hd_shard_unit u, uint64_t now_us)
{
    uint32_t layers = u.kind == HD_UNIT_VOCAB ? 1 : n->model->shape.n_layers;
    for (uint32_t l = 0; l < layers; l++)
        hd_damage_look_at_piece(n, u, l, now_us);
}

void hd_damage_log_row(struct hd_node *n, struct hd_log_at at, uint64_t now_us)
{
    struct hd_finding f = {.kind = HD_DAMAGE_LOG,
                           .layer = at.layer,
                           .sequence = at.sequence,
                           .since_us = hd_damage_since(n, 0, now_us)};
    snprintf(f.text, sizeof f.text, "log row of position %u, sequence %u, layer %u", at.position,
             at.sequence, at.layer);
    hd_input_log_cut(n->input_log, at);
    hd_damage_tell(n, &f);
}
