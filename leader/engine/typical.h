/* typical.h - locally typical sampling: which tokens are about as likely as one expects. Pure. */
#ifndef HD_ENGINE_TYPICAL_H
#define HD_ENGINE_TYPICAL_H

#include "leader/engine/sample.h"

bool hd_sampling_is_typical(const struct hd_sampling *s);

/* Leaves in *d, which has every token, the fewest whose probability reaches typical_p, those first
 * whose surprise is nearest to the mean one (Meister et al. 2022, section 4; of equals the one that
 * comes first by hd_candidate_before). s->temperature > 0. */
void hd_cut_to_typical(const struct hd_sampling *s, struct hd_distribution *d);

#endif
