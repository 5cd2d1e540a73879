"""The weakest worker sets only its own share: a small log, a slow worker."""

import signal

import pytest

from beside import Beside
from client import HttpError
from cluster import Daemons, until
from halting import Halting
from prompts import prompt


def notes(c):
    return c.status()["cluster"]["notes"]


def owns(w):
    return bool(w and (w["heads"] or w["ffn_blocks"] or w["vocab_blocks"]))


class Busy(Beside):
    """Answers the same request again and again, all with the same tokens."""

    def __init__(self, c, tokens=60):
        super().__init__()
        self.c, self.tokens = c, tokens
        self.expected = c.client.complete(prompt(20, 3), tokens).tokens

    def drive(self):
        while not self.over.is_set():
            got = self.c.client.complete(prompt(20, 3), self.tokens).tokens
            assert got == self.expected, f"other tokens: {got}"


def test_a_small_log_limits_nobody_else(model):
    """A log of 1 MiB does not hold the prompt. It is served all the same, the status names the worker,
    and when another one dies the answer goes on from the log of the third, without a replay."""
    with Daemons(model) as c:
        c.start_all(2)
        expected = c.client.complete(prompt(1500, 5), 200).tokens
        c.start("w3", "--input_log.limit", "1M")
        c.until_serving(3)
        stream = c.client.stream(prompt(1500, 5), 200)
        stream.read_tokens(20)
        w3 = c.worker("w3")
        assert w3["log_covers"] == 0 and 0 < w3["log_positions"] < 1500, w3
        assert any("w3 covers 0 of 1 sequences" in n for n in notes(c)), notes(c)
        assert "w3 covers 0 of 1 sequences" in c.hydac("status")
        c.signal("w1", signal.SIGKILL)
        answer = stream.finish()
        assert answer.tokens == expected
        assert [f["rows_replayed"] for f in answer.failovers] == [0], answer.failovers
        # What is small enough it covers, now that the other one is gone.
        stream = c.client.stream(prompt(20, 5), 400)
        stream.read_tokens(2)
        assert c.worker("w3")["log_covers"] == 1
        stream.close()


def test_no_log_holds_it(model):
    """Requests that no log can hold are served one by one; a loss costs their replay."""
    with Daemons(model, worker_args=["--input_log.limit", "1M"]) as c:
        c.start_all(2)
        expected = c.client.complete(prompt(1500, 6), 100).tokens
        assert any("served alone" in n for n in notes(c)), notes(c)
        stream = c.client.stream(prompt(1500, 6), 100)
        stream.read_tokens(10)
        c.signal("w1", signal.SIGKILL)
        answer = stream.finish()
        assert answer.tokens == expected
        assert answer.failovers[0]["rows_replayed"] >= 1500


def test_memory_limits_by_name(model):
    """K/V has to fit: what does not is refused with the name of whose memory is short. Who has no room
    for its share leaves it to another, as long as that one has."""
    with Daemons(model) as c:
        c.start("w2", "--memory.limit", "2M")
        c.until_serving(1)
        c.start("w1", "--memory.limit", "1M")
        c.until_serving(2)
        limits = c.status()["cluster"]["limits"]
        assert limits["by"] == "w1" and limits["positions"] < 2048, limits
        with pytest.raises(HttpError) as e:
            c.client.complete(prompt(20), limits["positions"])
        assert e.value.status == 400 and "memory of worker w1" in str(e.value)
        assert len(c.client.complete(prompt(20), 10).tokens) == 10
        assert any("memory of w1" in n for n in notes(c)), notes(c)
        c.start("w3")
        c.until_serving(3)
        assert c.status()["cluster"]["limits"]["positions"] >= 2048, c.status()["cluster"]["limits"]
        assert len(c.client.complete(prompt(20), limits["positions"]).tokens) == limits["positions"]


@pytest.mark.parametrize("strategy", ["even", "bandwidth"])
def test_a_slow_worker_is_relieved_and_comes_back(model, strategy):
    """The tokens stay the same all the while."""
    args = ["--assignment.strategy", strategy, "--cluster.min_workers", "3"]
    args += ["--cluster.rebalance", "auto"]
    with Daemons(model, leader_args=args) as c:
        for i in range(3):
            c.start(f"w{i + 1}")
        until(lambda: c.client.request("GET", "/health")[0] == 200, "it serves")
        name = next(w["name"] for w in c.status()["workers"] if owns(w))
        with Busy(c):
            # Who owns all is compared with itself only: with what it has shown while it was well.
            until(lambda: c.worker(name)["slowness"] > 0, "its usual pace is known")
            with Halting(c.workers[name].pid):
                until(lambda: (c.worker(name) or {}).get("pace") == "relieved", "it is relieved", 180)
                until(lambda: not owns(c.worker(name)), "it owns nothing")
                assert any(n.startswith(f"slow: {name}") for n in notes(c)), notes(c)
                assert "relieved" in [e["state"] for e in c.status()["events"] if e["worker"] == name]
                text = c.client.request("GET", "/metrics")[2].decode()
                assert f'hydac_worker_slow{{worker="{name}"}} 1' in text
            until(lambda: (c.worker(name) or {}).get("pace") == "steady", "it is well", 180)
            if strategy == "even":  # by bandwidth one of them may own all, by now another one
                until(lambda: owns(c.worker(name)), "it has its share again", 180)


def test_by_hand(model):
    """cluster.rebalance manual: the status says who is slow, and what to do."""
    args = ["--cluster.rebalance", "manual", "--cluster.min_workers", "3"]
    with Daemons(model, leader_args=args) as c:
        c.start_all(3)
        heads = c.worker("w2")["heads"]
        with Busy(c), Halting(c.workers["w2"].pid):
            until(lambda: any("hydac drain w2" in n for n in notes(c)), "the status says so", 180)
            assert c.worker("w2")["heads"] == heads
            assert c.worker("w2")["pace"] == "slow"
