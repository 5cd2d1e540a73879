"""A GGUF file of F32 as a Hugging Face folder: the same model in the other container."""

import json
import os
import struct

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    **LAYER_NAMES,
}
# The shape "tiny" of `hydac synth`.
TINY = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "intermediate_size": 704,
    "vocab_size": 512,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": True,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def hf_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
    return NAMES[parts[0]] + ".weight"


def halves(rows, head_dim):
    """From pairs side by side to pairs half a head apart."""
    half = head_dim // 2
    order = [2 * i for i in range(half)] + [2 * i + 1 for i in range(half)]
    return [rows[h + i] for h in range(0, len(rows), head_dim) for i in order]


def tensors(gguf):
    """name -> (type, shape, bytes), as transformers calls and orders them."""
    found = {}
    for name in gguf.tensors:
        if name == "rope_freqs.weight":
            continue
        shape, data = gguf.values(name)
        if ".attn_q." in name or ".attn_k." in name:
            n = len(data) // shape[0]
            data = b"".join(halves([data[i : i + n] for i in range(0, len(data), n)], 32))
        found[hf_name(name)] = ("F32", shape, data)
    return found


def write_safetensors(path, found, padded=True):
    header, at = {}, 0
    for name, (kind, shape, data) in found.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    if not padded:
        text += b" "  # the data begins at an odd byte of the file
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in found.values():
            f.write(data)


def write_folder(folder, config, found, padded=True):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    write_safetensors(os.path.join(folder, "model.safetensors"), found, padded)
    return str(folder)
