#!/usr/bin/env python3
"""Single bits flipped in a worker's memory while answers stream: is each found within a round?

    HYDAC_BUILD=build tests/chaos/flips.py [--flips 200] [--scrub 2] [--model M.gguf] [--seed 1]

Three workers, streams without end, which begin with rows that those before have left; in one of the workers one random bit at a time is flipped, in
its packed weights, its K/V rows and its input log in turn (memory_gdb.py; a few at a time, in
different places). Each must be found and told within a round, and made good: weights packed anew,
K/V computed again, the log filled from another worker. Every answer is compared with that of an
undisturbed run; one that differs must be marked: in itself, or when what it was made of was found
after its end, by its id in the leader's log and in an event of the status. Prints each flip, each
answer that is not marked, and a summary; passes only if all were found and nothing that differs went
unmarked. Needs gdb and the right to look at a process of one's own."""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "integration"))

import cluster  # noqa: E402 (the path comes first)
from prompts import prompt  # noqa: E402

KINDS = ("weights", "kv", "log")
AT_ONCE = 9
STOPS = 5  # a worker may be stopped while it drops a sequence; nothing was flipped then
SCRIPT = os.path.join(HERE, "memory_gdb.py")
NAMED = re.compile(r"ended_request_suspect id=(\S+)")
FOUND = re.compile(r'memory_damaged kind=(\w+) what="([^"]*)" since_us=(\d+) repaired=(\w+)')
# gdb stops a worker for a second, which is to be nobody's reason to give it up; nor is what is found.
# No audit finds it first.
PATIENT = ["--heartbeat.interval_ms=1000", "--heartbeat.phi_offline=100"]
PATIENT += ["--integrity.drain_after=0", "--integrity.audit=0"]
STREAMS = 3
PROMPT, ANSWER = 120, 1200  # tokens


class NoDebugger(Exception):
    """Why no bit can be flipped here."""


def gdb(pid, order):
    """What memory_gdb.py says: what it has flipped, and the blocks of rows that there are."""
    env = {**os.environ, "HYDAC_FLIPS": json.dumps(order)}
    args = ["gdb", "-q", "-nx", "-batch", "-p", str(pid), "-x", SCRIPT]
    for _ in range(STOPS):
        try:
            done = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
        except FileNotFoundError as e:
            raise NoDebugger("gdb is not installed (deploy/packages.sh test)") from e
        if "Operation not permitted" in done.stderr:
            raise NoDebugger("gdb may not look at a process of ours")
        between = re.search("flips-begin\n(.*)\nflips-end", done.stdout)
        if between:
            return json.loads(between[1])
    raise RuntimeError(f"gdb has flipped nothing:\n{done.stdout}\n{done.stderr}")


def flip(pid, kinds, seed):
    """Flips one bit of each of these kinds; what was flipped."""
    return gdb(pid, {"seed": seed, "kinds": kinds})["flips"]


def rows_of(pid):
    """[address, what] of each block of rows."""
    return gdb(pid, {"seed": 0, "kinds": []})["rows"]


def findings(worker):
    """What the worker says that it found: (kind, what, microseconds, made again)."""
    return [(k, w, int(us), r == "true") for k, w, us, r in FOUND.findall(worker.output())]


def is_of(finding, f):
    """Does it speak of this flip?"""
    kind, what = finding[:2]
    if kind != f["kind"]:
        return False
    if f["position"] is None:
        return what == f["what"]
    return f" of position {f['position']}," in what and f["what"] in what


def find(worker, flips, known, o):
    """Waits until all have been found, and notes when; those that were not have no `after`. Rows of a
    log that were not there any more are `gone`: nobody looks at them before they go, for nothing is
    made of them then."""
    begin, look = time.monotonic(), 2 * o.scrub + 1
    while (now := time.monotonic() - begin) < o.limit:
        new = findings(worker)[known:]
        for f in flips:
            said = next((n for n in new if is_of(n, f)), None)
            if said and "after" not in f:
                f["after"], f["repaired"] = now, said[3]
                f["dropped"] = "dropped" in said[1]
        pending = [f for f in flips if "after" not in f and "gone" not in f]
        if not pending:
            break
        if now > look:
            look += o.scrub + 1
            for f in pending:
                if f["kind"] == "log" and not is_there(worker, f):
                    f["gone"] = True
        time.sleep(cluster.POLL)


class Ended:
    """What the leader says of requests that had ended when damage was found."""

    def __init__(self, c):
        self.c, self.told = c, set()

    def look(self):
        """The status knows the latest events only, so they are to be looked at again and again."""
        events = self.c.status()["events"]
        self.told |= {i for e in events for i in e.get("requests", "").split(", ")}

    def names(self, i):
        """In the log, and in an event unless that had no room for all (it says so)."""
        return i in NAMED.findall(self.c.leader.output()) and bool(self.told & {i, "..."})


class Streams:
    """Requests without end; each answer with when it ran."""

    def __init__(self, client, answer):
        self.client, self.n = client, answer
        self.expected = [client.complete(prompt(PROMPT, i), answer).tokens for i in range(STREAMS)]
        self.answers, self.stop = [], False
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(STREAMS)]
        for t in self.threads:
            t.start()

    def run(self, i):
        while not self.stop:
            answer = {"id": None, "began": time.monotonic(), "same": False, "marked": False}
            try:
                a = self.client.complete(prompt(PROMPT, i), self.n)
                answer["error"] = None if a.error is None else str(a.error)
                answer.update(id=a.id, same=a.tokens == self.expected[i], marked=a.suspect)
            except Exception as e:  # an answer with an error is no wrong answer
                answer["error"] = str(e)
            answer["ended"] = time.monotonic()
            self.answers.append(answer)

    def finish(self):
        self.stop = True
        for t in self.threads:
            t.join()
        return self.answers


def kind_of(answer, ended):
    if answer["error"]:
        return "error"
    if answer["same"]:
        return "same"
    if answer["marked"]:
        return "marked"
    return "named" if ended.names(answer["id"]) else "unmarked"


def judge(answers, flipped, ended, print_line):
    """Counts of answers: the same, ended by an error, different and marked, different and named after
    their end, different and none of these."""
    counts = collections.Counter()
    counts.errors = {a["error"] for a in answers if a["error"]}
    for a in answers:
        kind = kind_of(a, ended)
        counts[kind] += 1
        if kind == "unmarked":
            during = [f"{t - a['began']:.2f}" for t in flipped if a["began"] < t < a["ended"]]
            took = a["ended"] - a["began"]
            print_line(f"unmarked: {a['id']}, {took:.2f} s, flips after {', '.join(during)} s")
    return counts


def run(c, o, print_line):
    """The flips and the counts of the answers. `c` serves with w1 to w3."""
    streams, ended = Streams(c.client, o.answer), Ended(c)
    worker, flips, flipped, seed = c.workers["w2"], [], [], o.seed
    try:
        while len(flips) < o.flips:
            kinds = [KINDS[(len(flips) + i) % 3] for i in range(min(AT_ONCE, o.flips - len(flips)))]
            known, seed = len(findings(worker)), seed + 1
            batch = flip(worker.pid, kinds, seed)
            flipped.append(time.monotonic())
            find(worker, batch, known, o)
            ended.look()
            flips += [f for f in batch if "after" in f or "gone" not in f]
            for f in batch:
                print_line(line(f))
            assert worker.running(), "the worker has ended"
    finally:
        answers = streams.finish()
    ended.look()
    return flips, judge(answers, flipped, ended, print_line)


def is_there(worker, f):
    """The row is still there, as it was left. Else its sequence has ended before the round came by."""
    with open(f"/proc/{worker.pid}/mem", "rb", buffering=0) as memory:
        try:
            memory.seek(f["address"] + f["offset"])
            byte = memory.read(1)[0]
        except OSError:
            return False
    return byte == f["byte"] and [f["address"], f["what"]] in rows_of(worker.pid)


def line(f):
    when = "its sequence has ended" if "gone" in f else "not found"
    when = f"found after {f['after']:.2f} s" if "after" in f else when
    again = {True: "made again", False: "gone", None: ""}[f.get("repaired")]
    at = "" if f["position"] is None else f"position {f['position']}, "
    return f"{f['kind']:8} {at}{f['what']}: byte {f['offset']}, bit {f['bit']}: {when} {again}"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--flips", type=int, default=200)
    p.add_argument("--scrub", type=int, default=2, help="seconds of a round")
    p.add_argument("--model", help="default: a synthetic one")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--answer", type=int, default=ANSWER, help="tokens of an answer")
    o = p.parse_args()
    o.limit = 3 * o.scrub + 5
    if not os.path.exists(cluster.HYDAC):
        sys.exit("set HYDAC_BUILD to a build folder")
    with tempfile.TemporaryDirectory(prefix="hydac-flips-") as folder:
        if not o.model:
            o.model = os.path.join(folder, "m.gguf")
            args = ["synth", "--shape", "tiny-gqa3", "--type", "q4_0", "--seed", "1", o.model]
            subprocess.run([cluster.HYDAC, *args], check=True, capture_output=True)
        args = [f"--integrity.scrub_s={o.scrub}", *PATIENT]
        with cluster.Daemons(o.model, leader_args=args) as c:
            c.start_all(3)
            flips, answers = run(c, o, print)
    sys.exit(0 if summary(flips, answers, o) else 1)


def summary(flips, answers, o):
    found = [f["after"] for f in flips if "after" in f]
    for kind in KINDS:
        of = [f for f in flips if f["kind"] == kind]
        late = max((f["after"] for f in of if "after" in f), default=0)
        n = sum("after" in f for f in of)
        print(f"{kind}: {n} of {len(of)} found, the latest after {late:.2f} s")
    print(f"a round takes {o.scrub} s; answers: {dict(answers)}")
    for why in sorted(answers.errors):
        print(f"an answer ended: {why}")
    return len(found) == len(flips) and answers["unmarked"] == 0


if __name__ == "__main__":
    try:
        main()
    except NoDebugger as why:
        sys.exit(f"nothing was flipped: {why}")
