#!/usr/bin/env python3
"""A cluster that streams beside more busy loops than there are cores: nobody may be suspected.

    HYDAC_BUILD=build tests/chaos/saturate.py [--seconds 60 | --minutes 30] [--loops N] [--model M]
                                              [--leaders 2] [--workers 3]

Passes only if no worker became suspect or offline, no other leader took over, nobody missed the one
that serves, and every answer is the undisturbed one's. The last line but one is the account as JSON.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))

from chaos import model_of  # noqa: E402 (the path comes first)
from cluster import HYDAC, until  # noqa: E402
from leaders import Leaders  # noqa: E402
from prompts import prompt  # noqa: E402

PROMPT, ANSWER = prompt(60, 91), 200
BUSY = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]


class Loops:
    """Processes that do nothing as fast as they can, at normal priority."""

    def __init__(self, n):
        self.processes = [subprocess.Popen(BUSY) for _ in range(n)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ended = [p.poll() for p in self.processes if p.poll() is not None]
        for p in self.processes:
            p.kill()
            p.wait()
        assert not ended, f"busy loops ended by themselves: {ended}"


def alarms(c):
    """What is suspected, counted in all logs: workers by the leader that serves, that one by the others
    and by workers."""
    found = re.findall(r" worker_state worker=\S+ state=(suspect|offline)", c.leaders["a"].output())
    for p in c.leaders.values():
        found += ["leader_missed"] * len(re.findall(r" leader_lost address=\S+ active=yes", p.output()))
    for p in c.workers.values():
        found += ["leader_left"] * p.output().count(" leader_silent ")
    return collections.Counter(found)


def stream_for(client, seconds, expected):
    """Number of answers, the longest pause between two tokens in s. One answer follows another."""
    end, answers, longest = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < end:
        stream, last = client.stream(PROMPT, len(expected)), None
        for _ in stream:
            now = time.monotonic()
            longest = max(longest, now - (last or now))
            last = now
        stream.close()
        assert stream.answer.tokens == expected, f"answer {answers + 1} differs"
        answers += 1
    return answers, longest


def served(o, c):
    """The account."""
    client = c.clients["a"]
    c.until_active("a", o.workers)
    for name in c.names[1:]:
        until(lambda name=name: c.role(name) == "standby", f"{name} stands by")
    expected = client.complete(PROMPT, ANSWER).tokens
    before, term = alarms(c), client.get("/hydac/status")["leaders"]["term"]
    with Loops(o.loops):
        answers, longest = stream_for(client, o.seconds, expected)
    seen, status = alarms(c) - before, client.get("/hydac/status")
    if seen:
        print(c.logs())
    return {
        "seconds": o.seconds,
        "cores": os.cpu_count(),
        "busy_loops": o.loops,
        "leaders": o.leaders,
        "workers": o.workers,
        "answers": answers,
        "tokens": answers * ANSWER,
        "longest_gap_ms": round(longest * 1000),
        "suspect": seen["suspect"],
        "offline": seen["offline"],
        "failovers": len(status["failovers"]),
        "leader_missed": seen["leader_missed"],
        "leader_left": seen["leader_left"],
        "leader_changes": status["leaders"]["term"] - term,
    }


def measure(o, model):
    args = [f"--cluster.min_workers={o.workers}", "--speculation.mode=off"]
    c = Leaders(model, o.leaders, o.workers, args)
    try:
        return served(o, c)
    finally:
        c.close()


def parse(args):
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--seconds", type=float, default=60.0)
    p.add_argument("--minutes", type=float, help="instead of --seconds")
    p.add_argument("--loops", type=int, default=2 * os.cpu_count() + 1, help="busy loops")
    p.add_argument("--leaders", type=int, default=2, choices=(1, 2, 3))
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--model", default="tiny-gqa3", help="a shape of `hydac synth`, or a path")
    p.add_argument("--type", default="f32", help="of the synthetic model's weights")
    o = p.parse_args(args)
    if o.loops <= os.cpu_count():
        p.error(f"--loops {o.loops}: at least one more than the {os.cpu_count()} cores")
    o.seconds = o.minutes * 60 if o.minutes else o.seconds
    return o


def main():
    o = parse(sys.argv[1:])
    if not os.path.exists(HYDAC):
        sys.exit("set HYDAC_BUILD to a build folder")
    with tempfile.TemporaryDirectory(prefix="hydac-saturate-") as folder:
        account = measure(o, model_of(o, folder))
    wrong = ("suspect", "offline", "failovers", "leader_missed", "leader_left", "leader_changes")
    good = not any(account[what] for what in wrong)
    print(json.dumps(account))
    print("PASSED" if good else "FAILED")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
