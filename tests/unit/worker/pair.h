/* pair.h - two rigs on one model, the CPU's and another device's, which must give the same bytes.
 */
#ifndef HD_TESTS_WORKER_PAIR_H
#define HD_TESTS_WORKER_PAIR_H

#include "rig.h"

#define PAIR_ROWS   70 /* of sequence 0: more than a block of positions */
#define PAIR_LAYERS 2

struct pair {
    struct rig cpu, other;
};

/* All units are owned by both. */
void pair_open(struct pair *p, struct rig_options o, const struct hd_device_kind *other);
void pair_close(struct pair *p);

/* Of one half-step; the caller gives the payload back. */
struct hd_half_output pair_answer(struct rig *r, const struct rig_rows *rows,
                                  enum hd_unit_kind units, uint32_t layer);
void pair_expect_same_answer(struct pair *p, const struct rig_rows *rows, enum hd_unit_kind units,
                             uint32_t layer);
/* Both halves of two layers and the logits, for rows of two sequences; and what is stored. */
void pair_expect_same(struct rig_options o, const struct hd_device_kind *other);
/* Rows that see several segments of positions. */
void pair_expect_same_far(struct rig_options o, const struct hd_device_kind *other);
/* Heads that move are rebuilt from the log: the same rows, and the same digests of them. */
void pair_expect_same_rebuild(struct rig_options o, const struct hd_device_kind *other);
/* The best few of each row, and its sums. */
void pair_expect_same_best(struct rig_options o, const struct hd_device_kind *other);
/* What is not finite is named by both, and is zeros. */
void pair_expect_same_bad_rows(const struct hd_device_kind *other);

#endif
