/* bias.c - token ids as names of members, or texts. */
#include "leader/api/bias.h"

#include <math.h>
#include <stdlib.h>

#define MAX_BIAS 100.0   /* OpenAI's, either way */
#define NEVER    (-1e30) /* llama.cpp's false: no logit outweighs it */

struct biases {
    struct hd_token_bias *list; /* [HD_MAX_BIAS] */
    size_t n;
    uint32_t vocab;
    const struct hd_tokenizer *t;
};

static int bad_bias(uint32_t vocab, struct hd_refusal *r)
{
    return hd_refuse(
        r, 400, "logit_bias", "invalid_value",
        "'logit_bias' must be an object or pairs of at most %d tokens, each a token id "
        "from 0 to %u, or a text, with a number from -%g to %g or false.",
        HD_MAX_BIAS, vocab - 1, MAX_BIAS, MAX_BIAS);
}

static bool read_value(const json_t *v, double *bias)
{
    *bias = json_is_false(v) ? NEVER : json_number_value(v);
    return json_is_false(v) || (json_is_number(v) && fabs(*bias) <= MAX_BIAS);
}

static bool add(struct biases *b, json_int_t id, double bias)
{
    if (id < 0 || id >= b->vocab || b->n == HD_MAX_BIAS)
        return false;
    b->list[b->n++] = (struct hd_token_bias){.id = (int32_t)id, .bias = bias};
    return true;
}

static bool add_text(struct biases *b, const json_t *text, double bias)
{
    int32_t *ids = NULL;
    size_t n = 0;
    if (!b->t || hd_tokenizer_encode(b->t, json_string_value(text), json_string_length(text), false,
                                     &ids, &n) < 0)
        return false;
    bool good = n > 0;
    for (size_t i = 0; good && i < n; i++)
        good = add(b, ids[i], bias);
    free(ids);
    return good;
}

/* Digits are an id, also as a string: JSON has no other names of members. */
static bool add_named(struct biases *b, const char *name, double bias)
{
    char *end;
    unsigned long id = strtoul(name, &end, 10);
    if (name[0] >= '0' && name[0] <= '9' && *end == '\0')
        return id < b->vocab && add(b, (json_int_t)id, bias);
    json_t *text = json_string(name);
    bool good = text && add_text(b, text, bias);
    json_decref(text);
    return good;
}

static bool add_pair(struct biases *b, const json_t *pair)
{
    const json_t *token = json_array_get(pair, 0);
    double bias;
    if (json_array_size(pair) != 2 || !read_value(json_array_get(pair, 1), &bias))
        return false;
    return json_is_integer(token) ? add(b, json_integer_value(token), bias)
                                  : json_is_string(token) && add_text(b, token, bias);
}

static bool add_all(struct biases *b, const json_t *v)
{
    const char *name;
    json_t *value;
    double bias;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!add_pair(b, json_array_get(v, i)))
            return false;
    json_object_foreach((json_t *)v, name, value)
    {
        if (!read_value(value, &bias) || !add_named(b, name, bias))
            return false;
    }
    return json_is_array(v) || json_is_object(v);
}

int hd_bias_take(struct hd_token_bias **out, size_t *n, const json_t *v, uint32_t vocab,
                 const struct hd_tokenizer *t, struct hd_refusal *r)
{
    struct biases b = {.vocab = vocab, .t = t};
    *out = b.list = calloc(HD_MAX_BIAS, sizeof *b.list);
    if (!b.list)
        return hd_refuse_memory(r);
    if (!add_all(&b, v))
        return bad_bias(vocab, r);
    *n = b.n;
    return 0;
}
