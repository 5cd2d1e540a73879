"""Bits flipped in a worker's memory (../chaos/flips.py): found, told, made good, and the same tokens after."""

import argparse
import os
import re
import signal
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "chaos"))

import flips  # noqa: E402 (the path comes first)

import cluster  # noqa: E402
from middle import Middle  # noqa: E402


def options(n):
    """Rounds of a second; a busy machine may be late."""
    return argparse.Namespace(flips=n, scrub=1, seed=7, answer=400, limit=cluster.LIMIT)


def in_log(c, kind):
    return len(re.findall(f" damage .*kind={kind} ", c.leader.output()))


def test_flips_are_found_and_made_good(daemons):
    c = daemons(leader_args=["--integrity.scrub_s=1", *flips.PATIENT])
    c.start_all(3)
    try:
        found, _ = flips.run(c, options(9), print)
    except flips.NoDebugger as why:
        pytest.skip(str(why))
    assert len(found) >= 9
    assert all("after" in f for f in found)
    for f in found:  # a log is filled by the leader, and what is dropped needs nothing
        assert f["repaired"] == (f["kind"] != "log" and not f["dropped"]), f
    for kind in flips.KINDS:
        assert in_log(c, kind) == sum(f["kind"] == kind for f in found), kind
    joins = {w["name"]: w["joins"] for w in c.status()["workers"]}
    assert set(joins.values()) == {1}, "nobody was lost by it"
    tokens = flips.prompt(60, 81)
    with_all = c.client.complete(tokens, 100).tokens
    c.until_idle()
    c.signal("w1", signal.SIGKILL)
    assert c.client.complete(tokens, 100).tokens == with_all
    with cluster.Daemons(c.model) as fresh:
        fresh.start_all(1)
        assert fresh.client.complete(tokens, 100).tokens == with_all


def test_what_is_found_while_the_leader_is_away_is_told_when_it_is_back(model):
    """Answers that have left may be made of it."""
    with cluster.Daemons(model, leader_args=["--integrity.scrub_s=1", *flips.PATIENT]) as c:
        with Middle(("127.0.0.1", c.ports["cluster"])) as middle:
            worker = c.start("w2", "--leader.address", f"127.0.0.1:{middle.port}")
            c.start("w1")
            c.until_serving(2)
            middle.lie(lambda _: [bytes(300)])  # from then on nobody gets through
            c.until_status(lambda s: c.worker("w2", s)["state"] == "offline", "w2 is offline")
            try:
                batch = flips.flip(worker.pid, ["weights"], 3)
            except flips.NoDebugger as why:
                pytest.skip(str(why))
            flips.find(worker, batch, 0, options(1))
            assert "after" in batch[0]
            assert sum(c.worker("w2")["integrity"]["damages"].values()) == 0
            middle.honest()
            told = "its damage is told"
            c.until_status(lambda s: c.worker("w2", s)["integrity"]["damages"]["weights"] == 1, told)
            since = r"kind=weights .*since_us=(\d+)"
            then = re.search(since, worker.output())[1]
            heard = cluster.until(lambda: re.search(since, c.leader.output()), "the leader says so")
            assert int(heard[1]) > int(then), "it is as long ago"


def test_a_log_that_was_damaged_is_filled_from_a_peer_and_gives_kv(daemons):
    c = daemons(leader_args=["--integrity.scrub_s=1", *flips.PATIENT])
    c.start_all(3)
    tokens, n = flips.prompt(100, 5), 1900
    undisturbed = c.client.complete(tokens, n).tokens
    stream = c.client.stream(tokens, n)
    stream.read_tokens(30)
    worker = c.workers["w2"]
    c.signal("w3", signal.SIGSTOP)  # the answer stands still, and a round goes on
    try:
        batch = flips.flip(worker.pid, ["log", "log", "log"], 3)
    except flips.NoDebugger as why:
        pytest.skip(str(why))
    assert batch
    flips.find(worker, batch, 0, options(3))
    assert all("after" in f for f in batch)
    c.signal("w3", signal.SIGCONT)
    cluster.until(lambda: "log_state sequence=0 complete=true" in worker.output(), "the log is full")
    c.signal("w1", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == undisturbed
    assert [f["rows_replayed"] for f in answer.failovers] == [0]
