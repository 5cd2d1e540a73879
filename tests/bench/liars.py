#!/usr/bin/env python3
"""How many half-steps it takes until a worker whose sums are wrong is found, and who is blamed.

    HYDAC_BUILD=build tests/bench/liars.py [MODEL | SHAPE:TYPE] [--runs 100] [--audit 256] [--lie NAME]

Three workers; w2's connection has a man in the middle who changes its partial sums and computes the
checksums anew, from a random moment of an answer on. Counted are the half-steps that w2 has answered
from then on until it was cut off. One line a run, then mean, median and maximum; the last line is the
same as JSON. The exit status is 1 if anybody else was blamed, or an answer ended well."""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
sys.dont_write_bytecode = True

import wire  # noqa: E402 (the path comes first)
from cluster import Daemons  # noqa: E402
from detect import model_of  # noqa: E402
from lies import WRONG  # noqa: E402
from middle import Middle  # noqa: E402
from prompts import prompt  # noqa: E402

LIAR, ANSWER = "w2", 1000


class Counted:
    """A lie that counts the half-steps which it was told of."""

    def __init__(self, lie):
        self.lie, self.told = lie, 0

    def __call__(self, frame):
        self.told += frame.kind == wire.STEP_RESULT
        return self.lie(frame)


def blamed(status, before):
    """Names, the latest of so many more than before."""
    n = status["integrity"]["wrong_workers"] - before
    names = [e["worker"] for e in status["events"] if e["cause"] == "wrong"]
    return names[len(names) - n :]


def one_run(c, middle, r, lie, number):
    """The half-steps until it was found, and who was blamed; None for an answer that ended well."""
    stream = c.client.stream(prompt(r.randint(8, 60), number), ANSWER)
    stream.read_tokens(r.randint(2, 40))
    before = c.status()["integrity"]["wrong_workers"]
    counted = Counted(WRONG[lie]())
    middle.lie(counted)
    for _ in stream:
        pass
    stream.close()
    found = stream.answer.error and "computed wrong bits" in stream.answer.error["message"]
    return (counted.told if found else None), blamed(c.status(), before)


def comes_back(c, middle):
    """Honest again: a new process, so that it does not wait until it tries again."""
    middle.honest()
    c.signal(LIAR, 9)
    c.workers[LIAR].wait()
    c.start(LIAR, "--leader.address", f"127.0.0.1:{middle.port}")
    c.until_status(lambda s: (c.worker(LIAR, s) or {}).get("heads"), f"{LIAR} owns heads")
    c.until_serving(3)


def all_runs(model, args):
    leader = ["--cluster.min_workers=3", f"--integrity.audit={args.audit}"]
    leader += ["--integrity.quarantine_s=0"]
    r, runs = random.Random(args.seed), []
    with Daemons(model, leader_args=leader) as c:
        with Middle(("127.0.0.1", c.ports["cluster"])) as middle:
            c.start(LIAR, "--leader.address", f"127.0.0.1:{middle.port}")
            c.start("w1")
            c.start("w3")
            c.until_serving(3)
            for number in range(args.runs):
                runs.append(one_run(c, middle, r, args.lie, number))
                print(f"{number + 1:3} half_steps={runs[-1][0]} blamed={','.join(runs[-1][1])}")
                comes_back(c, middle)
    return runs


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("model", nargs="?", default="smollm2-135m:q4_0")
    p.add_argument("--runs", type=int, default=100)
    p.add_argument("--audit", type=int, default=256)
    p.add_argument("--lie", choices=sorted(WRONG), default="other sums")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = all_runs(model_of(args.model, folder), args)
    found = [n for n, _ in runs if n is not None]
    right = sum(names == [LIAR] for _, names in runs)
    summary = {"runs": len(runs), "found": len(found), "right_one_blamed": right}
    if found:
        summary |= {
            "mean": round(statistics.mean(found), 1),
            "median": statistics.median(found),
            "max": max(found),
        }
    print("; ".join(f"{k}: {v}" for k, v in summary.items()))
    print(json.dumps(summary))
    return 0 if right == len(found) == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
