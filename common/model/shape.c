/* From what a container says to a shape that the rest of hydac can rely on. */
#include "common/model/arch.h"
#include "common/model/model_impl.h"

#include <math.h>
#include <stdlib.h>

#define HEAD_STEP 4 /* heads of 8 and of 100 are known; pairs that rotate want 2 */

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

static int check_experts(const struct hd_hyper *h, struct hd_error *err)
{
    int rc = check_range("number of experts", h->n_experts, HD_MAX_EXPERTS, err);

    if (rc == 0)
        rc = check_range("number of experts that a row takes", h->n_used, HD_MAX_USED, err);
    if (rc == 0 && h->n_used > h->n_experts)
        return hd_fail(err, HD_E_FORMAT, "a row takes %u experts of %u", (unsigned)h->n_used,
                       (unsigned)h->n_experts);
    if (rc == 0)
        rc = check_range("experts x FFN size", h->n_experts * h->ffn_dim, HD_MAX_HIDDEN, err);
    return rc;
}

static int check_hyper(const struct hd_hyper *h, struct hd_error *err)
{
    int rc = check_ranges(h, err);

    if (rc < 0)
        return rc;
    if (h->n_experts)
        rc = check_experts(h, err);
    else if (h->arch && h->arch->experts)
        rc = check_range("number of experts", 0, HD_MAX_EXPERTS, err);
    if (rc < 0)
        return rc;
    if (h->n_heads % h->n_kv_heads != 0)
        return hd_fail(err, HD_E_FORMAT, "%u heads cannot share %u KV heads evenly",
                       (unsigned)h->n_heads, (unsigned)h->n_kv_heads);
    if (h->head_dim % HEAD_STEP != 0)
        return hd_fail(err, HD_E_UNSUPPORTED, "head size %u is not a multiple of 4",
                       (unsigned)h->head_dim);
    if (!(h->norm_eps > 0 && h->norm_eps < 1))
        return hd_fail(err, HD_E_FORMAT, "RMSNorm epsilon %g is not between 0 and 1", h->norm_eps);
    if (h->rope_dim > h->head_dim || h->rope_dim % 2 != 0)
        return hd_fail(err, HD_E_FORMAT, "RoPE rotates %u of the %u values of a head",
                       (unsigned)h->rope_dim, (unsigned)h->head_dim);
    if (h->rope.scaling == HD_ROPE_LONGROPE && h->rope.divisors && h->n_factors != h->rope_dim / 2)
        return hd_fail(err, HD_E_FORMAT, "RoPE has lists of %zu factors for %u pairs of values",
                       h->n_factors, (unsigned)h->rope_dim / 2);
    if (h->rope.scaling == HD_ROPE_LONGROPE && h->local.theta != 0)
        return hd_fail(err, HD_E_UNSUPPORTED,
                       "RoPE with factors for long sequences and another base in some layers");
    if (h->local.theta != 0)
        rc = hd_rope_check(&h->local, err);
    return rc < 0 ? rc : hd_rope_check(&h->rope, err);
}

/* A number that is not given is 0; of those that are, none is absurd. */
static int check_block(const struct hd_hyper *h, struct hd_error *err)
{
    const struct {
        const char *what;
        double v;
    } numbers[] = {
        {"the scale of attention", h->attention_scale},
        {"the cap of attention scores", h->attention_cap},
        {"the cap of logits", h->logit_cap},
        {"the scale of logits", h->logit_scale},
        {"the scale of the embedding", h->embedding_scale},
        {"the scale of the residual", h->residual_scale},
        {"the gain of the clamped SwiGLU", h->clamp_alpha},
        {"the limit of the clamped SwiGLU", h->clamp_limit},
        {"the growth of attention", h->growth},
    };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].v != 0 && !(numbers[i].v >= 1e-6 && numbers[i].v <= 1e6))
            return hd_fail(err, HD_E_RANGE, "%s is %g, which is not from 1e-6 to 1e6",
                           numbers[i].what, numbers[i].v);
    if (h->growth != 0 && !(h->growth_from >= 1 && h->growth_from <= HD_MAX_CONTEXT))
        return hd_fail(err, HD_E_RANGE, "attention grows from each %g positions to the next",
                       h->growth_from);
    return 0;
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

void hd_hyper_turns(struct hd_hyper *h)
{
    const struct hd_arch *a = h->arch;

    for (uint32_t l = 0; l < HD_MAX_LAYERS; l++) {
        h->global[l] = a->global_every && (l + 1) % a->global_every == 0;
        h->no_rope[l] = a->no_rope_every && (l + 1) % a->no_rope_every == 0;
    }
}

static float or_one(double v)
{
    return v == 0 ? 1 : (float)v;
}

static void set_block(struct hd_model *m, const struct hd_hyper *h)
{
    double usual = 1 / sqrt((double)h->head_dim);
    bool own = h->attention_scale != 0 && (float)h->attention_scale != (float)usual;

    m->block = (struct hd_block){
        .activation = h->activation ? (enum hd_activation)(h->activation - 1)
                      : h->arch     ? h->arch->activation
                                    : HD_ACTIVATION_SILU,
        .norm_offset = (float)h->norm_offset,
        .attention_scale = own ? (float)h->attention_scale : 1.0f / sqrtf((float)h->head_dim),
        .attention_cap = (float)h->attention_cap,
        .logit_scale = or_one(h->logit_scale),
        .logit_cap = (float)h->logit_cap,
        .embedding_scale = or_one(h->embedding_scale),
        .residual_scale = or_one(h->residual_scale),
        .norm = h->arch ? h->arch->norm : HD_NORM_RMS,
        .parallel = h->parallel,
    };
    if (h->growth != 0) {
        m->block.growth = (float)h->growth;
        m->block.growth_from = (uint32_t)h->growth_from;
    }
    if (h->arch)
        m->block.clamp = h->arch->clamp;
    if (h->clamp_alpha != 0)
        m->block.clamp.alpha = (float)h->clamp_alpha;
    if (h->clamp_limit != 0)
        m->block.clamp.limit = (float)h->clamp_limit;
    if (h->arch && h->arch->embedding_by_sqrt_dim)
        m->block.embedding_scale = sqrtf((float)h->dim);
}

/* A window that no position reaches beyond is none. */
static void set_layers(struct hd_model *m, const struct hd_hyper *h)
{
    for (uint32_t l = 0; l < m->shape.n_layers; l++) {
        bool local = h->window != 0 && !h->global[l];

        m->layers[l].window = local && h->window < h->context ? (uint32_t)h->window : 0;
        bool none = h->no_rope[l] || (h->arch && h->arch->global_no_rope && h->window && !local);
        m->layers[l].rope = none                           ? HD_LAYER_ROPE_NONE
                            : local && h->local.theta != 0 ? HD_LAYER_ROPE_LOCAL
                                                           : HD_LAYER_ROPE_MAIN;
    }
}

/* Frequencies and scales of the one or two sets. */
static void set_rope(struct hd_model *m, const struct hd_hyper *h)
{
    struct hd_rope_config second = m->long_from != 0 ? h->rope : h->local;

    if (m->long_from != 0)
        second.divisors = h->long_factors;
    hd_rope_frequencies(&h->rope, m->shape.rope_dim, m->rope_freq);
    if (m->rope_sets > 1)
        hd_rope_frequencies(&second, m->shape.rope_dim, m->rope_freq + m->shape.head_dim / 2);
    m->rope_scale[0] = (float)hd_rope_attention_factor(&h->rope);
    m->rope_scale[1] = (float)hd_rope_attention_factor(&second);
}

int hd_model_set_shape(struct hd_model *m, struct hd_hyper *h, struct hd_error *err)
{
    if (h->n_kv_heads == 0)
        h->n_kv_heads = h->n_heads;
    if (h->head_dim == 0 && h->n_heads > 0 && h->dim % h->n_heads == 0)
        h->head_dim = h->dim / h->n_heads;
    if (h->rope_dim == 0)
        h->rope_dim = h->head_dim;
    int rc = check_hyper(h, err);
    if (rc == 0)
        rc = check_block(h, err);
    if (rc < 0)
        return rc;
    m->shape = (struct hd_model_shape){
        .n_layers = (uint32_t)h->n_layers,
        .dim = (uint32_t)h->dim,
        .n_heads = (uint32_t)h->n_heads,
        .n_kv_heads = (uint32_t)h->n_kv_heads,
        .head_dim = (uint32_t)h->head_dim,
        .ffn_dim = (uint32_t)h->ffn_dim,
        .n_experts = (uint32_t)h->n_experts,
        .n_used = h->n_experts ? (uint32_t)h->n_used : 0,
        .vocab = (uint32_t)h->vocab,
        .context = (uint32_t)h->context,
        .rope_dim = (uint32_t)h->rope_dim,
        .norm_eps = (float)h->norm_eps,
        .tied_output = h->tied_output,
    };
    m->bos = special(m, h->bos, "bos_token_id");
    m->eos = special(m, h->eos, "eos_token_id");
    if (h->rope.scaling == HD_ROPE_LONGROPE && (double)h->context > h->rope.original_context)
        m->long_from = (uint32_t)h->rope.original_context;
    m->rope_sets = h->local.theta != 0 || m->long_from != 0 ? 2 : 1;
    m->rope_freq = calloc((size_t)m->rope_sets * (m->shape.head_dim / 2), sizeof *m->rope_freq);
    m->layers = calloc(m->shape.n_layers, sizeof *m->layers);
    m->expert_data = calloc((size_t)m->shape.n_layers * m->shape.n_experts * HD_EXPERT_SLOTS + 1,
                            sizeof *m->expert_data);
    if (!m->rope_freq || !m->layers || !m->expert_data)
        return hd_fail(err, HD_E_NOMEM, "no memory for the model's shape");
    set_rope(m, h);
    set_block(m, h);
    set_layers(m, h);
    if (h->arch)
        m->router = (struct hd_router){.top_first = h->arch->router.top_first,
                                       .normalise = h->normalise ? h->normalise > 0
                                                                 : h->arch->router.normalise};
    return 0;
}
