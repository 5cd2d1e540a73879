/* Which lengths a vector may have. */
#include "common/model/pooled.h"

bool hd_pooled_has_length(const struct hd_pooled *p, uint32_t dim, uint32_t length)
{
    bool listed = p->any_length;

    for (uint32_t i = 0; i < p->n_lengths && !listed; i++)
        listed = p->lengths[i] == length;
    return length > 0 && (length == dim || (length < dim && listed));
}
