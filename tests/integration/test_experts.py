"""Models with experts: an expert's block is a unit like any other, for plans, losses and moves, for
audits and the search for damage; and the status counts how often each expert was taken."""

import signal

import pytest

from cluster import Daemons
from prompts import prompt

PROMPT = prompt(50, 91)
ANSWER = 120
LAYERS, EXPERTS, USED = 3, 16, 4  # of tiny-qwen3moe
CAREFUL = ["--integrity.audit=1", "--integrity.scrub_s=1"]


@pytest.fixture(scope="module")
def experts(synth):
    return synth("tiny-qwen3moe", "q8_0")


@pytest.fixture(scope="module")
def tokens(experts):
    with Daemons(experts, leader_args=["--cluster.min_workers=1"]) as c:
        c.start_all(1)
        return c.client.complete(PROMPT, ANSWER).tokens


def test_counters(experts, tokens):
    with Daemons(experts, leader_args=["--cluster.min_workers=2", *CAREFUL]) as c:
        c.start_all(2)
        assert c.client.complete(PROMPT, ANSWER).tokens == tokens
        s = c.status()
        taken = s["engine"]["experts"]
        assert (taken["count"], taken["used"], len(taken["rows"])) == (EXPERTS, USED, EXPERTS)
        assert sum(taken["rows"]) == s["engine"]["rows"] * LAYERS * USED
        assert sum(n > 0 for n in taken["rows"]) > USED, "rows differ in what they take"
        audits = s["integrity"]["audits"]
        assert audits["equal"] > 0 and audits["unequal"] == 0


def test_joined_and_drained(experts, tokens):
    """A worker that joins takes over a share beside the answer, one is emptied, one killed."""
    with Daemons(experts, leader_args=["--cluster.min_workers=2", *CAREFUL]) as c:
        c.start_all(2)
        stream = c.client.stream(PROMPT, ANSWER)
        stream.read_tokens(5)
        c.start("w3", "--model.path", "")
        c.until_status(lambda s: (c.worker("w3", s) or {}).get("ffn_blocks"), "w3 has blocks")
        assert c.hydac("drain", "w1")
        c.signal("w2", signal.SIGKILL)
        answer = stream.finish()
        assert answer.tokens == tokens
        assert c.client.complete(PROMPT, ANSWER).tokens == tokens
        assert c.status()["integrity"]["audits"]["unequal"] == 0
