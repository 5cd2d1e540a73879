"""What the golden tests share: greedy tokens through HTTP, logits through logits_dump."""

import array
import os
import subprocess
import sys

import cluster

LOGITS_DUMP = os.path.join(cluster.BUILD, "tests/golden/logits_dump")
LOGIT_TOLERANCE = 2e-3


def logits(model, workers, kv_type, ids, folder):
    """f32 logits after each of the ids: a list of rows."""
    out = os.path.join(folder, "logits")
    args = [LOGITS_DUMP, model, str(workers), kv_type, out, *map(str, ids)]
    subprocess.run(args, check=True, timeout=600)
    values = array.array("f")
    with open(out, "rb") as f:
        values.frombytes(f.read())
    if sys.byteorder == "big":
        values.byteswap()
    vocab = len(values) // len(ids)
    return [values[i * vocab : (i + 1) * vocab] for i in range(len(ids))]


def greedy(model, workers, kv_type, reference):
    args = [f"--cache.kv_type={kv_type}"]
    with cluster.Up(model, workers=workers, leader_args=args) as c:
        return c.client.complete(reference["prompt"], len(reference["greedy"])).tokens


def check_logits(model, workers, reference, folder):
    """The largest difference from the reference, which must be within the tolerance.

    The cache holds f32 here: the reference rounds no K or V, and f16 is a choice about memory
    whose effect is measured on a real model (test_smollm2.py)."""
    rows = logits(model, workers, "f32", reference["prompt"], folder)
    want = reference["logits_last"]
    assert len(rows[-1]) == len(want)
    worst = max(abs(a - b) for a, b in zip(rows[-1], want))
    assert worst <= LOGIT_TOLERANCE
    return rows
