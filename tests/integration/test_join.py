"""Units change hands while answers go on: a worker comes, one is drained or stopped, copies are
made. Nothing changes in any answer, and nothing is computed twice."""

import contextlib
import signal

import pytest

from cluster import Daemons
from prompts import prompt

LONG = 1500  # tokens; long enough for all that is to happen beside them


def heads_of(status):
    return {w["name"]: w["heads"] for w in status["workers"] if w["heads"]}


def owned_once(status):
    return sorted(h for w in status["workers"] for h in w["heads"]) == [0, 1, 2]


@contextlib.contextmanager
def newcomer(model):
    """(cluster, tokens that are expected, a running answer) in which w3 has just got heads."""
    with Daemons(model, leader_args=["--cluster.min_workers=2"]) as c:
        c.start_all(2)
        expected = c.client.complete(prompt(40, 61), LONG).tokens
        stream = c.client.stream(prompt(40, 61), LONG)
        stream.read_tokens(20)
        c.start("w3")
        c.until_status(lambda s: (c.worker("w3", s) or {}).get("heads"), "w3 owns heads")
        yield c, expected, stream


def test_newcomer_gets_heads_beside_a_running_answer(model):
    """Its log lacks what the answer has seen so far; it is completed from a peer's."""
    with newcomer(model) as (c, expected, stream):
        status = c.status()
        assert status["engine"]["running"] == 1, "the answer ended too early to show anything"
        assert c.worker("w3", status)["log_complete"]
        assert owned_once(status)
        answer = stream.finish()
        assert answer.tokens == expected
        assert answer.failovers == [] and status["failovers"] == []


def test_newcomer_carries_the_answer_alone(model):
    """What it took over and completed is enough to go on when all others die."""
    with newcomer(model) as (c, expected, stream):
        c.signal("w1", signal.SIGKILL)
        c.signal("w2", signal.SIGKILL)
        answer = stream.finish()
        assert answer.tokens == expected
        assert {f["worker"] for f in answer.failovers} == {"w1", "w2"}
        assert sum(f["rows_replayed"] for f in answer.failovers) == 0


def test_drain_empties_a_worker_beside_a_running_answer(model):
    with Daemons(model) as c:
        c.start_all(3)
        expected = c.client.complete(prompt(40, 62), LONG).tokens
        stream = c.client.stream(prompt(40, 62), LONG)
        stream.read_tokens(5)
        assert c.hydac("drain", "w2") == "w2 owns nothing any more; it can be stopped\n"
        status = c.status()
        assert status["engine"]["running"] == 1, "the answer ended too early to show anything"
        assert c.worker("w2", status)["draining"] and owned_once(status)
        assert "w2" not in heads_of(status)
        c.signal("w2", signal.SIGKILL)  # nobody misses it
        answer = stream.finish()
        assert answer.tokens == expected and answer.failovers == []


def test_drained_worker_takes_part_again(model):
    with Daemons(model) as c:
        c.start_all(3)
        before = heads_of(c.status())
        c.hydac("drain", "w2")
        assert "w2" not in heads_of(c.status())
        expected = c.client.complete(prompt(30, 63), 200).tokens
        c.hydac("drain", "--undo", "w2")
        c.until_status(lambda s: len(heads_of(s)) == 3 and owned_once(s), "w2 is back")
        assert {k: len(v) for k, v in heads_of(c.status()).items()} == {
            k: len(v) for k, v in before.items()
        }
        assert c.client.complete(prompt(30, 63), 200).tokens == expected
        assert c.status()["failovers"] == []


def test_drain_says_why_it_cannot(model):
    with Daemons(model, leader_args=["--cluster.min_workers=1"]) as c:
        c.start_all(1)
        assert "no worker named" in c.hydac("drain", "w9", fails=True)
        assert "no other worker can take over" in c.hydac("drain", "w1", fails=True)
        c.hydac("drain", "--undo", "w1")
        assert len(c.client.complete(prompt(10, 64), 5).tokens) == 5


def test_stopped_worker_gives_its_units_away_first(model):
    """SIGTERM: no failover, not even a retried half-step."""
    with Daemons(model) as c:
        c.start_all(3)
        expected = c.client.complete(prompt(40, 65), LONG).tokens
        stream = c.client.stream(prompt(40, 65), LONG)
        stream.read_tokens(5)
        c.signal("w1", signal.SIGTERM)
        assert c.workers["w1"].wait() == 0
        assert c.status()["engine"]["running"] == 1, "the answer ended too early"
        answer = stream.finish()
        assert answer.tokens == expected and answer.failovers == []
    

def test_a_worker_that_stays_away_is_forgotten(model):
    """Its machine has another name now. The old one leaves the status and the metrics; who comes
    under it later is new."""

    def owns(name):
        return lambda s: (c.worker(name, s) or {}).get("heads")

    with Daemons(model, leader_args=["--cluster.forget_after_s=1"]) as c:
        c.start_all(2)
        tokens = c.client.complete(prompt(40, 67), 40).tokens
        c.signal("w2", signal.SIGKILL)
        c.start("renamed")
        c.until_status(lambda s: c.worker("w2", s) is None, "w2 is forgotten")
        c.until_status(owns("renamed"), "its machine owns heads again")
        assert "worker_forgotten worker=w2" in c.leader.output()
        assert b'worker="w2"' not in c.client.request("GET", "/metrics")[2]
        assert c.client.complete(prompt(40, 67), 40).tokens == tokens
        c.start("w2")
        c.until_status(owns("w2"), "w2 owns heads")
        w2 = c.worker("w2")
        assert (w2["joins"], w2["failures"]) == (1, 0)
        assert c.state_of("w1") == c.state_of("renamed") == "online"


def lose(c, victim):
    c.signal(victim, signal.SIGKILL)
    c.until_status(lambda s: c.worker(victim, s)["state"] == "offline", "it is lost")


@pytest.mark.parametrize("copies", [1, 2])
def test_standby_costs_no_rebuild(model, copies):
    args = ["--recovery=standby", f"--recovery.standby={copies}"]
    with Daemons(model, leader_args=args) as c:
        c.start_all(3)
        expected = c.client.complete(prompt(60, 66), LONG).tokens
        stream = c.client.stream(prompt(60, 66), LONG)
        stream.read_tokens(5)

        def safe(s):
            m = s["cluster"]["moves"]
            return m["standby_copies"] > 0 and m["units_without_copy"] == 0 and not m["moving"]

        for victim in ("w3", "w1"):
            c.until_status(safe, "every unit has its copies")
            lose(c, victim)
        answer = stream.finish()
        assert answer.tokens == expected
        assert [f["worker"] for f in answer.failovers] == ["w3", "w1"]
        for f in answer.failovers:
            assert f["policy"] == "standby"
            assert f["heads_ready"] == f["heads_lost"] > 0
            assert f["rows_rebuilt"] == f["heads_rebuilt"] == f["rows_replayed"] == 0
            assert f["rebuild_ms"] == 0 and f["weights_ms"] == 0


def copied(status):
    m = status["cluster"]["moves"]
    return m["standby_weights"] > 0 and m["units_without_copy"] == 0 and not m["moving"]


@pytest.mark.parametrize("policy", ["reuse", "full"])
def test_standby_weights_leave_only_the_rows_to_a_takeover(model, policy):
    args = [f"--recovery={policy}", "--recovery.standby_weights=1"]
    with Daemons(model, leader_args=args) as c:
        c.start_all(3)
        expected = c.client.complete(prompt(60, 66), LONG).tokens
        stream = c.client.stream(prompt(60, 66), LONG)
        stream.read_tokens(5)
        for victim in ("w3", "w1"):
            c.until_status(copied, "the weights of every unit have a copy")
            s = c.status()
            held = [w["held"] for w in s["workers"] if w["state"] == "online"]
            bare = sorted(h for w in held for h in w["bare_heads"])
            assert bare == list(range(s["units"]["heads"]))
            assert not any(w["heads"] for w in held), "nobody keeps K/V of others"
            lose(c, victim)
        answer = stream.finish()
        assert answer.tokens == expected
        assert [f["worker"] for f in answer.failovers] == ["w3", "w1"]
        for f in answer.failovers:
            assert f["weights_ms"] == 0, "a unit was packed"
            assert f["heads_ready"] == 0 and f["heads_rebuilt"] == f["heads_lost"] > 0
            assert (f["rows_replayed"] > 0) == (policy == "full")
            assert (f["rows_rebuilt"] > 0) == (policy == "reuse")


def test_standby_is_restored_beside_a_running_answer(model):
    with Daemons(model, leader_args=["--recovery=standby"]) as c:
        c.start_all(3)
        expected = c.client.complete(prompt(60, 67), LONG).tokens
        stream = c.client.stream(prompt(60, 67), LONG)
        stream.read_tokens(5)
        c.until_status(lambda s: s["cluster"]["moves"]["units_without_copy"] == 0, "copies")
        c.signal("w2", signal.SIGKILL)
        c.until_status(lambda s: s["cluster"]["moves"]["units_without_copy"] == 0
                       and s["failovers"], "copies again")
        c.start("w2")
        c.until_status(lambda s: c.worker("w2", s)["heads"], "w2 owns heads again")
        assert c.status()["engine"]["running"] == 1, "the answer ended too early"
        answer = stream.finish()
        assert answer.tokens == expected and len(answer.failovers) == 1


def test_rebalance(model):
    """After losses units stay where they are until levelling is asked for."""
    with Daemons(model, leader_args=["--assignment.strategy=single"]) as c:
        c.start_all(3)
        c.signal("w3", signal.SIGKILL)
        c.until_status(lambda s: c.worker("w3", s)["state"] == "offline" and owned_once(s), "lost")
        assert c.hydac("rebalance") == "the load is being levelled\n"
        c.until_status(lambda s: sorted(len(v) for v in heads_of(s).values()) == [1, 2], "level")


def test_worker_without_a_log(model):
    """It works as any other; what it cannot rebuild goes to those who can."""
    with Daemons(model) as c:
        c.start("w1")
        c.start("w2", "--input_log.keep=false")
        c.start("w3")
        c.until_serving(3)
        expected = c.client.complete(prompt(40, 68), 400).tokens
        stream = c.client.stream(prompt(40, 68), 400)
        stream.read_tokens(50)
        c.signal("w1", signal.SIGKILL)
        answer = stream.finish()
        assert answer.tokens == expected
        assert [f["rows_replayed"] for f in answer.failovers] == [0]
