/* shard_impl.h - shared by shard.c (who is what) and load.c (the weights themselves). */
#ifndef HD_WORKER_SHARD_IMPL_H
#define HD_WORKER_SHARD_IMPL_H

#include "worker/share/shard.h"
#include "worker/weights/supply.h"

/* Unit numbers of one kind, ascending. */
struct unit_set {
    uint32_t *list; /* room for all units that there are */
    size_t n;
};

struct hd_shard {
    struct hd_device *device;
    struct hd_device_weights *memory;
    struct hd_supply *supply; /* NULL: the model has its data, which nobody checks */
    struct hd_units units;
    uint32_t count[HD_UNIT_KINDS]; /* units there are of each kind */
    struct unit_set owned[HD_UNIT_KINDS], held[HD_UNIT_KINDS];
    struct unit_set followed, bare;  /* the held heads, with and without K/V */
    uint32_t *loaded[HD_UNIT_KINDS]; /* [count]: pieces of the unit that are there */
    uint64_t bytes;                  /* of all that is loaded */
    _Atomic uint64_t *loading;       /* NULL, or told of each piece at once */
    struct hd_piece_seal *seals;     /* [pieces], by piece.h's numbers */
    uint64_t tables;                 /* digest of units, owned and held, with K/V or without */
};

/* seals.c: a piece has been loaded; several threads at once, for different ones. The lists of units
 * have changed. */
void hd_shard_seal(struct hd_shard *s, struct hd_shard_unit u, uint32_t layer);
void hd_shard_seal_tables(struct hd_shard *s);

static inline struct hd_piece_at hd_shard_place(struct hd_shard_unit u, uint32_t layer)
{
    return (struct hd_piece_at){u.kind, u.unit, layer};
}

/* load.c */
bool hd_shard_has_any(const struct hd_shard *s, struct hd_shard_unit u);
/* Loads at most `max` missing pieces of these units; outcomes as of hd_shard_load. SIZE_MAX: all
 * of them, waiting for those that come from the supply. */
struct hd_shard_wish {
    const struct hd_unit_list *units; /* [HD_UNIT_KINDS] */
    bool one_layer;                   /* `layer` only */
    uint32_t layer;
};
int hd_shard_load_list(struct hd_shard *s, const struct hd_shard_wish *wish, size_t max,
                       struct hd_error *err);

#endif
