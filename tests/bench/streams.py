#!/usr/bin/env python3
"""Tokens a second of many answers at once, of one or several builds in turns.

    tests/bench/streams.py MODEL BUILD... [--streams 1,4,16] [--prompt 128] [--tokens 64] [--threads 8]
                           [--workers 1] [--repeat 3] [--prefill 1024] [--leader KEY=VALUE ...]

BUILD is a build folder, or one folder with hydac, hydac-leader and hydac-worker. Streams have different
prompts. "all": tokens of the answers a second, prompts included; "decode": those after the first of the
last stream; "prefill": a lone prompt of so many tokens. Medians."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request


def prompt_of(n, number):
    """Token ids that every shape has."""
    return [(i * 7919 + 104729 * number) % 500 for i in range(n)]


class Cluster:
    """hydac up."""

    def __init__(self, build, a):
        self.folder = tempfile.mkdtemp()
        ready = os.path.join(self.folder, "ready")
        hydac = os.path.join(build, "hydac")
        if not os.path.exists(hydac):
            hydac = os.path.join(build, "leader/ctl/hydac")
        command = [hydac, "up", a.model, "--workers", str(a.workers), "--threads", str(a.threads)]
        command += ["--port", "0", "--ready-file", ready, "--state", os.path.join(self.folder, "state")]
        command += [f"--leader-arg=--limits.max_sequences={max(a.streams)}"]
        command += [f"--leader-arg=--{x}" for x in a.leader]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not os.path.exists(ready) or not open(ready, encoding="ascii").read().strip():
            if self.process.poll() is not None:
                sys.exit(f"streams.py: {hydac} up does not serve")
            time.sleep(0.05)
        self.url = json.load(open(ready, encoding="ascii"))["leader"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def stream(self, prompt, n, times):
        body = {"prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True, "stream": True}
        request = urllib.request.Request(
            self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as r:
            for line in r:
                if line.startswith(b"data: {"):
                    times.append(time.time())

    def together(self, streams, a, seed):
        """Tokens a second: with prompts, and of decoding alone."""
        times = [[] for _ in range(streams)]
        threads = [
            threading.Thread(target=self.stream, args=(prompt_of(a.prompt, seed + i), a.tokens, times[i]))
            for i in range(streams)
        ]
        begin = time.time()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        end = max(t[-1] for t in times)
        all_begun = max(t[0] for t in times)
        left = sum(1 for t in times for x in t if x > all_begun)
        return streams * a.tokens / (end - begin), left / (end - all_begun)

    def prefill(self, n, seed):
        times = []
        begin = time.time()
        self.stream(prompt_of(n, seed), 1, times)
        return n / (time.time() - begin)


def measure(a, build, at, results):
    with Cluster(build, a) as c:
        c.prefill(64, 1)
        for n in a.streams:
            whole, decode = c.together(n, a, 1000 * (at + 1) + n)
            results.setdefault((build, f"{n} streams, all"), []).append(whole)
            results.setdefault((build, f"{n} streams, decode"), []).append(decode)
        for i in range(2 if a.prefill else 0):
            results.setdefault((build, f"prefill {a.prefill}"), []).append(
                c.prefill(a.prefill, 100000 + 10 * at + i)
            )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("builds", nargs="+")
    p.add_argument("--streams", type=lambda s: [int(x) for x in s.split(",")], default=[1, 4, 16])
    p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--threads", type=int, default=8)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--prefill", type=int, default=1024)
    p.add_argument("--leader", action="append", default=[])
    a = p.parse_args()
    results = {}
    for at in range(a.repeat):
        for build in a.builds:
            measure(a, build, at, results)
    rows = list(dict.fromkeys(row for _, row in results))
    print("| tok/s | " + " | ".join(a.builds) + " |\n|---" * 1 + "|---" * len(a.builds) + "|")
    for row in rows:
        cells = [results[build, row] for build in a.builds]
        print(f"| {row} | " + " | ".join(f"{statistics.median(c):.0f} ({min(c):.0f} - {max(c):.0f})" for c in cells) + " |")


if __name__ == "__main__":
    main()
