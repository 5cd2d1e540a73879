#!/usr/bin/env python3
"""What it is worth that rows of ended requests stay.

  HYDAC_BUILD=build tests/bench/prefixes.py MODEL [--workers 2] [--tokens 1500] [--clients 8]

1. A chat whose first prompt has so many tokens, and its second turn: the time to the first token of both
   (the bar: 5 %), and what of the second prompt was there.
2. Clients at once with a system prompt of so many tokens and a question each: positions that the workers
   hold (the system prompt's once), and the time until all are answered, with the cache and without.
3. The same, a worker killed in the middle. All answers are compared with those without a cache.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from client import HEADERS  # noqa: E402 (the path comes first)
from cluster import Up  # noqa: E402

WORDS = "the river runs past an old mill where seven cats keep watch over the grain all night".split()


def text(tokens, salt=0):
    """About so many tokens of words."""
    return " ".join(WORDS[(i * 7 + i // 5 + salt) % len(WORDS)] for i in range(tokens))


def chat(c, messages, n=48):
    """The answer's text, its usage, seconds to the first token and to the end."""
    body = {"messages": messages, "max_tokens": n, "temperature": 0, "stream": True}
    body["stream_options"] = {"include_usage": True}
    began, first, said, usage = time.monotonic(), None, "", None
    connection = c.client.connect()
    connection.timeout = 900
    connection.request("POST", "/v1/chat/completions", json.dumps(body), HEADERS)
    for line in connection.getresponse():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        usage = event.get("usage") or usage
        for choice in event.get("choices", ()):
            piece = choice["delta"].get("content")
            if piece and first is None:
                first = time.monotonic() - began
            said += piece or ""
    connection.close()
    return said, usage, first, time.monotonic() - began


def two_turns(c, o):
    messages = [{"role": "user", "content": text(o.tokens, c.salt)}]
    said, one, first, _ = chat(c, messages)
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "And then?"}]
    again, two, second, _ = chat(c, messages)
    cached = two["prompt_tokens_details"]["cached_tokens"]
    print(f"first turn: {one['prompt_tokens']} tokens, first token after {first * 1e3:.0f} ms")
    print(f"second turn: {two['prompt_tokens']} tokens, {cached} were there, {second * 1e3:.0f} ms: "
          f"{100 * second / first:.1f} %")  # fmt: skip
    return said, again


def together(c, o, kill=None):
    answers, began = [None] * o.clients, time.monotonic()

    def one(i):
        messages = [{"role": "system", "content": text(o.tokens, 3)}]
        messages += [{"role": "user", "content": f"Tell me of cat number {i}."}]
        answers[i] = chat(c, messages)[:2]

    threads = [threading.Thread(target=one, args=(i,)) for i in range(o.clients)]
    for t in threads:
        t.start()
    most = 0
    while any(t.is_alive() for t in threads):
        status = c.status()
        most = max([most] + [w.get("kv_bytes") or 0 for w in status["workers"]])
        if kill and status["engine"]["tokens"] - c.before > 4 * o.clients:
            c.signal(kill, signal.SIGKILL)
            kill = None
        time.sleep(0.02)
    for t in threads:
        t.join()
    tokens = sum(a[1]["prompt_tokens"] + a[1]["completion_tokens"] for a in answers)
    print(f"{o.clients} at once: {time.monotonic() - began:.2f} s, {tokens} tokens in all; most K/V of "
          f"one worker {most / 2**20:.1f} MiB; {c.status()['engine']['prefix_cache']}")  # fmt: skip
    return [a[0] for a in answers]


def cluster(o, *args):
    c = Up(o.model, workers=o.workers, leader_args=["--limits.context=4096", *args])
    c.salt = 0
    return c


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--tokens", type=int, default=1500)
    p.add_argument("--clients", type=int, default=8)
    o = p.parse_args()
    with cluster(o, "--cache.memory=0") as c:
        print("without:")
        c.before = 0
        want = two_turns(c, o), together(c, o)
    with cluster(o) as c:
        print("with:")
        assert two_turns(c, o) == want[0]
        assert together(c, o) == want[1]
        print("the answers are the same")
    with cluster(o) as c:
        print("with, w1 killed:")
        c.before = 0
        assert together(c, o, kill="w1") == want[1]
        assert c.status()["failovers"]
        assert two_turns(c, o) == want[0]
        print("the answers are the same")


if __name__ == "__main__":
    main()
