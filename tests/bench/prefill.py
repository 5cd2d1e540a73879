#!/usr/bin/env python3
"""A prompt's speed beside what OpenBLAS' sgemm would allow for the same arithmetic, in turns.

  HYDAC_BUILD=build tests/bench/prefill.py MODEL|SHAPE:TYPE [--prompt 256] [--threads 2]
                                           [--workers 1] [--pairs 7]

A turn measures sgemm on the matrices of the model's layers (sgemm_rate, as many threads as all
workers together, and whichever of OpenBLAS' kernels are the fastest here: of a CPU that is younger than
it OpenBLAS itself may choose the slowest), then how long a new prompt takes until its first token. The arithmetic is what the
workers have counted for that prompt, attention included.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from cluster import BUILD, Daemons  # noqa: E402 (the path comes first)
from detect import model_of  # noqa: E402
from prompts import prompt  # noqa: E402

RATE = os.path.join(BUILD, "tests/bench/sgemm_rate")


CORES = (None, "Haswell", "SkylakeX", "Cooperlake", "Zen")  # None: what OpenBLAS takes this CPU for


def sgemm(o, model, core):
    """GFLOP/s; 0 where this CPU cannot run the kernels of that core."""
    env = {**os.environ, "OPENBLAS_CORETYPE": core} if core else None
    args = [RATE, model, str(o.workers * o.threads), str(o.prompt)]
    done = subprocess.run(args, capture_output=True, text=True, check=False, env=env)
    return float(done.stdout) if done.returncode == 0 else 0


def prefill(c, o, seed):
    """Tokens a second of a new prompt, and the operations for one of its tokens."""

    def operations():
        return c.status()["cluster"]["half_steps"]["prefill"]["flops"]

    before = operations()
    timings = c.client.complete(prompt(o.prompt, seed), 1).timings
    return 1e3 * o.prompt / timings["prefill_ms"], (operations() - before) / o.prompt


def turns(o, model):
    """(tokens a second, what sgemm would allow, GFLOP/s) of each pair."""
    args = [f"--cluster.min_workers={o.workers}"]
    with Daemons(model, args, [f"--compute.threads={o.threads}"]) as c:
        c.start_all(o.workers)
        prefill(c, o, 1)  # pages of the file
        core = max(CORES, key=lambda core: sgemm(o, model, core))
        print(f"OpenBLAS kernels: {core or 'its own choice'}")
        for i in range(o.pairs):
            rate = sgemm(o, model, core)
            speed, each = prefill(c, o, 2 + i)
            allowed = 1e9 * rate / each
            print(
                f"prefill {speed:7.1f} tok/s; sgemm {rate:6.1f} GFLOP/s allows {allowed:7.1f}"
                f" tok/s of {each / 1e9:.3f} GFLOP each; {speed / allowed:.2f} times",
                flush=True,
            )
            yield speed, allowed, rate


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("--prompt", type=int, default=256)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--threads", type=int, default=2, help="of a worker")
    p.add_argument("--pairs", type=int, default=7)
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="hydac-prefill-") as folder:
        pairs = list(turns(o, model_of(o.model, folder)))
    ratios = sorted(speed / allowed for speed, allowed, _ in pairs)
    print(
        f"medians: prefill {statistics.median(p[0] for p in pairs):.1f} tok/s, sgemm"
        f" {statistics.median(p[2] for p in pairs):.1f} GFLOP/s; {statistics.median(ratios):.2f} times"
        f" what sgemm allows ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
