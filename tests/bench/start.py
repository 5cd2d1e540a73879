#!/usr/bin/env python3
"""From the start of a leader and its workers to the first token, again and again.

  HYDAC_BUILD=build tests/bench/start.py MODEL|SHAPE:TYPE [--workers 1] [--threads N]
                                         [--repeat 5] [--no-file]

The first start after the file was made or read for the first time may wait for the disk; the later ones
find it in memory, and the leader in its state folder what its bytes are. With --no-file the workers are given no model: in their first start they fetch the
weights from the leader, in the later ones they have kept them.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from cluster import Daemons  # noqa: E402 (the path comes first)
from detect import model_of  # noqa: E402
from prompts import prompt  # noqa: E402


def first_token(o, model, state):
    """Seconds until the leader listens, and until the first token."""
    begin = time.monotonic()
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    leader = [f"--cluster.min_workers={o.workers}", "--state.dir", os.path.join(state, "leader")]
    with Daemons(model, leader, threads) as c:
        listening = time.monotonic() - begin
        for i in range(o.workers):
            more = ["--model.path", ""] if o.no_file else []
            c.start(f"w{i + 1}", "--state.dir", os.path.join(state, f"w{i + 1}"), *more)
        tokens = c.client.complete(prompt(16, 3), 1).tokens  # waits for the workers
        return listening, time.monotonic() - begin, tokens


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--threads", type=int, help="of a worker (default: its own)")
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--no-file", action="store_true")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="hydac-start-") as folder:
        model, times = model_of(o.model, folder), []
        for _ in range(o.repeat):
            listening, first, _ = first_token(o, model, os.path.join(folder, "state"))
            times.append(first)
            print(f"leader listens after {listening:.2f} s, first token after {first:.2f} s", flush=True)
    print(f"first start {times[0]:.2f} s, later ones {statistics.median(times[1:]):.2f} s (median)")


if __name__ == "__main__":
    main()
