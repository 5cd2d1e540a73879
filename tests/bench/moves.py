#!/usr/bin/env python3
"""What an answer feels when units change hands: a worker comes, one is drained, one is stopped.

  HYDAC_BUILD=build tests/bench/moves.py MODEL [--workers 3] [--tokens 400] [--repeat 3]

Each measurement is one cluster and one streamed answer, in whose middle the move is made. Printed are
the medians over the repeats of: the undisturbed gap between two tokens (median, 99th percentile and
longest, from the first third of the answer), the same while the move is prepared, and the gap in which
the owners change (an epoch of the leader's log), also as a multiple of the undisturbed median.
"""

import argparse
import os
import re
import statistics
import sys
import threading
import time
from datetime import datetime

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from cluster import Daemons  # noqa: E402 (the path comes first)
from prompts import prompt  # noqa: E402


def newcomer(c, n):
    c.start(f"w{n + 1}")
    c.until_status(lambda s: (c.worker(f"w{n + 1}", s) or {}).get("ffn_blocks"), "it owns units")


def drain(c, n):
    c.hydac("drain", f"w{n}")


def stop(c, n):
    c.signal(f"w{n}", 15)
    c.workers[f"w{n}"].wait()


MOVES = {"a worker comes": newcomer, "a worker is drained": drain, "a worker is stopped": stop}


def epochs(c):
    """Wall-clock seconds at which the leader had changed owners."""
    times = re.findall(r"^(\S+)Z info leader ready epoch=", c.leader.output(), re.MULTILINE)
    return [datetime.fromisoformat(t + "+00:00").timestamp() for t in times]


def measure(model, n, tokens, move):
    """(undisturbed gaps, gaps while it is prepared, gap of the change), in ms."""
    with Daemons(model, leader_args=[f"--cluster.min_workers={n}"]) as c:
        c.start_all(n)
        expected = c.client.complete(prompt(64, 7), tokens).tokens
        before = len(epochs(c))
        stream, times, span = c.client.stream(prompt(64, 7), tokens), [], []

        def disturb():
            span.append(time.time())
            MOVES[move](c, n)
            span.append(time.time())

        mover = threading.Thread(target=disturb)
        while len(times) < tokens and stream.read_tokens(len(times) + 1) > len(times):
            times.append(time.time())
            if len(times) == tokens // 3:
                mover.start()
        mover.join()
        assert stream.finish().tokens == expected, "the tokens differ"
        changes = epochs(c)[before:]
    gaps = [(b, (b - a) * 1e3) for a, b in zip(times, times[1:])]
    quiet = [g for t, g in gaps if t < span[0]]
    # A line of the log is written when the epoch is over: the token after it shows the whole gap.
    changed = [next((g for t, g in gaps if t >= at), None) for at in changes]
    during = [g for t, g in gaps if span[0] <= t <= max(span[1], changes[-1] if changes else 0)]
    assert changed and changed[-1] is not None, "the answer ended before the move; more --tokens"
    return quiet, during, max(g for g in changed if g is not None)


def row(gaps):
    ordered = sorted(gaps)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--tokens", type=int, default=400)
    p.add_argument("--repeat", type=int, default=3)
    o = p.parse_args()
    print("ms between tokens         | undisturbed            | while it is prepared     | change of owners")
    print("                          | median    p99  longest | median    p99  longest n | gap   x median")
    for move in MOVES:
        runs = [measure(o.model, o.workers, o.tokens, move) for _ in range(o.repeat)]
        quiet = [statistics.median(v) for v in zip(*(row(r[0]) for r in runs))]
        during = [statistics.median(v) for v in zip(*(row(r[1]) for r in runs))]
        change = statistics.median(r[2] for r in runs)
        n = statistics.median(len(r[1]) for r in runs)
        print(
            f"{move:25} | {quiet[0]:6.1f} {quiet[1]:6.1f} {quiet[2]:8.1f} |"
            f" {during[0]:6.1f} {during[1]:6.1f} {during[2]:8.1f} {n:3.0f} |"
            f" {change:5.1f} {change / quiet[0]:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
