/* seals.c - digests of loaded pieces, and of the lists that say whose they are. */
#include "worker/share/shard_impl.h"

#include <xxhash.h>

struct hd_piece_seal *hd_shard_seal_of(const struct hd_shard *s, struct hd_shard_unit u,
                                       uint32_t layer)
{
    return &s->seals[hd_piece_index(s->device->o.model, &s->units, hd_shard_place(u, layer))];
}

size_t hd_shard_walk(const struct hd_shard *s, struct hd_shard_unit u, uint32_t layer,
                     struct hd_piece_walk *w)
{
    return s->device->ops->walk(s->memory, hd_shard_place(u, layer), w);
}

void hd_shard_seal(struct hd_shard *s, struct hd_shard_unit u, uint32_t layer)
{
    struct hd_piece_seal *seal = hd_shard_seal_of(s, u, layer);
    struct hd_piece_walk walk = {0};
    while (hd_shard_walk(s, u, layer, &walk) > 0)
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
    return digest_list(&s->bare, digest_list(&s->followed, digest));
}

void hd_shard_seal_tables(struct hd_shard *s)
{
    s->tables = digest_tables(s);
}

bool hd_shard_tables_whole(const struct hd_shard *s)
{
    return s->tables == digest_tables(s);
}
