/* From what a container says to a shape that the rest of hydac can rely on. */
#include "common/model/model_impl.h"

#include <stdlib.h>

static int check_range(const char *what, uint64_t v, uint64_t max, struct hd_error *err)
{
    if (v == 0)
        return hd_fail(err, HD_E_FORMAT, "%s is missing or 0", what);
    if (v > max)
        return hd_fail(err, HD_E_LIMIT, "%s is %llu, the limit is %llu", what,
                       (unsigned long long)v, (unsigned long long)max);
    return 0;
}

static int check_ranges(const struct hd_hyper *h, struct hd_error *err)
{
    const struct {
        const char *what;
        uint64_t v, max;
    } ranges[] = {
        {"number of layers", h->n_layers, HD_MAX_LAYERS},
        {"hidden size", h->dim, HD_MAX_DIM},
        {"number of heads", h->n_heads, HD_MAX_HEADS},
        {"number of KV heads", h->n_kv_heads, HD_MAX_HEADS},
        {"head size", h->head_dim, HD_MAX_DIM},
        {"heads x head size", h->n_heads * h->head_dim, HD_MAX_DIM},
        {"FFN size", h->ffn_dim, HD_MAX_FFN},
        {"vocabulary", h->vocab, HD_MAX_VOCAB},
        {"context length", h->context, HD_MAX_CONTEXT},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        int rc = check_range(ranges[i].what, ranges[i].v, ranges[i].max, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_hyper(const struct hd_hyper *h, struct hd_error *err)
{
    int rc = check_ranges(h, err);

    if (rc < 0)
        return rc;
    if (h->n_heads % h->n_kv_heads != 0)
        return hd_fail(err, HD_E_FORMAT, "%u heads cannot share %u KV heads evenly",
                       (unsigned)h->n_heads, (unsigned)h->n_kv_heads);
    if (h->head_dim % 16 != 0)
        return hd_fail(err, HD_E_UNSUPPORTED, "head size %u is not a multiple of 16",
                       (unsigned)h->head_dim);
    if (!(h->norm_eps > 0 && h->norm_eps < 1))
        return hd_fail(err, HD_E_FORMAT, "RMSNorm epsilon %g is not between 0 and 1", h->norm_eps);
    return hd_rope_check(&h->rope, err);
}

/* An id that is no token's: 2^32 - 1 and the like stand for none in some files, and others were
 * made for a larger vocabulary. */
static int32_t special(struct hd_model *m, int64_t id, const char *what)
{
    if (id >= 0 && id < m->shape.vocab)
        return (int32_t)id;
    if (id != -1)
        hd_warnings_add(&m->warnings,
                        "%s is %lld, which is none of the %u tokens: the model is taken to have "
                        "none",
                        what, (long long)id, m->shape.vocab);
    return -1;
}

int hd_model_set_shape(struct hd_model *m, struct hd_hyper *h, struct hd_error *err)
{
    if (h->n_kv_heads == 0)
        h->n_kv_heads = h->n_heads;
    if (h->head_dim == 0 && h->n_heads > 0 && h->dim % h->n_heads == 0)
        h->head_dim = h->dim / h->n_heads;
    int rc = check_hyper(h, err);
    if (rc < 0)
        return rc;
    m->shape = (struct hd_model_shape){
        .n_layers = (uint32_t)h->n_layers,
        .dim = (uint32_t)h->dim,
        .n_heads = (uint32_t)h->n_heads,
        .n_kv_heads = (uint32_t)h->n_kv_heads,
        .head_dim = (uint32_t)h->head_dim,
        .ffn_dim = (uint32_t)h->ffn_dim,
        .vocab = (uint32_t)h->vocab,
        .context = (uint32_t)h->context,
        .norm_eps = (float)h->norm_eps,
        .tied_output = h->tied_output,
    };
    m->bos = special(m, h->bos, "bos_token_id");
    m->eos = special(m, h->eos, "eos_token_id");
    m->rope_freq = calloc(m->shape.head_dim / 2, sizeof *m->rope_freq);
    if (!m->rope_freq)
        return hd_fail(err, HD_E_NOMEM, "no memory for the model's shape");
    hd_rope_frequencies(&h->rope, m->shape.head_dim, m->rope_freq);
    return 0;
}
