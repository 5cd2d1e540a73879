/* answer_digest.h - whether two workers have given the same answer to a half-step. */
#ifndef HD_NET_ANSWER_DIGEST_H
#define HD_NET_ANSWER_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of what a StepResult carries: the payload's bytes, then which rows are wide and which are
 * bad (StepResult.wide, .bad). Equal answers give equal digests on every machine; never 0. */
struct hd_answer {
    const void *payload;
    size_t payload_len;
    const uint32_t *wide, *bad; /* row numbers, ascending */
    size_t n_wide, n_bad;
};
uint64_t hd_answer_digest(const struct hd_answer *a);

#endif
