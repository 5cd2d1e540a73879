"""`recovery: full`, the traditional way: the same tokens, at the price of running all again."""

import signal

from prompts import prompt

PROMPT = prompt(60, 21)
ANSWER = 64


def killed(cluster):
    undisturbed = cluster.client.complete(PROMPT, ANSWER).tokens
    stream = cluster.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    cluster.signal("w2", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == undisturbed
    assert len(answer.failovers) == 1
    return answer


def test_full_replays_and_reuse_does_not(up):
    full, reuse = killed(up(recovery="full")), killed(up(recovery="reuse"))
    assert full.tokens == reuse.tokens
    assert full.failovers[0]["rows_replayed"] >= len(PROMPT) + 19
    assert full.failovers[0]["heads_reused"] == full.failovers[0]["heads_ready"] == 0
    assert reuse.failovers[0]["rows_replayed"] == 0
    assert reuse.failovers[0]["heads_reused"] == 2


def test_full_in_the_status(up):
    assert up(recovery="full").status()["cluster"]["recovery"] == "full"
