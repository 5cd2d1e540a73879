/* supply.h - where a worker's weights come from: its own file, what is kept in the state folder
 * (cache.h), the leader; in this order, piece by piece. Wherever a piece is from, its bytes must
 * have the digest that the leader said of it.
 *
 * Happy path: hd_supply_learn(digests), then hd_supply_get(piece): HD_SUPPLY_OWN: the caller
 * gathers it from the worker's own file (hd_supply_read_own, on any thread). Else HD_SUPPLY_HERE,
 * if it was kept. Else HD_SUPPLY_LATER, and the first chunk is asked for -> the others, several at
 * once -> hd_supply_take, as they come -> hd_supply_get: HD_SUPPLY_HERE.
 *
 * Failure modes: 1. the own file, or what was kept, has other bytes, or cannot be read: `refused`
 * is told, once a piece, and the piece comes from where the next source is; 2. the leader sends
 * what was not asked for, or bytes that are not what their digest says: HD_E_PROTO; 3. the
 * session ends: hd_supply_begin forgets what was asked for, and whoever waits gets HD_E_STATE.
 * Nothing that was kept is lost by either.
 *
 * Knows no sockets and no threads: the crew (crew.h) sends what `ask` is told and hands over what
 * comes. One thread only, except where said. */
#ifndef HD_WORKER_SUPPLY_H
#define HD_WORKER_SUPPLY_H

#include "common/net/frame.h"
#include "worker/weights/cache.h"

#define HD_SUPPLY_OPEN 8 /* pieces that are on the way, or here and not taken */

struct hd_supply;

/* "Send me this." */
struct hd_weights_ask {
    struct hd_piece_at at;
    uint64_t offset;
};
struct hd_weights_answer {
    struct hd_piece_at at;
    uint64_t offset, digest; /* digest: of the piece; offset 0 only */
    const uint8_t *data;
    size_t n;
};

enum hd_supply_source { HD_SUPPLY_FILE, HD_SUPPLY_KEPT };

struct hd_supply_options {
    const struct hd_model *model;   /* all of these are borrowed; it may have its data */
    struct hd_weights_cache *cache; /* NULL: nothing is kept */
    /* A source had other bytes of the piece; it comes from another one. */
    void (*refused)(void *arg, struct hd_piece_at at, enum hd_supply_source from);
    void (*ask)(void *arg, const struct hd_weights_ask *a);
    /* Returns when something has come and was taken; HD_E_STATE: nothing will come any more. Or
     * what hd_supply_take says. */
    int (*wait)(void *arg, struct hd_error *err);
    void *arg;
};

struct hd_supply_totals {
    uint64_t fetched, fetched_bytes; /* pieces that came from the leader */
    uint64_t kept;                   /* pieces taken from the state folder */
    uint64_t refused;                /* pieces whose own file, or what was kept, had other bytes */
};

/* 0 or HD_E_NOMEM. */
int hd_supply_new(struct hd_supply **out, const struct hd_supply_options *o);
void hd_supply_free(struct hd_supply *s);
/* A session begins, or has ended: nothing is on the way. */
void hd_supply_begin(struct hd_supply *s);
/* How many chunks may be on the way: 1 .. HD_WEIGHTS_IN_FLIGHT. */
void hd_supply_set_window(struct hd_supply *s, unsigned chunks);

/* The leader's digests of the pieces [first, first + n), none of them 0; they exist. What a source
 * was refused for is forgotten where another digest comes. */
void hd_supply_learn(struct hd_supply *s, size_t first, const uint64_t *digests, size_t n);
/* 0: not learnt yet. Any thread, while nothing is learnt. */
uint64_t hd_supply_digest(const struct hd_supply *s, size_t index);

enum { HD_SUPPLY_HERE = 1, HD_SUPPLY_LATER = 2, HD_SUPPLY_OWN = 3 };
/* HD_SUPPLY_HERE: *out is the caller's. HD_SUPPLY_LATER: ask again when something has come.
 * HD_SUPPLY_OWN: hd_supply_read_own. Or HD_E_NOMEM. */
int hd_supply_get(struct hd_supply *s, struct hd_piece_at at, struct hd_piece_bytes **out);
size_t hd_supply_piece_bytes(const struct hd_supply *s, struct hd_piece_at at);
/* Gathers a piece of the worker's own file into `to` [its bytes]. False: it is not the leader's,
 * and hd_supply_refuse_own is to be called. Any thread, while nothing is learnt. */
bool hd_supply_read_own(const struct hd_supply *s, struct hd_piece_at at, uint8_t *to);
void hd_supply_refuse_own(struct hd_supply *s, struct hd_piece_at at);
int hd_supply_wait(struct hd_supply *s, struct hd_error *err);
/* 0, HD_E_PROTO, HD_E_NOMEM. */
int hd_supply_take(struct hd_supply *s, const struct hd_weights_answer *a, struct hd_error *err);
/* Asks for what the window allows. Called by hd_supply_get and hd_supply_wait, not by
 * hd_supply_take: beside steps the caller makes a pause. */
void hd_supply_pump(struct hd_supply *s);
/* Something was asked for and has not come; something is to be asked for, by hd_supply_pump. */
bool hd_supply_on_the_way(const struct hd_supply *s);
bool hd_supply_wants_more(const struct hd_supply *s);

/* Nothing is owned or held; this piece is. */
void hd_supply_unwant_all(struct hd_supply *s);
void hd_supply_want(struct hd_supply *s, struct hd_piece_at at);
/* When nothing is on the way: asks for the next piece that nobody needs yet. False: all that there
 * is room for is here. */
bool hd_supply_ahead(struct hd_supply *s);
/* Begin to look for such pieces again. */
void hd_supply_look_again(struct hd_supply *s);
void hd_supply_totals(const struct hd_supply *s, struct hd_supply_totals *out);

#endif
