"""SmolLM2-135M-Instruct against transformers, on 1,279 positions of ordinary text, through HTTP."""

import array
import base64
import hashlib
import json
import math
import os
import sys

import pytest

from cluster import Up

MODEL = os.environ.get("HYDAC_SMOLLM2", "")
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")

pytestmark = pytest.mark.skipif(
    not os.path.exists(MODEL), reason="no SmolLM2: set HYDAC_SMOLLM2 (deploy/get-model.sh)"
)


def unpack(data, kind):
    values = array.array(kind)
    values.frombytes(base64.b64decode(data))
    if sys.byteorder == "big":
        values.byteswap()
    return values


@pytest.fixture(scope="module")
def reference():
    """tokens; for each position its best 20 as (id, logprob)."""
    with open(os.path.join(FIXTURES, "smollm2.json"), encoding="utf-8") as f:
        r = json.load(f)
    with open(MODEL, "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == r["model_sha256"]
    ids, logprobs = unpack(r["top_ids_u16"], "H"), unpack(r["top_logprobs_f32"], "f")
    pairs = list(zip(ids, logprobs))
    n = r["top"]
    return r["tokens"], [pairs[i : i + n] for i in range(0, len(pairs), n)]


def scores(cluster, tokens):
    """Our best 20 after each token but the last, as {id: logprob}, best first."""
    body = {"prompt": tokens, "max_tokens": 0, "echo": True, "logprobs": 20, "hydac": True}
    reply = cluster.client.post("/v1/completions", body)
    # A token's entry holds what was expected in its place: the position before it.
    entries = reply["hydac"]["prompt_logprobs"][1:]
    return [{t["id"]: t["logprob"] for t in e["top"]} for e in entries]


def divergence(theirs, ours):
    """KL(theirs || ours) with the vocabulary divided into the tokens that are among the best 20 of
    both, and one bucket for all others. It is a lower bound of the whole divergence, which
    tests/fixtures/full_kl.py measures; test_ranks sees to it that no likely token is in the bucket.
    """
    kl = rest_p = rest_q = 0.0
    for token, logprob in theirs:
        if token in ours:
            p, q = math.exp(logprob), math.exp(ours[token])
            kl += p * (logprob - ours[token])
            rest_p, rest_q = rest_p + p, rest_q + q
    rest_p, rest_q = max(1 - rest_p, 1e-9), max(1 - rest_q, 1e-9)
    return kl + rest_p * math.log(rest_p / rest_q)


# How rows are multiplied; how many positions must have the same best token; the mean divergence.
# f32 loses nothing but what f16 K/V loses; the usual way multiplies 8-bit activations in integers.
WAYS = {"f32": (0.99, 1e-3), "auto": (0.97, 5e-3)}


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    return request.param


def cluster_of(workers, way):
    return Up(MODEL, workers=workers, leader_args=[f"--compute.activations={way}"])


@pytest.fixture(scope="module")
def ours(reference, way):
    with cluster_of(3, way) as c:
        return scores(c, reference[0])


def test_enough_positions(reference, ours):
    assert len(ours) == len(reference[0]) - 1 >= 1000


def test_argmax(reference, ours, way):
    same = sum(next(iter(o)) == t[0][0] for o, t in zip(ours, reference[1]))
    assert same / len(ours) >= WAYS[way][0]


def test_divergence(reference, ours, way):
    total = sum(divergence(t, o) for o, t in zip(ours, reference[1]))
    assert total / len(ours) <= WAYS[way][1]


def test_ranks(reference, ours):
    """Their best five are among our best twenty, everywhere."""
    for o, t in zip(ours, reference[1]):
        assert {token for token, _ in t[:5]} <= set(o)


def test_compact_sums(reference):
    """Each worker's sums rounded to 8 bits as well: hardly further away."""
    args = ["--compute.wire=compact"]
    with Up(MODEL, workers=3, leader_args=args) as c:
        compact = scores(c, reference[0])
    same = sum(next(iter(o)) == t[0][0] for o, t in zip(compact, reference[1]))
    total = sum(divergence(t, o) for o, t in zip(compact, reference[1]))
    assert same / len(compact) >= 0.96
    assert total / len(compact) <= 5e-3


def test_worker_count_changes_no_bit(reference, ours, way):
    with cluster_of(1, way) as c:
        assert scores(c, reference[0][:200]) == ours[:199]
