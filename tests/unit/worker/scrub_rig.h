/* scrub_rig.h - a node whose memory is looked at, on a clock of the test's own. */
#ifndef HD_TESTS_SCRUB_RIG_H
#define HD_TESTS_SCRUB_RIG_H

#include "rig.h"
#include "worker/trust/scrub.h"

enum { N0 = 90, N1 = 33, LAYERS = 4, HEADS = 4, ROUND_S = 10 }; /* a round, half of scrub_s */

#define MOST 16

/* What a node said, and the time that its scrub is told. */
extern struct hd_finding scrub_found[MOST];
extern size_t scrub_n_found;
extern uint64_t scrub_now_us;
extern const struct hd_assignment scrub_need_both; /* N0 rows of sequence 0, N1 of sequence 1 */

/* Owns `heads` and has two sequences; a round has found nothing. */
void scrub_open(struct rig *r, uint64_t heads, enum hd_activations activations);
void scrub_begin(struct hd_node *n);
uint64_t scrub_rounds(const struct hd_node *n);
/* When it is due; repairs what it finds. */
void scrub_slice(struct hd_node *n);
void scrub_round(struct hd_node *n); /* slices to its end */
/* Their rows are the same, of these heads and both sequences. */
void scrub_expect_lanes(const struct rig *a, const struct rig *b, uint64_t heads);
/* Change a bit. */
void scrub_flip_kv(struct rig *r, struct hd_kv_at at, uint32_t position);
void scrub_flip_log(struct rig *r, struct hd_log_at at);

#endif
