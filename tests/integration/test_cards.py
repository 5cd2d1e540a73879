"""An OpenCL device that is small, or is lost in the middle of an answer.

The programs know nothing of it: a layer of the OpenCL loader (tests/device/card.c) makes one of
whatever device the driver shows."""

import os
import re
import unittest

import pytest

import cluster
from client import HttpError
from prompts import prompt

LAYER = os.path.join(cluster.BUILD, "tests/device/card.so")
START = 300  # seconds: a driver compiles its kernels first
ASKED = (prompt(60, 81), 40)


def start_card(c, name, *more, **card):
    """A worker on a device for which card.c says what `card` does: says, has, lost."""
    cluster.need_devices(("opencl",))
    if not os.path.exists(LAYER):
        raise unittest.SkipTest("built without OpenCL's headers")
    given = " ".join(f"CARD_{k.upper()}={v}" for k, v in card.items())
    under = f"export OPENCL_LAYERS={LAYER} {given}"
    return c.start(name, "--compute.device=opencl", *more, under=under)


@pytest.fixture(scope="module")
def expected(model):
    with cluster.Up(model, workers=1) as c:
        return c.client.complete(*ASKED).tokens


def lose(gone, code):
    """What card.c looks for, whole when it is there."""
    with open(gone + ".new", "w", encoding="ascii") as f:
        f.write(str(code))
    os.rename(gone + ".new", gone)


@pytest.fixture(scope="module")
def six_heads(synth):
    return synth("tiny-mha", "q8_0")


def test_a_small_card_is_planned_for(daemons, six_heads):
    """It gets what fits. Where nobody has room for the rest, requests are limited, by its name."""
    c = daemons(six_heads)
    c.start("w2", "--memory.limit=4M")
    c.until_serving(1)
    start_card(c, "w1", says=2_000_000)
    c.until_serving(2, limit=START)
    assert len(c.worker("w1")["heads"]) == 2, "a third one's K/V would not fit"
    limits = c.status()["cluster"]["limits"]
    assert limits["by"] == "w1" and 512 < limits["positions"] < 2048, limits
    assert any("by the memory of w1" in n for n in c.status()["cluster"]["notes"])
    with pytest.raises(HttpError) as e:
        c.client.complete(prompt(20), limits["positions"])
    assert e.value.status == 400 and "memory of worker w1" in str(e.value)
    assert len(c.client.complete(prompt(20), 40).tokens) == 40


def test_a_card_with_less_than_it_says(daemons, six_heads):
    """Others have some of its memory. Its K/V is full in the middle of answers: they go on elsewhere, it
    says what it had room for, and from then on what does not fit waits."""
    together = [(prompt(900, 90 + i), 40, {}) for i in range(3)]
    rows = ["--cache.kv_type=f32", "--limits.max_rows=64", "--heartbeat.phi_offline=100"]
    one = daemons(six_heads, leader_args=rows)
    one.start_all(1)
    expected = [a.tokens for a in one.client.together(together)]
    c = daemons(six_heads, leader_args=["--cluster.min_workers=2", *rows])
    worker = start_card(c, "w1", has=8_000_000)
    c.start("w2")
    c.until_serving(2, limit=START)
    assert [a.tokens for a in c.client.together(together)] == expected
    assert c.worker("w1")["memory_bytes"] < 8_000_000
    c.until_status(lambda s: c.worker("w1", s)["heads"], "w1 has what fits")
    limits = c.status()["cluster"]["limits"]
    assert limits["by"] == "w1" and limits["positions"] < 3 * 940, limits
    said = worker.output()
    assert "out of memory for K/V" in said and "its device has room for" in said
    assert [a.tokens for a in c.client.together(together)] == expected
    assert worker.output().count("session_broken") == said.count("session_broken") == 1


LOST = {-5: "CL_OUT_OF_RESOURCES", -2: "CL_DEVICE_NOT_AVAILABLE"}


@pytest.mark.parametrize("code", LOST)
def test_a_lost_device_is_a_lost_worker(daemons, expected, code):
    """The answer goes on, the log has the driver's word for it, the worker ends, and started again it
    has its units again."""
    c = daemons(leader_args=["--cluster.min_workers=3"])
    gone = os.path.join(c.folder, "gone")
    worker = start_card(c, "w1", lost=gone)
    c.start("w2")
    c.start("w3")
    c.until_serving(3, limit=START)
    heads = c.worker("w1")["heads"]
    stream = c.client.stream(*ASKED)
    stream.read_tokens(10)
    lose(gone, code)
    answer = stream.finish()
    assert answer.tokens == expected
    assert [(f["cause"], f["rows_replayed"]) for f in answer.failovers] == [("gave_up", 0)], answer.failovers
    assert worker.wait() == 1
    assert re.search(rf"is lost: [\w -]+ failed with {LOST[code]} \({code}\)", worker.output())
    assert "memory_damaged" not in worker.output()
    start_card(c, "w1", lost=gone)
    c.until_status(lambda s: (c.worker("w1", s) or {}).get("heads") == heads, "w1 has its heads", START)
    assert c.client.complete(*ASKED).tokens == expected


def test_a_device_that_is_lost_while_nobody_asks(daemons, expected):
    """The scrub's reads are the first to fail. That is no damage of memory, and no answer waits for it."""
    c = daemons(leader_args=["--cluster.min_workers=2", "--integrity.scrub_s=1"])
    gone = os.path.join(c.folder, "gone")
    worker = start_card(c, "w1", lost=gone)
    c.start("w2")
    c.until_serving(2, limit=START)
    lose(gone, -5)
    assert worker.wait() == 1
    assert "is lost: clEnqueueReadBuffer failed with CL_OUT_OF_RESOURCES" in worker.output()
    assert "memory_damaged" not in worker.output()
    assert c.client.complete(*ASKED).tokens == expected
    assert sum(c.worker("w1")["integrity"]["damages"].values()) == 0
