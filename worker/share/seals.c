/* seals.c - digests of packed pieces, and of the lists that say whose they are. */
#include "worker/share/shard_impl.h"

#include <xxhash.h>

struct hd_piece_seal *hd_shard_seal_of(const struct hd_shard *s, struct hd_shard_unit u,
                                       uint32_t layer)
{
    struct hd_piece_at at = {u.kind, u.unit, layer};
    return &s->seals[hd_piece_index(s->model, &s->units, at)];
}

size_t hd_piece_walk(const struct hd_shard *s, struct hd_shard_unit u, uint32_t layer,
                     struct hd_piece_walk *w)
{
    struct hd_shard_part parts[HD_PIECE_MAX_CUTS];
    size_t n = hd_shard_parts(s, u, layer, parts);
    if (w->part >= n)
        return 0;
    size_t left = parts[w->part].bytes - w->offset;
    size_t run = left < HD_PIECE_RUN ? left : HD_PIECE_RUN;
    w->digest = XXH3_64bits_withSeed(parts[w->part].data + w->offset, run, w->digest);
    w->offset += run;
    if (run == left) {
        w->part++;
        w->offset = 0;
    }
    return run;
}

void hd_shard_seal(struct hd_shard *s, struct hd_shard_unit u, uint32_t layer)
{
    struct hd_piece_seal *seal = hd_shard_seal_of(s, u, layer);
    struct hd_piece_walk walk = {0};
    while (hd_piece_walk(s, u, layer, &walk) > 0)
        ;
    seal->digest = walk.digest;
    seal->seen_us = 0;
    seal->serial++;
}

static uint64_t digest_list(const struct unit_set *set, uint64_t seed)
{
    seed = XXH3_64bits_withSeed(&set->n, sizeof set->n, seed);
    return set->n ? XXH3_64bits_withSeed(set->list, set->n * sizeof *set->list, seed) : seed;
}

static uint64_t digest_tables(const struct hd_shard *s)
{
    uint64_t digest = XXH3_64bits(&s->units, sizeof s->units);
    for (int k = 0; k < HD_UNIT_KINDS; k++)
        digest = digest_list(&s->held[k], digest_list(&s->owned[k], digest));
    return digest;
}

void hd_shard_seal_tables(struct hd_shard *s)
{
    s->tables = digest_tables(s);
}

bool hd_shard_tables_whole(const struct hd_shard *s)
{
    return s->tables == digest_tables(s);
}
