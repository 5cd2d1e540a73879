#!/usr/bin/env python3
"""How long an answer stands still when its leader dies: from the death to the next token at `hydac run`.

    HYDAC_BUILD=build tests/bench/takeover.py MODEL.gguf [--positions 1024] [--repeat 5] [--silence]

Two leaders and three workers on this machine; the first leader is killed (SIGKILL, or with --silence
SIGSTOP) in the middle of the answer. Says also how many rows were computed again.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

import test_leaders  # noqa: E402  (its clusters of several leaders)
from cluster import HYDAC, until  # noqa: E402
from prompts import prompt  # noqa: E402


def read_times(pipe, times):
    """When something came, until the end."""
    while chunk := os.read(pipe.fileno(), 65536):
        times.append((time.monotonic(), chunk))


def once(model, positions, silence):
    c = test_leaders.Leaders(model, 2, 3)
    try:
        c.until_active("a", 3)
        ids = [100 + i % 20000 for i in prompt(positions - 40, 78)]
        urls = ",".join(c.clients[n].url for n in "ab")
        args = [HYDAC, "run", "--leader", urls, "--max-tokens", "80", "--ignore-eos", "--temperature", "0"]
        args += ["--prompt-tokens", ",".join(map(str, ids))]
        child = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, told = [], []
        for pipe, times in ((child.stdout, said), (child.stderr, told)):
            threading.Thread(target=read_times, args=(pipe, times), daemon=True).start()
        until(lambda: len(said) > 40, "the answer has begun")
        at = time.monotonic()
        c.leaders["a"].signal(signal.SIGSTOP if silence else signal.SIGKILL)
        going_on = until(lambda: next((t for t, text in told if t > at), None), "somebody else goes on")
        after = until(lambda: next((t for t, _ in said if t > going_on), None), "a token of it")
        child.wait(60)
        cache = c.clients["b"].get("/hydac/status")["engine"]["prefix_cache"]
        return (after - at) * 1000, cache["queries"] - cache["hits"]
    finally:
        c.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--positions", type=int, default=1024)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--silence", action="store_true")
    args = p.parse_args()
    runs = [once(args.model, args.positions, args.silence) for _ in range(args.repeat)]
    print("ms:", " ".join(f"{ms:.0f}" for ms, _ in runs), f"median {statistics.median(ms for ms, _ in runs):.0f}")
    print("positions computed again:", " ".join(str(n) for _, n in runs))


if __name__ == "__main__":
    main()
