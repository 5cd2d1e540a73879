"""Vectors of texts. What the output matrix makes of a prompt's last row is what transformers has as
its logits, so the rows are right if these are; the mean is that of the rows of all its beginnings."""

import array
import base64
import json
import math
import os
import signal
import subprocess
import sys
import threading

import pytest

import cluster
from client import body_of
from gguf_edit import Gguf
from prompts import prompt

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
sys.path.insert(0, os.path.join(FIXTURES, "families"))
import families  # noqa: E402  (beside its references)

LOGIT_TOLERANCE = 2e-3
EXACT = ["--cache.kv_type=f32", "--compute.activations=f32"]
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
NORMALIZE = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
BARE = "model."


def reference(name):
    with open(os.path.join(FIXTURES, "families", f"{name}.json"), encoding="utf-8") as f:
        return json.load(f)


def put(folder, name, value):
    os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f)


def write(folder, name, mode, modules, **fields):
    """The family's small model as sentence-transformers' folder; names without what stands before
    them, as such models are published."""
    config = dict(families.CASES[name], **fields)
    families.write_folder(folder, config, rename=lambda n: n.removeprefix(BARE))
    put(folder, "modules.json", modules)
    modes = {f"pooling_mode_{m}": m == mode for m in ("cls_token", "mean_tokens", "lasttoken")}
    put(folder, "1_Pooling/config.json", {"word_embedding_dimension": config["hidden_size"], **modes})
    return folder


def embed(c, texts, **more):
    """Vectors, and how many tokens the texts had."""
    reply = c.client.post("/v1/embeddings", {"model": "m", "input": texts, **more})
    assert [d["index"] for d in reply["data"]] == list(range(len(reply["data"])))
    return [d["embedding"] for d in reply["data"]], reply["usage"]["prompt_tokens"]


def inspect(model):
    done = subprocess.run([cluster.HYDAC, "inspect", model], capture_output=True, text=True, check=True)
    return done.stdout


def logits_of(name, vector):
    config = families.CASES[name]
    tied = config["tie_word_embeddings"]
    hf = "model.embed_tokens.weight" if tied else "lm_head.weight"
    dim, vocab = config["hidden_size"], config["vocab_size"]
    head = families.values(config, hf, vocab, dim, 1 if tied else 2)
    return [math.fsum(head[i * dim + k] * vector[k] for k in range(dim)) for i in range(vocab)]


def unit(v):
    norm = math.sqrt(math.fsum(x * x for x in v))
    return [x / norm for x in v]


def close(a, b, tolerance=1e-5):
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= tolerance


@pytest.mark.parametrize("name", ["qwen3", "qwen2", "stablelm"])
def test_last_row(name, tmp_path):
    r = reference(name)
    model = write(str(tmp_path / "m"), name, "lasttoken", [TRANSFORMER, POOLING])
    with cluster.Up(model, workers=2, leader_args=EXACT) as c:
        (vector,), n = embed(c, r["prompt"])
        assert n == len(r["prompt"])
        assert close(logits_of(name, vector), r["logits_last"], LOGIT_TOLERANCE)


def test_mean_and_length(tmp_path):
    """Also behind rows that are kept, which are of no use for a mean."""
    r = reference("qwen3")["prompt"]
    last = write(str(tmp_path / "last"), "qwen3", "lasttoken", [TRANSFORMER, POOLING])
    mean = write(
        str(tmp_path / "mean"), "qwen3", "mean_tokens", [TRANSFORMER, POOLING, NORMALIZE],
        is_matryoshka=True,
    )
    with cluster.Up(last, workers=1, leader_args=EXACT) as c:
        rows, _ = embed(c, [r[: i + 1] for i in range(len(r))])
    want = unit([math.fsum(row[k] for row in rows) for k in range(len(rows[0]))])
    with cluster.Up(mean, workers=2, leader_args=EXACT) as c:
        c.client.complete(r + r, 4)
        for _ in range(2):
            assert close(embed(c, r)[0][0], want)
        assert close(embed(c, r, dimensions=10)[0][0], unit(want[:10]))
        (coded,), _ = embed(c, r, encoding_format="base64")
        assert close(array.array("f", base64.b64decode(coded)), want)


def test_whoever_computes_it(model, tmp_path):
    """A GGUF's key says how; workers, neighbours, rows that are there and deaths change no bit."""
    path = str(tmp_path / "model.gguf")
    Gguf(model).u32("llama.pooling_type", 3).write(path)
    texts = [prompt(40 + 3 * i, i) for i in range(20)]
    texts.append(texts[-1] + prompt(9, 77))
    assert "of the last token, of length 1" in inspect(path)
    with cluster.Up(path, workers=1) as c:
        want, _ = embed(c, texts)
        assert all(abs(math.fsum(x * x for x in v) - 1) < 1e-5 for v in want)
        assert embed(c, texts)[0] == want
        assert embed(c, texts[3])[0] == [want[3]]
        answer = c.client.complete(texts[0], 150).tokens
    with cluster.Daemons(path) as c:
        c.start_all(3)
        stream = c.client.stream(texts[0], 150)
        stream.read_tokens(2)
        got = []
        asker = threading.Thread(target=lambda: got.append(embed(c, texts)[0]))
        asker.start()
        c.signal("w2", signal.SIGKILL)
        asker.join()
        assert got == [want]
        said = stream.finish()
        assert said.tokens == answer and len(said.failovers) == 1


def test_who_does_not_say_so(model, tmp_path):
    ask = {"input": [1, 2, 3]}
    path = str(tmp_path / "model.gguf")
    Gguf(model).u32("llama.pooling_type", 2).write(path)
    dense = dict(NORMALIZE, type="sentence_transformers.models.Dense")
    folder = write(str(tmp_path / "m"), "qwen3", "lasttoken", [TRANSFORMER, POOLING, dense])
    assert "embeddings: modules.json" in inspect(folder)
    for m, why in ((model, "pooled"), (path, "llama.pooling_type is 2"), (folder, "Dense")):
        with cluster.Up(m, workers=1) as c:
            status, _, body = c.client.request("POST", "/v1/embeddings", ask)
            assert status == 400 and why in json.loads(body)["error"]["message"]


def test_without_a_head(tmp_path):
    """What has no output matrix has vectors, and no text."""
    config = dict(families.CASES["qwen3"])
    folder = str(tmp_path / "m")
    write(folder, "qwen3", "lasttoken", [TRANSFORMER, POOLING], tie_word_embeddings=True)
    put(folder, "config.json", config)
    r = reference("qwen3")
    with cluster.Up(folder, workers=2, leader_args=EXACT) as c:
        (vector,), _ = embed(c, r["prompt"])
        assert close(logits_of("qwen3", vector), r["logits_last"], LOGIT_TOLERANCE)
        status, _, body = c.client.request("POST", "/v1/completions", body_of([1, 2], 4))
        assert status == 400 and "embeddings only" in body.decode()
