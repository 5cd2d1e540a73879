"""The tokens are a function of model, request and seed: not of the workers, not of company."""

import pytest

from prompts import prompt

REQUESTS = [
    (prompt(40, 1), 64, {}),
    (prompt(97, 2), 48, {"temperature": 0.9, "seed": 11}),
    (prompt(5, 3), 64, {"temperature": 1.0, "top_k": 20, "seed": 12}),
    (prompt(300, 4), 32, {"temperature": 0.8, "top_p": 0.9, "seed": 2**63 - 1}),
    (prompt(1, 5), 64, {"temperature": 1.3, "top_k": 50, "top_p": 0.95, "seed": 0}),
]


def alone(cluster):
    return [cluster.client.complete(p, n, **o).tokens for p, n, o in REQUESTS]


@pytest.fixture(scope="module")
def of_one_worker(model):
    from cluster import Up

    with Up(model, workers=1) as c:
        tokens = alone(c)
    assert [len(t) for t in tokens] == [n for _, n, _ in REQUESTS]
    return tokens


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers(up, of_one_worker, workers):
    assert alone(up(workers=workers)) == of_one_worker


@pytest.mark.parametrize("workers", [1, 3])
def test_at_once_as_alone(up, of_one_worker, workers):
    c = up(workers=workers)
    assert [a.tokens for a in c.client.together(REQUESTS)] == of_one_worker


def test_small_steps_as_large(up, of_one_worker):
    assert alone(up(leader_args=["--limits.max_rows=8"])) == of_one_worker


def test_streamed_as_whole(up, of_one_worker):
    client = up().client
    for (p, n, o), tokens in zip(REQUESTS, of_one_worker):
        assert client.stream(p, n, **o).finish().tokens == tokens


def test_another_seed_differs(up, of_one_worker):
    client = up(workers=2).client
    p, n, o = REQUESTS[1]
    assert client.complete(p, n, **{**o, "seed": 999}).tokens != of_one_worker[1]


def test_quantized_weights_and_f32_cache(synth, up):
    path = synth("tiny-gqa3", "q8_0")
    args = ["--cache.kv_type=f32"]
    assert alone(up(path, workers=1, leader_args=args)) == alone(up(path, leader_args=args))


def test_more_heads_than_workers_in_every_way(synth, up):
    """Eight or four heads on three workers: nothing divides."""
    path = synth("tiny", "q4_0")
    assert alone(up(path, workers=1)) == alone(up(path, workers=3))
