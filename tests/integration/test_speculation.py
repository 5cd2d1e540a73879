"""Guessed tokens change no token: the same answers with speculation and without, whatever is asked for,
alone and together, and with a worker killed while they are computed."""

import re
import signal
import threading

import pytest

import cluster
from prompts import prompt
from test_structured import COMPACT

POINT = {"type": "object", "properties": {"name": {"enum": ["left", "right"]}, "at": {"enum": [1, 22]}},
         "required": ["name", "at"], "additionalProperties": False}
POINTS = {"type": "array", "items": POINT, "minItems": 5, "maxItems": 5} | COMPACT

# A prompt that repeats itself, and what is asked for.
TEXT = prompt(40, 61) * 2
WAYS = {
    "greedy": {},
    "sampled": {"temperature": 0.7, "seed": 3},
    "penalties": {"temperature": 0.5, "seed": 4, "presence_penalty": 0.3, "repetition_penalty": 1.1},
    "bias": {"logit_bias": {"65": 6, "66": 5}},
    "schema": {"guided_json": POINTS},
    "schema, sampled": {"guided_json": POINTS, "temperature": 1.0, "seed": 5},
    "a stop": {"logit_bias": {"65": 6, "66": 5}, "stop": ["BABB", "AAAA"]},
}
ANSWER = 90


def all_of_them(c):
    """Every way by itself, then all at once."""
    one_by_one = [c.client.complete(TEXT, ANSWER, **way) for way in WAYS.values()]
    together = c.client.together([(TEXT, ANSWER, way) for way in WAYS.values()])
    said = []
    for answer in (*one_by_one, *together):
        assert answer.error is None
        said.append((answer.tokens, answer.finish_reason, answer.text))
    assert said[: len(WAYS)] == said[len(WAYS) :]
    return said[: len(WAYS)]


def speculation_of(c):
    return c.status()["engine"]["speculation"]


@pytest.fixture(scope="module")
def without(model):
    with cluster.Up(model, workers=1, leader_args=["--speculation.mode=off"]) as c:
        said = all_of_them(c)
        assert speculation_of(c) == {"drafted": 0, "accepted": 0, "steps_saved": 0}
    return said


@pytest.mark.quick
@pytest.mark.parametrize("mode", ["auto", "ngram"])
def test_the_same_answers_in_fewer_steps(model, without, mode):
    with cluster.Up(model, workers=2, leader_args=[f"--speculation.mode={mode}"]) as c:
        for way, said, expected in zip(WAYS, all_of_them(c), without):
            assert said == expected, way
        c.until_idle()
        s = speculation_of(c)
        assert s["drafted"] >= s["accepted"] >= s["steps_saved"]
        if mode == "ngram":
            assert s["steps_saved"] > 50
        metrics = c.client.request("GET", "/metrics")[2]
        assert b"hydac_spec_decode_num_accepted_tokens_total %d" % s["accepted"] in metrics


def test_what_a_grammar_forces_is_guessed(model):
    """A text that has not come before, all but its number: most of it is there at once."""
    text = "The harbour of Elmsford was built in [0-9]{4} by order of the town council\\."
    said = {}
    for mode in ("off", "ngram"):
        with cluster.Up(model, workers=1, leader_args=[f"--speculation.mode={mode}"]) as c:
            how = {"guided_regex": text, "temperature": 0.9, "seed": 8, "ignore_eos": False}
            answer = c.client.complete(prompt(12, 7), ANSWER, **how)
            c.until_idle()
            said[mode] = answer.tokens, answer.text, answer.finish_reason
            saved = speculation_of(c)["steps_saved"]
    assert said["off"] == said["ngram"]
    tokens, whole, reason = said["ngram"]
    assert re.fullmatch(text, whole) and reason == "stop"
    assert saved > len(tokens) / 2, (saved, len(tokens))


@pytest.mark.parametrize("recovery", ["reuse", "standby"])
def test_a_kill_among_guesses(model, without, recovery):
    args = ["--speculation.mode=ngram", "--integrity.audit=8"]
    with cluster.Up(model, workers=3, recovery=recovery, leader_args=args) as c:
        got = []
        t = threading.Thread(target=lambda: got.extend(all_of_them(c)))
        t.start()
        c.until_status(lambda s: s["engine"]["speculation"]["accepted"] > 20, "guesses are right")
        c.signal("w2", signal.SIGKILL)
        t.join()
        assert got == without
        c.until_status(lambda s: s["failovers"], "the loss was seen")
        assert all_of_them(c) == without
        assert c.status()["integrity"]["audits"]["unequal"] == 0
