#!/usr/bin/env python3
"""What the input log costs while nothing fails: decoding with it and without it, in turns.

  HYDAC_BUILD=build tests/bench/log_cost.py MODEL|SHAPE:TYPE [--workers 3] [--threads N]
                                            [--tokens 64] [--pairs 60]

Both clusters run all the time and answer one after the other, so that the machine's moods meet both.
Printed are the medians, and the median of the pairs' ratios with its 95 % confidence interval (by
ranks, whatever the distribution): many short pairs say more than a few long ones.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from cluster import Daemons  # noqa: E402 (the path comes first)
from detect import model_of  # noqa: E402
from prompts import prompt  # noqa: E402


def speed(c, tokens):
    return c.client.complete(prompt(64, 3), tokens).timings["tokens_per_second"]


def interval(values):
    """Where the median is with 95 % confidence: the ranks of a binomial distribution, p = 1/2."""
    ranked, n = sorted(values), len(values)
    low = max(0, math.floor((n - 1.96 * math.sqrt(n)) / 2))
    return ranked[low], ranked[n - 1 - low]


def measure(o, model):
    """A (with, without) pair of speeds each, and the bytes a worker has logged in both clusters."""
    args = [f"--cluster.min_workers={o.workers}"]
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    without = [*threads, "--input_log.keep=false"]
    with Daemons(model, args, threads) as a, Daemons(model, args, without) as b:
        for c in (a, b):
            c.start_all(o.workers)
            speed(c, o.tokens)
        pairs = []
        for i in range(o.pairs):
            order = (a, b) if i % 2 == 0 else (b, a)
            of = {c: speed(c, o.tokens) for c in order}
            pairs.append((of[a], of[b]))
            print(f"with {of[a]:7.2f} tok/s, without {of[b]:7.2f}", flush=True)
        return pairs, [c.status()["workers"][0]["log_bytes"] for c in (a, b)]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--threads", type=int, help="of a worker (default: its own)")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--pairs", type=int, default=60)
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="hydac-log-cost-") as folder:
        pairs, logged = measure(o, model_of(o.model, folder))
    ratios = [x / y for x, y in pairs]
    low, high = interval(ratios)
    print(
        f"medians: with {statistics.median(x for x, _ in pairs):.2f}, without"
        f" {statistics.median(y for _, y in pairs):.2f} tok/s; median ratio"
        f" {statistics.median(ratios):.4f}, 95 % of its chances between {low:.4f} and {high:.4f};"
        f" log bytes of a worker at the end {logged}"
    )


if __name__ == "__main__":
    main()
