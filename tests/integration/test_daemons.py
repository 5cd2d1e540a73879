"""The daemons as processes: configuration, signals, joining, leaving."""

import os
import re
import signal
import subprocess

import pytest

import cluster
from cluster import LEADER, WORKER, Process, alive, until
from prompts import prompt

PROMPT = prompt(20, 51)

# What is wrong with the file, and where: line and column of the offender.
BAD_CONFIG = {
    "unknown key": ("cluster:\n  min_wrokers: 2\n", 2, 3),
    "unknown section": ("http:\n  listen: 127.0.0.1:0\nclutser:\n  min_workers: 2\n", 3, 1),
    "a word for a number": ("cluster:\n  min_workers: two\n", 2, 16),
    "out of range": ("cluster:\n  min_workers: 0\n", 2, 16),
    "a list for a scalar": ("cluster:\n  min_workers: [1, 2]\n", 2, 16),
    "a key twice": ("cluster:\n  min_workers: 2\n  min_workers: 3\n", 3, 3),
    "unknown word": ("recovery:\n  policy: hope\n", 2, 11),
    "not YAML": ("cluster: {min_workers: 2\n", None, None),
}


def run(args):
    return subprocess.run(args, capture_output=True, text=True, timeout=cluster.LIMIT, check=False)


@pytest.mark.parametrize("program", [LEADER, WORKER], ids=["leader", "worker"])
def test_help_and_version(program):
    for flag in ("--help", "--version"):
        said = run([program, flag])
        assert said.returncode == 0
        assert "hydac" in said.stdout


@pytest.mark.parametrize("name", BAD_CONFIG)
def test_bad_config_of_the_leader(tmp_path, name):
    text, line, column = BAD_CONFIG[name]
    path = tmp_path / "leader.yaml"
    path.write_text(text)
    said = run([LEADER, "--config", str(path)])
    assert said.returncode == 2
    place = re.search(re.escape(str(path)) + r":(\d+):(\d+): (.+)", said.stderr)
    assert place, said.stderr
    if line:
        assert (int(place[1]), int(place[2])) == (line, column), said.stderr


def test_bad_config_of_the_worker(tmp_path):
    path = tmp_path / "worker.yaml"
    path.write_text("compute:\n  threads: 1\n  speed: 9\n")
    said = run([WORKER, "--config", str(path)])
    assert said.returncode == 2
    assert f"{path}:3:3: " in said.stderr


@pytest.mark.parametrize("program", [LEADER, WORKER], ids=["leader", "worker"])
@pytest.mark.parametrize(
    "args",
    [["--config", "/nowhere/at.all"], ["--nothing.here=1"], ["--log.level=loud"], ["word"]],
    ids=["no file", "unknown flag", "unknown word", "no flag"],
)
def test_bad_command_line(program, args):
    said = run([program, *args])
    assert said.returncode == 2
    assert said.stderr.strip()


def test_missing_model(tmp_path):
    path = str(tmp_path / "none.gguf")
    for args in (
        [LEADER, "--model.path", path, "--cluster.listen=127.0.0.1:0", "--http.listen=127.0.0.1:0"],
        [WORKER, "--model.path", path, "--leader.address=127.0.0.1:1", "--worker.name=w1"],
    ):
        said = run([*args, "--state.dir", str(tmp_path)])
        assert said.returncode not in (0, None)
        assert "none.gguf" in said.stderr


def test_damaged_model(tmp_path, model):
    path = tmp_path / "cut.gguf"
    with open(model, "rb") as f:
        path.write_bytes(f.read()[:5000])
    args = ["--cluster.listen=127.0.0.1:0", "--http.listen=127.0.0.1:0"]
    said = run([LEADER, "--model.path", str(path), "--state.dir", str(tmp_path), *args])
    assert said.returncode not in (0, None)
    assert "cut.gguf" in said.stderr


def test_config_file_and_flags_over_it(tmp_path, model):
    """Flags win over the file, the file over the defaults."""
    path = tmp_path / "leader.yaml"
    path.write_text("cluster:\n  min_workers: 3\nrecovery:\n  policy: full\n")
    args = ["--config", str(path), "--cluster.min_workers=2"]
    with cluster.Daemons(model, leader_args=args) as c:
        told = c.status()["cluster"]
    assert (told["min_workers"], told["recovery"]) == (2, "full")


def test_fixed_assignment(tmp_path, model):
    path = tmp_path / "leader.yaml"
    path.write_text(
        "cluster:\n  min_workers: 2\n"
        "assignment:\n  strategy: fixed\n  fixed:\n    big: [0, 2]\n    small: [1]\n"
    )
    with cluster.Daemons(model, leader_args=["--config", str(path)]) as c:
        c.start("small")
        c.start("big")
        c.until_serving(2)
        status = c.status()
        assert c.worker("big", status)["heads"] == [0, 2]
        assert c.worker("small", status)["heads"] == [1]
        assert len(c.client.complete(PROMPT, 8).tokens) == 8


@pytest.mark.parametrize(
    "heads, error",
    [("[0, 1, 3]", "worker w1: head 3 does not exist (0 to 2 do)"), ("[0, 1]", "head 2 is given to no")],
)
def test_fixed_assignment_of_another_model(tmp_path, model, heads, error):
    """The table is of this model's heads, all of them: what is wrong with it is said at the start."""
    path = tmp_path / "leader.yaml"
    path.write_text(f"assignment:\n  strategy: fixed\n  fixed:\n    w1: {heads}\n")
    args = ["--cluster.listen=127.0.0.1:0", "--http.listen=127.0.0.1:0", "--config", str(path)]
    said = run([LEADER, "--model.path", model, "--state.dir", str(tmp_path), *args])
    assert said.returncode == 1
    assert f"assignment.fixed: {error}" in said.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_daemons_cleanly(daemons, number):
    c = daemons()
    c.start_all(2)
    c.client.stream(PROMPT, 400).read_tokens(3)  # in the middle of something
    c.signal("w1", number)
    assert c.workers["w1"].wait() == 0
    c.leader.signal(number)
    assert c.leader.wait() == 0
    c.signal("w2", number)
    assert c.workers["w2"].wait() == 0


def test_leader_ends_waiting_requests(daemons):
    """A request that waits for a worker gets an answer when the leader stops."""
    c = daemons()
    stream = c.client.stream(PROMPT, 8)
    c.until_status(
        lambda s: s["engine"]["waiting"] + s["engine"]["running"] == 1, "the request waits"
    )
    c.leader.signal(signal.SIGTERM)
    for _ in stream:
        pass
    assert stream.answer.error
    assert c.leader.wait() == 0


def test_workers_wait_for_their_leader(tmp_path, model):
    """A worker that comes first tries again until its leader is there, and after it was away."""
    with cluster.Daemons(model) as first:
        port = first.ports["cluster"]
        first.start_all(1)
        worker = first.workers.pop("w1")
        first.leader.stop()
        assert worker.running()
        args = [f"--cluster.listen=127.0.0.1:{port}", "--ports-file", str(tmp_path / "p.json")]
        args += ["--model.path", model, "--http.listen=127.0.0.1:0"]
        log = str(tmp_path / "leader.log")
        again = Process([LEADER, *args, "--state.dir", str(tmp_path)], log)
        try:
            ports = until(lambda: cluster.read_json(tmp_path / "p.json"), "the leader is back")
            client = cluster.Client(f"http://127.0.0.1:{ports['http']}")
            until(lambda: client.request("GET", "/health")[0] == 200, "the worker is back")
            assert len(client.complete(PROMPT, 8).tokens) == 8
        finally:
            assert worker.stop() == 0
            assert again.stop() == 0


def test_surplus_workers_are_spares(daemons):
    """Four workers for three heads: one owns none, until it is needed."""
    c = daemons()
    c.start_all(3)
    c.start("w4")
    c.until_status(lambda s: c.worker("w4", s), "w4 has joined")
    tokens = c.client.complete(PROMPT, 40).tokens
    stream = c.client.stream(PROMPT, 40)
    stream.read_tokens(5)
    for name in ("w1", "w2", "w3"):
        c.signal(name, signal.SIGKILL)
    assert stream.finish().tokens == tokens


# ---- hydac up


def test_up_ready_file(up):
    c = up(workers=3)
    assert set(c.ready) >= {"leader", "workers"}
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", c.ready["leader"])
    assert [w["name"] for w in c.ready["workers"]] == ["w1", "w2", "w3"]
    assert all(alive(w["pid"]) for w in c.ready["workers"])
    assert c.client.request("GET", "/health")[0] == 200
    said = c.process.output()
    assert all(str(pid) in said for pid in (*c.pids.values(), c.leader_pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_leaves_no_child(up, number):
    c = up(workers=2)
    children = [c.leader_pid, *c.pids.values()]
    os.kill(c.process.pid, number)
    status = c.process.wait()
    until(lambda: not any(alive(pid) for pid in children), "all children are gone")
    if number != signal.SIGKILL:
        assert status in (0, 128 + number)


def test_up_goes_on_without_a_worker(up):
    c = up(workers=3)
    tokens = c.client.complete(PROMPT, 40).tokens
    c.signal("w3", signal.SIGKILL)
    c.until_status(lambda s: c.worker("w3", s)["state"] == "offline", "w3 is offline")
    assert c.client.complete(PROMPT, 40).tokens == tokens
    assert c.process.running()


def test_up_restarts_workers(up):
    c = up(workers=2, options=["--restart"])
    joins = c.worker("w1")["joins"]
    c.signal("w1", signal.SIGKILL)
    c.until_status(lambda s: c.worker("w1", s)["joins"] > joins, "w1 has joined again")


def test_up_bad_arguments(tmp_path, model):
    ready = tmp_path / "ready.json"
    for args in (
        ["--model", str(tmp_path / "none.gguf"), "--workers", "1"],
        ["--model", model, "--workers", "0"],
        ["--model", model, "--workers", "many"],
        ["--model", model, "--workers", "1", "--recovery", "hope"],
    ):
        said = run([cluster.HYDAC, "up", *args, "--port", "0", "--ready-file", str(ready)])
        assert said.returncode not in (0, None), args
        assert said.stderr.strip(), args
        assert not ready.exists()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(child) for child in f.read().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_keeper_goes_with_its_worker(daemons, number):
    """The process that keeps a killed worker's memory for a moment does not outlive it."""
    c = daemons()
    c.start_all(1)
    (keeper,) = children(c.workers["w1"].pid)
    assert alive(keeper)
    c.signal("w1", number)
    c.workers["w1"].wait()
    until(lambda: not alive(keeper), "the keeper is gone")
