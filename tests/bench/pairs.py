"""Two clusters that answer in turns, so that the machine's moods meet both: what one setting costs.

Both run all the time, in two rounds of half the pairs: of two clusters that are the same the one
that was started first may be slower for as long as it runs (by 6 % on a virtual machine of 2
cores), so each is started first once, and a ratio is the geometric mean of one pair's of either
round. Printed are the medians, and the median of these ratios with its 95 % confidence interval (by
ranks, whatever the distribution): many short pairs say more than a few long ones."""

import argparse
import contextlib
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


def a_round(o, clusters, at_the_end):
    """Starts the clusters in this order, `clusters` maps a name to how to make one; the pairs, as
    {name: speed}, and what `at_the_end` says of each. Who begins a pair alternates."""
    pairs = []
    with contextlib.ExitStack() as stack:
        of = {name: stack.enter_context(make()) for name, make in clusters.items()}
        for c in of.values():
            c.start_all(o.workers)
            speed(c, o.tokens)
        for i in range((o.pairs + 1) // 2):
            turn = list(of) if i % 2 == 0 else list(of)[::-1]
            pairs.append({name: speed(of[name], o.tokens) for name in turn})
            print("with {with:7.2f} tok/s, without {without:7.2f}".format(**pairs[-1]), flush=True)
        return pairs, {name: at_the_end(c) for name, c in of.items()} if at_the_end else {}


def report(rounds):
    ratios = [
        math.sqrt(math.prod(pair["with"] / pair["without"] for pair in two)) for two in zip(*rounds)
    ]
    low, high = interval(ratios)
    median = {
        name: statistics.median(pair[name] for r in rounds for pair in r)
        for name in ("with", "without")
    }
    return (
        f"medians: with {median['with']:.2f}, without {median['without']:.2f} tok/s; median ratio"
        f" {statistics.median(ratios):.4f}, 95 % of its chances between {low:.4f} and {high:.4f}"
    )


def options(description, guesses=False):
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", help="a file, or SHAPE:TYPE")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--threads", type=int, help="of a worker (default: its own)")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--pairs", type=int, default=60)
    if guesses:
        p.add_argument("--guesses", action="store_true", help="tokens may be guessed")
    return p.parse_args()


def compare(o, with_it, without, at_the_end=None):
    """Prints what `with_it` costs; both are keyword arguments of Daemons. `at_the_end` is shown for
    each cluster."""
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    with tempfile.TemporaryDirectory(prefix="hydac-pairs-") as folder:
        model = model_of(o.model, folder)

        def cluster(worker_args=(), leader_args=(), made_by=Daemons, **more):
            needed = [f"--cluster.min_workers={o.workers}", *leader_args]
            return made_by(model, needed, [*threads, *worker_args], **more)

        makers = {"with": lambda: cluster(**with_it), "without": lambda: cluster(**without)}
        one, _ = a_round(o, makers, None)
        other, end = a_round(o, dict(reversed(makers.items())), at_the_end)
    print(report([one, other]), *(end[name] for name in makers if name in end), sep="; ")
