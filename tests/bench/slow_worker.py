#!/usr/bin/env python3
"""What a cluster does whose third worker becomes slow, and when that is over.

  HYDAC_BUILD=build tests/bench/slow_worker.py MODEL [--stop 90 --run 10] [--strategies even,bandwidth]
      [--random MINUTES]

One request after the other is answered all the while. Printed are tokens a second: with the third
worker drained, with all three, from 10 s after it began to stand still for `stop` ms of each
`stop + run`, also as a share of the drained rate (the bar: 60 %), after that has ended and it has its
share again; and seconds until it was relieved, and from the end until it had its share back, and the
epochs that began (recoveries and moves). --random: that share of time it is slow by fits and starts
(of 1 to 20 s each), printed are reliefs and epochs.
"""

import argparse
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from beside import Beside  # noqa: E402 (the path comes first)
from cluster import Daemons, until  # noqa: E402
from halting import Halting  # noqa: E402
from prompts import prompt  # noqa: E402

STRATEGIES = ["even", "bandwidth", "weighted"]


class Load(Beside):
    """Answers one request after the other."""

    def __init__(self, c, tokens):
        super().__init__()
        self.c, self.tokens = c, tokens

    def drive(self):
        while not self.over.is_set():
            self.c.client.complete(prompt(16, 7), self.tokens)


def rate(c, seconds):
    """Tokens a second, over so many seconds."""
    before, t0 = c.status()["engine"]["tokens"], time.monotonic()
    time.sleep(seconds)
    return (c.status()["engine"]["tokens"] - before) / (time.monotonic() - t0)


def epoch(c):
    return c.status()["cluster"]["epoch"]


def owns(c, name):
    w = c.worker(name)
    return bool(w and w["state"] != "offline" and (w["heads"] or w["ffn_blocks"]))


def is_relieved(c, name):
    w = c.worker(name)
    return w and w["pace"] == "relieved" and not owns(c, name)


def measure(o, strategy, recovery):
    args = [f"--assignment.strategy={strategy}", f"--recovery.policy={recovery}"]
    args += ["--cluster.min_workers=3", "--cluster.rebalance=auto"]
    with Daemons(o.model, leader_args=args) as c:
        for i in range(3):
            c.start(f"w{i + 1}")
        until(lambda: c.client.request("GET", "/health")[0] == 200, "it serves")
        victim = "w3"
        with Load(c, o.tokens):
            c.hydac("drain", victim)
            until(lambda: not owns(c, victim), "it is drained")
            drained = rate(c, o.seconds)
            c.hydac("drain", "--undo", victim)
            until(lambda: owns(c, victim), "it has its share")
            all_three = rate(c, o.seconds)
            first, t0, relieved = epoch(c), time.monotonic(), None
            with Halting(c.workers[victim].pid, o.stop, o.run):
                while time.monotonic() < t0 + 10:
                    time.sleep(0.1)
                    if relieved is None and is_relieved(c, victim):
                        relieved = time.monotonic() - t0
                slow = rate(c, o.seconds)
                note = [n for n in c.status()["cluster"]["notes"] if victim in n]
            t1 = time.monotonic()
            until(lambda: owns(c, victim), "it has its share back", 120)
            back = time.monotonic() - t1
            after = rate(c, o.seconds)
            epochs = epoch(c) - first
    print(
        f"{strategy:10} {recovery:8} | {drained:7.1f} {all_three:7.1f} | {slow:7.1f} {100 * slow / drained:4.0f} % |"
        f" {after:7.1f} | {relieved if relieved is None else round(relieved, 1)} s, {back:.1f} s, {epochs} epochs |"
        f" {'; '.join(note)}",
        flush=True,
    )


def at_random(o):
    """Slow by fits and starts."""
    dice = random.Random(o.seed)
    with Daemons(o.model, leader_args=["--cluster.min_workers=3", "--cluster.rebalance=auto"]) as c:
        c.start_all(3)
        with Load(c, o.tokens):
            first, end = epoch(c), time.monotonic() + 60 * o.random
            while time.monotonic() < end:
                with Halting(c.workers["w3"].pid, o.stop, o.run):
                    time.sleep(dice.uniform(1, 20))
                time.sleep(dice.uniform(1, 20))
            tokens, epochs = rate(c, o.seconds), epoch(c) - first
        reliefs = [e for e in c.status()["events"] if e["state"] in ("relieved", "steady")]
    print(f"{o.random} minutes: {epochs} epochs, {len(reliefs)} times relieved or well, {tokens:.1f} tokens/s at the end")


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("--stop", type=float, default=90, help="ms")
    p.add_argument("--run", type=float, default=10, help="ms")
    p.add_argument("--seconds", type=float, default=5, help="of each measurement")
    p.add_argument("--tokens", type=int, default=100, help="of an answer")
    p.add_argument("--strategies", default=",".join(STRATEGIES))
    p.add_argument("--random", type=float, default=0, help="minutes")
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    if o.random:
        at_random(o)
        return
    print("                    | tokens/s: drained, all | slow, of drained | after | relieved, back")
    for strategy in o.strategies.split(","):
        measure(o, strategy, "reuse")
    measure(o, "even", "standby")


if __name__ == "__main__":
    main()
