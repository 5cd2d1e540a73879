/* The keys of a GGUF file: those of ggml's docs/gguf.md, and what llama.cpp
 * and its converters have added. */
#include "common/model/arch.h"
#include "common/model/gguf_impl.h"
#include "common/model/rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
const struct hd_rule hd_gguf_rules[] = {
    HD_READ("block_count"), HD_READ("context_length"), HD_READ("embedding_length"),
    HD_READ("feed_forward_length"), HD_READ("vocab_size"),
    HD_READ("attention.head_count"), HD_READ("attention.head_count_kv"),
    HD_READ("attention.key_length"), HD_READ("attention.value_length"),
    HD_READ("attention.layer_norm_rms_epsilon"),
    HD_READ("rope.dimension_count"), HD_READ("rope.freq_base"), HD_READ("rope.scaling.type"),
    HD_READ("rope.scaling.factor"), HD_READ("rope.scale_linear"),
    /* Both orders of rows that converters have named; in GGUF pairs are always interleaved. */
    HD_WORDS("tensor_data_layout", "reference|Meta AI original pth"),
    /* Attention. */
    HD_IS("attention.causal", 1),
    HD_WINDOW("attention.sliding_window"),
    HD_NOTE("attention.sliding_window_pattern"), /* where a window applies; there is none */
    HD_SCALE("attention.scale"),
    HD_IS("attention.clamp_kqv", 0), HD_IS("attention.max_alibi_bias", 0),
    HD_IS("attention.shared_kv_layers", 0), HD_IS("attention.temperature_scale", 0),
    HD_IS("attention.q_lora_rank", 0), HD_IS("attention.kv_lora_rank", 0),
    HD_IS("attention.key_length_mla", 0), HD_IS("attention.value_length_mla", 0),
    /* RoPE. YaRN's own parameters say nothing where its share (ext_factor) is 0; where it is not,
     * they are read. */
    HD_IS("rope.scaling.attn_factor", 1), HD_IS("rope.scaling.yarn_attn_factor", 1),
    HD_EITHER("rope.scaling.yarn_ext_factor", 0, -1), HD_IS("rope.scaling.yarn_log_multiplier", 0),
    HD_NOTE("rope.scaling.yarn_beta_fast"), HD_NOTE("rope.scaling.yarn_beta_slow"),
    HD_IS("rope.scaling.alpha", 0),
    HD_NOTE("rope.scaling.original_context_length"), HD_NOTE("rope.scaling.finetuned"),
    /* Scales and caps. */
    HD_EITHER("embedding_scale", 0, 1), HD_EITHER("residual_scale", 0, 1),
    HD_EITHER("logit_scale", 0, 1),
    HD_IS("attn_logit_softcapping", 0), HD_IS("final_logit_softcapping", 0),
    HD_IS("router_logit_softcapping", 0),
    /* The block. */
    HD_IS("use_parallel_residual", 0), HD_IS("swin_norm", 0),
    HD_IS("expert_count", 0), HD_IS("expert_used_count", 0), HD_IS("expert_shared_count", 0),
    HD_IS("expert_group_count", 0), HD_IS("expert_group_used_count", 0),
    HD_IS("expert_feed_forward_length", 0), HD_IS("expert_shared_feed_forward_length", 0),
    HD_IS("expert_weights_norm", 0), HD_EITHER("expert_weights_scale", 0, 1),
    HD_IS("expert_gating_func", 0), HD_IS("leading_dense_block_count", 0),
    HD_IS("interleave_moe_layer_step", 0), HD_IS("moe_every_n_layers", 0),
    HD_IS("nextn_predict_layers", 0), HD_IS("n_deepstack_layers", 0),
    /* How an embedding of a text is made of its rows; no part of the logits. */
    HD_READ("pooling_type"),
    HD_RULES_END,
};

#define OF_ARCH "a key of the architecture begins with its name"

/* Whole groups of keys. Nobody reads a publisher's own; what sounds like arithmetic is no
 * publisher's. */
static const struct hd_rule groups[] = {
    HD_NOTE("general"), HD_NOTE("tokenizer"), HD_NOTE("split"), HD_NOTE("quantize"),
    HD_NEVER("rope", OF_ARCH),
    HD_NEVER("attention", OF_ARCH),
    HD_NEVER("adapter", "this is a LoRA adapter: merge it into its model"),
    HD_NEVER("clip", "this is an encoder of images: take the language model's file"),
    HD_NEVER("imatrix", "this is a matrix for quantizing: take the model's file"),
    HD_RULES_END,
};

/* What yarn reads, and how large its own share may be: all, or as the reader has it. */
static const struct hd_rule yarn[] = {
    HD_READ("rope.scaling.attn_factor"), HD_READ("rope.scaling.yarn_log_multiplier"),
    HD_READ("rope.scaling.yarn_beta_fast"), HD_READ("rope.scaling.yarn_beta_slow"),
    HD_READ("rope.scaling.original_context_length"),
    HD_EITHER("rope.scaling.yarn_ext_factor", 1, -1),
    HD_NOTE("rope.scaling.yarn_attn_factor"), /* nobody takes it where there is a share */
    HD_RULES_END,
};
/* clang-format on */

/* What factors for long sequences read. */
static const struct hd_rule longrope[] = {HD_READ("rope.scaling.attn_factor"), HD_RULES_END};

static const struct hd_rule *scaling_rules(const struct hd_hyper *h)
{
    return h->rope.scaling == HD_ROPE_YARN       ? yarn
           : h->rope.scaling == HD_ROPE_LONGROPE ? longrope
                                                 : NULL;
}

static void describe(const struct gguf_value *v, char *out, size_t size)
{
    struct hd_said first = {.kind = HD_SAID_OTHER};
    size_t n = gguf_said_count(v);
    char text[48] = "something";

    if (n > 0)
        gguf_said(v, 0, &first);
    if (first.kind == HD_SAID_WORD)
        hd_printable(text, sizeof text, first.word);
    else if (first.kind == HD_SAID_NUMBER && v->type == GGUF_BOOL)
        snprintf(text, sizeof text, "%s", first.number != 0 ? "true" : "false");
    else if (first.kind == HD_SAID_NUMBER)
        snprintf(text, sizeof text, v->type == GGUF_F32 || v->type == GGUF_F64 ? "%.7g" : "%.20g",
                 first.number);
    if (v->type == GGUF_ARRAY)
        snprintf(out, size, n ? "a list of %zu, the first %s" : "an empty list", n, text);
    else
        snprintf(out, size, first.kind == HD_SAID_WORD ? "\"%s\"" : "%s", text);
}

static int judge(const struct hd_rule *r, struct hd_str name, const struct gguf_value *v,
                 const struct hd_hyper *h, struct hd_error *err)
{
    bool fine = r && r->kind != HD_RULE_NEVER;

    for (size_t i = 0; fine && i < gguf_said_count(v); i++) {
        struct hd_said one;

        gguf_said(v, i, &one);
        fine = hd_rule_accepts(r, &one, h);
    }
    if (fine)
        return 0;
    char value[96];
    describe(v, value, sizeof value);
    return hd_rule_refuse(r, &(struct hd_setting){"key", name, value}, err);
}

static int check_key(const struct hd_gguf *g, size_t i, const struct hd_hyper *h, unsigned *strange,
                     struct hd_error *err)
{
    struct hd_str name = g->keys.names[i], group = name, rest;
    const char *dot = memchr(name.data, '.', name.len);

    group.len = dot ? (size_t)(dot - name.data) : name.len;
    if (dot && group.len == strlen(h->arch->gguf) &&
        memcmp(group.data, h->arch->gguf, group.len) == 0) {
        rest = (struct hd_str){dot + 1, name.len - group.len - 1};
        const struct hd_rule *own = scaling_rules(h) ? hd_rule_find(scaling_rules(h), rest) : NULL;
        if (!own && h->arch->gguf_rules)
            own = hd_rule_find(h->arch->gguf_rules, rest);
        return judge(own ? own : hd_rule_find(hd_gguf_rules, rest), name, &g->values[i], h, err);
    }
    const struct hd_rule *r = hd_rule_find(groups, group);
    if (!r)
        ++*strange;
    return r ? judge(r, name, &g->values[i], h, err) : 0;
}

int hd_gguf_check_keys(const struct hd_gguf *g, const struct hd_hyper *h, struct hd_warnings *w,
                       struct hd_error *err)
{
    unsigned strange = 0, before = 0;
    char name[80] = "";
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < g->keys.n; i++) {
        rc = check_key(g, i, h, &strange, err);
        if (strange == 1 && before == 0)
            hd_printable(name, sizeof name, g->keys.names[i]);
        before = strange;
    }
    if (strange)
        hd_warnings_add(w,
                        "%u keys are neither the format's nor the architecture's and are not "
                        "read, the first of them %s",
                        strange, name);
    return rc;
}
