"""Two clusters that answer in turns, so that the machine's moods meet both: what one setting costs.

Both run all the time. Printed are the medians, and the median of the pairs' ratios with its 95 %
confidence interval (by ranks, whatever the distribution): many short pairs say more than a few
long ones."""

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


def in_turns(o, clusters):
    """(speed of the first, of the second) for each pair; who begins alternates."""
    for c in clusters:
        c.start_all(o.workers)
        speed(c, o.tokens)
    a, b = clusters
    for i in range(o.pairs):
        of = {c: speed(c, o.tokens) for c in ((a, b) if i % 2 == 0 else (b, a))}
        print(f"with {of[a]:7.2f} tok/s, without {of[b]:7.2f}", flush=True)
        yield of[a], of[b]


def report(pairs):
    ratios = [x / y for x, y in pairs]
    low, high = interval(ratios)
    return (
        f"medians: with {statistics.median(x for x, _ in pairs):.2f}, without"
        f" {statistics.median(y for _, y in pairs):.2f} tok/s; median ratio"
        f" {statistics.median(ratios):.4f}, 95 % of its chances between {low:.4f} and {high:.4f}"
    )


def options(description):
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", help="a file, or SHAPE:TYPE")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--threads", type=int, help="of a worker (default: its own)")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--pairs", type=int, default=60)
    return p.parse_args()


def compare(o, with_it, without, at_the_end=None):
    """Prints what `with_it` costs; both are keyword arguments of Daemons. `at_the_end` is shown for
    each cluster."""
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    with tempfile.TemporaryDirectory(prefix="hydac-pairs-") as folder:
        model = model_of(o.model, folder)

        def cluster(worker_args=(), **more):
            needed = [f"--cluster.min_workers={o.workers}"]
            return Daemons(model, needed, [*threads, *worker_args], **more)

        with cluster(**with_it) as a, cluster(**without) as b:
            pairs = list(in_turns(o, (a, b)))
            end = [at_the_end(c) for c in (a, b)] if at_the_end else []
    print(report(pairs), *end, sep="; ")
