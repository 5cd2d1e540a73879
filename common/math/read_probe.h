/* read_probe.h - how fast threads read memory: the limit of decoding, which reads every weight once
 * a token. What is measured is a plain sum over an array that no cache holds. */
#ifndef HD_MATH_READ_PROBE_H
#define HD_MATH_READ_PROBE_H

#include "common/math/team.h"

#include <stddef.h>
#include <stdint.h>

#define HD_READ_PROBE_BYTES ((size_t)256 << 20) /* a pass reads so many; caches hold fewer */
#define HD_READ_PROBE_PARTS 64                  /* indices of the team's loop */

struct hd_read_probe {
    uint64_t *memory;                   /* HD_READ_PROBE_BYTES */
    uint64_t sums[HD_READ_PROBE_PARTS]; /* kept, so that reading is not optimized away */
};

/* 0 or HD_E_NOMEM. */
int hd_read_probe_init(struct hd_read_probe *p);
void hd_read_probe_deinit(struct hd_read_probe *p);
/* Reads all of it once. */
void hd_read_probe_pass(struct hd_read_probe *p, struct hd_team *team);

#endif
