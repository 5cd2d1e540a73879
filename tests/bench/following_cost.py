#!/usr/bin/env python3
"""What a standby costs: decoding with one that follows and without, in turns (pairs.py).

  HYDAC_BUILD=build tests/bench/following_cost.py MODEL|SHAPE:TYPE [--workers 3] [--threads N]
                                                  [--tokens 64] [--pairs 60] [--cpu]

The standby is on the same machine, so what it needs itself is part of the price of the speed. --cpu: the CPU
time (of the scheduler, in ns) that leader and workers together use for a token instead, without polling, which
a busy machine moves less; the standby's own is said besides.
"""

import contextlib
import os
import statistics
import sys
import tempfile

import pairs
from cluster import LEADER, Process, until
from leaders import free_ports


class Followed(pairs.Daemons):
    """With a second leader."""

    def __init__(self, model, leader_args=(), worker_args=(), **more):
        first, second = (f"127.0.0.1:{p}" for p in free_ports(2))
        both = f"--cluster.leaders={first},{second}"
        super().__init__(model, [*leader_args, f"--cluster.listen={first}", both], worker_args, **more)
        args = [LEADER, "--model.path", model, f"--cluster.listen={second}", both]
        args += ["--http.listen=127.0.0.1:0", f"--state.dir={self.folder}/standby"]
        self.standby = Process(args, f"{self.folder}/standby.log")

    def start_all(self, workers):
        super().start_all(workers)
        until(lambda: self.status()["records"]["followers"] == 1, "the standby follows")

    def close(self):
        self.standby.stop()
        return super().close()


def told(c):
    return f"records {c.status().get('records', {}).get('begun', 0)}"


def cpu_ns(processes):
    """Of all their threads so far."""
    total = 0
    for p in processes:
        for task in os.listdir(f"/proc/{p.pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{p.pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def cpu_of_an_answer(c, tokens):
    """us a token: leader, all workers, the standby."""
    groups = [[c.leader], c.workers.values(), [c.standby] if hasattr(c, "standby") else []]
    before = [cpu_ns(g) for g in groups]
    c.client.complete(pairs.prompt(64, 3), tokens)
    return [(cpu_ns(g) - b) / 1000 / tokens for g, b in zip(groups, before)]


def compare_cpu(o):
    quiet = ["--cluster.busy_poll_us=0", f"--cluster.min_workers={o.workers}", "--speculation.mode=off"]
    still = ["--leader.busy_poll_us=0", f"--compute.threads={o.threads or 1}"]
    with tempfile.TemporaryDirectory(prefix="hydac-pairs-") as folder, contextlib.ExitStack() as stack:
        model = pairs.model_of(o.model, folder)
        both = [stack.enter_context(make(model, quiet, still)) for make in (Followed, pairs.Daemons)]
        for c in both:
            c.start_all(o.workers)
            cpu_of_an_answer(c, o.tokens)
        found = []
        for i in range(o.pairs):
            turn = both if i % 2 == 0 else both[::-1]
            found.append({c: cpu_of_an_answer(c, o.tokens) for c in turn})
        followed, alone = ([[f[c][k] for f in found] for k in range(3)] for c in both)
        median = statistics.median
        ratios = [(f[0] + f[1]) / (a[0] + a[1]) for f, a in ((x[both[0]], x[both[1]]) for x in found)]
        low, high = pairs.interval(ratios)
        print(
            f"us of CPU a token: leader {median(followed[0]):.0f} followed, {median(alone[0]):.0f} alone; workers"
            f" {median(followed[1]):.0f}, {median(alone[1]):.0f}; the standby {median(followed[2]):.0f};"
            f" ratio {median(ratios):.4f}, 95 % of its chances between {low:.4f} and {high:.4f}"
        )


if __name__ == "__main__":
    as_cpu = "--cpu" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--cpu"]
    options = pairs.options(__doc__)
    if as_cpu:
        compare_cpu(options)
    else:
        pairs.compare(options, {"made_by": Followed}, {}, told)
