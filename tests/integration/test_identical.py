"""The tokens are a function of model, request and seed: not of the workers, not of company."""

import os
import signal

import pytest

from prompts import prompt

REQUESTS = [
    (prompt(40, 1), 64, {}),
    (prompt(97, 2), 48, {"temperature": 0.9, "seed": 11}),
    (prompt(5, 3), 64, {"temperature": 1.0, "top_k": 20, "seed": 12}),
    (prompt(300, 4), 32, {"temperature": 0.8, "top_p": 0.9, "seed": 2**63 - 1}),
    (prompt(30, 6), 48, {"presence_penalty": 1.5, "frequency_penalty": 0.5}),
    (
        prompt(12, 7),
        48,
        {"temperature": 1.0, "min_p": 0.1, "repetition_penalty": 1.3, "seed": 13}
        | {"logit_bias": {"7": 5, "9": -100}},
    ),
    (prompt(20, 8), 48, {"temperature": 1.1, "typical_p": 0.7, "seed": 14}),
    (
        prompt(25, 9),
        48,
        {"temperature": 1.0, "top_p": 0.95, "xtc_probability": 0.5, "xtc_threshold": 0.05}
        | {"seed": 15},
    ),
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


@pytest.mark.quick
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers(up, of_one_worker, workers):
    assert alone(up(workers=workers)) == of_one_worker


@pytest.mark.parametrize("workers", [1, 3])
def test_at_once_as_alone(up, of_one_worker, workers):
    c = up(workers=workers)
    assert [a.tokens for a in c.client.together(REQUESTS)] == of_one_worker


@pytest.mark.parametrize("us", [0, 100000])
def test_busy_polling_as_sleeping(daemons, of_one_worker, us):
    """Also when more loops look for work than there are cores, all the time."""
    args = [f"--leader.busy_poll_us={us}"]
    c = daemons(leader_args=[f"--cluster.busy_poll_us={us}"], worker_args=args)
    c.start_all(3)
    assert alone(c) == of_one_worker
    assert [a.tokens for a in c.client.together(REQUESTS)] == of_one_worker


@pytest.mark.parametrize("rows", [2, 3, 8])
def test_small_steps_as_large(up, of_one_worker, rows):
    c = up(leader_args=[f"--limits.max_rows={rows}"])
    assert alone(c) == of_one_worker
    assert [a.tokens for a in c.client.together(REQUESTS)] == of_one_worker


@pytest.mark.parametrize("rows, groups", [(0, 1), (2, 2), (33, 2), (34, 1)])
def test_in_two_groups_as_in_one(up, of_one_worker, rows, groups):
    def half_steps():
        return c.status()["cluster"]["half_steps"]["prefill"]

    c = up(leader_args=[f"--compute.overlap_rows={rows}", "--limits.max_rows=33"])
    assert alone(c) == of_one_worker
    assert [a.tokens for a in c.client.together(REQUESTS)] == of_one_worker
    before = half_steps()
    c.client.complete(prompt(99, 6), 1)
    after = half_steps()
    halves = 2 * c.status()["model"]["layers"]
    assert after["done"] - before["done"] == 3 * groups * halves + 1
    assert 0 < after["compute_us"] <= after["waited_us"]


def test_streamed_as_whole(up, of_one_worker):
    client = up().client
    for (p, n, o), tokens in zip(REQUESTS, of_one_worker):
        assert client.stream(p, n, **o).finish().tokens == tokens


def test_another_seed_differs(up, of_one_worker):
    client = up(workers=2).client
    p, n, o = REQUESTS[1]
    assert client.complete(p, n, **{**o, "seed": 999}).tokens != of_one_worker[1]


# A vocabulary of 48 blocks, of which workers send the best few tokens. The model's weights are random,
# so its distributions are flat: at these temperatures often, and at the last one seldom, that is not
# enough, and every logit is asked for.
OPEN = [
    (prompt(20, 6), 12, {"temperature": 1.0, "seed": 21}),
    (prompt(20, 6), 12, {"temperature": 0.7, "top_p": 0.8, "seed": 22}),
    (prompt(20, 6), 12, {"temperature": 1.0, "top_k": 500, "seed": 23}),
    (prompt(20, 6), 12, {"temperature": 0.02, "seed": 24}),
]


def test_sampled_from_the_best_few_or_from_all(slow_model, daemons):
    def again(c):
        return c.status()["engine"]["logits_again"]

    one = daemons(slow_model)
    one.start_all(1)
    tokens = []
    for p, n, o in OPEN:
        before = again(one)
        tokens.append(one.client.complete(p, n, **o).tokens)
        assert (again(one) - before > n / 2) == (o["temperature"] > 0.5)
    three = daemons(slow_model, leader_args=["--cluster.min_workers=3"])
    three.start_all(3)
    assert [a.tokens for a in three.client.together(OPEN)] == tokens
    p, n, o = OPEN[0]
    stream = three.client.stream(p, n, **o)
    stream.read_tokens(3)
    three.signal("w2", signal.SIGKILL)
    assert stream.finish().tokens == tokens[0]


@pytest.mark.parametrize("dtype", ["f32", "f16", "q8_0", "q4_1"])
@pytest.mark.parametrize("kv_type", ["f16", "f32"])
def test_other_weights_and_caches(synth, up, dtype, kv_type):
    path = synth("tiny-gqa3", dtype)
    args = [f"--cache.kv_type={kv_type}"]
    assert alone(up(path, workers=1, leader_args=args)) == alone(up(path, leader_args=args))


def test_quantized_weights_multiplied_as_floats(synth, up):
    args = ["--compute.activations=f32"]
    path = synth("tiny-gqa3", "q4_0")
    assert alone(up(path, workers=1, leader_args=args)) == alone(up(path, leader_args=args))


def test_more_heads_than_workers_in_every_way(synth, up):
    """Eight or four heads on three workers: nothing divides."""
    path = synth("tiny", "q4_0")
    assert alone(up(path, workers=1)) == alone(up(path, workers=3))


STRATEGIES = {
    "single, any": ["--assignment.strategy=single"],
    "single, w1": ["--assignment.strategy=single", "--assignment.single=w1"],
    "weighted": ["--assignment.strategy=weighted"],
    "bandwidth": ["--assignment.strategy=bandwidth"],
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_strategy_with_a_death(synth, up, strategy):
    """Four heads. An owner of some dies in the middle of an answer: the tokens are those of one
    worker, survivors keep what they have, and `single` gives what was lost to one of them."""
    path, p, n = synth("tiny"), prompt(40, 9), 200
    args = ["--cluster.min_workers=3", *STRATEGIES[strategy]]
    alone = up(path, workers=1).client.complete(p, n).tokens
    c = up(path, leader_args=args)
    c.until_serving()
    assert c.client.complete(p, n).tokens == alone
    before = {w["name"]: set(w["heads"]) for w in c.status()["workers"]}
    target = "w1" if strategy == "single, w1" else None
    victim = max(before, key=lambda name: (name != target, len(before[name])))
    stream = c.client.stream(p, n)
    assert stream.read_tokens(20) < n
    os.kill(c.pids[victim], signal.SIGKILL)
    answer = stream.finish()
    after = {w["name"]: set(w["heads"]) for w in c.status()["workers"]}
    assert answer.tokens == alone
    assert [(f["worker"], f["rows_replayed"]) for f in answer.failovers] == [(victim, 0)]
    assert sorted(h for heads in after.values() for h in heads) == list(range(4))
    assert all(before[name] <= after[name] for name in before if name != victim)
    gained = [name for name in after if name != victim and after[name] != before[name]]
    if "single" in strategy:
        assert len(gained) == 1 and target in (None, *gained)
