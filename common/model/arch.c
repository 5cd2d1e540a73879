/* The slots, and walking over them. */
#include "common/model/arch.h"

#include <stdio.h>
#include <string.h>

#define MODEL(field) .offset = offsetof(struct hd_model, field)
#define LAYER(field) .in_layer = true, .offset = offsetof(struct hd_layer, field)
#define SIZES(r, c)  .rows = HD_SIZE_##r, .cols = HD_SIZE_##c
#define CUT(u, how)  .unit = HD_UNIT_##u, .cut = HD_CUT_##how
#define LEADERS      .unit = HD_UNIT_KINDS, .cut = HD_CUT_NONE
#define EXPERTS      .of_expert = true
#define EACH_NORM    .norm = true, .by_head = true

/* clang-format off */
const struct hd_slot hd_slots[HD_SLOTS] = {
    [HD_SLOT_EMBEDDING]   = {MODEL(embedding),   SIZES(VOCAB, DIM), LEADERS},
    [HD_SLOT_OUTPUT_NORM] = {MODEL(output_norm), SIZES(ONE, DIM),   LEADERS, .norm = true},
    [HD_SLOT_OUTPUT]      = {MODEL(output),      SIZES(VOCAB, DIM), CUT(VOCAB, ROWS)},
    [HD_SLOT_ATTN_NORM]   = {LAYER(attn_norm),   SIZES(ONE, DIM),   LEADERS, .norm = true},
    [HD_SLOT_Q]           = {LAYER(wq),          SIZES(Q, DIM),     CUT(HEAD, ROTATED)},
    [HD_SLOT_K]           = {LAYER(wk),          SIZES(KV, DIM),    CUT(HEAD, ROTATED)},
    [HD_SLOT_V]           = {LAYER(wv),          SIZES(KV, DIM),    CUT(HEAD, ROWS)},
    [HD_SLOT_O]           = {LAYER(wo),          SIZES(DIM, Q),     CUT(HEAD, COLUMNS)},
    [HD_SLOT_FFN_NORM]    = {LAYER(ffn_norm),    SIZES(ONE, DIM),   LEADERS, .norm = true},
    [HD_SLOT_GATE]        = {LAYER(gate),        SIZES(FFN, DIM),   CUT(FFN, ROWS), EXPERTS},
    [HD_SLOT_UP]          = {LAYER(up),          SIZES(FFN, DIM),   CUT(FFN, ROWS), EXPERTS},
    [HD_SLOT_DOWN]        = {LAYER(down),        SIZES(DIM, FFN),   CUT(FFN, COLUMNS), EXPERTS},
    [HD_SLOT_Q_BIAS]      = {LAYER(q_bias),      SIZES(Q, ONE),     CUT(HEAD, ROTATED)},
    [HD_SLOT_K_BIAS]      = {LAYER(k_bias),      SIZES(KV, ONE),    CUT(HEAD, ROTATED)},
    [HD_SLOT_V_BIAS]      = {LAYER(v_bias),      SIZES(KV, ONE),    CUT(HEAD, ROWS)},
    [HD_SLOT_Q_NORM]      = {LAYER(q_norm),      SIZES(HEAD, ONE),  CUT(HEAD, WHOLE), .norm = true},
    [HD_SLOT_K_NORM]      = {LAYER(k_norm),      SIZES(HEAD, ONE),  CUT(HEAD, WHOLE), .norm = true},
    [HD_SLOT_GATE_BIAS]   = {LAYER(gate_bias),   SIZES(FFN, ONE),   CUT(FFN, ROWS), EXPERTS},
    [HD_SLOT_UP_BIAS]     = {LAYER(up_bias),     SIZES(FFN, ONE),   CUT(FFN, ROWS), EXPERTS},
    [HD_SLOT_ATTN_BIAS]   = {LAYER(attn_bias),   SIZES(ONE, DIM),   LEADERS},
    [HD_SLOT_FFN_BIAS]    = {LAYER(ffn_bias),    SIZES(ONE, DIM),   LEADERS},
    [HD_SLOT_ATTN_POST_NORM] = {LAYER(attn_post_norm), SIZES(ONE, DIM), LEADERS, .norm = true},
    [HD_SLOT_FFN_POST_NORM]  = {LAYER(ffn_post_norm),  SIZES(ONE, DIM), LEADERS, .norm = true},
    [HD_SLOT_Q_WHOLE_NORM] = {LAYER(q_whole_norm), SIZES(Q, ONE),  CUT(HEAD, ROTATED), .norm = true},
    [HD_SLOT_K_WHOLE_NORM] = {LAYER(k_whole_norm), SIZES(KV, ONE), CUT(HEAD, ROTATED), .norm = true},
    [HD_SLOT_ATTN_NORM_BIAS]   = {LAYER(attn_norm_bias),   SIZES(ONE, DIM), LEADERS},
    [HD_SLOT_FFN_NORM_BIAS]    = {LAYER(ffn_norm_bias),    SIZES(ONE, DIM), LEADERS},
    [HD_SLOT_OUTPUT_NORM_BIAS] = {MODEL(output_norm_bias), SIZES(ONE, DIM), LEADERS},
    [HD_SLOT_ROUTER]      = {LAYER(router),      SIZES(EXPERTS, DIM), LEADERS},
    [HD_SLOT_ROUTER_BIAS] = {LAYER(router_bias), SIZES(ONE, EXPERTS), LEADERS},
    [HD_SLOT_EXPERT_BIAS] = {LAYER(expert_bias), SIZES(EXPERTS, DIM), LEADERS},
    [HD_SLOT_SINKS]       = {LAYER(sinks),       SIZES(HEADS, ONE),   CUT(HEAD, ROWS)},
    [HD_SLOT_OUTPUT_BIAS] = {MODEL(output_bias), SIZES(VOCAB, ONE),   CUT(VOCAB, ROWS)},
    [HD_SLOT_Q_EACH_NORM] = {LAYER(q_each_norm), SIZES(Q, ONE),    CUT(HEAD, ROTATED), EACH_NORM},
    [HD_SLOT_K_EACH_NORM] = {LAYER(k_each_norm), SIZES(KV, ONE),   CUT(HEAD, ROTATED), EACH_NORM},
    [HD_SLOT_Q_NORM_BIAS] = {LAYER(q_norm_bias), SIZES(HEAD, ONE), CUT(HEAD, WHOLE)},
    [HD_SLOT_K_NORM_BIAS] = {LAYER(k_norm_bias), SIZES(HEAD, ONE), CUT(HEAD, WHOLE)},
};
/* clang-format on */

struct hd_tensor *hd_slot_tensor(struct hd_model *m, enum hd_slot_id slot, uint32_t layer)
{
    const struct hd_slot *s = &hd_slots[slot];
    void *of = s->in_layer ? (void *)&m->layers[layer] : m;

    return (struct hd_tensor *)(void *)((char *)of + s->offset);
}

const struct hd_tensor *hd_slot_of(const struct hd_model *m, enum hd_slot_id slot, uint32_t layer)
{
    const struct hd_slot *s = &hd_slots[slot];
    const void *of = s->in_layer ? (const void *)&m->layers[layer] : m;

    return (const struct hd_tensor *)(const void *)((const char *)of + s->offset);
}

struct hd_expert_data *hd_expert_data(const struct hd_model *m, enum hd_slot_id slot,
                                      uint32_t layer, uint32_t expert)
{
    static const enum hd_slot_id of_experts[HD_EXPERT_SLOTS] = {
        HD_SLOT_GATE, HD_SLOT_UP, HD_SLOT_DOWN, HD_SLOT_GATE_BIAS, HD_SLOT_UP_BIAS};
    size_t place = 0;

    while (of_experts[place] != slot)
        place++;
    return &m->expert_data[((size_t)layer * m->shape.n_experts + expert) * HD_EXPERT_SLOTS + place];
}

struct hd_tensor hd_slot_expert(const struct hd_model *m, enum hd_slot_id slot, uint32_t layer,
                                uint32_t expert)
{
    struct hd_tensor t = *hd_slot_of(m, slot, layer);

    if (m->shape.n_experts && hd_slots[slot].of_expert) {
        t.data = hd_expert_data(m, slot, layer, expert)->data;
        t.apart = hd_expert_data(m, slot, layer, expert)->apart;
    }
    return t;
}

uint32_t hd_slot_layers(const struct hd_model *m, enum hd_slot_id slot)
{
    if (!(m->slots & HD_SLOT_BIT(slot)))
        return 0;
    return hd_slots[slot].in_layer ? m->shape.n_layers : 1;
}

bool hd_slot_is_vector(enum hd_slot_id slot)
{
    return hd_slots[slot].rows == HD_SIZE_ONE || hd_slots[slot].cols == HD_SIZE_ONE;
}

bool hd_slot_takes_input(enum hd_slot_id slot)
{
    const struct hd_slot *s = &hd_slots[slot];

    return (s->cut == HD_CUT_ROWS || s->cut == HD_CUT_ROTATED) && s->cols == HD_SIZE_DIM;
}

size_t hd_size_of(const struct hd_model_shape *s, enum hd_size size)
{
    switch (size) {
    case HD_SIZE_DIM:
        return s->dim;
    case HD_SIZE_Q:
        return (size_t)s->n_heads * s->head_dim;
    case HD_SIZE_KV:
        return (size_t)s->n_kv_heads * s->head_dim;
    case HD_SIZE_HEAD:
        return s->head_dim;
    case HD_SIZE_FFN:
        return s->ffn_dim;
    case HD_SIZE_EXPERTS:
        return s->n_experts;
    case HD_SIZE_HEADS:
        return s->n_heads;
    case HD_SIZE_VOCAB:
        return s->vocab;
    case HD_SIZE_ONE:
        break;
    }
    return 1;
}

/* ---- Families ----*/

const struct hd_arch *hd_arch_of_gguf(struct hd_str name, bool experts)
{
    for (const struct hd_arch *a = hd_arches; a->tensors; a++)
        if (a->gguf && a->experts == experts && strlen(a->gguf) == name.len &&
            memcmp(a->gguf, name.data, name.len) == 0)
            return a;
    return NULL;
}

const struct hd_arch *hd_arch_of_hf(const char *model_type)
{
    for (const struct hd_arch *a = hd_arches; a->tensors; a++)
        if (a->hf && strcmp(a->hf, model_type) == 0)
            return a;
    return NULL;
}

void hd_arch_list(bool hf, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (const struct hd_arch *a = hd_arches; a->tensors; a++) {
        const char *name = hf ? a->hf : a->gguf;
        bool again = !hf && name && a->experts &&
                     hd_arch_of_gguf((struct hd_str){name, strlen(name)}, false);

        if (name && !again && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s\"%s\"", n ? ", " : "", name);
    }
}
