/* cache.h - pieces of a model that came from the leader, kept in the state folder.
 *
 *   STATE/weights/MODEL'S DIGEST/KIND-LAYER-UNIT      one piece: its digest (8 bytes), its bytes
 *
 * A file is written under another name, then renamed, so that a piece is there as a whole or not at
 * all; nothing is synced: what a power failure tears is found by its digest when it is read. There
 * is no index, the folder is it. Writing is done by a thread of its own, so that a slow disk holds
 * up nobody; what it cannot take up in time is not kept, and fetched again some day.
 *
 * The limit is on all models' pieces together. What makes room: first other models, the least
 * recently begun first, then pieces that are not wanted (neither owned nor held). Limit 0: what is
 * wanted is kept, however much it is, and nothing else.
 *
 * Failure modes: 1. the disk is full or fails: said once in the log, the piece is not kept; 2. a
 * file is damaged, or somebody has removed it: HD_CACHE_DAMAGED or HD_CACHE_MISS, and it is
 * removed. Two workers may share a folder. Any thread may call; `want` and reads belong to the
 * compute thread. */
#ifndef HD_WORKER_WEIGHTS_CACHE_H
#define HD_WORKER_WEIGHTS_CACHE_H

#include "common/model/piece.h"
#include "common/util/log.h"

#include <stdatomic.h>

/* A piece's bytes, shared by who packs them and who writes them. */
struct hd_piece_bytes {
    _Atomic unsigned refs;
    uint64_t digest; /* 0: not known yet */
    size_t len;
    uint8_t *data; /* HD_PIECE_ALIGN aligned */
};
/* NULL when out of memory; one reference. */
struct hd_piece_bytes *hd_piece_bytes_new(size_t len);
struct hd_piece_bytes *hd_piece_bytes_ref(struct hd_piece_bytes *b);
void hd_piece_bytes_unref(struct hd_piece_bytes *b); /* NULL is allowed */

struct hd_weights_cache;

struct hd_weights_cache_options {
    const char *state_dir;
    const struct hd_model *model; /* borrowed, as is the log */
    const struct hd_log *log;
    uint64_t limit; /* bytes */
};

/* 0, HD_E_NOMEM, HD_E_IO. */
int hd_weights_cache_open(struct hd_weights_cache **out, const struct hd_weights_cache_options *o,
                          struct hd_error *err);
/* Writes what waits to be written first. NULL is allowed. */
void hd_weights_cache_close(struct hd_weights_cache *c);

/* Pieces by their index (piece.h). */

/* What the piece's file says its digest is; 0: there is none. */
uint64_t hd_weights_cache_digest(struct hd_weights_cache *c, size_t index);
enum { HD_CACHE_HIT = 1, HD_CACHE_MISS = 2, HD_CACHE_DAMAGED = 3 };
/* HD_CACHE_HIT: *out holds the bytes, which have this digest. HD_CACHE_MISS. HD_CACHE_DAMAGED: its
 * file had other bytes, and is gone now. Or HD_E_NOMEM. */
int hd_weights_cache_read(struct hd_weights_cache *c, size_t index, uint64_t digest,
                          struct hd_piece_bytes **out);
/* To be kept if there is room; takes a reference of its own. */
void hd_weights_cache_write(struct hd_weights_cache *c, size_t index, struct hd_piece_bytes *b);
/* It is owned or held: not to be removed to make room. */
void hd_weights_cache_want(struct hd_weights_cache *c, size_t index, bool wanted);
/* Whether a piece that is not wanted would be kept. */
bool hd_weights_cache_has_room(struct hd_weights_cache *c, size_t bytes);
uint64_t hd_weights_cache_bytes(struct hd_weights_cache *c);

#endif
