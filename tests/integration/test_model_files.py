"""Files of models as people have them, through the real daemons: read right, or refused by name.

The ids are those of a forward pass in double precision of the same files (tests/unit/model holds
every key and field to its table)."""

import io
import json
import os
import pickle
import subprocess
import zipfile

import pytest

import cluster
import hf_write
from gguf_edit import Gguf

PROMPT = [5, 100, 200, 300, 17, 44, 7, 90, 33, 61] * 20
PLAIN = [383, 383, 383, 383, 212, 168]
LINEAR_BY_4 = [113, 168, 159, 384, 384, 384]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
    args = ["synth", "--shape", "tiny", "--type", "f32", "--seed", "0", path]
    subprocess.run([cluster.HYDAC, *args], check=True, capture_output=True)
    return path


def answer(model, n=6):
    """The greedy ids, and what the leader warned of."""
    with cluster.Daemons(model) as c:
        c.start_all(2)
        c.until_serving(2)
        tokens = c.client.complete(PROMPT, n).tokens
        return tokens, [line for line in c.logs().splitlines() if " leader model_warning " in line]


# ---- Read right ----


def unscaled(path):
    return Gguf(path).without("rope_freqs.weight")


@pytest.mark.parametrize("key", ["llama.rope.scale_linear", "llama.rope.scaling.factor"])
def test_linear_rope_without_a_type(tiny, tmp_path, key):
    model = unscaled(tiny).f32(key, 4.0).write(tmp_path / "m.gguf")
    assert answer(model) == (LINEAR_BY_4, [])


def test_linear_rope_with_its_type(tiny, tmp_path):
    g = unscaled(tiny).text("llama.rope.scaling.type", "linear")
    model = g.f32("llama.rope.scaling.factor", 4.0).write(tmp_path / "m.gguf")
    assert answer(model) == (LINEAR_BY_4, [])


@pytest.mark.parametrize("kind", ["type", "rope_type"])
def test_linear_rope_of_a_folder(tiny, tmp_path, kind):
    rope = {kind: "linear", "factor": 4.0}
    config = {**hf_write.TINY, "rope_theta": 500000.0, "rope_scaling": rope}
    model = hf_write.write_folder(tmp_path / "hf", config, hf_write.tensors(Gguf(tiny)))
    assert answer(model) == (LINEAR_BY_4, [])


@pytest.mark.parametrize("none", [2**32 - 1, 512])
def test_an_end_that_is_no_token(tiny, tmp_path, none):
    g = Gguf(tiny).without("tokenizer.ggml.model").u32("tokenizer.ggml.eos_token_id", none)
    tokens, warnings = answer(g.write(tmp_path / "m.gguf"))
    assert tokens == PLAIN
    assert len(warnings) == 1 and f"eos_token_id is {none}" in warnings[0]


def test_keys_without_effect(tiny, tmp_path):
    g = Gguf(tiny).truth("llama.attention.causal", True).u32("llama.attention.sliding_window", 2048)
    g.f32("llama.attn_logit_softcapping", 0.0).u32("llama.expert_count", 0)
    assert answer(g.write(tmp_path / "m.gguf")) == (PLAIN, [])


def test_version_2(tiny, tmp_path):
    g = Gguf(tiny)
    g.version = 2
    assert answer(g.write(tmp_path / "m.gguf")) == (PLAIN, [])


def folder(tiny, path, more=None, tied=True, padded=True):
    config = {**hf_write.TINY, "rope_parameters": hf_write.LLAMA3, "tie_word_embeddings": tied}
    found = {**(more or {}), **hf_write.tensors(Gguf(tiny))}
    return hf_write.write_folder(path, config, found, padded)


def test_a_header_without_padding(tiny, tmp_path):
    """And tensors at odd places: what no program uses is three bytes long."""
    odd = {"model.layers.0.self_attn.rotary_emb.inv_freq": ("U8", [3], b"odd")}
    assert answer(folder(tiny, tmp_path / "hf", odd, padded=True)) == (PLAIN, [])
    assert answer(folder(tiny, tmp_path / "hf", padded=False)) == (PLAIN, [])


def test_a_head_beside_the_tie(tiny, tmp_path):
    """The file's own head is used: its answer is that of the model that is not tied."""
    shape, data = Gguf(tiny).values("token_embd.weight")
    row = len(data) // shape[0]
    turned = b"".join(data[i : i + row] for i in range(len(data) - row, -1, -row))
    other = {"lm_head.weight": ("F32", shape, turned)}
    tied, warnings = answer(folder(tiny, tmp_path / "tied", other))
    untied = answer(folder(tiny, tmp_path / "untied", other, tied=False))
    assert (tied, []) == untied
    assert tied[0] == 511 - PLAIN[0]  # the same row of the matrix that is the other way round
    assert len(warnings) == 1 and "lm_head.weight" in warnings[0]
    same = {"lm_head.weight": ("F32", shape, data)}
    assert answer(folder(tiny, tmp_path / "same", same)) == (PLAIN, [])


# ---- Refused by name ----


def refusal(model, named=None):
    """What the leader says of a model that it must not serve; it names the file, or another one."""
    args = [cluster.LEADER, "--model", str(model), "--listen", "127.0.0.1:0"]
    p = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
    assert p.returncode == 1, p.stderr
    assert str(named or model) in p.stderr
    return p.stderr


KEYS = {
    "llama.attention.causal": lambda g, k: g.truth(k, False),
    "llama.attention.sliding_window": lambda g, k: g.u32(k, 16),
    "llama.rope.scaling.attn_factor": lambda g, k: g.f32(k, 2.0),
    "llama.attention.clamp_kqv": lambda g, k: g.f32(k, 8.0),
    "llama.attn_logit_softcapping": lambda g, k: g.f32(k, 50.0),
    "llama.final_logit_softcapping": lambda g, k: g.f32(k, 30.0),
    "llama.use_parallel_residual": lambda g, k: g.truth(k, True),
    "llama.rope.scaling.type": lambda g, k: g.text(k, "ntk"),
    "llama.something.new": lambda g, k: g.u32(k, 1),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_changes_the_text(tiny, tmp_path, key):
    said = refusal(KEYS[key](Gguf(tiny), key).write(tmp_path / "m.gguf"))
    assert f"key {key} is " in said


@pytest.mark.parametrize(
    "shape, key",
    [
        ("gemma2", "attn_logit_softcapping"),
        ("gemma2", "final_logit_softcapping"),
        ("gemma2", "attention.sliding_window"),
        ("gemma3", "attention.sliding_window"),
    ],
)
def test_a_key_that_an_old_converter_left_out(synth, tmp_path, shape, key):
    g = Gguf(synth(f"tiny-{shape}", "f32")).without(f"{shape}.{key}")
    assert f"key {shape}.{key} is missing" in refusal(g.write(tmp_path / "m.gguf"))


@pytest.mark.parametrize("number, name", [(4, "Q4_2"), (15, "Q8_K"), (137, "137")])
def test_a_type_of_a_gguf(tiny, tmp_path, number, name):
    g = Gguf(tiny)
    g.tensors["blk.1.ffn_up.weight"][1] = number
    said = refusal(g.write(tmp_path / "m.gguf"))
    assert "tensor blk.1.ffn_up.weight is of type " in said and name in said


def test_biases_of_experts_are_floats(synth, tmp_path):
    g = Gguf(synth("tiny-gpt-oss", "f32"))
    g.tensors["blk.1.ffn_up_exps.bias"][1] = 8
    said = refusal(g.write(tmp_path / "m.gguf"))
    assert "blk.1.ffn_up_exps.bias is Q8_0; norms and biases must be" in said


@pytest.mark.parametrize("name, size", [("F64", 8), ("F8_E4M3FNUZ", 1), ("F8_E8M0", 1), ("F9_NEW", 3)])
def test_a_type_of_safetensors(tiny, tmp_path, name, size):
    found = hf_write.tensors(Gguf(tiny))
    key = "model.layers.1.mlp.up_proj.weight"
    shape = found[key][1]
    found[key] = (name, shape, bytes(size * shape[0] * shape[1]))
    config = {**hf_write.TINY, "rope_parameters": hf_write.LLAMA3}
    said = refusal(hf_write.write_folder(tmp_path / "hf", config, found))
    assert f"tensor {key} is of type {name}" in said


def test_parts_of_a_gguf(tiny, tmp_path):
    first = Gguf(tiny).u32("split.count", 3).u32("split.no", 0)
    first.tensors = {}
    missing = tmp_path / "m-00002-of-00003.gguf"
    said = refusal(first.write(tmp_path / "m-00001-of-00003.gguf"), missing)
    assert "No such file" in said


def test_a_download_that_has_not_ended(tiny, tmp_path):
    with open(tiny, "rb") as f:
        whole = f.read()
    short = tmp_path / "short.gguf"
    short.write_bytes(whole[:-1000])
    assert "its last 1000 bytes are missing" in refusal(short)
    path = folder(tiny, tmp_path / "hf")
    weights = os.path.join(path, "model.safetensors")
    os.truncate(weights, os.path.getsize(weights) - 77)
    assert "its last 77 bytes are missing" in refusal(path)


BYTES = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS"),
    "page": (b"<!DOCTYPE html><html></html>", "a web page"),
    "pickle": (b"PK\3\4" + bytes(60), "PyTorch"),
    "empty": (b"", "empty"),
    "old": (b"tjgg\3\0\0\0" + bytes(60), "from before GGUF"),
    "big": (b"GGUF\0\0\0\3" + bytes(60), "big-endian"),
    "one": (b"GGUF\1\0\0\0" + bytes(60), "GGUF version 1"),
    "json": (b'{"model_type": "llama"}', "give the folder"),
    "safetensors": (b"\x40" + bytes(7) + b'{"a":' + bytes(60), "give the folder"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_model(tmp_path, name):
    data, word = BYTES[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    assert word in refusal(path)


FOLDERS = {  # the files in it, what is said
    "gguf": (["a.gguf", "README.md"], "a.gguf; give the GGUF file itself"),
    "lora": (["adapter_config.json", "adapter_model.safetensors", "config.json"], "LoRA adapter"),
    "pickled": (["config.json", "pytorch_model-00001-of-00002.bin"], "index.json is missing"),
    "parts": (["config.json", "model-00001-of-00002.safetensors"], "index.json is missing"),
    "meta": (["consolidated.00.pth", "tokenizer.model"], "the params.json that says"),
    "meta's second": (["params.json", "consolidated.01.pth"], "their first file"),
    "weights": (["model.safetensors"], "the config.json"),
    "renamed": (["config.json", "tiny.safetensors"], "rename it"),
    "nothing": (["README.md"], "config.json"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_no_model(tmp_path, name):
    files, word = FOLDERS[name]
    for file in files:
        text = json.dumps(hf_write.TINY) if file == "config.json" else ""
        (tmp_path / file).write_text(text)
    assert word in refusal(tmp_path)


class Calls:
    def __reduce__(self):
        return os.system, ("true",)


def pickled(pickle_of, compressed=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compressed) as z:
        z.writestr("m/data.pkl", pickle_of)
    return data.getvalue()


def protocol_2(value):
    return pickled(pickle.dumps(value, 2))


PICKLES = {
    "a program": (protocol_2({"a": Calls()}), "calls posix?system"),
    "numbers": (protocol_2({"epoch": 3}), "something that is no tensor, epoch"),
    "a list": (protocol_2([1]), "opcode 0x5d"),
    "no dictionary": (protocol_2(7), "no dictionary"),
    "itself": (pickled(b"\x80\x02}q\0X\1\0\0\0ah\0s."), "no tensor, a"),
    "a short text": (pickled(b"\x80\x02}X\xff\xff\xff\x7fa"), "ends within a text"),
    "nothing on the stack": (pickled(b"\x80\x02R."), "calls nothing"),
    "marks": (pickled(b"\x80\x02((t."), "at byte"),
    "protocol 4": (pickled(pickle.dumps({}, 4)), "protocol 2"),
    "compressed": (pickled(b"0" * 99, zipfile.ZIP_DEFLATED), "compressed"),
    "cut": (protocol_2({})[:-4], "no directory"),
    "old": (b"\x80\x02" + bytes(60), "since 2020"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_is_no_model(tiny, tmp_path, name):
    path = folder(tiny, tmp_path / "hf")
    os.remove(os.path.join(path, "model.safetensors"))
    with open(os.path.join(path, "pytorch_model.bin"), "wb") as f:
        f.write(PICKLES[name][0])
    assert PICKLES[name][1] in refusal(path)


def test_a_pointer_in_a_folder(tiny, tmp_path):
    path = folder(tiny, tmp_path / "hf")
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(BYTES["pointer"][0])
    assert "Git LFS" in refusal(path)
