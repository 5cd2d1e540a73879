"""Random small configurations of each family, as transformers' classes take them, for
random_models.py: a function each, of a generator of random numbers."""

VOCAB = 160


def sizes(r, head_dims=(8, 16, 20, 32), free_head=True):
    kv, rep, head = r.choice([1, 1, 2, 3]), r.choice([1, 2, 3]), r.choice(head_dims)
    heads = kv * rep
    dim = r.choice([32, 48, 64, 96]) if free_head else heads * head
    out = {
        "num_hidden_layers": r.randint(2, 5),
        "hidden_size": dim,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": r.choice([40, 96, 104, 160]),
        "vocab_size": VOCAB,
        "max_position_embeddings": r.choice([64, 256]),
        "tie_word_embeddings": r.random() < 0.5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    if free_head:
        out["head_dim"] = head
    return out


def rope(r, c, kinds=("default", "linear", "llama3", "yarn", "dynamic")):
    """As version 4 says it, or as version 5 does."""
    theta, kind = r.choice([1000.0, 10000.0, 500000.0]), r.choice(kinds)
    p = {"rope_type": kind}
    if kind != "default":
        p["factor"] = r.choice([2.0, 4.0])
    if kind == "llama3":
        p.update(low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
    if kind == "yarn":
        p["original_max_position_embeddings"] = int(c["max_position_embeddings"] / p["factor"])
        if r.random() < 0.5:
            p.update(beta_fast=r.choice([16.0, 32.0]), beta_slow=r.choice([1.0, 2.0]))
        if r.random() < 0.3:
            p["attention_factor"] = 1.1
    if r.random() < 0.5:
        return {"rope_parameters": dict(p, rope_theta=theta)}
    return {"rope_theta": theta, **({} if kind == "default" else {"rope_scaling": p})}


def layer_types(r, c, window="sliding_attention"):
    return [r.choice(["full_attention", window]) for _ in range(c["num_hidden_layers"])]


def flag(r):
    return r.random() < 0.5


def llama(r):
    c = sizes(r)
    return dict(
        c,
        **rope(r, c),
        attention_bias=flag(r),
        mlp_bias=flag(r),
        rms_norm_eps=r.choice([1e-6, 1e-5]),
    )


def mistral(r):
    c = sizes(r)
    return dict(c, **rope(r, c), sliding_window=r.choice([None, 5, 12]))


def qwen2(r):
    c = sizes(r, free_head=False)
    more = {"use_sliding_window": flag(r), "sliding_window": 9}
    if flag(r):
        more["layer_types"] = layer_types(r, c)
    else:
        more["max_window_layers"] = r.randint(0, c["num_hidden_layers"])
    return dict(c, **rope(r, c, ("default", "yarn")), **more)


def qwen3(r):
    c = sizes(r)
    return dict(
        c,
        **rope(r, c, ("default", "yarn")),
        attention_bias=flag(r),
        **r.choice([{}, {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}]),
    )


def qwen3_moe(r):
    c = qwen3(r)
    n = r.choice([4, 7, 16])
    return dict(
        c,
        num_experts=n,
        num_experts_per_tok=r.randint(1, min(n, 4)),
        norm_topk_prob=flag(r),
        moe_intermediate_size=r.choice([24, 48]),
        mlp_only_layers=[],
    )


def phi3(r):
    c = sizes(r, (16, 32), False)
    return dict(c, sliding_window=r.choice([None, 9]), partial_rotary_factor=r.choice([0.5, 1.0]))


def gemma(r):
    c = sizes(r)
    return dict(c, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True)


def gemma2(r):
    c = sizes(r)
    return dict(
        c,
        sliding_window=7,
        query_pre_attn_scalar=r.choice([16, 24, 100]),
        attn_logit_softcapping=r.choice([None, 20.0]),
        final_logit_softcapping=r.choice([None, 9.0]),
    )


def gemma3_text(r):
    c = sizes(r)
    c["num_hidden_layers"] = r.choice([2, 7])
    more = {"layer_types": layer_types(r, c)} if flag(r) else {}
    return dict(c, sliding_window=8, query_pre_attn_scalar=r.choice([16, 40]), **more)


def smollm3(r):
    c = sizes(r)
    c.pop("head_dim")
    c["hidden_size"] = c["num_attention_heads"] * r.choice([8, 16])
    more = (
        {"no_rope_layers": [r.randint(0, 1) for _ in range(c["num_hidden_layers"])]}
        if flag(r)
        else {"no_rope_layer_interval": r.choice([2, 4])}
    )
    return dict(c, **more)


def granite(r):
    c = sizes(r, free_head=False)
    return dict(
        c,
        embedding_multiplier=r.choice([1.0, 6.0]),
        residual_multiplier=r.choice([1.0, 0.3]),
        attention_multiplier=r.choice([1.0, 0.2]),
        logits_scaling=r.choice([1.0, 3.0]),
        attention_bias=flag(r),
        mlp_bias=flag(r),
    )


def granitemoe(r):
    c = granite(r)
    c.pop("mlp_bias")
    n = r.choice([3, 8])
    return dict(c, num_local_experts=n, num_experts_per_tok=r.randint(1, 3), attention_bias=False)


def glm4(r):
    c = sizes(r)
    return dict(c, partial_rotary_factor=r.choice([0.5, 1.0]), attention_bias=flag(r))


def olmo2(r):
    c = sizes(r, free_head=False)
    return dict(c, attention_bias=flag(r))


def olmo3(r):
    c = sizes(r, free_head=False)
    return dict(c, sliding_window=6)


def cohere(r):
    c = sizes(r, free_head=False)
    return dict(c, logit_scale=r.choice([0.0625, 0.5]), tie_word_embeddings=True, use_qk_norm=flag(r))


def cohere2(r):
    c = cohere(r)
    c.pop("use_qk_norm")
    return dict(c, sliding_window=5, **({} if flag(r) else {"head_dim": 16}))


def exaone4(r):
    c = sizes(r)
    return dict(c, sliding_window=6, sliding_window_pattern=r.choice([2, 4]))


def ernie4_5(r):
    c = sizes(r)
    return dict(c, use_bias=False)


def stablelm(r):
    c = sizes(r, (16, 32), False)
    return dict(
        c,
        use_qkv_bias=flag(r),
        qk_layernorm=flag(r),
        use_parallel_residual=flag(r),
        partial_rotary_factor=r.choice([0.25, 0.5]),
    )


def mixtral(r):
    c = sizes(r)
    n = r.choice([2, 4, 8])
    return dict(
        c,
        num_local_experts=n,
        num_experts_per_tok=r.randint(1, 2),
        sliding_window=r.choice([None, 6]),
    )


def olmoe(r):
    c = sizes(r, free_head=False)
    return dict(
        c, num_experts=r.choice([3, 8]), num_experts_per_tok=r.randint(1, 3), norm_topk_prob=flag(r)
    )


def gpt_oss(r):
    c = sizes(r, (16, 32))
    return dict(
        c, num_local_experts=r.choice([3, 6]), num_experts_per_tok=r.randint(1, 3), sliding_window=6
    )


def phi(r):
    c = sizes(r, (16, 32), False)
    return dict(
        c,
        partial_rotary_factor=r.choice([0.25, 0.5, 1.0]),
        qk_layernorm=flag(r),
        hidden_act=r.choice(["gelu_new", "gelu", "relu2"]),
    )


def starcoder2(r):
    c = sizes(r, free_head=False)
    return dict(
        c,
        **rope(r, c, ("default", "yarn")),
        use_bias=flag(r),
        sliding_window=r.choice([None, 7]),
        hidden_act=r.choice(["gelu_pytorch_tanh", "gelu"]),
    )


def nemotron(r):
    c = sizes(r)
    return dict(
        c, partial_rotary_factor=r.choice([0.5, 1.0]), attention_bias=flag(r), mlp_bias=flag(r)
    )


def falcon(r):
    c = sizes(r, free_head=False)
    kv, ffn = c.pop("num_key_value_heads"), c.pop("intermediate_size")
    more = r.choice(
        [
            {"multi_query": True},
            {"multi_query": False},
            {"new_decoder_architecture": True, "num_kv_heads": kv},
            {"new_decoder_architecture": True, "num_kv_heads": kv, "num_ln_in_parallel_attn": 1},
        ]
    )
    if flag(r):
        more["ffn_hidden_size"] = ffn
    return dict(c, bias=flag(r), alibi=False, **more)


def gpt_neox(r):
    c = sizes(r, (16, 32), False)
    c.pop("num_key_value_heads")
    return dict(
        c,
        rotary_pct=r.choice([0.25, 0.5, 1.0]),
        use_parallel_residual=flag(r),
        tie_word_embeddings=False,
        attention_bias=flag(r),
        hidden_act=r.choice(["gelu", "gelu_fast"]),
    )


FAMILIES = [
    llama, mistral, qwen2, qwen3, qwen3_moe, phi3, gemma, gemma2, gemma3_text, smollm3, granite,
    granitemoe, glm4, olmo2, olmo3, cohere, cohere2, exaone4, ernie4_5, stablelm, mixtral, olmoe,
    gpt_oss, phi, starcoder2, nemotron, falcon, gpt_neox,
]  # fmt: skip
