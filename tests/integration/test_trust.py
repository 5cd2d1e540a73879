"""Bits that are wrong and well-formed: only another worker can tell, by computing the same. Also what
workers say of their own memory."""

import signal

import pytest

import exposition
import wire
from cluster import Daemons, until
from lies import WRONG, instead, other_rows
from middle import Middle
from prompts import prompt

PROMPT = prompt(60, 71)
ANSWER = 400
LIAR = "w2"


class Lied:
    """A cluster of which one worker can be made to lie."""

    def __init__(self, model, workers, *leader_args, **middle):
        args = [f"--cluster.min_workers={workers}", "--integrity.audit=16"]
        args += leader_args
        self.cluster = Daemons(model, leader_args=args)
        self.middle = Middle(("127.0.0.1", self.cluster.ports["cluster"]), **middle)
        self.cluster.start(LIAR, "--leader.address", f"127.0.0.1:{self.middle.port}")
        for name in ("w1", "w3")[: workers - 1]:
            self.cluster.start(name)

    def __enter__(self):
        return self.cluster, self.middle

    def __exit__(self, *how):
        self.middle.close()
        self.cluster.__exit__(*how)


@pytest.fixture
def lied(model):
    """lied(workers, leader_args...): the cluster, the man in the middle, and PROMPT's tokens."""
    running = []

    def start(workers, *leader_args):
        running.append(Lied(model, workers, *leader_args))
        c, middle = running[-1].__enter__()
        c.until_serving(workers)
        return c, middle, c.client.complete(PROMPT, ANSWER).tokens

    yield start
    for one in running:
        print(one.cluster.logs())
        one.__exit__(None, None, None)


def error_of(stream):
    """Reads to the end, which is an error."""
    for _ in stream:
        pass
    stream.close()
    assert stream.answer.error, "the stream ended well"
    return stream.answer.error["message"]


def metric(c, name, **labels):
    families = exposition.parse(c.client.request("GET", "/metrics")[2].decode())
    return exposition.value(families, name, **labels)


def check_blamed(c, name=LIAR, others=("w1", "w3")):
    until(lambda: c.state_of(name) == "offline", f"{name} is cut off")
    s = c.status()
    assert s["integrity"]["wrong_workers"] == 1
    assert [q["worker"] for q in s["integrity"]["quarantined"]] == [name]
    lost = [e for e in s["events"] if e["state"] == "offline"]
    assert [(e["worker"], e["cause"]) for e in lost] == [(name, "wrong")]
    assert all(c.worker(w, s)["state"] == "online" for w in others)
    return s


@pytest.mark.parametrize("lie", ["other sums", "one bit of one sum"])
def test_wrong_sums(lied, lie):
    """Tokens went out: the answer ends with an error. Whoever asks again gets the right ones."""
    c, middle, tokens = lied(3)
    stream = c.client.stream(PROMPT, ANSWER)
    assert 20 <= stream.read_tokens(20) < ANSWER
    middle.lie(lie)
    message = error_of(stream)
    assert f"worker {LIAR} computed wrong bits" in message
    s = check_blamed(c)
    assert s["failovers"][0]["cause"] == "wrong"
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens
    assert metric(c, "hydac_wrong_workers_total") == 1
    assert metric(c, "hydac_audits_total", result="unequal") == 1
    middle.honest()  # its name is refused all the same
    until(lambda: "computed wrong bits" in c.workers[LIAR].output(), f"{LIAR} was told why")
    assert c.state_of(LIAR) == "offline"
    assert f"refused  {LIAR}" in c.hydac("status")


def test_before_the_first_token(lied):
    """Nothing went out yet: the answer begins anew and is right."""
    c, middle, tokens = lied(3, "--integrity.audit=1", "--limits.max_rows=2")
    middle.lie("other sums")
    answer = c.client.complete(PROMPT, ANSWER)
    assert answer.tokens == tokens
    check_blamed(c)


def test_a_pair(lied):
    """Nobody is there who could decide: both are asked afresh, and the liar contradicts itself."""
    c, middle, tokens = lied(2)
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    middle.lie("other sums")
    assert f"worker {LIAR} computed wrong bits" in error_of(stream)
    check_blamed(c, others=("w1",))
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


@pytest.mark.parametrize("lie", [lie for lie in WRONG if "digest" in lie])
def test_lying_auditor(lied, lie):
    c, middle, tokens = lied(3)
    middle.lie(lie)
    stream = c.client.stream(PROMPT, ANSWER)
    for _ in stream:
        pass
    stream.close()
    check_blamed(c)
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


def test_a_pair_that_stays_with_its_words(lied):
    """Nobody can be blamed and nothing is trusted: the answer ends, both go on."""
    c, middle, tokens = lied(2)
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    middle.lie("another digest, always the same")
    message = error_of(stream)
    assert "compute different bits" in message and LIAR in message and "w1" in message
    s = c.status()
    assert s["integrity"]["wrong_workers"] == 0 and s["integrity"]["audits"]["undecided"] > 0
    assert [c.state_of(w) for w in ("w1", LIAR)] == ["online", "online"]
    middle.honest()
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


def test_self_test(model):
    """Who gives another answer than everybody is not let in."""
    up = WRONG["another answer to the self test"]()
    with Lied(model, 3, "--cluster.min_workers=2", up=up) as (c, _):
        c.until_serving(2)
        s = check_blamed(c)
        assert c.worker(LIAR, s)["joins"] == 1 and not c.worker(LIAR, s)["heads"]
        until(lambda: "computed wrong bits" in c.workers[LIAR].output(), f"{LIAR} was told why")


def test_honest_workers_agree(model):
    """Every half-step computed twice, of many rows and of few, while one dies and comes back."""
    with Daemons(model, leader_args=["--cluster.min_workers=3", "--integrity.audit=1"]) as c:
        c.start_all(3)
        alone = [c.client.complete(prompt(30 + 20 * i, i), 40).tokens for i in range(4)]
        stream = c.client.stream(PROMPT, ANSWER)
        stream.read_tokens(10)
        c.signal("w3", signal.SIGKILL)
        c.rejoin("w3")
        together = c.client.together([(prompt(30 + 20 * i, i), 40, {}) for i in range(4)])
        assert [a.tokens for a in together] == alone
        stream.finish()
        audits = c.status()["integrity"]["audits"]
        assert audits["equal"] > 500
        assert (audits["unequal"], audits["undecided"], audits["skipped"]) == (0, 0, 0)
        halves = c.status()["cluster"]["half_steps"]
        done = halves["decode"]["done"] + halves["prefill"]["done"]
        assert audits["half_steps"] >= 0.95 * done  # those of one survivor alone cannot be


def test_off(model):
    with Daemons(model, leader_args=["--integrity.audit=0"]) as c:
        c.start_all(2)
        c.client.complete(PROMPT, ANSWER)
        assert set(c.status()["integrity"]["audits"].values()) == {0}


# ---- What workers say of their memory

WEIGHTS, KV, LOG, FILE = range(4)


def damage(kind, sequence=0, since_us=10**9, **flags):
    fields = wire.number(1, kind) + wire.number(5, sequence) + wire.number(6, since_us)
    fields += wire.number(7, 1)
    if flags.get("replay"):
        fields += wire.number(8, 1)
    return wire.frame(wire.DAMAGE, fields + wire.text(9, 'a "bit"'))


# Rows of ended requests stay under their sequence's number otherwise, and the next gets another one.
ONE_NUMBER = ["--cache.memory=0"]


@pytest.mark.parametrize("kind", [WEIGHTS, KV])
def test_damage_marks_answers(lied, kind):
    """What runs is marked; what has ended is named; who has not asked for `hydac` hears of it too."""
    c, middle, tokens = lied(2, *ONE_NUMBER)
    stream = c.client.stream(PROMPT, ANSWER)
    ended = next(iter(stream))["id"]
    stream.finish()
    plain = c.client.stream(PROMPT, ANSWER, hydac=False)
    next(iter(plain))
    middle.say(damage(kind))
    answer = plain.finish()
    assert answer.suspect and not answer.tokens
    s = c.status()
    event = [e for e in s["events"] if e["state"] == "damaged"][-1]
    assert event["worker"] == LIAR and ended in event["requests"]
    assert sum(c.worker(LIAR, s)["integrity"]["damages"].values()) == 1
    assert not c.client.complete(PROMPT, ANSWER).suspect
    assert f"damage   {LIAR}" in c.hydac("status")
    name = "kv" if kind == KV else "weights"
    assert metric(c, "hydac_worker_damage_total", worker=LIAR, kind=name) == 1


@pytest.mark.parametrize("kind", [LOG, FILE])
def test_damage_that_is_in_no_answer(lied, kind):
    c, middle, tokens = lied(2)
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    middle.say(damage(kind))
    answer = stream.finish()
    assert answer.tokens == tokens and not answer.suspect
    c.until_status(
        lambda s: sum(c.worker(LIAR, s)["integrity"]["damages"].values()) == 1, "it is counted"
    )


def test_damage_that_cannot_be_mended(lied):
    """The sequence is replayed, and the answer is the same."""
    c, middle, tokens = lied(2, *ONE_NUMBER)
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    epoch = c.status()["cluster"]["epoch"]
    middle.say(damage(KV, replay=True))
    answer = stream.finish()
    assert answer.tokens == tokens and answer.suspect
    assert c.status()["cluster"]["epoch"] > epoch


def rows_compared(c):
    return c.status()["integrity"]["rows_compared"]


def test_rows_that_two_have_are_compared(lied):
    """Its heads move to the others: they have computed the same rows from their own logs."""
    c, _, tokens = lied(3)
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    c.hydac("drain", LIAR)
    answer = stream.finish()
    assert answer.tokens == tokens and not answer.suspect
    assert rows_compared(c) == {"equal": rows_compared(c)["equal"], "unequal": 0}
    assert rows_compared(c)["equal"] > 0


def test_rows_that_differ_mark_the_answer(lied):
    """Two cannot be decided: the sequence begins anew, with the same tokens."""
    c, middle, tokens = lied(3)
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(10)
    middle.lie(instead(wire.KV_RESULT, other_rows)())
    c.hydac("drain", LIAR)
    answer = stream.finish()
    assert answer.tokens == tokens and answer.suspect
    assert rows_compared(c)["unequal"] > 0
    event = [e for e in c.status()["events"] if e["state"] == "rows_differ"][-1]
    assert LIAR in (event["worker"], event["cause"])
    assert " rows_differ worker=" in c.leader.output()


def test_failing_memory_is_drained(lied):
    c, middle, tokens = lied(3)
    for _ in range(3):
        middle.say(damage(LOG))
    c.until_status(
        lambda s: c.worker(LIAR, s)["draining"] and not c.worker(LIAR, s)["heads"],
        f"{LIAR} is drained",
    )
    assert c.worker(LIAR)["integrity"]["failing"]
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens
    assert "drained for it" in c.hydac("status")
    c.hydac("drain", "--undo", LIAR)
    c.until_status(lambda s: c.worker(LIAR, s)["heads"], f"{LIAR} owns heads again")
    assert not c.worker(LIAR)["integrity"]["failing"]
