/* outline.c - the outline as a message, and back to a model without weights, checked like a file.
 */
#include "common/model/outline.h"

#include "common/model/model_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hd_outline_of(const struct hd_model *m, struct hd_outline_room *room, struct hd_outline *out)
{
    uint64_t slots = 0;
    size_t n = 0;
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++) {
        if (!hd_slot_is_units(s) || hd_slot_layers(m, s) == 0)
            continue;
        slots |= HD_SLOT_BIT(s);
        for (uint32_t l = 0; l < hd_slot_layers(m, s); l++)
            room->types[n++] = (uint8_t)hd_slot_of(m, s, l)->type;
    }
    for (uint32_t l = 0; l < m->shape.n_layers; l++) {
        room->windows[l] = m->layers[l].window;
        room->layer_rope[l] = (uint8_t)m->layers[l].rope;
    }
    *out = (struct hd_outline){
        .shape = m->shape,
        .rope_order = m->rope_order,
        .rope_freq = m->rope_freq,
        .n_rope_freq = m->rope_sets * (m->shape.head_dim / 2),
        .rope_scale = m->rope_scale,
        .n_rope_scale = m->rope_sets,
        .long_from = m->long_from,
        .block = m->block,
        .activation = m->block.activation,
        .norm = m->block.norm,
        .windows = room->windows,
        .n_windows = m->shape.n_layers,
        .layer_rope = room->layer_rope,
        .n_layer_rope = m->shape.n_layers,
        .name = m->name,
        .digest = m->digest,
        .slots = slots,
        .types = room->types,
        .n_types = n,
    };
}

/* ---- Back to a model ----*/

static int set_shape(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    const struct hd_model_shape *s = &o->shape;
    struct hd_hyper h = {.n_layers = s->n_layers,
                         .dim = s->dim,
                         .n_heads = s->n_heads,
                         .n_kv_heads = s->n_kv_heads,
                         .head_dim = s->head_dim,
                         .ffn_dim = s->ffn_dim,
                         .n_experts = s->n_experts,
                         .n_used = s->n_used,
                         .vocab = s->vocab,
                         .context = s->context,
                         .rope_dim = s->rope_dim,
                         .norm_eps = (double)s->norm_eps,
                         .tied_output = s->tied_output,
                         .bos = -1,
                         .eos = -1,
                         .rope = {.theta = 10000, .factor = 1}}; /* replaced by the list */
    if (o->n_rope_freq == HD_ROPE_SETS * (size_t)(s->head_dim / 2))
        h.local = h.rope;
    int rc = hd_model_set_shape(m, &h, err);
    if (rc < 0)
        return rc;
    if (o->rope_order != HD_ROPE_INTERLEAVED && o->rope_order != HD_ROPE_HALVES)
        return hd_fail(err, HD_E_FORMAT, "the order of rotated rows is %u", o->rope_order);
    m->rope_order = (enum hd_rope_order)o->rope_order;
    return 0;
}

/* Of the pairs that are not rotated it is 0. */
static int set_frequencies(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    size_t pairs = m->shape.head_dim / 2;
    if (o->n_rope_freq != m->rope_sets * pairs)
        return hd_fail(err, HD_E_FORMAT, "%zu frequencies for a head size of %u", o->n_rope_freq,
                       m->shape.head_dim);
    for (size_t i = 0; i < o->n_rope_freq; i++) {
        double f = o->rope_freq[i];
        bool fits = i % pairs < m->shape.rope_dim / 2 ? f > 0 && f <= HD_ROPE_MAX_FREQ : f == 0;
        if (!fits)
            return hd_fail(err, HD_E_FORMAT, "frequency %zu is %g", i, f);
        m->rope_freq[i] = f;
    }
    return 0;
}

static bool is_number(float v, float least)
{
    return v >= least && v <= 1e6f;
}

/* What cosines and sines are multiplied by, of each set. */
static int set_rope_scales(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    if (o->n_rope_scale != m->rope_sets)
        return hd_fail(err, HD_E_FORMAT, "%zu scales of RoPE for %u sets of frequencies",
                       o->n_rope_scale, m->rope_sets);
    for (size_t i = 0; i < o->n_rope_scale; i++) {
        if (!is_number(o->rope_scale[i], 1e-6f))
            return hd_fail(err, HD_E_FORMAT, "scale %zu of RoPE is %g", i,
                           (double)o->rope_scale[i]);
        m->rope_scale[i] = o->rope_scale[i];
    }
    if (o->long_from != 0 && (m->rope_sets < HD_ROPE_SETS || o->long_from >= m->shape.context))
        return hd_fail(err, HD_E_FORMAT, "sequences are long from %u positions of %u", o->long_from,
                       m->shape.context);
    m->long_from = o->long_from;
    return 0;
}

static int set_block(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    const struct hd_block *b = &o->block;
    size_t layers = m->shape.n_layers;
    if (o->activation >= HD_ACTIVATION_KINDS || o->norm > HD_NORM_LAYER ||
        !is_number(b->norm_offset, 0) || !is_number(b->attention_scale, 1e-6f) ||
        !is_number(b->attention_cap, 0) || !is_number(b->logit_scale, 1e-6f) ||
        !is_number(b->logit_cap, 0) || !is_number(b->clamp.alpha, 0) ||
        !is_number(b->clamp.limit, 0) || !is_number(b->growth, 0))
        return hd_fail(err, HD_E_FORMAT, "what its blocks do makes no sense");
    if (o->n_windows != layers || o->n_layer_rope != layers)
        return hd_fail(err, HD_E_FORMAT, "%zu windows and %zu kinds of RoPE for %zu layers",
                       o->n_windows, o->n_layer_rope, layers);
    m->block = *b;
    m->block.activation = (enum hd_activation)o->activation;
    m->block.norm = (enum hd_norm_kind)o->norm;
    for (size_t l = 0; l < layers; l++) {
        if (o->layer_rope[l] > HD_LAYER_ROPE_NONE ||
            (o->layer_rope[l] == HD_LAYER_ROPE_LOCAL && m->rope_sets < HD_ROPE_SETS))
            return hd_fail(err, HD_E_FORMAT, "the RoPE of layer %zu is %u", l, o->layer_rope[l]);
        m->layers[l].window = o->windows[l];
        m->layers[l].rope = (enum hd_layer_rope)o->layer_rope[l];
    }
    return 0;
}

static int set_tensor(struct hd_model *m, enum hd_slot_id slot, uint32_t layer, unsigned type,
                      struct hd_error *err)
{
    size_t rows = hd_size_of(&m->shape, hd_slots[slot].rows),
           cols = hd_size_of(&m->shape, hd_slots[slot].cols);
    if (!hd_dtype_known((int)type))
        return hd_fail(err, HD_E_UNSUPPORTED, "a matrix is of type %u, which is not known", type);
    if (hd_slot_is_vector(slot) && hd_dtype_block((enum hd_dtype)type) != 1)
        return hd_fail(err, HD_E_FORMAT, "a vector is %s", hd_dtype_name((int)type));
    if (cols % hd_dtype_block((enum hd_dtype)type) != 0)
        return hd_fail(err, HD_E_FORMAT, "rows of %zu values cannot be %s", cols,
                       hd_dtype_name((enum hd_dtype)type));
    *hd_slot_tensor(m, slot, layer) =
        (struct hd_tensor){.type = (enum hd_dtype)type,
                           .rows = rows,
                           .cols = cols,
                           .row_bytes = hd_dtype_row_bytes((enum hd_dtype)type, cols)};
    return 0;
}

/* The slots that are said: all that no model is without, and none that is no unit's. */
static int set_slots(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    uint64_t known = 0;
    size_t n = 0;
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        if (hd_slot_is_units(s))
            known |= HD_SLOT_BIT(s);
    if (o->slots & ~known || (o->slots & HD_SLOTS_NEEDED) != HD_SLOTS_NEEDED)
        return hd_fail(err, HD_E_FORMAT, "the tensors %#llx are not those of a model",
                       (unsigned long long)o->slots);
    m->slots = o->slots;
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        n += hd_slot_layers(m, s);
    if (o->n_types != n)
        return hd_fail(err, HD_E_FORMAT, "types of %zu matrices for %u layers", o->n_types,
                       m->shape.n_layers);
    return 0;
}

static int set_matrices(struct hd_model *m, const struct hd_outline *o, struct hd_error *err)
{
    const uint8_t *type = o->types;
    int rc = set_slots(m, o, err);
    if (rc < 0)
        return rc;
    for (enum hd_slot_id s = 0; s < HD_SLOTS; s++)
        for (uint32_t l = 0; l < hd_slot_layers(m, s) && rc == 0; l++)
            rc = set_tensor(m, s, l, *type++, err);
    return rc;
}

/* Printable ASCII only, like that of a file. */
static void set_name(struct hd_model *m, const char *name)
{
    snprintf(m->name, sizeof m->name, "%s", name && *name ? name : "model");
    for (char *c = m->name; *c; c++)
        if (*c < 0x20 || *c >= 0x7F)
            *c = '_';
}

int hd_model_from_outline(struct hd_model **out, const struct hd_outline *o, struct hd_error *err)
{
    *out = NULL;
    struct hd_model *m = calloc(1, sizeof *m);
    if (!m)
        return hd_fail(err, HD_E_NOMEM, "no memory for a model");
    m->bos = m->eos = -1;
    m->digest = o->digest;
    set_name(m, o->name);
    int rc = set_shape(m, o, err);
    if (rc == 0)
        rc = set_frequencies(m, o, err);
    if (rc == 0)
        rc = set_rope_scales(m, o, err);
    if (rc == 0)
        rc = set_block(m, o, err);
    if (rc == 0)
        rc = set_matrices(m, o, err);
    if (rc < 0) {
        hd_model_close(m);
        return rc;
    }
    m->activations = hd_model_best_activations(m);
    *out = m;
    return 0;
}
