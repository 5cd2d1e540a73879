#!/usr/bin/env python3
"""What guessed tokens are worth: twenty prompts whose answers repeat (summaries, edits of code, JSON) and
some whose do not, with speculation.mode off and another, in turns in two clusters.

    HYDAC_BUILD=build tests/bench/speculation.py MODEL [--mode auto] [--workers 2] [--threads N]
                                                 [--tokens 96] [--repeat 3] [--rtt MS]

With --rtt the workers reach their leader through a program that keeps each byte for half of that. Prints for each kind of prompt tokens a step and a second, with and without; answers must be the
same. A step's tokens are counted by the leader: steps that were saved, against tokens but the first."""

import argparse
import contextlib
import multiprocessing
import os
import queue
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
sys.dont_write_bytecode = True

from cluster import Daemons  # noqa: E402 (the path comes first)

STORY = """The harbour of Elmsford was built in 1821 by order of the town council. In its first ten years the
harbour of Elmsford served mostly fishing boats from the northern villages. After the railway reached the
town in 1854, the town council decided to build a second pier for the coal ships. The second pier was
opened by Mayor Harriet Lindqvist in 1858. During the great storm of 1881 the second pier was destroyed, and
the town council decided not to rebuild it. Today the harbour of Elmsford serves sailing boats and the ferry
to the island of Graven."""

LETTER = """Dear Mr. Okonkwo, thank you for your order of twelve walnut chairs. The twelve walnut chairs will be sent
on Monday the 4th of March by road freight. Please make sure that somebody is at home to take the twelve
walnut chairs in. The invoice for the twelve walnut chairs is 2,340 euros, payable within thirty days. If a
chair is damaged, please write to service@walnutchairs.example within thirty days."""

CODE = """def total_price(items):
    total = 0
    for item in items:
        total = total + item.price * item.quantity
    return total

def total_weight(items):
    total = 0
    for item in items:
        total = total + item.weight * item.quantity
    return total
"""

TABLE = """name,city,age
Ada Kowalski,Gdansk,41
Ben Okafor,Lagos,29
Chiara Rossi,Torino,35
Dmitri Volkov,Riga,52
Elif Demir,Izmir,23
"""

SUMMARIES = [
    f"{ask}\n\n{text}"
    for text in (STORY, LETTER)
    for ask in (
        "Summarize this text:",
        "List the most important facts of this text, in its own words:",
        "Repeat the first two sentences of this text:",
        "Write this text again with a title:",
    )
]
EDITS = [
    f"{ask}\n\n```python\n{CODE}```"
    for ask in (
        "Rename the variable total to result in this code and print the whole code:",
        "Add a docstring to each function of this code and print the whole code:",
        "Add a function total_volume to this code, like the others, and print the whole code:",
        "Print this code again without changes:",
        "Add type hints to this code and print the whole code:",
        "Add a comment above each line of this code:",
    )
]
JSON = [
    f"{ask}\n\n{TABLE}"
    for ask in (
        "Convert this table to a JSON array of objects with the keys name, city and age:",
        "Convert this table to JSON, one object a line:",
        "Convert this table to YAML:",
        "Write this table as a Markdown table:",
        "Write SQL INSERT statements for this table:",
        "Write this table again, sorted by age:",
    )
]
OTHERS = [
    "Write a poem about the sea.",
    "Why is the sky blue?",
    "Tell me a story about a fox and a clockmaker.",
    "What is the difference between a violin and a viola?",
    "Explain how to learn to swim.",
]
KINDS = {"summaries": SUMMARIES, "edits": EDITS, "JSON": JSON, "others": OTHERS}


def ask(c, text, o):
    """The answer, tokens a second, and steps from its first token on."""
    saved = c.status()["engine"]["speculation"]["steps_saved"]
    hot = {"temperature": 1.0, "seed": 7} if text in OTHERS else {"temperature": 0}
    body = c.client.post(
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": text}], "max_tokens": o.tokens, "hydac": True, **hot},
    )
    n = body["usage"]["completion_tokens"]
    steps = n - 1 - (c.status()["engine"]["speculation"]["steps_saved"] - saved)
    timings = body["hydac"]["timings"]
    return body["choices"][0]["message"]["content"], timings["decode_ms"], n, steps


def compare(clusters, texts, o):
    """Medians over the prompts of tokens a step and of the ratio of times; a prompt's times are its best
    of so many pairs."""
    tokens, ratios, speeds = [], [], {name: [] for name in clusters}
    for text in texts:
        best, said = dict.fromkeys(clusters, float("inf")), {}
        for i in range(o.repeat):
            for name in list(clusters)[:: 1 if i % 2 else -1]:
                answer, ms, n, steps = ask(clusters[name], text, o)
                assert said.setdefault("answer", answer) == answer, "other tokens"
                best[name] = min(best[name], ms)
                if name == "with":
                    said["per step"] = (n - 1) / steps if steps else 1
        if n < 8:
            continue
        tokens.append(said["per step"])
        ratios.append(best["without"] / best["with"])
        for name in clusters:
            speeds[name].append((n - 1) / best[name] * 1e3)
    return tokens, ratios, speeds


def forward(a, b, late_s):
    """From one socket to another, each piece so much later."""
    pieces = queue.SimpleQueue()

    def write():
        with contextlib.suppress(OSError):
            for at, piece in iter(pieces.get, None):
                time.sleep(max(0, at - time.monotonic()))
                b.sendall(piece)
            b.shutdown(socket.SHUT_WR)

    def read():
        with contextlib.suppress(OSError):
            while piece := a.recv(1 << 18):
                pieces.put((time.monotonic() + late_s, piece))
        pieces.put(None)

    for work in (read, write):
        threading.Thread(target=work, daemon=True).start()


def cable(listener, port, late_s):
    while True:
        worker, _ = listener.accept()
        leader = socket.create_connection(("127.0.0.1", port))
        for end in (worker, leader):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        forward(worker, leader, late_s)
        forward(leader, worker, late_s)


def start(o, mode, stack):
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    args = [f"--cluster.min_workers={o.workers}", f"--speculation.mode={mode}"]
    c = stack.enter_context(Daemons(o.model, args, threads))
    if o.rtt:
        listener = socket.create_server(("127.0.0.1", 0))
        job = (listener, c.ports["cluster"], o.rtt / 2e3)
        stack.callback(lambda p: p.kill(), p := multiprocessing.Process(target=cable, args=job))
        p.start()
        c.ports["cluster"] = listener.getsockname()[1]
    c.start_all(o.workers)
    return c


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("--mode", default="auto")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--threads", type=int)
    p.add_argument("--tokens", type=int, default=96)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--rtt", type=float, help="ms")
    o = p.parse_args()
    with contextlib.ExitStack() as stack:
        modes = {"with": o.mode, "without": "off"}
        clusters = {name: start(o, mode, stack) for name, mode in modes.items()}
        print(f"{os.path.basename(o.model)}, {o.workers} workers, {os.cpu_count()} cores, mode {o.mode}"
              + (f", {o.rtt:g} ms round trip" if o.rtt else ""))
        print("| prompts | | tokens a step | tok/s without | with | ratio | least |")
        print("|---|---|---|---|---|---|---|")
        every = ([], [])
        for kind, texts in KINDS.items():
            tokens, ratios, speeds = compare(clusters, texts, o)
            if kind != "others":
                every[0].extend(tokens)
                every[1].extend(ratios)
            m = statistics.median
            print(f"| {kind} | {len(tokens)} | {m(tokens):.2f} | {m(speeds['without']):.1f} | "
                  f"{m(speeds['with']):.1f} | {m(ratios):.2f} | {min(ratios):.2f} |", flush=True)
        print(f"all that repeat: {statistics.median(every[0]):.2f} tokens a step, {statistics.median(every[1]):.2f} "
              f"times the speed (means {statistics.mean(every[0]):.2f}, {statistics.mean(every[1]):.2f})")


if __name__ == "__main__":
    main()
