#!/usr/bin/env python3
"""What two groups of rows are worth: the same prompts with compute.overlap_rows 0 and N, in pairs.

  HYDAC_BUILD=build tests/bench/overlap.py MODEL [--rates none,1gbit] [--prompts 512] [--pairs 20]

Leader and workers (one thread each) are on machines of their own: network namespaces with cables to
a switch, each of which carries the rate both ways (tc tbf); needs root. Both clusters run at once and
take turns, pair by pair, the first of a pair alternating. Printed are the medians of tokens a second
and the median, least and most of the pairs' ratios; the tokens of each pair must be equal.
"""

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

from client import Client  # noqa: E402 (the paths come first)
from cluster import LEADER, WORKER, Process, read_json, until  # noqa: E402
from links import CLONE_NEWNET, sh  # noqa: E402
from prompts import prompt  # noqa: E402

HOLD = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec cat"]


class Switch:
    """This program becomes the leader's machine; it and the workers' have a cable to a switch."""

    def __init__(self, workers, rate):
        self.rate = rate
        if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
            raise OSError("no network namespace")
        sh("ip", "link", "set", "lo", "up")
        self.switch, self.workers = self.machine(), [self.machine() for _ in range(workers)]
        sh(*self.on(self.switch), "ip", "link", "add", "br0", "type", "bridge")
        sh(*self.on(self.switch), "ip", "link", "set", "br0", "up")
        for i, m in enumerate([None, *self.workers]):
            self.cable(m, f"port{i}", f"10.78.0.{1 + i}")

    def machine(self):
        # The shell says when its namespace is there, and ends with us.
        p = subprocess.Popen(HOLD, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        p.stdout.readline()
        return p

    def on(self, machine):
        return ["nsenter", "-t", str(machine.pid), "-n"] if machine else []

    def cable(self, machine, port, address):
        here, there = self.on(machine), self.on(self.switch)
        peer = ["peer", "name", port, "netns", str(self.switch.pid)]
        sh(*here, "ip", "link", "add", "eth0", "type", "veth", *peer)
        sh(*there, "ip", "link", "set", port, "master", "br0", "up")
        sh(*here, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        sh(*here, "ip", "link", "set", "eth0", "up")
        for prefix, end in ((here, "eth0"), (there, port)):
            if self.rate != "none":
                shape = ["rate", self.rate, "burst", "128kb", "limit", "32mb"]
                sh(*prefix, "tc", "qdisc", "add", "dev", end, "root", "tbf", *shape)


class Cluster:
    def __init__(self, net, model, rows):
        self.folder = tempfile.mkdtemp(prefix="hydac-overlap-")
        ports, n = os.path.join(self.folder, "ports.json"), len(net.workers)
        args = [LEADER, "--die-with-parent", "--model.path", model, "--cluster.tls=off"]
        args += ["--cluster.listen", "10.78.0.1:0", "--http.listen", "127.0.0.1:0"]
        args += ["--ports-file", ports, "--state.dir", os.path.join(self.folder, "leader")]
        args += [f"--cluster.min_workers={n}", f"--compute.overlap_rows={rows}"]
        self.processes = [Process(args, os.path.join(self.folder, "leader.log"))]
        port = until(lambda: read_json(ports), "the leader listens")
        self.client = Client(f"http://127.0.0.1:{port['http']}")
        for i, m in enumerate(net.workers):
            args = [WORKER, "--model.path", model, "--worker.name", f"w{i}", "--cluster.tls=off"]
            args += ["--leader.address", f"10.78.0.1:{port['cluster']}", "--compute.threads", "1"]
            args += ["--state.dir", os.path.join(self.folder, f"w{i}")]
            log = os.path.join(self.folder, f"w{i}.log")
            self.processes.append(Process([*net.on(m), *args], log))
        until(lambda: self.client.request("GET", "/health")[0] == 200, "the cluster serves")

    def prefill(self, tokens, seed):
        """(tokens of the answer, tokens of the prompt a second)"""
        begin = time.monotonic()
        answer = self.client.complete(prompt(tokens, seed), 1)
        return answer.tokens, tokens / (time.monotonic() - begin)

    def close(self):
        for p in reversed(self.processes):
            p.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def measure(o, rate, tokens):
    clusters, speeds = {}, {0: [], o.rows: []}
    net = Switch(o.workers, rate)
    try:
        for rows in speeds:
            clusters[rows] = Cluster(net, o.model, rows)
            clusters[rows].prefill(tokens, 1)
        for i in range(o.pairs):
            answers = []
            for rows in (0, o.rows) if i % 2 else (o.rows, 0):
                answer, speed = clusters[rows].prefill(tokens, 100 + i)
                speeds[rows].append(speed)
                answers.append(answer)
            assert answers[0] == answers[1], answers
    finally:
        for c in clusters.values():
            c.close()
    ratios = [on / off for off, on in zip(speeds[0], speeds[o.rows])]
    off, on = statistics.median(speeds[0]), statistics.median(speeds[o.rows])
    print(
        f"rate {rate:>8}  prompt {tokens:4}  one group {off:7.1f} tok/s  two {on:7.1f}"
        f"  ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} - {max(ratios):.3f})",
        flush=True,
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("--rates", default="none,1gbit", help="as tc takes them; none: as fast as it is")
    p.add_argument("--prompts", default="512", help="tokens of the prompts")
    p.add_argument("--pairs", type=int, default=20)
    p.add_argument("--rows", type=int, default=64, help="compute.overlap_rows of the second cluster")
    p.add_argument("--workers", type=int, default=2)
    o = p.parse_args()
    for rate in o.rates.split(","):
        for tokens in o.prompts.split(","):
            measure(o, rate, int(tokens))


if __name__ == "__main__":
    main()
