/* scrub_items.c - the walk over all that is looked at: one item, or a run of a large one, a call.
 */
#include "worker/trust/scrub_impl.h"

#include <stdio.h>
#include <string.h>

#define SKIPPED 16 /* what passing over an item costs, in bytes that could have been looked at */

static void next_phase(struct scrub_cursor *c)
{
    *c = (struct scrub_cursor){.phase = c->phase + 1};
}

/* ---- The lists of units ----*/

static size_t look_at_tables(struct hd_node *n, uint64_t now_us, int *rc)
{
    struct hd_scrub *s = n->scrub;
    next_phase(&s->cursor);
    if (hd_shard_tables_whole(n->shard))
        return SKIPPED;
    struct hd_finding f = {.kind = HD_DAMAGE_WEIGHTS,
                           .since_us = hd_damage_since(n, 0, now_us),
                           .text = "the list of units"};
    hd_damage_tell(n, &f);
    *rc = HD_E_STATE;
    return SKIPPED;
}

/* ---- Angles ----*/

static size_t look_at_angles(struct hd_node *n, uint64_t now_us, int *rc)
{
    struct scrub_cursor *c = &n->scrub->cursor;
    uint32_t mended;
    (void)rc;
    size_t bytes = n->kv ? n->device->ops->look(n->device, &c->position, &mended) : 0;
    if (bytes == 0) {
        next_phase(c);
        return SKIPPED;
    }
    if (mended != UINT32_MAX) {
        struct hd_finding f = {
            .kind = HD_DAMAGE_WEIGHTS, .since_us = hd_damage_since(n, 0, now_us), .repaired = true};
        snprintf(f.text, sizeof f.text, "the angles of position %u", mended);
        hd_damage_tell(n, &f);
    }
    return bytes;
}

/* ---- Weights ----*/

static void next_piece(struct scrub_cursor *c)
{
    c->piece++;
    c->inside = false;
}

/* It is not used any more; what is owned is loaded again before the next job. */
static void drop_piece(struct hd_node *n, struct hd_piece_at at, uint64_t now_us)
{
    struct hd_shard_unit u = {at.kind, at.unit};
    n->scrub->broken = true;
    n->scrub->found = hd_damage_of_piece(n, u, at.layer, now_us);
    hd_shard_release_piece(n->shard, u, at.layer);
}

static size_t look_at_weights(struct hd_node *n, uint64_t now_us, int *rc)
{
    struct scrub_cursor *c = &n->scrub->cursor;
    const struct hd_units *units = hd_shard_units(n->shard);
    (void)rc;
    if (c->piece >= hd_piece_count(n->model, units)) {
        next_phase(c);
        return SKIPPED;
    }
    struct hd_piece_at at = hd_piece_nth(n->model, units, c->piece);
    struct hd_shard_unit u = {at.kind, at.unit};
    if (!hd_shard_has(n->shard, u, at.layer)) {
        next_piece(c);
        return SKIPPED;
    }
    struct hd_piece_seal *seal = hd_shard_seal_of(n->shard, u, at.layer);
    if (!c->inside || c->serial != seal->serial) {
        c->inside = true;
        c->serial = seal->serial;
        c->entered_us = now_us;
        c->walk = (struct hd_piece_walk){0};
    }
    size_t bytes = hd_shard_walk(n->shard, u, at.layer, &c->walk);
    if (bytes > 0)
        return bytes;
    if (c->walk.digest != seal->digest)
        drop_piece(n, at, now_us);
    seal->seen_us = c->entered_us;
    next_piece(c);
    return SKIPPED;
}

/* ---- K/V ----*/

/* The next lane, or of an odometer's digits the next. */
static void next_lane(struct hd_node *n, struct scrub_cursor *c)
{
    c->block = 0;
    if (++c->head < n->model->shape.n_kv_heads)
        return;
    c->head = 0;
    if (++c->layer < n->model->shape.n_layers)
        return;
    c->layer = 0;
    c->sequence++;
}

static struct hd_finding of_kv(struct hd_kv_at at, uint32_t bad, uint64_t since_us)
{
    struct hd_finding f = {.kind = HD_DAMAGE_KV,
                           .unit = {HD_UNIT_HEAD, at.head},
                           .layer = at.layer,
                           .sequence = at.sequence,
                           .since_us = since_us};
    snprintf(f.text, sizeof f.text, "K/V of position %u, sequence %u, layer %u, head %u", bad,
             at.sequence, at.layer, at.head);
    return f;
}

static void cut_lane(struct hd_node *n, struct hd_kv_at at, uint32_t bad, uint64_t since_us)
{
    struct hd_scrub *s = n->scrub;
    s->broken = true;
    s->lane = at;
    s->lane_end = hd_kv_valid(n->kv, at);
    s->found = of_kv(at, bad, since_us);
    hd_kv_cut(n->kv, at, bad);
}

size_t scrub_look_at_dropped(struct hd_node *n, uint64_t now_us)
{
    struct hd_kv_dropped d;
    size_t bytes = hd_kv_prove_dropped(n->kv, &d);
    if (bytes == 0 || d.bad == UINT32_MAX)
        return bytes;
    struct hd_finding f = of_kv(d.at, d.bad, hd_damage_since(n, d.seen_us, now_us));
    strcat(f.text, ", when it was dropped");
    hd_damage_tell(n, &f);
    return bytes;
}

static size_t look_at_kv(struct hd_node *n, uint64_t now_us, int *rc)
{
    struct scrub_cursor *c = &n->scrub->cursor;
    (void)rc;
    if (!n->kv || c->sequence >= n->sizes.max_sequences) {
        next_phase(c);
        return SKIPPED;
    }
    if (!hd_kv_has(n->kv, c->sequence)) {
        c->sequence++;
        c->layer = c->head = c->block = 0;
        return SKIPPED;
    }
    struct hd_kv_at at = {c->sequence, c->layer, c->head};
    uint32_t first = hd_kv_shared(n->kv, c->sequence).shared / HD_ATTN_BLOCK;
    c->block = c->block < first ? first : c->block;
    if (c->block * HD_ATTN_BLOCK >= hd_kv_valid(n->kv, at)) {
        next_lane(n, c);
        return SKIPPED;
    }
    uint64_t *seen_us = hd_kv_seen_us(n->kv, at, c->block);
    uint32_t bad = hd_kv_bad_row(n->kv, at, c->block);
    if (bad != UINT32_MAX)
        cut_lane(n, at, bad, hd_damage_since(n, *seen_us, now_us));
    *seen_us = now_us;
    c->block++;
    return 2 * HD_ATTN_BLOCK * hd_kv_row_bytes(n->kv);
}

/* ---- The log ----*/

static size_t look_at_log(struct hd_node *n, uint64_t now_us, int *rc)
{
    struct scrub_cursor *c = &n->scrub->cursor;
    (void)rc;
    if (!n->input_log || c->sequence >= n->sizes.max_sequences) {
        next_phase(c);
        return SKIPPED;
    }
    uint32_t first = hd_input_log_start(n->input_log, c->sequence) / HD_LOG_CHUNK;
    c->block = c->block < first ? first : c->block;
    struct hd_log_at at = {c->sequence, c->layer, c->block * HD_LOG_CHUNK};
    if (at.position >= hd_input_log_end(n->input_log, at.sequence, at.layer)) {
        c->block = 0;
        if (++c->layer == n->model->shape.n_layers) {
            c->layer = 0;
            c->sequence++;
        }
        return SKIPPED;
    }
    uint32_t end = at.position + HD_LOG_CHUNK;
    c->block++;
    if (!hd_input_log_resident(n->input_log, at))
        return 64 * SKIPPED; /* asking is a system call */
    while ((at.position = hd_input_log_bad_row(n->input_log, at, end)) != UINT32_MAX)
        hd_damage_log_row(n, at, now_us);
    return HD_LOG_CHUNK * hd_node_row_bytes(n);
}

size_t scrub_look(struct hd_node *n, uint64_t now_us, int *rc)
{
    static size_t (*const look[SCRUB_PHASES])(struct hd_node * n, uint64_t now_us, int *rc) = {
        [SCRUB_TABLES] = look_at_tables,   [SCRUB_ANGLES] = look_at_angles,
        [SCRUB_WEIGHTS] = look_at_weights, [SCRUB_KV] = look_at_kv,
        [SCRUB_LOG] = look_at_log,
    };
    return look[n->scrub->cursor.phase](n, now_us, rc);
}
