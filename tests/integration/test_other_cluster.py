"""An answer goes on in another cluster, or on the same leader started anew: `hydac run --leader A,B`."""

import json
import os
import signal
import subprocess

import pytest

from client import HttpError, body_of
from cluster import HYDAC, LIMIT, Up
from prompts import prompt

PROMPT = prompt(40, 77)
TOKENS = 300
SAMPLING = dict(temperature=0.9, seed=11, presence_penalty=0.3)


@pytest.fixture(scope="module")
def spare(model):
    with Up(model, workers=1) as c:
        yield c


def run(*leaders, tokens=TOKENS):
    args = [HYDAC, "run", "--leader", ",".join(leaders), "--max-tokens", str(tokens), "--json"]
    args += ["--prompt-tokens", ",".join(map(str, PROMPT)), "--ignore-eos"]
    args += ["--temperature", "0.9", "--seed", "11"]
    return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_whole_cluster_dies(up, spare):
    whole = spare.client.complete(PROMPT, TOKENS, temperature=0.9, seed=11).tokens
    c = up(workers=2)
    child = run(c.client.url, spare.client.url)
    c.until_status(lambda s: s["engine"]["tokens"] > 20, "the answer has begun")
    for pid in (c.process.pid, c.leader_pid, *c.pids.values()):
        os.kill(pid, signal.SIGKILL)
    out, told = child.communicate(timeout=LIMIT)
    assert child.returncode == 0, told
    answer = json.loads(out)
    assert answer["tokens"] == whole
    assert answer["resumed"] == 1 and "going on behind" in told
    assert answer["usage"]["completion_tokens"] == TOKENS


def test_the_first_does_not_answer(spare):
    child = run("http://127.0.0.1:1", spare.client.url, tokens=8)
    out, told = child.communicate(timeout=LIMIT)
    assert child.returncode == 0, told
    assert len(json.loads(out)["tokens"]) == 8


def test_another_model_does_not_go_on(synth, spare):
    with Up(synth("tiny-gqa3", "q4_0", seed=2), workers=1) as other:
        stream = other.client.stream(PROMPT, 8)
        first = next(iter(stream))["hydac"]
        stream.close()
        begun = {k: first[k] for k in ("seed", "model_digest", "prompt_digest", "tokens")}
        with pytest.raises(HttpError) as refused:
            spare.client.post("/v1/completions", body_of(PROMPT, 8, hydac=begun))
        assert refused.value.status == 409
        rest = other.client.complete(PROMPT, 8, hydac=begun).tokens
        assert begun["tokens"] + rest == other.client.complete(PROMPT, 8).tokens


def test_penalties_count_what_came_before(spare):
    whole = spare.client.complete(PROMPT, 40, **SAMPLING).tokens
    stream = spare.client.stream(PROMPT, 40, **SAMPLING)
    begun = next(iter(stream))["hydac"]
    stream.close()
    begun = {"model_digest": begun["model_digest"], "seed": 11, "tokens": whole[:25]}
    rest = spare.client.complete(PROMPT, 40, **{**SAMPLING, "hydac": begun}).tokens
    assert rest == whole[25:]
