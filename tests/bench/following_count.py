#!/usr/bin/python3
"""What a standby costs the leader that serves and its workers, with one that follows and without:
instructions of a token and of a second (callgrind), and reads and writes of a token (as it runs by
itself). Unlike times they do not depend on what else the machine does; the standby's own are another
machine's.

    HYDAC_BUILD=build tests/bench/following_count.py MODEL|SHAPE:TYPE [--workers 3] [--tokens 64]

Two answers of the same prompt, one of them longer, are counted; their difference is that of so many
tokens. Under callgrind a token takes fifty times as long, and leaders speak to one another with every
tick of 50 ms: what an idle second takes is counted by itself, and a token is charged for as long as it
takes without callgrind. What the kernel does for a read or a write shows in their number only.
"""

import argparse
import collections
import contextlib
import os
import re
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
# What comes and goes by the clock, or once in so many steps, is not counted.
PLAIN = ["--integrity.scrub_s=0", "--integrity.audit=0", "--cache.memory=0", "--speculation.mode=off"]


class Counted(Here):
    """All but the standby run under callgrind."""

    def __init__(self, folder):
        self.folder = folder

    def prefix(self, name):
        out = f"--callgrind-out-file={self.folder}/{name}"
        return [] if name == "b" else ["valgrind", "--tool=callgrind", out]


def instructions(folder, name, pid):
    """Since the last call."""
    told = subprocess.run(["callgrind_control", "-d", str(pid)], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "OK" in told.stdout, told.stdout + told.stderr
    newest = max((f for f in os.listdir(folder) if re.fullmatch(rf"{name}\.\d+", f)), key=lambda f: int(f.split(".")[1]))
    with open(os.path.join(folder, newest), encoding="utf-8", errors="replace") as f:
        return int(re.search(r"^totals: (\d+)", f.read(), re.M)[1])


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
def serving(o, model, leaders, net=None):
    c = Leaders(model, leaders, o.workers, [*PATIENT, *PLAIN], net, PATIENT_WORKERS)
    try:
        c.until_active("a", o.workers)
        until(lambda: c.clients["a"].get("/hydac/status")["records"]["followers"] == leaders - 1, "it is followed")
        ask(c, SHORT)  # whatever is done once
        yield c
    finally:
        c.close()


def ask(c, tokens):
    c.clients["a"].complete(prompt(16, 3), tokens)


def counted(o, model, leaders):
    """Instructions of a token without what goes by the clock, and of an idle second."""
    with tempfile.TemporaryDirectory(prefix="hydac-count-") as folder:
        with serving(o, model, leaders, Counted(folder)) as c:
            meter = Meter(folder, c)
            idle, s = meter.over(lambda: time.sleep(IDLE))
            short, t = meter.over(lambda: ask(c, SHORT))
            long, u = meter.over(lambda: ask(c, SHORT + o.tokens))
    second = {of: n / s for of, n in idle.items()}
    token = {of: (long[of] - short[of] - (u - t) * second[of]) / o.tokens for of in second}
    return token, second


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
    (token, second), (token2, second2) = (counted(o, model, n) for n in (1, 2))
    (reads, takes), (reads2, _) = (by_itself(o, model, n) for n in (1, 2))
    for of in token:
        print(line(f"{of}: instructions of a token", token[of], token2[of]))
        print(line(f"{of}: ... of an idle second", second[of], second2[of]))
    all1, all2 = (sum(t.values()) + takes * sum(s.values()) for t, s in ((token, second), (token2, second2)))
    print(line(f"all, of a token of {1000 * takes:.1f} ms", all1, all2))
    print(line("all: reads and writes of a token", reads, reads2))


IDLE = 6  # seconds of nothing that are counted
PATIENT_WORKERS = ["--leader.silence_ms=3600000"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model", help="a file, or SHAPE:TYPE")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--tokens", type=int, default=64, help="that are counted")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="hydac-count-") as folder:
        model = model_of(o.model, folder)
        report(o, model)


if __name__ == "__main__":
    main()
