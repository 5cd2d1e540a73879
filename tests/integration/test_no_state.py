"""A worker whose state folder cannot be written: a read-only disk, a folder of somebody else."""

import os

import cluster
from prompts import prompt

PROMPT = prompt(40, 111)
READ_ONLY = "/proc"  # nobody makes a file there, not even root


def test_with_a_model_file(daemons):
    """It starts, says what it goes without, and takes over from a log in memory."""
    c = daemons()
    w1 = c.start("w1", f"--state.dir={READ_ONLY}")
    c.start("w2")
    c.until_serving(2)
    assert "no_state_folder" in w1.output() and "kept in memory" in w1.output()
    expected = c.client.complete(PROMPT, 40).tokens
    stream = c.client.stream(PROMPT, 40)
    stream.read_tokens(5)
    c.signal("w2", 9)
    answer = stream.finish()
    assert answer.tokens == expected
    (failover,) = answer.failovers
    assert failover["rows_replayed"] == 0 and failover["heads_rebuilt"] > 0
    assert not any("input-log" in name for name in os.listdir(READ_ONLY))


def test_without_one(daemons):
    """The leader's weights need a place: a sentence says so."""
    c = daemons()
    w1 = c.start("w1", "--model.path=", f"--state.dir={READ_ONLY}")
    assert w1.wait() == 1
    assert "--state DIR" in w1.output()
    assert cluster.alive(c.leader.pid)
