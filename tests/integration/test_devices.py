"""Devices that have nothing in common but worker/device.h give one answer, apart and together.

One is slow and plain (tests/device); only hydac-worker-reference has it. Another is whatever OpenCL
driver this machine has; without one its tests are skipped."""

import signal

import pytest

import cluster
from prompts import prompt

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


@pytest.mark.parametrize("device", ["reference", "opencl"])
def test_weights_from_the_leader(daemons, of_one_cpu, device):
    c = daemons(worker_args=["--model.path", ""])
    c.start_devices((device,))
    assert answers(c) == of_one_cpu


def test_one_that_is_not_there(daemons):
    worker = daemons().start("w1", "--compute.device=abacus")
    assert worker.wait() == 1
    assert 'compute.device: there is no "abacus" here; use auto, or one of: cpu' in worker.output()
