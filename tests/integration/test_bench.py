"""`hydac bench failover`: a small measurement, and what it writes."""

import csv
import json
import os
import re
import signal
import subprocess

import pytest

from cluster import HYDAC, LIMIT, until

PARTS = ("detect_ms", "plan_ms", "weights_ms", "rebuild_ms", "retry_ms", "other_ms")


def bench(*args, **more):
    return subprocess.run(
        [HYDAC, "bench", *args], capture_output=True, text=True, timeout=LIMIT, check=False, **more
    )


@pytest.fixture(scope="module")
def results(synth, tmp_path_factory):
    """The folder of a measurement with two workers and one context."""
    out = tmp_path_factory.mktemp("bench") / "new" / "folder"
    args = ["--model", synth("tiny-gqa3"), "--workers", "2", "--contexts", "48", "--repeat", "1"]
    done = bench("failover", *args, "--tokens", "150", "--threads", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tokens identical") == 3
    return out


@pytest.fixture(scope="module")
def report(results):
    return json.loads((results / "results.json").read_text())


def test_runs(report):
    assert [r["policy"] for r in report["runs"]] == ["reuse", "standby", "full"]
    assert report["model"]["kv_heads"] == 3
    for r in report["runs"]:
        assert (r["workers"], r["context"], r["repeat"]) == (2, 48, 0)
        assert r["identical"] is True
        assert len(r["lost"]) == len(r["failovers"]) == 1
        assert r["failovers"][0]["worker"] == r["lost"][0]
        assert r["positions"] >= 48 + r["kill_after"]
        assert len(r["gaps_ms"]) == len(r["gaps_undisturbed_ms"]) == 149


def test_parts_add_up_to_the_stall(report):
    for r in report["runs"]:
        assert set(r["parts"]) == set(PARTS)
        assert all(ms >= 0 for ms in r["parts"].values())
        assert sum(r["parts"].values()) == pytest.approx(r["stall_ms"], abs=1e-6)
        assert r["stall_ms"] == r["failovers"][0]["stall_ms"]


def test_what_was_computed_again(report):
    reuse, standby, full = report["runs"]
    # The worker with most heads is lost: two of three.
    assert reuse["heads_lost"] == standby["heads_lost"] == full["heads_lost"] == 2
    assert standby["heads_rebuilt"] == standby["rows_rebuilt"] == standby["rows_replayed"] == 0
    assert standby["parts"]["rebuild_ms"] == standby["parts"]["weights_ms"] == standby["flops"] == 0
    assert 0 < reuse["flops"] < full["flops"]
    assert (reuse["heads_rebuilt"], reuse["heads_reused"]) == (2, 1)
    assert reuse["rows_replayed"] == 0 and reuse["rows_kept"] > 0
    assert full["heads_reused"] == full["rows_kept"] == 0
    assert full["rows_replayed"] >= 48


def test_summary(report):
    assert [g["policy"] for g in report["summary"]] == ["reuse", "standby", "full"]
    stalls = [r["stall_ms"] for r in report["runs"]]
    for i, g in enumerate(report["summary"]):
        assert g["median_run"] == i and g["runs"] == 1 and g["identical"] is True
        assert g["stall_ms"] == {"min": stalls[i], "median": stalls[i], "max": stalls[i]}
        assert g["speedup_over_full"] == pytest.approx(stalls[2] / stalls[i])


def test_csv(results, report):
    with open(results / "results.csv", encoding="ascii", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [r["policy"] for r in rows] == ["reuse", "standby", "full"]
    for row, r in zip(rows, report["runs"]):
        assert None not in row and None not in row.values()
        assert row["identical"] == "true"
        assert float(row["stall_ms"]) == pytest.approx(r["stall_ms"], abs=1e-3)
        assert sum(float(row[p]) for p in PARTS) == pytest.approx(r["stall_ms"], abs=4e-3)
        assert int(row["rows_rebuilt"]) == r["rows_rebuilt"]


def test_html_needs_nothing_else(results):
    text = (results / "report.html").read_text()
    assert text.endswith("</body></html>\n")
    assert "all of 3 runs" in text
    for word in ("detect", "plan", "weights", "rebuild", "retry", "other", "undisturbed"):
        assert word in text
    assert not re.search(r"<script|<link|src=|href=|url\(|https?://|nan|inf\b", text)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 6  # two of bars, one of lines, the memory of three policies
    assert pictures[2].count("<polyline") == 4


@pytest.mark.parametrize(
    "args, words",
    [
        (["failover"], "--out"),
        (["failover", "--out", "x", "--policies", "reuse,magic"], "'magic'"),
        (["failover", "--out", "x", "--workers", "2", "--lost", "2"], "leaves nobody"),
        (["failover", "--out", "x", "--contexts", "8,,9"], "--contexts"),
        (["failover", "--out", "x", "--workers", "0"], "'0'"),
        (["failover", "--out", "x", "--plot", "svg"], "'svg'"),
        (["speed", "--out", "x"], "failover"),
    ],
)
def test_wrong_usage(args, words, tmp_path):
    done = bench(*args, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.count("\n") == 1 and not os.listdir(tmp_path)


def test_plot_without_gnuplot(model, tmp_path):
    done = bench(
        *["failover", "--model", model, "--out", "out", "--plot", "png"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 1 and "gnuplot" in done.stderr
    assert done.stderr.count("\n") == 1


def test_context_too_long(model, tmp_path):
    args = ["--model", model, "--workers", "2", "--contexts", "5000", "--repeat", "1"]
    done = bench("failover", *args, "--out", str(tmp_path / "out"))
    assert done.returncode == 1 and "2048" in done.stderr


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


@pytest.mark.parametrize("what", [["failover", "--contexts", "256"], ["decode"], ["prefill"]])
def test_interrupt_ends_everything(what, model, tmp_path):
    args = ["--model", model, "--workers", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [HYDAC, "bench", *what, "--repeat", "500", *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: len(children_of(process.pid)) == 3, "leader and workers run")
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted" in errors
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    assert os.listdir(tmp_path) == []
