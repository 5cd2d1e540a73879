/* block_iq.h - blocks whose quants are not written as numbers: points of a lattice, places in a
 * list of values, digits of base 3. Inside common/math only; layouts as in block.h. */
#ifndef HD_MATH_BLOCK_IQ_H
#define HD_MATH_BLOCK_IQ_H

#include "common/math/block.h"

/* What a point is made of is in iq_grids.c. */
extern const uint16_t hd_iq2_xxs_grid[256], hd_iq2_xs_grid[512], hd_iq2_s_grid[1024],
    hd_iq3_xxs_grid[256], hd_iq3_s_grid[512], hd_iq1_grid[2048];

/* Fill q and scale of *out; span and n are the caller's. */
void hd_spans_iq2_xxs(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq2_xs(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq2_s(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq3_xxs(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq3_s(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq1_s(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq1_m(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq4_nl(const uint8_t *block, struct hd_spans *out);
void hd_spans_iq4_xs(const uint8_t *block, struct hd_spans *out);
void hd_spans_nvfp4(const uint8_t *block, struct hd_spans *out);
void hd_spans_tq1_0(const uint8_t *block, struct hd_spans *out);
void hd_spans_tq2_0(const uint8_t *block, struct hd_spans *out);

#endif
