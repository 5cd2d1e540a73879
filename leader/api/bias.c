/* bias.c - token ids as names of members. */
#include "leader/api/bias.h"

#include <math.h>
#include <stdlib.h>

#define MAX_BIAS 100.0 /* OpenAI's, either way */

static int bad_bias(uint32_t vocab, struct hd_refusal *r)
{
    return hd_refuse(r, 400, "logit_bias", "invalid_value",
                     "'logit_bias' must be an object of at most %d members, each a token id from 0 "
                     "to %u with a number from -%g to %g.",
                     HD_MAX_BIAS, vocab - 1, MAX_BIAS, MAX_BIAS);
}

int hd_bias_take(struct hd_token_bias **out, size_t *n, const json_t *v, uint32_t vocab,
                 struct hd_refusal *r)
{
    const char *name;
    json_t *value;
    if (json_is_array(v) && json_array_size(v) == 0)
        return 0;
    if (!json_is_object(v) || json_object_size(v) > HD_MAX_BIAS)
        return bad_bias(vocab, r);
    struct hd_token_bias *bias = calloc(json_object_size(v) + 1, sizeof *bias);
    if (!bias)
        return hd_refuse_memory(r);
    *out = bias;
    json_object_foreach((json_t *)v, name, value)
    {
        char *end;
        unsigned long id = strtoul(name, &end, 10);
        double d = json_number_value(value);
        bool number = name[0] >= '0' && name[0] <= '9' && *end == '\0';
        if (!number || id >= vocab || !json_is_number(value) || !(fabs(d) <= MAX_BIAS))
            return bad_bias(vocab, r);
        *bias++ = (struct hd_token_bias){.id = (int32_t)id, .bias = d};
    }
    *n = json_object_size(v);
    return 0;
}
