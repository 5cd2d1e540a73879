"""What the golden tests share: greedy tokens through HTTP, logits through logits_dump."""

import array
import math
import os
import subprocess
import sys

import client
import cluster

LOGITS_DUMP = os.path.join(cluster.BUILD, "tests/golden/logits_dump")
LOGIT_TOLERANCE = 2e-3


def logits(model, workers, how, ids, folder):
    """f32 logits after each of the ids: a list of rows. `how`: usual, or exact (f32 throughout)."""
    out = os.path.join(folder, "logits")
    args = [LOGITS_DUMP, model, str(workers), how, out, *map(str, ids)]
    subprocess.run(args, check=True, timeout=600)
    values = array.array("f")
    with open(out, "rb") as f:
        values.frombytes(f.read())
    if sys.byteorder == "big":
        values.byteswap()
    vocab = len(values) // len(ids)
    return [values[i * vocab : (i + 1) * vocab] for i in range(len(ids))]


def answer(model, workers, kv_type, reference, **more):
    """The reply to the reference's prompt, with as many tokens as it has."""
    # The references multiply floats; what 8-bit activations change is measured on a real model.
    args = [f"--cache.kv_type={kv_type}", "--compute.activations=f32"]
    body = client.body_of(reference["prompt"], len(reference["greedy"]), **more)
    with cluster.Up(model, workers=workers, leader_args=args) as c:
        return c.client.post("/v1/completions", body)


def greedy(model, workers, kv_type, reference):
    return answer(model, workers, kv_type, reference)["hydac"]["tokens"]


def greedy_of(devices, model, reference):
    """The same of workers with these kinds of device, which need not be alike."""
    cluster.need_devices(devices)
    args = ["--cache.kv_type=f16", "--compute.activations=f32"]
    args.append(f"--cluster.min_workers={len(devices)}")
    with cluster.Daemons(model, leader_args=args) as c:
        c.start_devices(devices)
        return c.client.complete(reference["prompt"], len(reference["greedy"])).tokens


def check_logprobs(said, reference):
    """Of the tokens of the prompt but the first, and of the first of the answer."""
    want = reference["logprob_of_next"]
    assert len(said) == len(want)
    assert max(abs(a - b) for a, b in zip(said, want)) <= LOGIT_TOLERANCE


def logprob(row, token):
    most = max(row)
    return row[token] - most - math.log(sum(math.exp(x - most) for x in row))


DEVICES = [("reference",), ("cpu", "reference"), ("reference", "cpu", "reference"), ("cpu", "opencl")]


def check_logits(model, workers, reference, folder):
    """The largest difference from the reference, which must be within the tolerance.

    The cache and the activations are f32 here: the reference rounds neither, and what is lost by
    16 and by 8 bits is measured on a real model (test_smollm2.py)."""
    rows = logits(model, workers, "exact", reference["prompt"], folder)
    want = reference["logits_last"]
    assert len(rows[-1]) == len(want)
    worst = max(abs(a - b) for a, b in zip(rows[-1], want))
    assert worst <= LOGIT_TOLERANCE
    return rows
