#!/usr/bin/python3
"""What a standby costs the leader that serves and its workers, with one that follows and without:
instructions of a token and of an idle second (callgrind), and reads and writes of a token (as it runs
by itself). Unlike times they do not depend on what else the machine does; the standby's own are another
machine's.

    HYDAC_BUILD=build tests/bench/following_count.py MODEL|SHAPE:TYPE [--workers 3] [--tokens 24]

Two answers of the same prompt, one of them longer, are counted, three times; the median of their
differences is that of so many tokens. It varies by some tenths of a percent, so what is spent in telling
the standby is counted by itself as well, with all that it calls. Under callgrind a token takes fifty
times as long, and leaders speak with every tick: ticks are two seconds there, and what they cost is the
idle second's, with ticks as ever. What the kernel does for a read or a write shows in their number only.
"""

import argparse
import collections
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True
os.environ.setdefault("HYDAC_LIMIT", "900")  # programs are slow under callgrind

from cluster import until  # noqa: E402 (the path comes first)
from detect import model_of  # noqa: E402
from leaders import Here, Leaders  # noqa: E402
from prompts import prompt  # noqa: E402

SHORT = 8  # tokens of the shorter answer
PATIENT = ["--cluster.silence_ms=3600000", "--heartbeat.phi_suspect=99", "--heartbeat.phi_offline=100"]
PATIENT += ["--recovery.step_deadline_ms=600000", "--recovery.assign_deadline_ms=600000"]
SLOW = ["--heartbeat.interval_ms=2000"]
# What comes and goes by the clock, or once in so many steps, is not counted.
PLAIN = ["--integrity.scrub_s=0", "--integrity.audit=0", "--cache.memory=0", "--speculation.mode=off"]


class Counted(Here):
    """All but the standby run under callgrind."""

    def __init__(self, folder):
        self.folder = folder

    def prefix(self, name):
        out = f"--callgrind-out-file={self.folder}/{name}"
        return [] if name == "b" else ["valgrind", "--tool=callgrind", out]


def newest(folder, name):
    """The last dump."""
    dumps = [f for f in os.listdir(folder) if re.fullmatch(rf"{name}\.\d+", f)]
    return os.path.join(folder, max(dumps, key=lambda f: int(f.split(".")[1])))


def instructions(folder, name, pid):
    """Since the last call."""
    told = subprocess.run(["callgrind_control", "-d", str(pid)], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "OK" in told.stdout, told.stdout + told.stderr
    with open(newest(folder, name), encoding="utf-8", errors="replace") as f:
        return int(re.search(r"^totals: (\d+)", f.read(), re.M)[1])


def spent_in(folder, name, function):
    """Instructions of the last dump in that function and in all that it calls."""
    args = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--auto=no", newest(folder, name)]
    said = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^ *([\d,]+) \(.*:{function} \[", said, re.M)
    return int(found[1].replace(",", "")) if found else 0


def calls(cluster):
    """Reads and writes of leader and workers since they began."""
    n = 0
    for p in (cluster.leaders["a"], *cluster.workers.values()):
        with open(f"/proc/{p.pid}/io", encoding="ascii") as f:
            n += sum(int(line.split()[1]) for line in f if line.startswith(("syscr", "syscw")))
    return n


class Meter:
    """Instructions of the leader that serves and of its workers, from one call to the next."""

    def __init__(self, folder, cluster):
        self.folder = folder
        self.pids = {"a": cluster.leaders["a"].pid} | {n: p.pid for n, p in cluster.workers.items()}

    def read(self):
        counts = {name: instructions(self.folder, name, pid) for name, pid in self.pids.items()}
        return collections.Counter(leader=counts.pop("a"), workers=sum(counts.values()))

    def over(self, work):
        """Of what is done meanwhile, and the seconds that it took."""
        self.read()
        begin = time.monotonic()
        work()
        seconds = time.monotonic() - begin
        return self.read(), seconds


@contextlib.contextmanager
def serving(o, model, leaders, net=None, more=()):
    c = Leaders(model, leaders, o.workers, [*PATIENT, *PLAIN, *more], net, PATIENT_WORKERS)
    try:
        c.until_active("a", o.workers)
        until(lambda: c.clients["a"].get("/hydac/status")["records"]["followers"] == leaders - 1, "it is followed")
        ask(c, SHORT)  # whatever is done once
        yield c
    finally:
        c.close()


def ask(c, tokens):
    c.clients["a"].complete(prompt(16, 3), tokens)


def of_a_token(o, model, leaders):
    """Instructions, and of the leader's those in which the standby is told."""
    with tempfile.TemporaryDirectory(prefix="hydac-count-") as folder:
        with serving(o, model, leaders, Counted(folder), SLOW) as c:
            meter, pairs = Meter(folder, c), []
            for _ in range(PAIRS):
                short, _ = meter.over(lambda: ask(c, SHORT))
                long, _ = meter.over(lambda: ask(c, SHORT + o.tokens))
                pairs.append({of: (long[of] - short[of]) / o.tokens for of in long})
            telling = spent_in(folder, "a", "hd_follow_step") / (SHORT + o.tokens)
    return {of: statistics.median(p[of] for p in pairs) for of in pairs[0]}, telling


def of_a_second(o, model, leaders):
    with tempfile.TemporaryDirectory(prefix="hydac-count-") as folder:
        with serving(o, model, leaders, Counted(folder)) as c:
            idle, s = Meter(folder, c).over(lambda: time.sleep(IDLE))
    return {of: n / s for of, n in idle.items()}


def by_itself(o, model, leaders):
    """Reads and writes of a token, and the seconds that it takes."""
    n = 8 * o.tokens
    with serving(o, model, leaders) as c:
        first, begin = calls(c), time.monotonic()
        ask(c, SHORT + n)
        return (calls(c) - first) / n, (time.monotonic() - begin) / n


def line(what, without, followed):
    return f"{what:34} {without:13,.0f} without, {followed:13,.0f} with a standby: {100 * (followed / without - 1):+.3f} %"


def report(o, model):
    (token, _), (token2, telling) = (of_a_token(o, model, n) for n in (1, 2))
    second, second2 = (of_a_second(o, model, n) for n in (1, 2))
    (reads, takes), (reads2, _) = (by_itself(o, model, n) for n in (1, 2))
    for of in token:
        print(line(f"{of}: instructions of a token", token[of], token2[of]))
        print(line(f"{of}: ... of an idle second", second[of], second2[of]))
    ticks = takes * (sum(second2.values()) - sum(second.values()))
    cost = 100 * (telling + ticks) / sum(token.values())
    print(f"telling it of a token: {telling:,.0f}; ticks of {1000 * takes:.1f} ms, which one takes: {ticks:,.0f}")
    print(f"together {cost:.3f} % of a token's instructions")
    print(line("all: reads and writes of a token", reads, reads2))


PAIRS = 3
IDLE = 6  # seconds of nothing that are counted
PATIENT_WORKERS = ["--leader.silence_ms=3600000"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model", help="a file, or SHAPE:TYPE")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--tokens", type=int, default=24, help="that are counted")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="hydac-count-") as folder:
        model = model_of(o.model, folder)
        report(o, model)


if __name__ == "__main__":
    main()
