"""`hydac bench decode`, `prefill` and `net`: small measurements, and whether the numbers fit together.
Nothing is said about how fast this machine is."""

import csv
import json
import os

import pytest

from test_bench import bench

LAYERS, DIM = 3, 288  # tiny-gqa3
PROMPT, TOKENS = 12, 20


def measure(kind, model, out, *args):
    """The JSON of runs with one worker and with two, twice each, and the lines of the CSV."""
    done = bench(
        *[kind, "--model", model, "--workers", "1,2", "--threads", "1", "--repeat", "2"],
        *["--prompt", str(PROMPT), "--out", str(out), *args],
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "1 worker x 1 thread " in done.stdout and "2 workers x 1 thread " in done.stdout
    with open(out / f"{kind}.csv", encoding="ascii", newline="") as f:
        rows = list(csv.DictReader(f))
    return json.loads((out / f"{kind}.json").read_text()), rows


@pytest.fixture(scope="module")
def decode(model, tmp_path_factory):
    return measure("decode", model, tmp_path_factory.mktemp("decode") / "new", "--tokens", "20")


@pytest.fixture(scope="module")
def prefill(model, tmp_path_factory):
    return measure("prefill", model, tmp_path_factory.mktemp("prefill"))


@pytest.fixture(scope="module")
def net(model, tmp_path_factory):
    return measure("net", model, tmp_path_factory.mktemp("net"), "--tokens", "20")


def check_shape(kind, result, keys, tokens):
    """The runs in their order, the summary and the CSV hold the same numbers of these keys."""
    report, rows = result
    assert report["measures"] == kind and report["machine"]["cores"] == os.cpu_count()
    assert report["model"]["layers"] == LAYERS
    assert (report["prompt"], report["tokens"]) == (PROMPT, tokens)
    runs = report["runs"]
    assert [(r["workers"], r["repeat"]) for r in runs] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    for r, row in zip(runs, rows, strict=True):
        assert set(r) == set(row) == {"workers", "threads", "wire", "repeat", *keys}
        assert r["wire"] == row["wire"] == "exact"
        assert all(r[k] >= 0 for k in keys)
        assert all(float(row[k]) == pytest.approx(r[k], rel=0.05, abs=0.06) for k in keys)
    assert [(s["workers"], s["runs"]) for s in report["summary"]] == [(1, 2), (2, 2)]
    for s in report["summary"]:
        assert set(s) == {"workers", "threads", "wire", "runs", *keys}
        for k in keys:
            values = [r[k] for r in runs if r["workers"] == s["workers"]]
            wanted = {"min": min(values), "median": sum(values) / 2, "max": max(values)}
            assert s[k] == pytest.approx(wanted)


def test_decode(decode):
    keys = ["tokens_per_second", "token_ms", "compute_ms", "leader_ms", "wire_ms"]
    keys += ["leader_wire_percent", "bandwidth_gb_s", "weight_bytes", "bandwidth_percent"]
    check_shape("decode", decode, keys, TOKENS)
    for r in decode[0]["runs"]:
        assert r["tokens_per_second"] == pytest.approx(1000 / r["token_ms"])
        assert 0 < r["compute_ms"] and 0 < r["bandwidth_gb_s"]
        parts = r["compute_ms"] + r["leader_ms"] + r["wire_ms"]
        assert parts == pytest.approx(max(r["token_ms"], r["compute_ms"] + r["leader_ms"]))
        read = r["weight_bytes"] * r["tokens_per_second"]
        assert r["bandwidth_percent"] == pytest.approx(read / r["bandwidth_gb_s"] / 1e7)


def test_weight_bytes(decode, model):
    """Every matrix but the embedding: less than the file, more than half of it."""
    weights = {r["weight_bytes"] for r in decode[0]["runs"]}
    assert len(weights) == 1
    assert os.path.getsize(model) / 2 < weights.pop() < 1.5 * os.path.getsize(model)


def test_prefill(prefill):
    keys = ["tokens_per_second", "prefill_ms", "flops", "gflop_s", "compute_percent"]
    check_shape("prefill", prefill, keys, 1)
    runs = prefill[0]["runs"]
    for r in runs:
        assert r["tokens_per_second"] == pytest.approx(PROMPT / r["prefill_ms"] * 1000)
        assert r["gflop_s"] == pytest.approx(r["flops"] / r["prefill_ms"] / 1e6)
        assert 0 < r["compute_percent"] <= 100
    # However many workers share them, the operations are those of the prompt: at least two for
    # each weight of a layer and token, and not twice that (attention, the one row of logits).
    assert len({r["flops"] for r in runs}) == 1
    ffn, kv = 768, 96
    least = 2 * PROMPT * LAYERS * (2 * DIM * DIM + 2 * DIM * kv + 3 * DIM * ffn)
    assert least <= runs[0]["flops"] < 2 * least


def test_net(net):
    keys = ["half_steps", "half_step_us", "half_compute_us", "half_wire_us", "heartbeat_us"]
    keys += ["bytes_down", "bytes_up", "token_ms"]
    check_shape("net", net, keys, TOKENS)
    for r in net[0]["runs"]:
        assert r["half_steps"] == 2 * LAYERS + 1
        waited = r["half_compute_us"] + r["half_wire_us"]
        assert r["half_step_us"] == pytest.approx(waited)
        assert r["half_steps"] * r["half_step_us"] <= 1050 * r["token_ms"]
        # A row goes to each worker before each half-step (288 bytes and their scales at least),
        # partial sums of 32 bits come back from each.
        halves = 2 * LAYERS * r["workers"]
        assert r["bytes_down"] > halves * DIM
        assert r["bytes_up"] > halves * DIM * 4


def test_both_wire_modes(model, tmp_path):
    """They take turns; compact sums are 8-bit rows like the inputs."""
    done = bench(
        *["net", "--model", model, "--workers", "2", "--threads", "1", "--repeat", "2"],
        *["--tokens", "20", "--wire", "exact,compact", "--out", str(tmp_path)],
    )
    assert done.returncode == 0, done.stderr
    assert "2 workers x 1 thread, compact " in done.stdout
    runs = json.loads((tmp_path / "net.json").read_text())["runs"]
    assert [r["wire"] for r in runs] == 2 * ["exact", "compact"]
    halves = 2 * LAYERS * 2
    for exact, compact in zip(runs[::2], runs[1::2], strict=True):
        saved = exact["bytes_up"] - compact["bytes_up"]
        assert saved == pytest.approx(halves * (DIM * 4 - DIM / 32 * 34), rel=0.05)
        assert compact["bytes_down"] == pytest.approx(exact["bytes_down"], rel=0.05)


@pytest.mark.parametrize(
    "args, words",
    [
        (["net", "--wire", "thin"], "'thin'"),
        (["net", "--wire", "exact,exact"], "twice"),
        (["decode", "--workers", "0"], "'0'"),
        (["net", "--workers", "1,,2"], "--workers"),
        (["prefill", "--tokens", "5"], "--tokens"),
        (["decode", "--tokens", "1"], "--tokens"),
        (["net", "--contexts", "8"], "--contexts"),
        (["decode", "prefill"], "prefill"),
    ],
)
def test_wrong_usage(args, words, model, tmp_path):
    done = bench(*args, "--model", model, "--out", "x", cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.count("\n") == 1 and not os.listdir(tmp_path)


def test_no_model(tmp_path):
    done = bench("decode", "--model", str(tmp_path / "none.gguf"))
    assert done.returncode == 1 and "none.gguf" in done.stderr
    assert done.stderr.count("\n") == 1


def test_not_a_model(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("not a model")
    done = bench("prefill", "--model", str(path))
    assert done.returncode == 1 and "text.gguf" in done.stderr
    assert done.stderr.count("\n") == 1


def test_prompt_too_long(model):
    done = bench("prefill", "--model", model, "--workers", "1", "--prompt", "5000")
    assert done.returncode == 1 and "2048" in done.stderr
    assert done.stderr.count("\n") == 1
