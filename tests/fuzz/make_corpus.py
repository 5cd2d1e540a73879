#!/usr/bin/python3
"""Writes the seeds: small valid inputs, and a few that are nearly so. Run it after a change of a format.

    tests/fuzz/make_corpus.py      into tests/fuzz/corpus; files of other names stay as they are
"""

import array
import io
import json
import os
import pathlib
import ssl
import struct
import sys
import zipfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.path.insert(0, str(HERE.parent / "fixtures/families"))

import families  # noqa: E402
import torch_file  # noqa: E402
import wire  # noqa: E402 (found through the line above)

from wire import frame, number, text, varint  # noqa: E402


def put(target, name, data):
    path = HERE / "corpus" / target / f"seed-{name}"
    os.makedirs(path.parent, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def packed(field, values):
    body = b"".join(varint(v) for v in values)
    return varint(field << 3 | 2) + varint(len(body)) + body


def message(field, body):
    return varint(field << 3 | 2) + varint(len(body)) + body


def zigzag(v):
    return v << 1 if v >= 0 else (-v << 1) - 1


HELLO = text(1, "w3") + number(2, 77) + text(3, "model") + number(5, 4) + number(6, 1 << 33)
STEP = (
    number(1, 1)
    + number(2, 7)
    + number(4, 2)
    + packed(5, [0, 0, 1])
    + packed(6, [3, 4, 9])
    + packed(7, [zigzag(v) for v in (20, 21, -3)])
)
AUDIT = (
    number(1, 9)
    + number(3, 2)
    + packed(4, [0, 3, 7])
    + packed(5, [0, 0, 1])
    + packed(6, [3, 4, 9])
    + packed(7, [zigzag(v) for v in (20, 21, -3)])
    + number(10, 1)
)
EXPERTS = packed(11, [0, 3, 1, 2, 6, 7]) + message(12, struct.pack("<6f", *[0.5] * 6))
STEP_EXPERTS = STEP + number(3, 1) + EXPERTS
AUDIT_EXPERTS = AUDIT + number(2, 1) + EXPERTS
ASSIGN = (
    number(1, 2)
    + message(2, packed(1, [0, 3, 5]) + packed(2, range(0, 32, 3)) + packed(3, [0, 1, 31]))
    + message(3, packed(1, [1]) + packed(2, [1, 2]))
    + message(5, number(2, 100) + packed(3, [2, 1]))
    + message(5, number(1, 7) + number(2, 5))
    + packed(6, [2, 1])
)
KEPT = [
    message(1, packed(1, [0, 1]) + packed(2, [0, 2]) + packed(3, [1])),
    message(1, packed(1, [2, 3]) + packed(2, [1, 3]) + packed(3, [0])),
]
TO_LEADER = 8  # kinds of messages


def sequence_tokens(sequence, positions=200, shared=0, other_from=300, tokens=201):
    """A child's parent is number 0."""
    numbers = number(1, sequence) + number(3, shared) + number(5, positions) + number(6, tokens)
    return numbers + varint(4 << 3 | 1) + struct.pack("<Q", other_from)


# The second worker is a step behind with one, has a child of it, and other tokens in another.
TOLD = [
    [sequence_tokens(0), sequence_tokens(1), sequence_tokens(2, 250, 128, tokens=123)],
    [sequence_tokens(0, 180), sequence_tokens(2, 240, 128, tokens=113), sequence_tokens(1, other_from=100)],
]
WELCOME = b"".join(number(f, v) for f, v in ((2, 1), (3, 50), (4, 1), (5, 16), (6, 512), (7, 8)))
OUTLINE = (
    number(1, 77)
    + text(2, "a model")
    + b"".join(number(f, v) for f, v in enumerate((2, 64, 4, 2, 16, 96, 48, 128), 3))
    + varint(11 << 3 | 5)
    + struct.pack("<f", 1e-5)
    + number(12, 1)
    + message(14, struct.pack("<8d", *(0.5**i for i in range(8))))
    + message(15, bytes([8] * 14))
    + number(16, 8)
)
KV_RESULT = (
    number(1, 1)
    + packed(2, [0, 1])
    + number(3, 9)
    + number(4, 18)
    + packed(11, [0])
    + message(14, number(2, 1) + varint(3 << 3 | 1) + struct.pack("<Q", 1 << 63))
)
STEP_RESULT = number(1, 1) + number(2, 1) + packed(5, [0]) + packed(6, [1])


def frames():
    step = frame(wire.STEP, STEP, bytes(range(256)))
    for size in (0, 22, 255):
        head = bytes([size])
        put("frame", f"several-{size}", head + frame(wire.HELLO, HELLO) + step + frame(wire.ERROR))
    put("frame", "long", b"\x10" + wire.header(wire.STEP, 0xFFFFFFFF, 0xFFFFFFFF))
    put("frame", "version", b"\x10" + frame(wire.HELLO, HELLO, version=9))
    put("frame", "tls", b"\x10\x16\x03\x01\x02\x00")


def messages():
    for kind, (name, body) in enumerate(
        (
            ("welcome", WELCOME),
            ("assign", ASSIGN),
            ("step", STEP),
            ("heartbeat", number(1, 5) + number(2, 1 << 40)),
            ("open", number(1, 3) + number(2, 512)),
            ("close", number(1, 3)),
            ("reject", number(1, 3) + text(2, "a name")),
            ("stats", number(1, 1)),
            ("error", number(1, 7) + text(2, "why")),
            ("outline", OUTLINE),
            ("weights", number(1, 1) + number(2, 31) + number(3, 3) + number(5, 99)),
            ("audit", AUDIT),
            ("self-test", number(1, 1 << 60)),
            ("digests", number(1, 96) + number(2, 96)),
            ("step-experts", STEP_EXPERTS),
            ("audit-experts", AUDIT_EXPERTS),
            ("cut", number(1, 3) + number(2, 512)),
        )
    ):
        put("to_worker", name, bytes([kind]) + body)
    all_of_them = b""
    for kind, (name, body) in enumerate(
        (
            ("hello", HELLO),
            ("ack", number(1, 1) + number(2, 1000000)),
            ("kv", KV_RESULT),
            ("result", STEP_RESULT),
            ("stats", number(1, 1)),
            ("error", number(1, 7) + text(2, "why")),
            ("kept", KEPT[0]),
            ("tokens", sequence_tokens(0)),
        )
    ):
        one = b"".join(
            bytes([kind + TO_LEADER * slot]) + struct.pack("<H", len(body)) + body for slot in (0, 1)
        )
        put("to_leader", name, one)
        all_of_them += one
    put("to_leader", "all", all_of_them)
    kept = b"\xff"
    for slot, own in enumerate(KEPT):
        hello = text(1, f"w{slot}") + HELLO[len(text(1, "w3")) :] + number(13, 1)
        kept += bytes([0]) + struct.pack("<H", len(hello)) + hello
        for told in TOLD[slot]:
            kept += bytes([7]) + struct.pack("<H", len(told)) + told
        kept += bytes([6 + TO_LEADER * slot]) + struct.pack("<H", len(own)) + own
    put("to_leader", "adopted", kept)


def records():
    begin = text(1, "cmpl-1") + text(2, "mine") + message(3, bytes(16)) + text(5, "/v1/completions")
    begin += message(6, b'{"prompt":[1,2],"n":2}') + varint(7 << 3 | 1) + struct.pack("<Q", 9)
    begin += number(8, 1764460800) + text(9, "0123456789abcdef")
    begin += message(10, packed(1, [1, 2]) + varint(2 << 3 | 1) + struct.pack("<Q", 5)) + number(11, 2)
    tokens = [text(1, "cmpl-1") + number(2, choice) + number(3, 0) + packed(4, [5, 6, 7]) for choice in (0, 1)]
    more = text(1, "cmpl-1") + number(3, 3) + packed(4, [8])
    told = [
        number(1, 1) + number(2, 1) + number(3, 1),
        number(1, 1) + number(2, 2) + message(4, begin),
        number(1, 1) + number(2, 3) + message(5, tokens[0]) + message(5, tokens[1]),
        number(1, 1) + number(2, 4) + message(5, more),
        number(1, 2) + number(2, 5) + message(6, b"cmpl-1"),
    ]
    parts = [struct.pack("<H", len(m)) + m for m in told]
    for n in (2, 4, 5):
        put("records", f"of-{n}", b"".join(parts[:n]))
    put("records", "gap", parts[1] + parts[3])


# Of the models of families.py; MXFP4 wants rows of 32.
TINY = {
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 32,
    "moe_intermediate_size": 32,
    "ffn_hidden_size": 32,
    "num_kv_heads": 1,
    "vocab_size": 4,
    "num_experts": 2,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
}


def gguf_value(kind, value):
    """4: u32, 6: f32, 7: truth, 8: string, 9: array of strings, or of u32"""
    if kind == 8:
        return struct.pack("<IQ", 8, len(value)) + value.encode()
    if kind == 9 and isinstance(value[0], int):
        return struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)
    if kind == 9:
        items = b"".join(struct.pack("<Q", len(v.encode())) + v.encode() for v in value)
        return struct.pack("<IIQ", 9, 8, len(value)) + items
    return struct.pack("<I" + {4: "I", 6: "f", 7: "?"}[kind], kind, value)


def gguf_file(more=None, kind=0, version=3):
    """A whole model of one layer; more: keys besides, kind: of its matrices."""
    dim, ffn, vocab = 16, 16, 4
    keys = {
        "general.architecture": (8, "llama"),
        "general.name": (8, "seed"),
        "llama.block_count": (4, 1),
        "llama.embedding_length": (4, dim),
        "llama.feed_forward_length": (4, ffn),
        "llama.attention.head_count": (4, 1),
        "llama.attention.head_count_kv": (4, 1),
        "llama.context_length": (4, 32),
        "llama.attention.layer_norm_rms_epsilon": (6, 1e-5),
        "llama.rope.freq_base": (6, 10000.0),
        "tokenizer.ggml.model": (8, "gpt2"),
        "tokenizer.ggml.tokens": (9, ["a", "b", "ab", "<s>"]),
        "tokenizer.ggml.merges": (9, ["a b"]),
        **(more or {}),
    }
    shapes = {"token_embd.weight": (dim, vocab), "output_norm.weight": (dim,)}
    for name in ("attn_norm", "ffn_norm"):
        shapes[f"blk.0.{name}.weight"] = (dim,)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}.weight"] = (dim, dim)
    head = struct.pack("<4sIQQ", b"GGUF", version, len(shapes), len(keys))
    for key, (of, value) in keys.items():
        head += struct.pack("<Q", len(key)) + key.encode() + gguf_value(of, value)
    at = 0
    for name, shape in shapes.items():
        head += struct.pack("<Q", len(name)) + name.encode()
        of = kind if len(shape) > 1 else 0
        head += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, of, at)
        at += 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    head += bytes(-len(head) % 32)
    return head + bytes(at)


def gguf():
    put("gguf", "model", gguf_file())
    put("gguf", "short", gguf_file()[:-100])
    put("gguf", "version-2", gguf_file(version=2))
    put("gguf", "big-endian", gguf_file(version=3 << 24))
    put("gguf", "q3-k", gguf_file(kind=11))
    put("gguf", "of-no-type", gguf_file(kind=137))
    for name, key, value in (
        ("scale-linear", "llama.rope.scale_linear", (6, 4.0)),
        ("window", "llama.attention.sliding_window", (4, 16)),
        ("window-list", "llama.attention.sliding_window", (9, [0, 32, 64])),
        ("not-causal", "llama.attention.causal", (7, False)),
        ("layout", "llama.tensor_data_layout", (8, "Meta AI original pth")),
        ("unknown", "llama.no_such_thing", (9, ["a", "b"])),
        ("heads-list", "llama.attention.head_count", (9, [1, 1])),
        ("group", "somebody.version", (4, 1)),
        ("no-end", "tokenizer.ggml.eos_token_id", (4, (1 << 32) - 1)),
        ("part", "split.count", (4, 3)),
        ("adapter", "general.type", (8, "adapter")),
    ):
        put("gguf", name, gguf_file({key: value}))
    put("gguf", "pointer", "version https://git-lfs.github.com/spec/v1\n")
    put("gguf", "empty", struct.pack("<4sIQQ", b"GGUF", 3, 0, 0))
    put("gguf", "counts", struct.pack("<4sIQQ", b"GGUF", 3, 1 << 63, 1 << 63))


def of_families():
    """The smallest model of each family as GGUF, all zeros, and config.json of a larger one."""
    families.values = lambda config, name, rows, cols, kind: array.array("f", bytes(4 * (rows or 1) * cols))
    seen = set()
    for config in families.CASES.values():
        kind = config["model_type"]
        norms = "-norms" if config.get("qk_layernorm") or config.get("use_qk_norm") else ""
        form = "-new" if config.get("new_decoder_architecture") else ""
        name = f"family-{kind}{norms}{form}"
        fields = {k: v for k, v in config.items() if not k.startswith("_")}
        if name not in seen:
            put("model_config", name, json.dumps(fields))
        seen.add(name)
        if families.has_gguf(config) and name + ".gguf" not in seen:
            seen.add(name + ".gguf")
            families.write_gguf("/tmp/hydac-corpus", dict(config, **{k: v for k, v in TINY.items() if k in config}))
            put("gguf", name, pathlib.Path("/tmp/hydac-corpus").read_bytes())
            os.remove("/tmp/hydac-corpus")


def safetensors():
    def one(name, header, data=b""):
        body = header if isinstance(header, bytes) else json.dumps(header).encode()
        put("safetensors", name, struct.pack("<Q", len(body)) + body + data)

    a = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    b = {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}
    one("two", {"__metadata__": {"format": "pt"}, "a": a, "b": b}, bytes(32))
    one("odd", {"x": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
                "a": {**a, "data_offsets": [3, 27]}}, bytes(27))  # fmt: skip
    one("f64", {"a": {**a, "dtype": "F64", "data_offsets": [0, 48]}}, bytes(48))
    one("f4", {"a": {**a, "dtype": "F4", "data_offsets": [0, 3]}}, bytes(3))
    one("of-no-type", {"a": {**a, "dtype": "F9", "data_offsets": [0, 7]}}, bytes(7))
    one("short", {"a": a, "b": b}, bytes(31))
    put("safetensors", "short-header", struct.pack("<Q", 900) + b'{"a"')
    put("safetensors", "pointer", "version https://git-lfs.github.com/spec/v1\n")
    one("overlap", {"a": a, "b": {**b, "data_offsets": [20, 28]}}, bytes(32))
    one("beyond", {"a": {**a, "data_offsets": [1 << 62, (1 << 62) + 24]}}, bytes(32))
    one("overflow", {"a": {**a, "shape": [1 << 62, 8], "data_offsets": [0, 0]}})
    one("deep", b"[" * 3000)
    put("safetensors", "length", struct.pack("<Q", (1 << 64) - 1) + b"{}")


def torch():
    def one(name, pickle_of, *records, method=zipfile.ZIP_STORED):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", method) as z:
            for record, value in (("data.pkl", pickle_of), *records):
                info = zipfile.ZipInfo(f"m/{record}", (2026, 1, 1, 0, 0, 0))
                z.writestr(info, value, method)
        put("torch", name, data.getvalue())
        return data.getvalue()

    parts = {
        "norm.weight": ([4], bytes(8), "BF16"),
        "layers.0.attention.wq.weight": ([4, 4], bytes(32), "F16"),
        "layers.0.attention.wo.weight": ([4, 2], bytes(32)),
        "tok_embeddings.weight": ([3, 2], bytes(24)),
    }
    torch_file.write("/tmp/hydac-corpus", parts)
    whole = pathlib.Path("/tmp/hydac-corpus").read_bytes()
    os.remove("/tmp/hydac-corpus")
    with zipfile.ZipFile(io.BytesIO(whole)) as z:
        program = z.read("archive/data.pkl")
        records = [(n.split("/", 1)[1], z.read(n)) for n in z.namelist()[1:]]
    one("model", program, *records)
    one("no-records", program)
    one("unknown", program.replace(b"wq.weight", b"wx.weight"), *records)
    one("packed", program, *records, method=zipfile.ZIP_DEFLATED)
    one("empty", b"\x80\x02}.")
    one("strided", program.replace(b"K\x04K\x01\x86", b"K\x01K\x04\x86"), *records)
    one("itself", b"\x80\x02}q\0X\1\0\0\0ah\0s.")
    one("marks", b"\x80\x02((((((((tu.")
    one("memo", b"\x80\x02Nr\xff\xff\xff\xff.")
    one("long", b"\x80\x02\x8a\xff" + bytes(300))
    cut = one("short", program, *records)
    put("torch", "cut", cut[:-9])
    put("torch", "old", b"\x80\x02" + program)


def model_configs():
    llama = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "vocab_size": 48,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-05,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": [7, 48],
    }
    scaling = {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}
    put("model_config", "plain", json.dumps(llama))
    for name, more in (
        ("llama3", {"rope_scaling": scaling, "rope_theta": 5e5}),
        ("linear", {"rope_parameters": {"rope_type": "linear", "factor": 4.0}}),
        ("window", {"sliding_window": 16, "use_sliding_window": False, "layer_types": ["x"]}),
        ("own-code", {"auto_map": {"AutoConfig": "x.Y"}, "quantization_config": None}),
        ("unknown", {"no_such_thing": [{}, [], None, 1e999]}),
        ("experts", {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2}),
    ):
        put("model_config", name, json.dumps({**llama, **more}))


def tokenizers():
    vocab = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyzH\u0120")}
    vocab["he"] = len(vocab)
    added = {"id": len(vocab), "content": "<|im_start|>", "special": True, "single_word": False}
    added.update(lstrip=False, rstrip=False, normalized=False)
    one = {
        "version": "1.0",
        "added_tokens": [added],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": ["h e"]},
    }
    put("tokenizer", "bytelevel", json.dumps(one))
    split = {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+"}, "behavior": "Isolated"}
    split["invert"] = False
    steps = [split, {**one["pre_tokenizer"], "use_regex": False}]
    one["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    put("tokenizer", "split", json.dumps(one))
    split["pattern"] = {"Regex": "(a+)+$"}
    put("tokenizer", "slow-pattern", json.dumps(one))


def configs():
    put(
        "config",
        "all",
        "a: {string: 'x y', uint: 7}\n"
        "b:\n  size: 4G\n  real: -0.5\n  flag: true\n"
        "c:\n  word: two\n  table:\n    w1: [0, 1]\n    w2: []\n",
    )
    put("config", "alias", "a: &x {uint: 1}\nb: *x\n")
    put("config", "tab", "a:\n\tuint: 1\n")
    put("config", "two", "a: {uint: 1}\n---\na: {uint: 2}\n")
    put("config", "deep", "a: " + "[" * 500)
    put("config", "key", "hydac-cluster-key-1\n" + "0123456789abcdef" * 4 + "\n")
    put("config", "key-crlf", "\ufeffhydac-cluster-key-1\r\n" + "0123456789abcdef" * 4 + "\r\n")
    put("config", "key-utf16", b"\xff\xfeh\0y\0")


def requests():
    def one(name, chat, body):
        put("request", name, bytes([chat]) + json.dumps(body).encode())

    options = {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 1}
    one("text", 0, {"model": "toy", "prompt": "abc", "stop": ["x", "yz"], "logprobs": 2, **options})
    one("ids", 0, {"prompt": [1, 2, 511], "stream": True, "echo": True, "ignore_eos": True})
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]
    one("chat", 1, {"messages": said, "stream": True, "top_logprobs": 3, "logprobs": True})
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    one("parts", 1, {"messages": [{"role": "user", "content": parts}], "n": 1, "user": "u"})
    put("request", "twice", b'\x00{"prompt":"a","prompt":"b"}')
    put("request", "deep", b"\x00" + b"[" * 3000)


def tls():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()
    put("tls", "client-hello", b"\x00" + hello)
    put("tls", "hello-to-client", b"\x01" + hello)
    put("tls", "alert", b"\x01\x15\x03\x03\x00\x02\x02\x46")
    put("tls", "plaintext", b"\x00" + frame(wire.HELLO, HELLO))
    put("tls", "http", b"\x00GET / HTTP/1.1\r\n\r\n")
    put("tls", "unchanged-up", b"\x02" + bytes(900))
    put("tls", "unchanged-down", b"\x03" + bytes(900))
    put("tls", "binder", b"\x02" + bytes(260) + b"\x01")
    put("tls", "record", b"\x02" + bytes(400) + b"\x01")


if __name__ == "__main__":
    containers = (gguf, of_families, safetensors, torch, model_configs)
    for make in (frames, messages, records, *containers, tokenizers, configs, requests, tls):
        make()
