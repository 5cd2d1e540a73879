"""A real worker holds heads and computes, and in the middle of an answer what it says becomes a lie
(middle.py): it is cut off, its units move, the tokens are those of the undisturbed run, and when it
is honest again it comes back as if nothing had happened."""

import signal

import pytest

import wire
from checks import check_failover, check_reuse, heads_by_worker
from cluster import Daemons, until
from lies import HARMLESS, IN_A_RECOVERY, IN_A_STEP
from middle import Middle
from prompts import prompt

PROMPT = prompt(60, 71)
ANSWER = 256
LIAR = "w2"
DEADLINES = ["--recovery.step_deadline_ms=2000", "--recovery.assign_deadline_ms=4000"]


@pytest.fixture
def served(model):
    with Daemons(model, leader_args=["--cluster.min_workers=3", *DEADLINES]) as c:
        with Middle(("127.0.0.1", c.ports["cluster"])) as middle:
            c.start(LIAR, "--leader.address", f"127.0.0.1:{middle.port}")
            c.start("w1")
            c.start("w3")
            c.until_serving(3)
            yield c, middle, c.client.complete(PROMPT, ANSWER).tokens


def comes_back(c, middle, joins, tokens):
    """Honest again: it joins anew, owns heads, and the same request gives the same answer."""
    middle.honest()
    c.until_status(
        lambda s: c.worker(LIAR, s)["joins"] == joins + 1 and c.worker(LIAR, s)["heads"],
        f"{LIAR} has joined anew and owns heads",
    )
    c.until_serving(3)
    answer = c.client.complete(PROMPT, ANSWER)
    assert (answer.tokens, answer.failovers) == (tokens, [])
    assert c.worker(LIAR)["joins"] == joins + 1


@pytest.mark.parametrize("lie", IN_A_STEP)
def test_lie_in_an_answer(served, lie):
    c, middle, tokens = served
    before = c.status()
    joins = c.worker(LIAR, before)["joins"]
    stream = c.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(20) < ANSWER
    middle.lie(lie)
    answer = stream.finish()
    after = c.status()
    assert answer.tokens == tokens
    assert len(answer.failovers) == 1
    check_failover(answer.failovers[0], LIAR, IN_A_STEP[lie][1], heads_by_worker(before))
    check_reuse(before, after, LIAR, len(PROMPT) + ANSWER - 1)
    assert c.state_of(LIAR) == "offline"
    comes_back(c, middle, joins, tokens)


def dropped(c):
    return c.status()["cluster"]["results_dropped"]


@pytest.mark.parametrize("lie", HARMLESS)
def test_harmless_in_an_answer(served, lie):
    c, middle, tokens = served
    before, failures = dropped(c), c.worker(LIAR)["failures"]
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    middle.lie(lie)
    stream.read_tokens(ANSWER - 1)
    assert c.worker(LIAR)["failures"] == failures
    middle.honest()
    answer = stream.finish()
    assert (answer.tokens, answer.failovers) == (tokens, [])
    assert ("also" in lie or lie == "twice") == (dropped(c) > before)


def test_no_heartbeats_are_silence_when_nothing_is_computed(served):
    c, middle, tokens = served
    joins = c.worker(LIAR)["joins"]
    middle.lie("no heartbeats")
    c.until_status(lambda s: c.worker(LIAR, s)["state"] == "offline", f"{LIAR} is offline")
    last = [e for e in c.status()["events"] if e["worker"] == LIAR][-1]
    assert last["cause"] == "silent"
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens
    comes_back(c, middle, joins, tokens)


@pytest.mark.parametrize("lie", IN_A_RECOVERY)
def test_lie_in_a_recovery(served, lie):
    """Another worker dies; what the liar says of the heads that it takes over is not so."""
    c, middle, tokens = served
    heads, joins = heads_by_worker(c.status()), c.worker(LIAR)["joins"]
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    middle.lie(lie)
    c.signal("w1", signal.SIGKILL)
    answer = stream.finish()
    c.rejoin("w1")
    assert answer.tokens == tokens
    causes = {f["worker"]: f["cause"] for f in answer.failovers}
    assert causes == {"w1": "closed", LIAR: IN_A_RECOVERY[lie][1]}
    assert [f["rows_replayed"] for f in answer.failovers] == [0, 0]
    assert all(f["heads_lost"] >= len(heads[f["worker"]]) > 0 for f in answer.failovers)
    assert all(f["heads_rebuilt"] == f["heads_lost"] for f in answer.failovers)
    comes_back(c, middle, joins, tokens)


def test_answers_that_come_after_the_next_epoch(served):
    """The answers of a survivor are held up until another's death has made a new epoch: they are
    dropped, counted, and nobody is the worse for it."""
    c, middle, tokens = served
    held = []

    def hold(f):
        """Results wait; what the worker says of the new epoch lets them go before itself."""
        if f.kind == wire.STEP_RESULT:
            held.append(f.raw)
            return []
        if f.kind == wire.KV_RESULT:
            middle.honest()
            return [*held, f.raw]
        return [f.raw]

    before, failures = dropped(c), c.worker(LIAR)["failures"]
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    middle.lie(hold)
    until(lambda: held, "an answer is held up")
    c.signal("w1", signal.SIGKILL)
    answer = stream.finish()
    c.rejoin("w1")
    assert answer.tokens == tokens
    assert [f["worker"] for f in answer.failovers] == ["w1"]
    assert answer.failovers[0]["rows_replayed"] == 0
    assert dropped(c) == before + len(held)
    assert c.worker(LIAR)["failures"] == failures
