/* answer.h - how the answer to a half-step lies in its payload (proto/README.md), for every device.
 * Any thread. */
#ifndef HD_WORKER_ANSWER_H
#define HD_WORKER_ANSWER_H

#include "worker/device.h"

/* ---- Partial sums ----*/

struct hd_sums {
    size_t rows, dim;
    const uint8_t *is_bad;  /* [rows]: a number was not finite; the sums are zeros */
    const uint8_t *is_wide; /* [rows]: they do not fit 32 bits */
    const int64_t *sum;     /* [rows][dim] */
    const void *narrow;     /* [rows][narrow_bytes]: as they travel, unless wide */
    size_t narrow_bytes;
    struct hd_shared *payload; /* what `narrow` points into, taken; NULL: it is copied */
    uint32_t *wide, *bad;      /* [rows]: room for the output's lists */
};
/* Fills in payload and lists. 0 or HD_E_NOMEM. */
int hd_answer_sums(const struct hd_sums *s, struct hd_half_output *out, struct hd_error *err);
/* Lists the rows whose flag is set; returns how many. */
size_t hd_list_flags(const uint8_t *flags, size_t rows, uint32_t *list);

/* ---- Logits: for each row, block by block: the log-sum-exp, if wanted also that of logit /
 * temperature, then every logit or the best few (best first; equal ones by token id, so that no
 * order of work shows). ----*/

struct hd_logits {
    const struct hd_kernels *kernels;
    const struct hd_rows *rows;
    struct hd_unit_list blocks;
    uint32_t vocab, vocab_width;
    const struct hd_block *model; /* what it does to its logits */
    size_t *offset;               /* [rows]: where a row begins in the payload */
    uint8_t *payload;
};
/* Fills in the offsets and makes out->payload. 0, HD_E_LIMIT (it does not fit a frame) or
 * HD_E_NOMEM. */
int hd_answer_logits(struct hd_logits *l, struct hd_half_output *out, struct hd_error *err);
/* Tokens of a block: all are vocab_width wide but for the last of all. */
uint32_t hd_logits_of_block(const struct hd_logits *l, uint32_t block);
/* Writes what is wanted of one row of blocks.list[slot]; the logits are the products, and are
 * overwritten. False: a sum is not finite. */
bool hd_logits_write(const struct hd_logits *l, size_t slot, size_t row, float *logits);
/* The same from what was found already, for a row that wants the best few. */
struct hd_logits_found {
    float sums[4];        /* maximum, sum of exp(x - maximum); the same of x / temperature */
    const uint32_t *best; /* {token, bits of its logit}, best first */
};
bool hd_logits_put(const struct hd_logits *l, size_t slot, size_t row,
                   const struct hd_logits_found *found);

#endif
