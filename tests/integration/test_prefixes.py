"""Rows that are there are not computed again, and no token is another one for it."""

import os
import signal
import threading

import pytest

import cluster
from client import body_of
from prompts import prompt

SYSTEM = prompt(200, 21)


def turns(n, salt=0):
    """A conversation: each prompt is the last one with its answer and something new."""
    return [prompt(15 + 3 * i, 30 + 10 * salt + i) for i in range(n)]


def talk(c, n, salt=0, **options):
    """Its tokens, turn by turn, and what of each prompt was there."""
    said, answers, cached = [*SYSTEM], [], []
    for question in turns(n, salt):
        said += question
        body = c.client.post("/v1/completions", body_of(said, 12, **options))
        tokens = body["hydac"]["tokens"]
        cached.append(body["usage"]["prompt_tokens_details"]["cached_tokens"])
        answers.append(tokens)
        said += tokens
    return answers, cached


def cache_of(c):
    return c.status()["engine"]["prefix_cache"]


@pytest.fixture(scope="module")
def without(model):
    """What is said without a cache."""
    with cluster.Up(model, workers=1, leader_args=["--cache.memory=0"]) as c:
        talks = [talk(c, 3, salt) for salt in range(3)]
        assert [cached for _, cached in talks] == [[0, 0, 0]] * 3
        hot = talk(c, 3, 0, temperature=1.0, seed=5)[0]
        assert cache_of(c) == dict.fromkeys(cache_of(c), 0)
    return [answers for answers, _ in talks], hot


@pytest.mark.quick
def test_turns_go_on_where_the_last_one_ended(up, without):
    c = up(workers=2)
    answers, cached = talk(c, 3)
    assert answers == without[0][0]
    # All but the answer's last token, of which nobody had to know what follows.
    first = 200 + 15 + 12 - 1
    assert cached == [0, first, first + 1 + 18 + 12 - 1]
    assert talk(c, 3, temperature=1.0, seed=5)[0] == without[1]
    # Another conversation with the same beginning shares its whole blocks.
    answers, cached = talk(c, 3, 1)
    assert answers == without[0][1]
    assert cached[0] == 192 and cached[1] == first
    metrics = c.client.request("GET", "/metrics")[2]
    assert b"hydac_prefix_cache_hits_total" in metrics


@pytest.mark.quick
def test_those_who_ask_at_once_share(up, without):
    c = up(workers=2)
    asked = [SYSTEM + turns(1, salt)[0] for salt in range(3)]
    answers = c.client.together([(p, 12, {}) for p in asked])
    assert [a.tokens for a in answers] == [said[0] for said in without[0]]
    c.until_idle()
    cache = cache_of(c)
    assert cache["hits"] == 2 * 192
    assert cache["sequences"] == 3
    assert cache["positions"] == (200 + 15 + 11) * 3 - 2 * 192, "shared positions are there once"


def test_an_edit_shares_up_to_the_branch(up):
    c = up(workers=2)
    said = prompt(300, 7)
    edited = said[:150] + prompt(100, 8)
    for tokens, cached in ((said, 0), (edited, 128), (said[:290], 256), (edited, 192)):
        usage = c.client.post("/v1/completions", body_of(tokens, 4))["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == cached
    # Whose prompt's logits are wanted computes all rows.
    usage = c.client.post("/v1/completions", body_of(said, 4, echo=True, logprobs=1))["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    # Nor is anything shared with who has another salt.
    usage = c.client.post("/v1/completions", body_of(said, 4, cache_salt="mine"))["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0


def test_what_runs_goes_first(up, model):
    """Kept rows never take room from a request, nor its number."""
    c = up(workers=1, leader_args=["--cache.memory=256K", "--limits.max_sequences=2"])
    limit = cache_of(c)["limit"]
    for i in range(70):
        c.client.complete(prompt(70 + i, 100 + i), 2)
        assert cache_of(c)["positions"] <= limit
    assert cache_of(c)["evictions"] > 0


@pytest.mark.parametrize("recovery", ["reuse", "full", "standby"])
def test_a_kill_changes_no_token(model, without, recovery):
    """Three conversations at once with one beginning; a worker is killed while they run."""
    with cluster.Up(model, workers=3, recovery=recovery) as c:
        c.client.complete(SYSTEM, 2)
        got = [None] * 3

        def one(salt):
            got[salt] = talk(c, 3, salt)[0]

        threads = [threading.Thread(target=one, args=(salt,)) for salt in range(3)]
        for t in threads:
            t.start()
        c.until_status(lambda s: s["engine"]["prefix_cache"]["hits"] >= 3 * 192, "all share")
        c.signal("w2", signal.SIGKILL)
        for t in threads:
            t.join()
        assert got == without[0]
        c.until_status(lambda s: s["failovers"], "the loss was seen")
        assert talk(c, 3)[0] == without[0][0]


def test_joins_and_drains_keep_what_is_there(daemons, without):
    c = daemons()
    c.start_all(1)
    c.until_serving(1)
    assert talk(c, 2)[0] == without[0][0][:2]
    c.start("w2")
    c.until_serving(2)
    answers, cached = talk(c, 3)
    assert answers == without[0][0]
    assert cached[0] > 0, "its rows went to the newcomer as well"
    c.hydac("drain", "w1")
    c.until_serving(1)
    answers, cached = talk(c, 3, 1)
    assert answers == without[0][1]
    assert cached[0] == 192
