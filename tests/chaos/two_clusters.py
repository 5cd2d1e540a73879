#!/usr/bin/env python3
"""A whole cluster is killed in the middle of many answers; a second one goes on with all of them.

    HYDAC_BUILD=build tests/chaos/two_clusters.py [--streams 50] [--model M.gguf] [--seed 1]

Two clusters of a leader and workers serve the same model. `hydac run --leader A,B` streams from the
first; when all answers have begun, leader and workers of A are killed (SIGKILL) at once. Every answer is
compared with that of an undisturbed run. Prints how many went on and how many are the same; passes
only if all went on and all are the same."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "integration"))

import cluster  # noqa: E402 (the path comes first)
from prompts import prompt  # noqa: E402

TOKENS = 1000
SAMPLING = ["--temperature", "0.8", "--top-p", "0.95", "--ignore-eos"]


class Run:
    """One `hydac run`: its answer, and when its text came."""

    def __init__(self, leaders, tokens, seed):
        args = [cluster.HYDAC, "run", "--leader", ",".join(leaders), "--prompt-tokens"]
        args += [",".join(map(str, tokens)), "--max-tokens", str(TOKENS), "--seed", str(seed)]
        self.child = subprocess.Popen(
            [*args, *SAMPLING, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.answer, self.said = None, ""

    def finish(self):
        out, self.said = self.child.communicate(timeout=600)
        self.answer = json.loads(out) if self.child.returncode == 0 else None


def finish_all(runs):
    threads = [threading.Thread(target=r.finish) for r in runs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--streams", type=int, default=50)
    p.add_argument("--model")
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    rng = random.Random(o.seed)
    with tempfile.TemporaryDirectory() as folder:
        model = o.model or os.path.join(folder, "m.gguf")
        if not o.model:
            subprocess.run([cluster.HYDAC, "synth", "--shape", "tiny-gqa3", "--type", "q4_0", model], check=True)
        prompts = [prompt(rng.randint(5, 200), o.seed * 1000 + i) for i in range(o.streams)]
        limits = ["--limits.max_sequences=64"]
        with cluster.Up(model, workers=1, leader_args=limits) as second:
            alone = [Run([second.client.url], p, i) for i, p in enumerate(prompts)]
            finish_all(alone)
            with cluster.Up(model, workers=3, leader_args=limits) as first:
                urls = [first.client.url, second.client.url]
                runs = [Run(urls, p, i) for i, p in enumerate(prompts)]
                prompt_tokens, begun = sum(map(len, prompts)), o.streams * rng.randint(5, TOKENS // 4)
                first.until_status(
                    lambda s: s["engine"]["prompt_tokens"] == prompt_tokens
                    and s["engine"]["tokens"] > begun,
                    "all answers have begun",
                )
                killed = time.monotonic()
                for pid in (first.process.pid, first.leader_pid, *first.pids.values()):
                    os.kill(pid, signal.SIGKILL)
                finish_all(runs)
                seconds = time.monotonic() - killed
        same = sum(
            r.answer is not None and r.answer["tokens"] == a.answer["tokens"]
            for r, a in zip(runs, alone)
        )
        went_on = sum(r.answer is not None and r.answer["resumed"] > 0 for r in runs)
        for r in runs:
            if r.answer is None:
                print(r.said)
        print(f"{same} of {o.streams} identical, {went_on} went on in the second cluster, "
              f"all at their end {seconds:.1f} s behind the kill")
    return not same == went_on == o.streams


if __name__ == "__main__":
    sys.exit(main())
