/* supply_rig.h - a worker's supply of weights, and a leader that is a model file and answers when
 * it is asked to. */
#ifndef HD_TESTS_SUPPLY_RIG_H
#define HD_TESTS_SUPPLY_RIG_H

#include "rig.h"
#include "worker/weights/supply.h"

#define PLENTY (UINT64_C(1) << 30)
#define QUEUE  16

struct world {
    char dir[64];
    struct hd_log log;
    struct hd_model *file;    /* the leader's */
    struct hd_model *outline; /* the worker's; or its file, see world_give_file */
    char own[96];             /* path of that; "" */
    struct hd_units units;
    struct hd_weights_cache *cache;
    struct hd_supply *supply;
    struct hd_weights_ask asked[QUEUE]; /* not answered yet */
    size_t n_asked, most_asked;
    uint64_t requests;
    uint64_t lies_after; /* the answer of this number is damaged; 0: none is */
    uint64_t refused[2]; /* by enum hd_supply_source */
    struct hd_piece_at last_refused;
};

/* A new folder, a model of that type; the worker starts. */
void world_begin(struct world *w, enum hd_dtype type, uint64_t limit);
void world_end(struct world *w);
/* The worker starts, with what the folder holds; stops (all is written then); both. */
void world_start(struct world *w, uint64_t limit);
void world_stop(struct world *w);
void world_restart(struct world *w, uint64_t limit);

/* The worker starts anew with a file of its own, a copy of the leader's. */
void world_give_file(struct world *w);
/* Writes n bytes of that file anew, where a byte of a tensor lies. */
void world_overwrite(struct world *w, const uint8_t *byte, size_t n);

/* Answers the oldest request. */
int world_answer(struct world *w, struct hd_error *err);
/* Gets a piece, however long it takes, and compares it. 0 or an error. */
int world_get(struct world *w, size_t index, struct hd_error *err);
void world_get_all(struct world *w);

size_t world_pieces(const struct world *w);
uint64_t world_bytes(const struct world *w); /* of all pieces' files */
struct hd_supply_totals world_totals(const struct world *w);
/* The file of a piece, and changing a byte of it. */
void world_path(const struct world *w, const char *name, char *path, size_t size);
void world_damage(const struct world *w, const char *name, off_t at);

#endif
