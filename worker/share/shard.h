/* shard.h - the units that a worker owns or holds, and whether their weights are there.
 *
 * An owned unit is in the sums; one that is held is loaded and in no sum. Weights of units that are
 * neither stay until they are released: to own such a unit again costs nothing. Only what is
 * missing is loaded (a failover loads only what moved), on the compute team, into the device's
 * memory (device.h). */
#ifndef HD_WORKER_SHARD_H
#define HD_WORKER_SHARD_H

#include "worker/device.h"

struct hd_shard_unit {
    enum hd_unit_kind kind;
    uint32_t unit;
};

struct hd_shard;

/* 0 or HD_E_NOMEM. The device is borrowed. */
int hd_shard_new(struct hd_shard **out, struct hd_device *d);
void hd_shard_free(struct hd_shard *s);
/* Where its weights are. */
struct hd_device_weights *hd_shard_memory(const struct hd_shard *s);

/* Weights come from there, and are compared with the leader's digests. Without a supply they are
 * the model's data as they are. Borrowed; before anything is loaded. */
struct hd_supply;
void hd_shard_set_supply(struct hd_shard *s, struct hd_supply *supply);
/* Grows by each piece's bytes as it is loaded, on whatever thread, for who wants to see how far it
 * is; NULL: nobody does. */
void hd_shard_tell_loading(struct hd_shard *s, _Atomic uint64_t *bytes);

enum { HD_SHARD_COMPLETE = 0, HD_SHARD_LOADED = 1, HD_SHARD_WAITING = 2 };
/* Own exactly these from now on; loads what is missing, releases nothing. HD_SHARD_COMPLETE:
 * nothing was missing; HD_SHARD_LOADED: something was, and is there now. Or HD_E_NOMEM, or what
 * packing or the supply said: then the owned ones are those of before. Waits for a supply. */
int hd_shard_assign(struct hd_shard *s, const struct hd_unit_list want[HD_UNIT_KINDS],
                    struct hd_error *err);
/* Hold exactly these besides (not those of them that are owned); of the heads in `bare` the weights
 * alone. Loads and releases nothing. */
void hd_shard_hold(struct hd_shard *s, const struct hd_unit_list want[HD_UNIT_KINDS],
                   struct hd_unit_list bare);
/* Own and hold nothing; the weights stay. */
void hd_shard_leave(struct hd_shard *s);
/* Loads up to `max` pieces (one unit in one layer) of what is held; outcomes and errors as above.
 * HD_SHARD_WAITING: something is missing and was asked for, call again when it has come. */
int hd_shard_load(struct hd_shard *s, size_t max, struct hd_error *err);

/* Some units in one layer (0: vocab blocks), owned, held or neither. What is neither and is loaded
 * is as what a unit has left over: it stays until it is released, and is there when the unit comes
 * to be owned or held. */
struct hd_shard_layer {
    enum hd_unit_kind kind;
    uint32_t layer;
    struct hd_unit_list units;
};
/* Loads up to `max` of these pieces; outcomes and errors as of hd_shard_load. */
int hd_shard_load_layer(struct hd_shard *s, const struct hd_shard_layer *what, size_t max,
                        struct hd_error *err);
/* Frees one piece. */
void hd_shard_release_piece(struct hd_shard *s, struct hd_shard_unit u, uint32_t layer);

struct hd_unit_list hd_shard_owned(const struct hd_shard *s, enum hd_unit_kind kind);
struct hd_unit_list hd_shard_held(const struct hd_shard *s, enum hd_unit_kind kind);
/* Of the held heads those whose K/V is kept current, and those that are bare. */
struct hd_unit_list hd_shard_followed(const struct hd_shard *s);
struct hd_unit_list hd_shard_bare(const struct hd_shard *s);
bool hd_shard_owns(const struct hd_shard *s, struct hd_shard_unit u);
bool hd_shard_holds(const struct hd_shard *s, struct hd_shard_unit u);
/* Owned, or held and not bare: K/V rows of a head are to be there. */
bool hd_shard_keeps(const struct hd_shard *s, struct hd_shard_unit u);
/* Its weights in this layer are loaded. */
bool hd_shard_has(const struct hd_shard *s, struct hd_shard_unit u, uint32_t layer);
/* ... in all layers. */
bool hd_shard_has_whole(const struct hd_shard *s, struct hd_shard_unit u);
/* A unit with weights that is neither owned nor held; false: there is none. */
bool hd_shard_surplus(const struct hd_shard *s, struct hd_shard_unit *u);
void hd_shard_release(struct hd_shard *s, struct hd_shard_unit u);
uint64_t hd_shard_bytes(const struct hd_shard *s); /* of all that is loaded */
const struct hd_units *hd_shard_units(const struct hd_shard *s);

/* ---- Damage (trust/scrub.h) ----
 * Each piece has a digest of what the device reads, made when it was loaded. */

/* Takes a run of a piece into the walk's digest, as the device's operation (device.h). */
size_t hd_shard_walk(const struct hd_shard *s, struct hd_shard_unit u, uint32_t layer,
                     struct hd_piece_walk *w);
struct hd_piece_seal {
    uint64_t digest;
    uint64_t seen_us; /* for the scrub, which sets it: when it was found whole; 0: never yet */
    uint32_t serial;  /* another one each time the piece is loaded */
};
struct hd_piece_seal *hd_shard_seal_of(const struct hd_shard *s, struct hd_shard_unit u,
                                       uint32_t layer);
/* Loads what is missing of the owned units; outcomes and errors as of hd_shard_assign. */
int hd_shard_mend(struct hd_shard *s, struct hd_error *err);
/* The lists of units are what they were when they were set. */
bool hd_shard_tables_whole(const struct hd_shard *s);

#endif
