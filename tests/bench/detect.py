#!/usr/bin/env python3
"""How soon the leader knows that a worker was killed.

    HYDAC_BUILD=build tests/bench/detect.py [MODEL | SHAPE:TYPE ...] [--kills 10] [--contexts ...]

Two workers of three are killed with SIGKILL, one after the other, at random moments of an answer
behind a context of so many tokens. Prints for each model and context, in ms:

    detect       the leader's report: from the worker's last sign of life until it was declared lost
    kill         from the kill until the leader's log says offline, by the system's clock; the log
                 has whole milliseconds and counts as one later, so the truth is up to 1 ms less
    quiet        how long before the kill the worker had given its last sign of life: it was
                 computing, or had nothing to say. detect = quiet + kill

The last line is the same as JSON."""

import argparse
import calendar
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
sys.dont_write_bytecode = True

from cluster import HYDAC, Daemons, until  # noqa: E402 (the path comes first)
from prompts import prompt  # noqa: E402

VICTIMS = ("w2", "w3")
FIRST, BETWEEN, AFTER = 8, 16, 24  # tokens before the first kill, the second, after it
MODELS = ("smollm2-135m:q4_1", "llama-3.2-1b:q4_0")
LINE = re.compile(r"(\S+)\.(\d{3})Z \w+ \S+ worker_state worker=(\S+) state=offline")


def model_of(name, folder):
    """A path as it is; SHAPE:TYPE is made."""
    if os.path.exists(name):
        return name
    shape, dtype = name.split(":")
    path = os.path.join(folder, f"{shape}-{dtype}.gguf")
    if not os.path.exists(path):
        args = [HYDAC, "synth", "--shape", shape, "--type", dtype, path]
        subprocess.run(args, check=True, capture_output=True)
    return path


def lost_at(c, name, nth):
    """When the log says that the worker went offline for the nth time: the end of that millisecond,
    in s since 1970."""

    def times():
        lines = [m for m in LINE.finditer(c.leader.output()) if m.group(3) == name]
        return lines[nth:]

    m = until(times, f"{name} is offline")[0]
    seconds = calendar.timegm(time.strptime(m.group(1), "%Y-%m-%dT%H:%M:%S"))
    return seconds + (int(m.group(2)) + 1) / 1000


def kill(c, name, nth, wait):
    """Ms until it was known."""
    time.sleep(wait)  # the moment is to be any of a token's computation
    at = time.time()
    c.signal(name, 9)
    return (lost_at(c, name, nth) - at) * 1000


def one_answer(c, context, nth, r):
    """A (detect, kill) pair for each victim."""
    n = FIRST + BETWEEN + AFTER
    stream = c.client.stream(prompt(context, 100 + nth), n)
    pairs, tokens = [], FIRST
    for name in VICTIMS:
        stream.read_tokens(tokens - 1)
        t0 = time.monotonic()
        stream.read_tokens(tokens)
        pairs.append(kill(c, name, nth, r.uniform(0, time.monotonic() - t0)))
        tokens += BETWEEN
    answer = stream.finish()
    reported = {f["worker"]: f["detect_ms"] for f in answer.failovers}
    if set(reported) != set(VICTIMS):
        sys.exit("the answer ended before the losses were reported; a larger model takes longer")
    for name in VICTIMS:
        c.rejoin(name)
    return [(reported[name], ms) for name, ms in zip(VICTIMS, pairs)]


def spread(values):
    values = sorted(values)
    at = {"min": 0, "p90": round(0.9 * (len(values) - 1)), "max": -1}
    out = {k: round(values[i], 2) for k, i in at.items()}
    return {**out, "median": round(statistics.median(values), 2)}


def measure(model, contexts, kills):
    with Daemons(model, leader_args=["--cluster.min_workers=3"]) as c:
        c.start_all(3)
        nth, r = 0, random.Random(1)
        for context in contexts:
            pairs = []
            while len(pairs) < kills:
                pairs += one_answer(c, context, nth, r)
                nth += 1
            quiet = [max(0.0, detect - ms) for detect, ms in pairs]
            detect, ms = zip(*pairs)
            yield {
                "context": context,
                "kills": len(pairs),
                **{k: spread(v) for k, v in (("detect", detect), ("kill", ms), ("quiet", quiet))},
            }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("models", nargs="*", default=MODELS)
    p.add_argument("--kills", type=int, default=10)
    p.add_argument("--contexts", default="128,1024")
    a = p.parse_args()
    if not os.path.exists(HYDAC):
        p.error("set HYDAC_BUILD to a build folder")
    print("| model | context | kills | | min | median | p90 | max |\n" + "|---" * 8 + "|")
    rows = []
    with tempfile.TemporaryDirectory(prefix="hydac-detect-") as folder:
        for name in a.models:
            contexts = [int(n) for n in a.contexts.split(",")]
            for row in measure(model_of(name, folder), contexts, a.kills):
                rows.append({"model": os.path.basename(name), **row})
                for kind in ("detect", "kill", "quiet"):
                    s = row[kind]
                    cells = [os.path.basename(name), row["context"], row["kills"], kind]
                    cells += [s["min"], s["median"], s["p90"], s["max"]]
                    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
