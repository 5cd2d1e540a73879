#!/usr/bin/python3
"""Exact and compact partial sums over a slow network, in turns: two network namespaces, the leader's
machine and one with all workers, and between them a cable of so many Mbit/s each way (tc tbf). The
leader's own link is what limits a cluster, so it does not matter that the workers share one. As root:

    HYDAC_BUILD=build tests/bench/slow_link.py MODEL [--mbit 100] [--workers 1,2,3] [--repeat 3]
                                               [--prompt 256] [--tokens 48]

Prints Markdown: medians, and bytes for a token of an answer by the leader's count."""

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
from client import Client  # noqa: E402
from prompts import prompt  # noqa: E402

CLONE_NEWNET = 0x40000000
LEADER_IP, WORKERS_IP = "10.78.0.1", "10.78.0.2"
MODES = ("exact", "compact")


def sh(*args):
    subprocess.run(args, check=True)


class Cable:
    """We are the leader's machine; `prefix` runs a command on the workers'."""

    def __init__(self, mbit):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise SystemExit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        sleep = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec cat"]
        self.holder = subprocess.Popen(sleep, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        pid = str(self.holder.pid)
        self.prefix = ["nsenter", "-t", pid, "-n"]
        sh("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", pid)
        for prefix, address in (([], LEADER_IP), (self.prefix, WORKERS_IP)):
            sh(*prefix, "ip", "link", "set", "lo", "up")
            sh(*prefix, "ip", "addr", "add", f"{address}/24", "dev", "cable")
            sh(*prefix, "ip", "link", "set", "cable", "up")
            limit = ["tbf", "rate", f"{mbit}mbit", "burst", "16kb", "latency", "200ms"]
            sh(*prefix, "tc", "qdisc", "add", "dev", "cable", "root", *limit)

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Cluster(cluster.Base):
    def __init__(self, a, cable, workers, mode):
        self.folder = tempfile.mkdtemp(prefix="hydac-bench-")
        ports = os.path.join(self.folder, "ports.json")
        plain = ["--die-with-parent", "--cluster.tls=off", "--log-level", "warn"]
        self.processes = []
        self.start(
            [cluster.LEADER, *plain, "--model", a.model, "--listen", f"{LEADER_IP}:0"],
            ["--http", "127.0.0.1:0", "--ports-file", ports, f"--compute.wire={mode}"],
            [f"--min-workers={workers}", "--state", self.folder],
        )
        told = cluster.until(lambda: cluster.read_json(ports), "the leader listens")
        for i in range(workers):
            self.start(
                [*cable.prefix, cluster.WORKER, *plain, "--model", a.model, "--threads", "1"],
                ["--leader", f"{LEADER_IP}:{told['cluster']}", "--name", f"w{i + 1}"],
                ["--state", os.path.join(self.folder, f"w{i + 1}")],
            )
        self.client = Client(f"http://127.0.0.1:{told['http']}")
        self.until_serving(workers)

    def start(self, *args):
        log = os.path.join(self.folder, f"{len(self.processes)}.log")
        self.processes.append(cluster.Process(sum(args, []), log))

    def close(self):
        for p in reversed(self.processes):
            p.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def measure(a, cable, workers, mode, seed):
    """Tokens of the prompt and of the answer a second; bytes down and up for one of the latter."""
    c = Cluster(a, cable, workers, mode)
    try:
        c.client.complete(prompt(16, 1), 4)  # touches the weights
        t = c.client.complete(prompt(a.prompt, 2 + seed), a.tokens).timings
        traffic = c.status()["cluster"]["traffic"]
    finally:
        c.close()
    down, up = (traffic["decode"][f"{way}_per_row"] for way in ("down", "up"))
    return a.prompt / t["prefill_ms"] * 1e3, t["tokens_per_second"], down, up


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("--mbit", type=float, default=100)
    p.add_argument("--workers", default="1,2,3")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--prompt", type=int, default=256)
    p.add_argument("--tokens", type=int, default=48)
    a = p.parse_args()
    if not cluster.BUILD:
        p.error("set HYDAC_BUILD to the build folder")
    cable = Cable(a.mbit)
    print(f"### {os.path.basename(a.model)}, {a.mbit:g} Mbit/s, {os.cpu_count()} cores\n")
    print("| workers | wire | prefill tok/s | decode tok/s | bytes of an answer's token: down, up |")
    print("|---|---|---|---|---|")
    try:
        for workers in map(int, a.workers.split(",")):
            runs = {mode: [] for mode in MODES}
            for i in range(a.repeat):
                for mode in MODES:
                    runs[mode].append(measure(a, cable, workers, mode, i))
            for mode in MODES:
                prefill, decode, down, up = map(statistics.median, zip(*runs[mode]))
                line = f"| {workers} | {mode} | {prefill:.1f} | {decode:.2f} | {down:.0f}, {up:.0f} |"
                print(line, flush=True)
    finally:
        cable.close()


if __name__ == "__main__":
    main()
