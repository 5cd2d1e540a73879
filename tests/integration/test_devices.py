"""Devices that have nothing in common but worker/device.h give one answer, apart and together.

One is slow and plain (tests/device); only hydac-worker-reference has it. Another is whatever OpenCL
driver this machine has; without one its tests are skipped."""

import os
import signal
import sys

import pytest

import cluster
from prompts import prompt

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
sys.path.insert(0, os.path.join(FIXTURES, "families"))
import fp8  # noqa: E402  (beside its like)

REQUESTS = [
    (prompt(40, 1), 24, {}),
    (prompt(97, 2), 16, {"temperature": 0.9, "seed": 11}),
    (prompt(5, 3), 24, {"temperature": 1.0, "top_k": 20, "seed": 12}),
]
ALL_AUDITED = "--integrity.audit=1"  # every half-step is computed by a second worker as well


def answers(c):
    return [c.client.complete(p, n, **o).tokens for p, n, o in REQUESTS]


@pytest.fixture(scope="module")
def of_one_cpu(model):
    with cluster.Up(model, workers=1) as c:
        return answers(c)


@pytest.mark.parametrize(
    "devices",
    [("reference",), ("reference", "cpu"), ("cpu", "reference", "cpu"), ("opencl",), ("cpu", "opencl")],
    ids="-".join,
)
def test_same_tokens(daemons, of_one_cpu, devices):
    c = daemons(leader_args=[f"--cluster.min_workers={len(devices)}"])
    c.start_devices(devices)
    assert answers(c) == of_one_cpu
    assert [a.tokens for a in c.client.together(REQUESTS)] == of_one_cpu


@pytest.mark.parametrize("other", ["reference", "opencl"])
def test_they_audit_one_another(daemons, of_one_cpu, other):
    c = daemons(leader_args=["--cluster.min_workers=2", ALL_AUDITED])
    c.start_devices(("cpu", other))
    assert answers(c) == of_one_cpu
    c.until_status(lambda s: s["integrity"]["audits"]["equal"] > 100, "audits are answered")
    audits = c.status()["integrity"]["audits"]
    assert (audits["unequal"], audits["undecided"]) == (0, 0)


TAKEN_OVER = [("cpu", "reference"), ("reference", "cpu"), ("cpu", "opencl"), ("opencl", "cpu")]


@pytest.mark.parametrize("first, then", TAKEN_OVER)
def test_one_takes_over_from_the_other(daemons, of_one_cpu, first, then):
    """The rows of a head that one has computed are rebuilt by the other, in the middle of an answer."""
    c = daemons(leader_args=["--cluster.min_workers=2"])
    c.start_devices((first, then))
    p, n, o = REQUESTS[0]
    stream = c.client.stream(p, n, **o)
    stream.read_tokens(n // 2)
    c.signal("w1", signal.SIGKILL)
    assert stream.finish().tokens == of_one_cpu[0]
    assert c.worker("w2")["heads"]


# What a device has to do beside a Llama's: experts with sinks, experts with rows that have a tail,
# angles that depend on the length, attention that grows, heads of no multiple of 16 values, caps, an FFN
# without a gate.
FAMILIES = ["tiny-olmoe", "tiny-qwen3moe", "tiny-long", "tiny-mistral3", "tiny-head24", "tiny-gemma2"]
FAMILIES += ["tiny-nemotron", "tiny-phi2"]
BOTH_WAYS = [("tiny-gpt-oss", "opencl", "cpu")] + [(s, "cpu", "opencl") for s in FAMILIES + ["tiny-gpt-oss"]]
LONG = (prompt(70, 51), 40, {})


@pytest.mark.parametrize("shape, first, then", BOTH_WAYS)
def test_each_family_is_taken_over(daemons, synth, shape, first, then):
    path, (p, n, o) = synth(shape, "q4_0" if shape == "tiny-qwen3moe" else "q8_0"), LONG
    one = daemons(path)
    one.start_all(1)
    want = one.client.complete(p, n, **o).tokens
    c = daemons(path, leader_args=["--cluster.min_workers=2"])
    c.start_devices((first, then))
    stream = c.client.stream(p, n, **o)
    stream.read_tokens(n // 4)
    c.signal("w1", signal.SIGKILL)
    assert stream.finish().tokens == want
    assert c.worker("w2")["heads"]


def equal_bits(daemons, path):
    """Of all half-steps of a CPU and an OpenCL device, each computed by the other as well."""
    c = daemons(path, leader_args=["--cluster.min_workers=2", ALL_AUDITED])
    c.start_devices(("cpu", "opencl"))
    c.client.complete(*LONG[:2])
    c.until_status(lambda s: s["integrity"]["audits"]["equal"] > 100, "audits are answered")
    audits = c.status()["integrity"]["audits"]
    assert (audits["unequal"], audits["undecided"]) == (0, 0)


@pytest.mark.parametrize("dtype", ["q2_k", "q6_k", "iq3_s", "mxfp4"])
def test_packed_types(daemons, synth, dtype):
    equal_bits(daemons, synth("tiny-256", dtype))


@pytest.mark.parametrize("name", ["phi3-block", "experts-row"])
def test_fp8(daemons, tmp_path, name):
    fp8.write(str(tmp_path / "model"), name, False)
    said = []
    for device in ("cpu", "opencl"):
        cluster.need_devices((device,))
        c = daemons(str(tmp_path / "model"))
        c.start_devices((device,))
        said.append(c.client.complete([i % 60 for i in LONG[0]], LONG[1]).tokens)
    assert said[0] == said[1]


@pytest.mark.parametrize("device", ["reference", "opencl"])
def test_weights_from_the_leader(daemons, of_one_cpu, device):
    c = daemons(worker_args=["--model.path", ""])
    c.start_devices((device,))
    assert answers(c) == of_one_cpu


@pytest.mark.parametrize("source", ["file", "leader"])
@pytest.mark.parametrize("shape", ["tiny-stablelm-12b", "tiny-command-r-plus"])
def test_what_opencl_does_not_compute(daemons, synth, shape, source):
    """It is refused by its name, with what to do; the others serve, and there may be one of these."""
    cluster.need_devices(("opencl",))
    c = daemons(synth(shape, "q8_0"), worker_args=["--model.path", ""] if source == "leader" else [])
    worker = c.start("w1", "--compute.device=opencl")
    assert worker.wait(300) == 1  # a driver compiles its kernels first
    what = f"norms of which each head has its own of synth-{shape}"
    assert f"opencl does not compute the {what}; use cpu for this model" in worker.output()
    c.start("w1", "--compute.device=cpu")
    c.until_serving(1)
    assert len(c.client.complete(prompt(20, 4), 8).tokens) == 8


def test_one_that_is_not_there(daemons):
    worker = daemons().start("w1", "--compute.device=abacus")
    assert worker.wait() == 1
    assert 'compute.device: there is no "abacus" here; use auto, or one of: cpu' in worker.output()
