/* supply.h - weights of a worker that has no model file: asked for piece by piece from the leader,
 * checked by digest, kept in the state folder (weights_cache.h).
 *
 * Happy path: hd_supply_get(piece): HD_SUPPLY_LATER, and the first chunk is asked for, with the
 * digest of what is kept of the piece -> the leader says the piece's digest and that it is the
 * same, or sends the first chunk -> the others are asked for, several at once -> hd_supply_take,
 * as they come -> hd_supply_get: HD_SUPPLY_HERE. Once the leader has said a piece's digest what is
 * kept of it is used without asking; what is kept and damaged is asked for as if it were not there.
 *
 * Failure modes: 1. the leader sends what was not asked for, or bytes that are not what their
 * digest says: HD_E_PROTO; 2. the conversation ends: hd_supply_begin forgets what was asked for,
 * and whoever waits gets HD_E_STATE. Nothing that was kept is lost by either.
 *
 * Knows no sockets and no threads: the crew (crew.h) sends what `ask` is told and hands over what
 * comes. One thread only. */
#ifndef HD_WORKER_SUPPLY_H
#define HD_WORKER_SUPPLY_H

#include "common/net/frame.h"
#include "worker/weights_cache.h"

#define HD_SUPPLY_OPEN 8 /* pieces that are on the way, or here and not taken */

struct hd_supply;

/* "Send me this." have: the digest of what is kept, 0 = nothing. */
struct hd_weights_ask {
    struct hd_piece_at at;
    uint64_t offset, have;
};
struct hd_weights_answer {
    struct hd_piece_at at;
    uint64_t offset, digest; /* digest: of the piece; offset 0 only */
    const uint8_t *data;
    size_t n; /* 0: the worker has it */
};

struct hd_supply_options {
    const struct hd_model *model;   /* all of these are borrowed */
    struct hd_weights_cache *cache; /* NULL: nothing is kept */
    void (*ask)(void *arg, const struct hd_weights_ask *a);
    /* Returns when something has come and was taken; HD_E_STATE: nothing will come any more. Or
     * what hd_supply_take says. */
    int (*wait)(void *arg, struct hd_error *err);
    void *arg;
};

struct hd_supply_totals {
    uint64_t fetched, fetched_bytes; /* pieces that came from the leader */
    uint64_t kept;                   /* pieces taken from the state folder */
};

/* 0 or HD_E_NOMEM. */
int hd_supply_new(struct hd_supply **out, const struct hd_supply_options *o);
void hd_supply_free(struct hd_supply *s);
/* A conversation begins, or has ended: nothing is on the way. */
void hd_supply_begin(struct hd_supply *s);
/* How many chunks may be on the way: 1 .. HD_WEIGHTS_IN_FLIGHT. */
void hd_supply_set_window(struct hd_supply *s, unsigned chunks);

enum { HD_SUPPLY_HERE = 1, HD_SUPPLY_LATER = 2 };
/* HD_SUPPLY_HERE: *out is the caller's. HD_SUPPLY_LATER: ask again when something has come. Or
 * HD_E_NOMEM. */
int hd_supply_get(struct hd_supply *s, struct hd_piece_at at, struct hd_piece_bytes **out);
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
