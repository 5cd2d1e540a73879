#!/usr/bin/env python3
"""hydac beside other engines on this machine, in turns: a prompt's speed and an answer's.

    HYDAC_BUILD=build tests/bench/peers.py MODEL.gguf [--llama-bench NAME=PATH ...]
        [--dllama PATH --dllama-model FILE --dllama-tokenizer FILE]
        [--threads 2,16] [--prompt 256] [--tokens 64] [--repeat 5]

--llama-bench: that program of llama.cpp, or of a fork of it (ik_llama.cpp); may be repeated. dllama:
distributed-llama's, which reads a model of its own form. hydac has one worker with as many threads, and
guesses no tokens. Each turn runs every engine once, in an order that alternates. Printed are medians (least -
most), and hydac's part of the fastest other one's of the same turn, as a median."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
sys.dont_write_bytecode = True

from cluster import Daemons  # noqa: E402 (the path comes first)
from prompts import prompt  # noqa: E402

WHAT = ("prefill", "decode")
DLLAMA = re.compile(r"(Evaluation|Prediction)\n(?:.*\n)*?\s*tokens/s:\s*([\d.]+)")


def said(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


class LlamaBench:
    def __init__(self, path, o, threads):
        self.command = [path, "-m", o.model, "-t", str(threads), "-r", "1", "-o", "json"]
        self.command += ["-p", str(o.prompt), "-n", str(o.tokens)]

    def run(self, _):
        runs = json.loads(said(self.command))
        return tuple(next(r["avg_ts"] for r in runs if (r["n_gen"] > 0) == gen) for gen in (False, True))


class Dllama:
    def __init__(self, o, threads):
        text = " ".join(["harbour"] * o.prompt)
        self.command = [o.dllama, "inference", "--model", o.dllama_model, "--nthreads", str(threads)]
        self.command += ["--tokenizer", o.dllama_tokenizer, "--prompt", text]
        self.command += ["--steps", str(2 * o.prompt + o.tokens)]

    def run(self, _):
        rates = dict(DLLAMA.findall(said(self.command)))
        return float(rates["Evaluation"]), float(rates["Prediction"])


class Hydac:
    def __init__(self, o, threads):
        self.o = o
        leader = ["--cluster.min_workers=1", "--speculation.mode=off", "--cache.memory=0"]
        self.daemons = Daemons(o.model, leader, [f"--compute.threads={threads}"])

    def __enter__(self):
        self.cluster = self.daemons.__enter__()
        self.cluster.start_all(1)
        self.run(0)  # pages of the file
        return self

    def __exit__(self, *error):
        return self.daemons.__exit__(*error)

    def run(self, turn):
        t = self.cluster.client.complete(prompt(self.o.prompt, turn), self.o.tokens).timings
        return 1e3 * self.o.prompt / t["prefill_ms"], t["tokens_per_second"]


def turns(o, threads):
    """{engine: [(prefill, decode) of each turn]}."""
    with Hydac(o, threads) as hydac:
        engines = {"hydac": hydac}
        for name, path in o.llama_bench:
            engines[name] = LlamaBench(path, o, threads)
        if o.dllama:
            engines["distributed-llama"] = Dllama(o, threads)
        rates = {name: [] for name in engines}
        for turn in range(o.repeat):
            for name in list(engines)[:: -1 if turn % 2 else 1]:
                rates[name].append(engines[name].run(turn + 1))
        return rates


def cell(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} - {max(values):.1f})"


def row(rates, at):
    cells = [cell([r[at] for r in rates[name]]) for name in rates]
    ratios = [
        rates["hydac"][i][at] / max(rates[name][i][at] for name in rates if name != "hydac")
        for i in range(len(rates["hydac"]) if len(rates) > 1 else 0)
    ]
    return cells + [f"{statistics.median(ratios):.2f}" if ratios else ""]


def pair_of(text):
    name, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, path


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--llama-bench", type=pair_of, action="append", default=[])
    p.add_argument("--dllama")
    p.add_argument("--dllama-model")
    p.add_argument("--dllama-tokenizer")
    p.add_argument("--threads", type=lambda s: [int(x) for x in s.split(",")], default=[2])
    p.add_argument("--prompt", type=int, default=256)
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--repeat", type=int, default=5)
    o = p.parse_args()
    if o.dllama and not (o.dllama_model and o.dllama_tokenizer):
        p.error("--dllama needs --dllama-model and --dllama-tokenizer")
    for i, threads in enumerate(o.threads):
        rates = turns(o, threads)
        if i == 0:
            head = ["tok/s", *rates, "hydac / best other"]
            print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
        for at, what in enumerate(WHAT):
            cells = [f"{what}, {threads} threads", *row(rates, at)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
