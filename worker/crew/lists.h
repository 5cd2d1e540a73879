/* lists.h - lists that messages carry, as those take them who compute; borrowed from the message.
 */
#ifndef HD_WORKER_LISTS_H
#define HD_WORKER_LISTS_H

#include "common/model/unit.h"
#include "hydac.pb-c.h"
#include "worker/device.h"

/* Units of each kind; NULL: none. */
static inline void hd_units_of(const Hydac__V1__Units *m, struct hd_unit_list out[HD_UNIT_KINDS])
{
    static const Hydac__V1__Units none;
    m = m ? m : &none;
    out[HD_UNIT_HEAD] = (struct hd_unit_list){m->heads, m->n_heads};
    out[HD_UNIT_FFN] = (struct hd_unit_list){m->ffn_blocks, m->n_ffn_blocks};
    out[HD_UNIT_VOCAB] = (struct hd_unit_list){m->vocab_blocks, m->n_vocab_blocks};
}

/* A number for each group of a step; what is not said is 0, and more are no message (check.h). */
static inline void hd_groups_of(const uint32_t *list, size_t n, uint32_t out[HD_MAX_GROUPS])
{
    for (size_t g = 0; g < HD_MAX_GROUPS; g++)
        out[g] = g < n ? list[g] : 0;
}

/* Rows of a Step or an Audit, which name them alike. */
#define HD_ROWS_OF(m, payload)                                                                     \
    ((struct hd_rows){.x = (payload),                                                              \
                      .n = (m)->n_sequences,                                                       \
                      .sequences = (m)->sequences,                                                 \
                      .positions = (m)->positions,                                                 \
                      .shifts = (m)->shifts,                                                       \
                      .want = (m)->want,                                                           \
                      .temperatures = (m)->temperatures,                                           \
                      .experts = (m)->experts,                                                     \
                      .weights = (m)->weights})

#endif
