/* masks.h - which tokens the grammars of requests let follow the rows of a step.
 *
 * They are known before the logits are: the tokens behind which a row stands are its request's, and
 * guesses. So they are made while the workers compute, those behind guesses by a copy of the
 * grammar. Whatever is found there of a guess concerns the guess only: its row is spoiled. */
#ifndef HD_ENGINE_MASKS_H
#define HD_ENGINE_MASKS_H

#include "common/util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hd_engine;
struct hd_request;
struct hd_row;

/* Zeroes: none yet. */
struct hd_masks {
    uint32_t *bits; /* [room][words]: a bit for each token that may come next */
    size_t room, n; /* masks: there is room for, are there */
    size_t words;   /* of one */
    bool made;      /* for the step in hand */
};

void hd_masks_forget(struct hd_masks *m); /* another step is about to be made */
void hd_masks_make(struct hd_engine *e);  /* once a step: then nothing */
void hd_masks_deinit(struct hd_masks *m);
/* NULL: every token may follow. */
const uint32_t *hd_masks_of(const struct hd_masks *m, const struct hd_row *row);
/* Why the request's own mask could not be made: HD_E_LIMIT, HD_E_STATE, HD_E_NOMEM. */
int hd_masks_why(struct hd_engine *e, struct hd_request *r, struct hd_error *err);

#endif
