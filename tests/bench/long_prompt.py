#!/usr/bin/env python3
"""What those that stream feel of a long prompt that comes in beside them.

    HYDAC_BUILD=build tests/bench/long_prompt.py MODEL|SHAPE:TYPE [--workers 2] [--threads N] [--words 4350] [--guesses]

One stream goes on; then a prompt of so many words is computed. Printed are the median gap between two
tokens alone (of 100 before and 100 behind it, as the stream gets slower by itself), the 95th of 100 and
the longest, and the same while the prompt came in, in milliseconds and in medians alone (the aim: 3),
and how long the prompt took, beside the stream and alone. What is long alone, too, is the machine's doing.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import client  # noqa: E402 (the path comes first)
from cluster import Daemons  # noqa: E402
from detect import model_of  # noqa: E402
from prompts import prompt  # noqa: E402

client.TIMEOUT = 900  # seconds: a long prompt on a busy machine
AROUND = 100  # tokens before and behind the prompt
STEP = 0.0005  # seconds: what comes closer together is of one step


def words(n, salt):
    return " ".join(f"word{(i * 7919 + salt) % 997}" if i % 9 == 0 else "and" for i in range(n))


def compute(c, text):
    """Seconds until its first token."""
    began = time.monotonic()
    status, _, reply = c.client.request(
        "POST", "/v1/completions", {"prompt": text, "max_tokens": 1, "temperature": 0}
    )
    assert status == 200, reply
    return time.monotonic() - began


def say(where, gaps, median):
    three = (statistics.median(gaps), gaps[int(len(gaps) * 0.95)], gaps[-1])
    print(
        f"{where}, {len(gaps)} gaps: median, 95 of 100, longest "
        + ", ".join(f"{g:.1f} ms" for g in three)
        + "; in medians alone "
        + ", ".join(f"{g / median:.2f}" for g in three)
    )


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("model")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--threads", type=int)
    p.add_argument("--words", type=int, default=4350)
    p.add_argument("--guesses", action="store_true", help="tokens of one step count as one")
    o = p.parse_args()
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    with tempfile.TemporaryDirectory(prefix="hydac-long-") as folder:
        model = model_of(o.model, folder)
        guesses = f"--speculation.mode={'auto' if o.guesses else 'off'}"
        with Daemons(model, [f"--cluster.min_workers={o.workers}", guesses], threads) as c:
            c.start_all(o.workers)
            alone = compute(c, words(o.words, 1))
            times, took = [], []
            stop = threading.Event()

            def stream():
                s = c.client.stream(prompt(16, 5), 6000)
                for _ in s:
                    now = time.monotonic()
                    if not times or now - times[-1] > STEP:
                        times.append(now)
                    if stop.is_set():
                        break
                s.close()

            reader = threading.Thread(target=stream)
            reader.start()
            while len(times) < AROUND:
                time.sleep(0.01)
            began = time.monotonic()
            took.append(compute(c, words(o.words, 2)))
            ended = time.monotonic()
            behind = len(times) + AROUND
            while len(times) < behind and reader.is_alive():
                time.sleep(0.01)
            stop.set()
            reader.join()
    gaps = [(b, (b - a) * 1e3) for a, b in zip(times, times[1:])]
    alone_gaps = sorted(g for at, g in gaps if not began <= at <= ended)
    beside = sorted(g for at, g in gaps if began <= at <= ended)
    if not beside:
        sys.exit("the stream ended before the prompt came")
    median = statistics.median(alone_gaps)
    say("alone", alone_gaps, median)
    say("beside the prompt", beside, median)
    print(f"the prompt took {took[0]:.2f} s, alone {alone:.2f} s")


if __name__ == "__main__":
    main()
