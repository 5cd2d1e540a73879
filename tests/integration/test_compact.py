"""compute.wire compact: a quarter of the bytes up, and a text that depends on the plan as well; with
the same plan it is the same text, and whatever dies, every answer comes to its end."""

import signal

import pytest

import wire
from checks import check_failover, check_reuse, heads_by_worker
from cluster import Daemons, Up
from exposition import parse, value
from lies import IN_COMPACT_SUMS
from middle import Middle
from prompts import prompt

PROMPT = prompt(60, 81)
ANSWER = 256
COMPACT = "--compute.wire=compact"
REQUESTS = [
    (prompt(40, 1), 64, {}),
    (prompt(97, 2), 48, {"temperature": 0.9, "seed": 11}),
    (prompt(300, 4), 32, {"temperature": 0.8, "top_p": 0.9, "seed": 3}),
]
LAYERS, DIM = 3, 288  # tiny-gqa3
EXACT_ROW, COMPACT_ROW = DIM * 4, DIM // 32 * 34


@pytest.fixture(scope="module")
def served(model):
    with Daemons(model, leader_args=["--cluster.min_workers=3", COMPACT]) as c:
        c.start_all(3)
        yield c


def alone(cluster):
    return [cluster.client.complete(p, n, **o).tokens for p, n, o in REQUESTS]


@pytest.mark.parametrize("dtype, workers", [("q4_0", 2), ("q4_0", 3), ("f32", 2)])
def test_same_plan_same_tokens(synth, up, dtype, workers):
    """Again, at once with others, in small steps, and from another cluster."""
    path = synth("tiny-gqa3", dtype)
    tokens = alone(first := up(path, workers=workers, leader_args=[COMPACT]))
    assert [len(t) for t in tokens] == [n for _, n, _ in REQUESTS]
    assert alone(first) == tokens
    assert [a.tokens for a in first.client.together(REQUESTS)] == tokens
    small = [COMPACT, "--limits.max_rows=8"]
    assert alone(up(path, workers=workers, leader_args=small)) == tokens


def test_one_bit_is_told_from_another(synth):
    """What is compact is not exact: a setting that does nothing would pass all other tests."""
    path = synth("tiny-gqa3", "q4_0")
    body = {"prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 5, "hydac": True}
    said = {}
    for mode in ("exact", "compact"):
        with Up(path, workers=2, leader_args=[f"--compute.wire={mode}"]) as c:
            reply = c.client.post("/v1/completions", body)
            said[mode] = [e["logprob"] for e in reply["hydac"]["prompt_logprobs"][1:]]
    apart = [abs(a - b) for a, b in zip(said["exact"], said["compact"], strict=True)]
    assert 0 < sum(apart) / len(apart) < 0.2


@pytest.mark.parametrize("moment", (1, 34, 160))
@pytest.mark.parametrize("number, cause", [(signal.SIGKILL, "closed"), (signal.SIGSTOP, "silent")])
def test_a_worker_is_lost_in_an_answer(daemons, moment, number, cause):
    c, victim = daemons(leader_args=["--cluster.min_workers=3", COMPACT]), "w2"
    c.start_all(3)
    before = c.status()
    stream = c.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(moment) < ANSWER
    c.signal(victim, number)
    answer = stream.finish()
    after = c.status()
    assert (len(answer.tokens), answer.finish_reason, answer.error) == (ANSWER, "length", None)
    (failover,) = answer.failovers
    check_failover(failover, victim, cause, heads_by_worker(before))
    check_reuse(before, after, victim, len(PROMPT) + ANSWER - 1)


def test_down_to_one_worker(served):
    c = served
    streams = [c.client.stream(p, ANSWER) for p in (PROMPT, prompt(33, 5))]
    for s in streams:
        s.read_tokens(10)
    c.signal("w1", signal.SIGKILL)
    c.signal("w3", signal.SIGKILL)
    answers = [s.finish() for s in streams]
    c.rejoin("w1")
    c.rejoin("w3")
    assert [len(a.tokens) for a in answers] == [ANSWER, ANSWER]
    assert [a.error for a in answers] == [None, None]


@pytest.mark.parametrize("policy", ["standby", "full"])
def test_other_ways_of_recovery(model, policy):
    args = ["--cluster.min_workers=3", COMPACT, f"--recovery={policy}"]
    with Daemons(model, leader_args=args) as c:
        c.start_all(3)
        stream = c.client.stream(PROMPT, ANSWER)
        stream.read_tokens(20)
        c.signal("w2", signal.SIGKILL)
        answer = stream.finish()
        assert (len(answer.tokens), answer.error) == (ANSWER, None)
        assert len(answer.failovers) == 1


# ---- Bytes


def traffic_of(c):
    """Bytes of each kind, after an answer alone."""
    t = c.status()["cluster"]["traffic"]
    metrics = parse(c.client.request("GET", "/metrics")[2].decode())
    for kind in ("attention", "ffn", "logits"):
        for way in ("down", "up"):
            n = value(metrics, "hydac_cluster_bytes_total", kind=kind, direction=way)
            assert n == t["kinds"][kind][way]
    return t


def test_bytes_are_counted_and_fewer(synth, up):
    path, workers, told = synth("tiny-gqa3", "q4_0"), 3, {}
    for mode in ("exact", "compact"):
        c = up(path, workers=workers, leader_args=[f"--compute.wire={mode}"])
        assert c.status()["cluster"]["wire"] == mode
        c.client.complete(PROMPT, 33)
        t = told[mode] = traffic_of(c)
        assert (t["prefill"]["rows"], t["decode"]["rows"]) == (len(PROMPT), 32)
        halves = ("attention", "ffn", "logits")
        for way in ("down", "up"):
            steps = t["prefill"][way] + t["decode"][way]
            assert steps == sum(t["kinds"][kind][way] for kind in halves)
            assert t["decode"][f"{way}_per_row"] == pytest.approx(t["decode"][way] / 32)
        assert f"wire     {mode}; a token of answers: " in c.hydac("status")
    row = {"exact": EXACT_ROW, "compact": COMPACT_ROW}
    rows = len(PROMPT) + 32
    for mode, t in told.items():
        # Each worker owns heads and FFN blocks. Around the sums of a row: a header, a small message.
        for kind in ("attention", "ffn"):
            least = rows * LAYERS * workers * row[mode]
            assert least < t["kinds"][kind]["up"] < least + 33 * LAYERS * workers * 80
    assert told["compact"]["kinds"]["ffn"]["down"] == told["exact"]["kinds"]["ffn"]["down"]


# ---- Who does not keep to it


def test_a_worker_that_does_not_know_it_is_told(served):
    c = served
    with wire.Peer(c.ports["cluster"]) as peer:
        peer.send(wire.hello("old", c.status()["model"]["digest"]))
        (kind, body), *rest = peer.until_cut_off()
    assert (kind, rest) == (wire.REJECT, [])
    assert wire.numbers(body)[1] == wire.REJECT_VERSION
    assert b"compute.wire is compact, which a test of worker old does not know" in body
    assert c.worker("old") is None


@pytest.mark.parametrize("lie", IN_COMPACT_SUMS)
def test_lie_in_an_answer(model, lie):
    change, words = IN_COMPACT_SUMS[lie]
    with Daemons(model, leader_args=["--cluster.min_workers=3", COMPACT]) as c:
        with Middle(("127.0.0.1", c.ports["cluster"])) as middle:
            c.start("w2", "--leader.address", f"127.0.0.1:{middle.port}")
            c.start("w1")
            c.start("w3")
            c.until_serving(3)
            before = c.status()
            stream = c.client.stream(PROMPT, ANSWER)
            assert stream.read_tokens(20) < ANSWER
            middle.lie(change)
            answer = stream.finish()
            assert (len(answer.tokens), answer.error) == (ANSWER, None)
            (failover,) = answer.failovers
            check_failover(failover, "w2", "protocol", heads_by_worker(before))
            assert words in c.leader.output()
            middle.honest()
            c.until_status(lambda s: c.worker("w2", s)["heads"], "w2 owns heads again")
            assert len(c.client.complete(PROMPT, 8).tokens) == 8
