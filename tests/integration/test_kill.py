"""A worker dies in the middle of an answer: the tokens are those of the undisturbed run, and the
counters prove that the survivors computed nothing anew but the lost heads."""

import signal

import pytest

from checks import check_failover, check_reuse, heads_by_worker
from cluster import Daemons, until
from prompts import prompt

PROMPT = prompt(60, 21)
ANSWER = 256
LONG_PROMPT = prompt(200, 22)
WORKERS = ("w1", "w2", "w3")
# Seven moments in the answer, three in the prompt: tokens of it that were run before the kill.
DECODE_MOMENTS = (1, 2, 5, pytest.param(13, marks=pytest.mark.quick), 34, 89, 160)
PREFILL_MOMENTS = (1, 64, 128)


def cluster_of(model, *leader_args):
    # Every row is counted: on a busy machine a worker may be slow indeed, and nothing is to move.
    args = ["--cluster.min_workers=3", *leader_args]
    c = Daemons(model, leader_args=args)
    c.start_all(3)
    return c


@pytest.fixture(scope="module")
def tiny(model):
    with cluster_of(model) as c:
        yield c, c.client.complete(PROMPT, ANSWER).tokens


@pytest.fixture(scope="module", params=[0, 8], ids=["one_group", "two_groups"])
def slow(slow_model, request):
    overlap = f"--compute.overlap_rows={request.param}"
    with cluster_of(slow_model, "--limits.max_rows=16", overlap, "--cache.memory=0") as c:
        yield c, c.client.complete(LONG_PROMPT, 8).tokens


def killed_in_decode(c, victim, moment, number=signal.SIGKILL):
    stream = c.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(moment) < ANSWER
    c.signal(victim, number)
    return stream.finish()


@pytest.mark.parametrize("victim", WORKERS)
@pytest.mark.parametrize("moment", DECODE_MOMENTS)
def test_kill_in_the_answer(tiny, moment, victim):
    c, tokens = tiny
    before = c.status()
    answer = killed_in_decode(c, victim, moment)
    after = c.status()
    c.rejoin(victim)
    assert answer.tokens == tokens
    assert len(answer.failovers) == 1
    check_failover(answer.failovers[0], victim, "closed", heads_by_worker(before))
    assert len(PROMPT) <= answer.failovers[0]["positions"] < len(PROMPT) + ANSWER
    check_reuse(before, after, victim, len(PROMPT) + ANSWER - 1)


@pytest.mark.parametrize("victim", WORKERS)
@pytest.mark.parametrize("moment", PREFILL_MOMENTS)
def test_kill_in_the_prompt(slow, moment, victim):
    c, tokens = slow
    before = c.status()
    rows = before["engine"]["rows"] + moment
    stream = c.client.stream(LONG_PROMPT, len(tokens))
    until(lambda: c.status()["engine"]["rows"] >= rows, f"{moment} rows of the prompt are done")
    c.signal(victim, signal.SIGKILL)
    answer = stream.finish()
    after = c.status()
    c.rejoin(victim)
    assert answer.tokens == tokens
    assert len(answer.failovers) == 1
    assert answer.failovers[0]["positions"] < len(LONG_PROMPT), "the prompt was over by then"
    check_failover(answer.failovers[0], victim, "closed", heads_by_worker(before))
    check_reuse(before, after, victim, len(LONG_PROMPT) + len(tokens) - 1)


@pytest.mark.parametrize("victim", WORKERS)
def test_stop_is_silence(tiny, victim):
    """SIGSTOP: the connection stays, the heartbeats end. After SIGCONT the worker is fenced: it
    joins anew, and nothing that it still sends changes a token."""
    c, tokens = tiny
    before = c.status()
    joins = c.worker(victim, before)["joins"]
    answer = killed_in_decode(c, victim, 20, signal.SIGSTOP)
    after = c.status()
    assert c.state_of(victim) == "offline"
    c.signal(victim, signal.SIGCONT)
    c.until_status(
        lambda s: c.worker(victim, s)["joins"] == joins + 1 and c.worker(victim, s)["heads"],
        f"{victim} has joined anew and owns heads",
    )
    c.until_serving(3)
    assert answer.tokens == tokens
    assert len(answer.failovers) == 1
    check_failover(answer.failovers[0], victim, "silent", heads_by_worker(before))
    check_reuse(before, after, victim, len(PROMPT) + ANSWER - 1)
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


def test_two_deaths_in_one_answer(tiny):
    c, tokens = tiny
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    c.signal("w1", signal.SIGKILL)
    stream.read_tokens(50)
    c.signal("w3", signal.SIGKILL)
    answer = stream.finish()
    c.rejoin("w1")
    c.rejoin("w3")
    assert answer.tokens == tokens
    assert [f["worker"] for f in answer.failovers] == ["w1", "w3"]
    assert [f["rows_replayed"] for f in answer.failovers] == [0, 0]
    assert all(f["heads_rebuilt"] == f["heads_lost"] for f in answer.failovers)


def test_two_deaths_at_once(tiny):
    c, tokens = tiny
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(30)
    c.signal("w2", signal.SIGKILL)
    c.signal("w3", signal.SIGKILL)
    answer = stream.finish()
    c.rejoin("w2")
    c.rejoin("w3")
    assert answer.tokens == tokens
    assert sum(f["rows_replayed"] for f in answer.failovers) == 0


def test_answers_side_by_side(tiny):
    """Several sequences are alive when the worker dies; one of them samples."""
    c, tokens = tiny
    sampled = {"temperature": 0.9, "seed": 4, "repetition_penalty": 1.2}
    requests = [(PROMPT, {}), (prompt(33, 5), sampled), (prompt(7, 6), {})]
    alone = [c.client.complete(p, ANSWER, **o).tokens for p, o in requests]
    streams = [c.client.stream(p, ANSWER, **o) for p, o in requests]
    for s in streams:
        s.read_tokens(15)
    c.signal("w2", signal.SIGKILL)
    answers = [s.finish() for s in streams]
    c.rejoin("w2")
    assert alone[0] == tokens
    assert [a.tokens for a in answers] == alone
    assert all(f["rows_replayed"] == 0 for a in answers for f in a.failovers)


def test_states_and_events(tiny):
    """What the status tells of a death: offline, with its cause, and the success rate."""
    c, _ = tiny
    failures = c.worker("w1")["failures"]
    killed_in_decode(c, "w1", 3)
    status = c.status()
    w1 = c.worker("w1", status)
    assert (w1["state"], w1["failures"], w1["heads"]) == ("offline", failures + 1, [])
    assert 0 < w1["success_rate"] <= 1
    last = [e for e in status["events"] if e["worker"] == "w1"][-1]
    assert (last["state"], last["cause"]) == ("offline", "closed")
    epoch = status["cluster"]["epoch"]
    assert status["failovers"][-1]["epoch"] <= epoch
    c.rejoin("w1")
    assert c.state_of("w1") == "online"
    assert c.status()["cluster"]["epoch"] > epoch
