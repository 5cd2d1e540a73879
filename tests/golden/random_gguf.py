"""A folder that transformers has written, as GGUF: the same numbers in F32 under the names, orders and
keys of tests/fixtures/families. None where GGUF has no words for the configuration."""

import array
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../fixtures/families"))
sys.dont_write_bytecode = True

import families  # noqa: E402
import ungated  # noqa: E402
from safetensors import safe_open  # noqa: E402  (transformers brings it)

# What GGUF does not say is the program's: these are its values.
ONLY = {
    "phi": {"hidden_act": ["gelu_new", "gelu_pytorch_tanh"]},
    "starcoder2": {"hidden_act": ["gelu_pytorch_tanh"]},
    "nemotron": {"hidden_act": ["relu2"]},
    "falcon": {"activation": ["gelu"]},
    "gpt_neox": {"hidden_act": ["gelu"]},
    "gemma2": {"attn_logit_softcapping": [20.0], "final_logit_softcapping": [9.0]},
    "gemma3_text": {"attn_logit_softcapping": [None], "final_logit_softcapping": [None]},
    "olmoe": {"norm_topk_prob": [False]},
    "ministral": {"model_type": []},  # GGUF has no such family, ...
    "olmo3": {"model_type": []},
    "mistral": {"sliding_window": [None]},  # ... no such window
    "mixtral": {"sliding_window": [None]},
}
# Which layers are what is a matter of turns; of a list in a configuration only these.
TURNS = {"gemma2": 2, "gemma3_text": 6, "cohere2": 4, "gpt_oss": 2}


def with_rope(c):
    """As version 4 of transformers says it, which families.py reads; None: GGUF cannot."""
    rope = c.pop("rope_parameters", None) or {}
    if c["model_type"] == "gemma3_text":
        c["rope_theta"] = rope["full_attention"]["rope_theta"]
        return c
    c["rope_theta"] = float(rope.get("rope_theta") or c.get("rope_theta") or 10000.0)
    c["partial_rotary_factor"] = rope.get("partial_rotary_factor", c.get("partial_rotary_factor") or 1.0)
    kind = rope.get("rope_type", "default")
    strange = {"beta_fast", "beta_slow", "attention_factor", "low_freq_factor"} & {
        k for k, v in rope.items() if v is not None
    }
    if kind != "default":
        c["rope_scaling"] = rope
    return None if strange else c


def config_of(folder):
    """What families.py makes GGUF of; None: nothing."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    t = c["model_type"]
    if any(c.get(k) not in values for k, values in ONLY.get(t, {}).items()):
        return None
    types = c.get("layer_types")
    turns = TURNS.get(t)
    if types and turns and [(i + 1) % turns == 0 for i in range(len(types))] != [x == "full_attention" for x in types]:
        return None
    if t == "smollm3" and c["no_rope_layers"] != [int((i + 1) % 4 != 0) for i in range(c["num_hidden_layers"])]:
        return None
    if not ungated.is_one(c):
        c.setdefault("head_dim", c["hidden_size"] // c["num_attention_heads"])
    c = with_rope(c)
    return c if c and families.has_gguf(c) else None


def part_of(tensors, hf):
    """A tensor, or the expert's part of one of all experts."""
    name, _, part = hf.partition("#")
    if not part:
        return tensors[name]
    expert, which = part.split(".")
    of = tensors[name][int(expert)]
    if "gate_up" in name:  # gpt-oss: columns by turns
        of = of[..., which == "up" :: 2]
    elif "input_linear" in name:
        half = of.shape[0] // 2
        of = of[half:] if which == "up" else of[:half]
    return of.T if name.endswith(("experts.gate_up_proj", "experts.down_proj")) else of


def write(folder, path):
    """False: GGUF has no words for this model."""
    config, tensors = config_of(folder), {}
    if not config:
        return False
    for name in os.listdir(folder):
        if name.endswith(".safetensors"):
            with safe_open(os.path.join(folder, name), "pt") as f:
                tensors.update((k, f.get_tensor(k).float()) for k in f.keys())
    used = set()

    def values(config, hf, rows, cols, kind):
        used.add(hf.partition("#")[0])
        return array.array("f", part_of(tensors, hf).contiguous().flatten().tolist())

    before = families.values, families.tensors
    listed = [(*t[:4], 1 if str(t[4]).startswith("mx") else t[4]) for t in families.tensors(config)]
    try:
        families.values, families.tensors = values, lambda config: listed
        families.write_gguf(path, config)
    finally:
        families.values, families.tensors = before
    left = set(tensors) - used - {"lm_head.weight"}
    assert not left, f"not written: {left}"
    return True
