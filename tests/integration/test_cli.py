"""`hydac run`, `status` and `synth`."""

import hashlib
import json
import os
import signal
import subprocess

import pytest

from cluster import HYDAC, LIMIT, Up
from prompts import prompt

PROMPT = prompt(20, 61)
FAILOVER_FIELDS = {
    "worker",
    "cause",
    "epoch",
    "heads_lost",
    "heads_reused",
    "heads_rebuilt",
    "positions",
    "rows_replayed",
    "detect_ms",
    "plan_ms",
    "weights_ms",
    "rebuild_ms",
    "retry_ms",
    "stall_ms",
}


@pytest.fixture(scope="module")
def served(model):
    with Up(model, workers=2) as c:
        yield c


def hydac(*args, text=None):
    return subprocess.run(
        [HYDAC, *args], input=text, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def run(served, *args, text=None):
    said = hydac("run", "--leader", served.client.url, *args, text=text)
    assert said.returncode == 0, said.stderr
    return said.stdout


def ids(tokens):
    return ",".join(map(str, tokens))


def test_run_json(served):
    args = ["--prompt-tokens", ids(PROMPT), "--max-tokens", "24", "--temperature", "0"]
    reply = json.loads(run(served, *args, "--ignore-eos", "--top-logprobs", "3", "--json"))
    assert set(reply) >= {"text", "tokens", "finish_reason", "logprobs", "timings", "failovers"}
    assert reply["tokens"] == served.client.complete(PROMPT, 24).tokens
    assert reply["finish_reason"] == "length"
    assert reply["failovers"] == []
    assert len(reply["logprobs"]) == 24
    timings = reply["timings"]
    assert set(timings) >= {"prefill_ms", "decode_ms", "tokens_per_second", "max_gap_ms"}
    assert timings["decode_ms"] >= timings["max_gap_ms"] > 0


def test_run_streams_the_same_text(served):
    args = ["--prompt", "Once upon a time", "--max-tokens", "24", "--temperature", "0"]
    reply = json.loads(run(served, *args, "--json"))
    assert run(served, *args).rstrip("\n") == reply["text"].rstrip("\n")


def test_run_reads_the_prompt_from_stdin(served):
    args = ["--max-tokens", "16", "--temperature", "0", "--json"]
    piped = json.loads(run(served, *args, "-", text="Once upon a time"))
    given = json.loads(run(served, *args, "--prompt", "Once upon a time"))
    assert piped["tokens"] == given["tokens"]


def test_run_chat(served):
    args = ["--chat", "--prompt", "Hello", "--max-tokens", "12", "--temperature", "0", "--json"]
    assert json.loads(run(served, *args))["tokens"]


def test_run_samples_by_seed(served):
    def tokens(seed):
        args = ["--prompt-tokens", ids(PROMPT), "--max-tokens", "24", "--temperature", "1"]
        args += ["--top-k", "40", "--top-p", "0.95", "--seed", seed, "--ignore-eos", "--json"]
        return json.loads(run(served, *args))["tokens"]

    assert tokens("5") == tokens("5")
    assert tokens("5") != tokens("6")


def test_run_reports_failovers(up):
    c = up(workers=3)
    tokens = c.client.complete(PROMPT, 1500).tokens
    args = [HYDAC, "run", "--leader", c.client.url, "--prompt-tokens", ids(PROMPT)]
    args += ["--max-tokens", "1500", "--temperature", "0", "--ignore-eos", "--json"]
    made = c.status()["engine"]["tokens"]
    child = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    c.until_status(lambda s: s["engine"]["tokens"] > made + 5, "the answer has begun")
    c.signal("w2", signal.SIGKILL)
    reply = json.loads(child.communicate(timeout=LIMIT)[0])
    assert child.returncode == 0
    assert reply["tokens"] == tokens
    (failover,) = reply["failovers"]
    assert set(failover) >= FAILOVER_FIELDS
    assert (failover["worker"], failover["cause"]) == ("w2", "closed")
    assert failover["rows_replayed"] == 0


def test_status(served):
    told = json.loads(hydac("status", "--leader", served.client.url, "--json").stdout)
    assert sorted(w["name"] for w in told["workers"]) == ["w1", "w2"]
    plain = hydac("status", "--leader", served.client.url)
    assert plain.returncode == 0
    assert "w1" in plain.stdout and "w2" in plain.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--prompt", "a", "--leader", "http://127.0.0.1:1"],
        ["status", "--leader", "http://127.0.0.1:1"],
        ["run", "--prompt", "a", "--leader", "no address"],
        ["run"],
        ["run", "--prompt", "a", "--max-tokens", "many"],
        ["run", "--prompt", "a", "--nothing"],
        ["nothing"],
        [],
    ],
    ids=lambda a: " ".join(a) or "nothing at all",
)
def test_errors_are_said(args):
    said = hydac(*args)
    assert said.returncode not in (0, None) and said.returncode > 0
    assert said.stderr.strip()


def test_run_shows_the_leaders_error(served):
    said = hydac("run", "--leader", served.client.url, "--prompt-tokens", "99999999")
    assert said.returncode > 0
    assert "token id" in said.stderr


# ---- synth


def synthesized(path, shape, dtype, seed):
    said = hydac("synth", "--shape", shape, "--type", dtype, "--seed", str(seed), str(path))
    assert said.returncode == 0, said.stderr
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("dtype", ["f32", "q4_0", "q4_k", "IQ2_S"])
def test_synth_is_a_function_of_its_arguments(tmp_path, dtype):
    first = synthesized(tmp_path / "a.gguf", "tiny", dtype, 7)
    assert synthesized(tmp_path / "b.gguf", "tiny", dtype, 7) == first
    assert synthesized(tmp_path / "c.gguf", "tiny", dtype, 8) != first


@pytest.mark.parametrize(
    "args",
    [
        ["--shape", "giant", "--type", "f32"],
        ["--shape", "tiny", "--type", "f33"],
        ["--shape", "tiny", "--seed", "x"],
        ["--shape", "tiny", "--layers", "5"],
    ],
    ids=["shape", "type", "seed", "layers"],
)
def test_synth_refuses(tmp_path, args):
    out = tmp_path / "out.gguf"
    said = hydac("synth", *args, str(out))
    assert said.returncode > 0
    assert said.stderr.strip()
    assert os.listdir(tmp_path) == []


def test_synth_says_where_it_cannot_write(tmp_path):
    out = tmp_path / "no" / "folder.gguf"
    said = hydac("synth", "--shape", "tiny", str(out))
    assert said.returncode > 0
    assert "folder.gguf" in said.stderr


# ---- inspect


def test_inspect_says_what_a_model_is_and_whom_it_fits(served, tmp_path):
    path = tmp_path / "m.gguf"
    synthesized(path, "tiny-256", "q2_k", 1)
    url = ["--leader", served.client.url]
    said = json.loads(hydac("inspect", "--json", "--workers", "2", *url, str(path)).stdout)
    assert said["loads"] and said["family"] == "llama" and said["shape"]["layers"] == 2
    assert said["types"]["Q2_K"]["packed_bytes"] > 4 * said["types"]["Q2_K"]["bytes"]
    assert any("Q2_K" in note for note in said["notes"])
    assert said["tokenizer"]["usable"] and said["template"]["usable"]
    (share,) = said["memory"]["shares"]
    assert share["workers"] == 2
    assert share["memory_bytes"] == share["weights_bytes"] + share["kv_bytes"]
    assert share["copy_bytes"] == (share["weights_bytes"] if share["workers"] > 1 else 0)
    assert said["cluster"]["workers"] > 0 and said["cluster"]["fits"] is True
    text = hydac("inspect", *url, str(path))
    assert text.returncode == 0
    assert "family llama" in text.stdout and "the model fits" in text.stdout


def test_inspect_of_a_model_that_is_too_large(served, tmp_path):
    path = tmp_path / "m.gguf"
    options = ["--shape", "llama-3.1-8b", "--type", "f32", "--sparse"]
    assert hydac("synth", *options, str(path)).returncode == 0
    memory = sum(w["memory_bytes"] for w in served.status()["workers"])
    said = json.loads(hydac("inspect", "--json", "--leader", served.client.url, str(path)).stdout)
    need = said["memory"]["shares"][0]["memory_bytes"]
    assert need > 28e9
    assert said["cluster"]["fits"] is False or memory * 7 / 8 > need


def test_inspect_of_what_does_not_load(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF nothing")
    said = hydac("inspect", str(path))
    assert said.returncode == 1
    assert "does not load" in said.stdout and "m.gguf" in said.stdout
