"""All workers are gone: requests wait, then fail with a reason; a worker that comes is used."""

import json
import signal
import time

import pytest

from client import HttpError
from cluster import until
from prompts import prompt

PROMPT = prompt(30, 9)


def kill_all(c):
    for name in c.workers:
        c.signal(name, signal.SIGKILL)
    until(lambda: c.client.request("GET", "/health")[0] == 503, "health is 503")


@pytest.mark.quick
def test_waits_then_fails_then_serves_again(daemons):
    c = daemons(leader_args=["--recovery.wait_for_worker_ms=400"])
    c.start_all(2)
    tokens = c.client.complete(PROMPT, 40).tokens
    stream = c.client.stream(PROMPT, 2000 - len(PROMPT))
    stream.read_tokens(3)
    kill_all(c)
    for _ in stream:
        pass
    stream.close()
    assert "worker" in stream.answer.error["message"]
    with pytest.raises(HttpError) as e:
        c.client.complete(PROMPT, 40)
    assert e.value.status == 503
    assert "worker" in json.loads(e.value.body)["error"]["message"]
    c.until_idle()
    c.start("w9")
    c.until_serving(1)
    assert c.client.complete(PROMPT, 40).tokens == tokens


def test_a_worker_in_time_saves_the_answer(daemons):
    c = daemons()
    c.start_all(2)
    tokens = c.client.complete(PROMPT, 150).tokens
    stream = c.client.stream(PROMPT, 150)
    stream.read_tokens(3)
    kill_all(c)
    c.start("w9")
    answer = stream.finish()
    assert answer.tokens == tokens
    # Nobody's cache and nobody's log survived: this time everything had to run again.
    assert sum(f["rows_replayed"] for f in answer.failovers) >= len(PROMPT)


def test_a_silent_death_is_no_wait(slow_model, daemons):
    """A request older than the limit goes on when a worker falls silent: nobody waited so long."""
    c = daemons(slow_model, leader_args=["--recovery.wait_for_worker_ms=400"])
    c.start_all(2)
    length = 600  # more than any machine gives in half a second
    tokens = c.client.complete(PROMPT, length).tokens
    began = time.monotonic()
    stream = c.client.stream(PROMPT, length)
    while time.monotonic() < began + 0.5:
        assert stream.read_tokens(len(stream.answer.tokens) + 1) < length
    c.signal("w1", signal.SIGSTOP)
    answer = stream.finish()
    assert answer.tokens == tokens
    assert [f["cause"] for f in answer.failovers] == ["silent"]


def test_requests_before_the_first_worker(daemons):
    c = daemons()
    # What it wants first is its own file, read through once.
    until(lambda: b"worker" in c.client.request("GET", "/health")[2], "the leader wants a worker")
    assert c.client.request("GET", "/health")[0] == 503
    stream_body = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    assert c.client.request("GET", "/v1/models")[0] == 200
    c.start_all(1)
    assert c.client.request("POST", "/v1/completions", stream_body)[0] == 200


def test_min_workers(daemons):
    c = daemons(leader_args=["--cluster.min_workers=2"])
    c.start("w1")
    c.until_status(lambda s: c.worker("w1", s), "w1 has joined")
    status, _, body = c.client.request("GET", "/health")
    assert status == 503
    assert b"1 of 2" in body
    c.start("w2")
    c.until_serving(2)
