"""A model that rotates long sequences by other angles: what one sequence leaves behind is nothing that
one of another length may use."""

import signal

from cluster import Daemons, Up
from prompts import prompt

FROM = 90  # positions: tiny-long
TEXT = prompt(120, 77)
SHORT, LONG = TEXT[:70], TEXT


def test_short_and_long_by_turns(synth):
    path = synth("tiny-long", "q8_0")
    with Up(path, workers=2) as c:
        short = c.client.complete(SHORT, 64).tokens
    with Up(path, workers=2) as c:
        long = c.client.complete(LONG, 16).tokens
        assert c.client.complete(SHORT, 64).tokens == short, "it becomes long in the answer"
        assert c.client.complete(SHORT, 10).tokens == short[:10]
        assert c.client.complete(LONG, 16).tokens == long
        assert c.client.complete(SHORT + short[:40], 24).tokens == short[40:], "long from the start"


def test_killed_where_it_begins_again(synth):
    path = synth("tiny-long", "q8_0")
    with Up(path, workers=2) as c:
        tokens = c.client.complete(SHORT, 64).tokens
    for heard in (FROM - len(SHORT), FROM - len(SHORT) + 1):
        with Daemons(path, leader_args=["--cluster.min_workers=2"]) as c:
            c.start_all(2)
            stream = c.client.stream(SHORT, 64)
            stream.read_tokens(heard)
            c.signal("w2", signal.SIGKILL)
            answer = stream.finish()
        assert answer.tokens == tokens
