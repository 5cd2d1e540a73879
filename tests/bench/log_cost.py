#!/usr/bin/env python3
"""What the input log costs while nothing fails: decoding with it and without it, in turns.

  HYDAC_BUILD=build tests/bench/log_cost.py MODEL [--workers 3] [--tokens 200] [--pairs 8]

Both clusters run all the time and answer one after the other, so that the machine's moods meet both.
Printed are the medians and the median of the pairs' ratios.
"""

import argparse
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from cluster import Daemons  # noqa: E402 (the path comes first)
from prompts import prompt  # noqa: E402


def speed(c, tokens):
    return c.client.complete(prompt(64, 3), tokens).timings["tokens_per_second"]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--tokens", type=int, default=200)
    p.add_argument("--pairs", type=int, default=8)
    o = p.parse_args()
    args = [f"--cluster.min_workers={o.workers}"]
    with Daemons(o.model, args) as a, Daemons(o.model, args, ["--input_log.keep=false"]) as b:
        for c in (a, b):
            c.start_all(o.workers)
            speed(c, 20)
        pairs = []
        for i in range(o.pairs):
            order = (a, b) if i % 2 == 0 else (b, a)
            of = {c: speed(c, o.tokens) for c in order}
            pairs.append((of[a], of[b]))
            print(f"with {of[a]:7.2f} tok/s, without {of[b]:7.2f}", flush=True)
        logged = a.status()["workers"][0]["log_bytes"], b.status()["workers"][0]["log_bytes"]
    ratios = [x / y for x, y in pairs]
    print(
        f"medians: with {statistics.median(x for x, _ in pairs):.2f}, without"
        f" {statistics.median(y for _, y in pairs):.2f} tok/s; median ratio"
        f" {statistics.median(ratios):.4f} ({min(ratios):.3f} to {max(ratios):.3f});"
        f" log bytes of a worker at the end {logged}"
    )


if __name__ == "__main__":
    main()
