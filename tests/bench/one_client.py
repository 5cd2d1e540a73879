#!/usr/bin/env python3
"""What clients that send huge prompts as fast as they can cost those that stream.

  HYDAC_BUILD=build tests/bench/one_client.py MODEL [--streams 16] [--clients 3] [--seconds 4]

One cluster, streams that go on all the time, and pairs of spans of so many seconds: without such
clients, and with. Their prompts are as large as a body may be (4 MiB) and refused as too long. Printed
are for each pair tokens a second of all streams together and the longest gap between two tokens of one
stream, and the medians: the bar is 80 % of the rate and 150 ms. Streams and clients are processes of
their own, which take their share of the cores: --clients 0 shows what is the machine's own mood, and
--bytes what short prompts cost.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from client import HEADERS, Client  # noqa: E402 (the path comes first)
from cluster import Daemons, until  # noqa: E402
from detect import model_of  # noqa: E402
from prompts import prompt  # noqa: E402

MARGIN = 0.3  # seconds at the begin of a span that are not measured: clients start


def stream(url, times, stop):
    """One answer after another; the times at which tokens came go into `times` (a pipe's end)."""
    client, seen = Client(url), []
    context = client.get("/v1/models")["data"][0]["max_model_len"]
    while not stop.is_set():
        s = client.stream(prompt(16, os.getpid()), min(context - 16, 2000))
        for _ in s:
            seen.append(time.monotonic())
            if stop.is_set():
                break
        s.close()
    times.send(seen)
    times.close()


def shout(url, size, on, stop, count):
    """Sends its prompt again and again while `on` is set."""
    client = Client(url)
    text = json.dumps({"prompt": ("word " * (size // 5 + 1))[:size]}).encode()
    while not stop.is_set():
        if not on.wait(0.1):
            continue
        connection = client.connect()
        while on.is_set():
            connection.request("POST", "/v1/completions", text, HEADERS)
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 400, 429), response.status
            with count.get_lock():
                count.value += 1
        connection.close()


def longest_gap(times, span):
    """Between two tokens of one stream, as far as it lies in the span."""
    cut = [span[0], *(t for t in times if span[0] < t < span[1]), span[1]]
    return max(b - a for a, b in zip(cut, cut[1:]))


def spans_of(o, on, count):
    """[(without, with, requests)]: spans of time; who begins a pair alternates."""
    pairs = []
    for i in range(o.pairs):
        pair = {}
        for loud in (False, True) if i % 2 == 0 else (True, False):
            before = count.value
            (on.set if loud else on.clear)()
            time.sleep(MARGIN)
            begin = time.monotonic()
            time.sleep(o.seconds)
            pair[loud] = (begin, time.monotonic())
            on.clear()
            if loud:
                requests = count.value - before
        pairs.append((pair[False], pair[True], requests))
    return pairs


def measure(o, url):
    on, stop, count = (
        multiprocessing.Event(),
        multiprocessing.Event(),
        multiprocessing.Value("l", 0),
    )
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(o.streams)]
    streams = [
        multiprocessing.Process(target=stream, args=(url, out, stop), daemon=True)
        for _, out in pipes
    ]
    clients = [
        multiprocessing.Process(target=shout, args=(url, o.bytes, on, stop, count), daemon=True)
        for _ in range(o.clients)
    ]
    for p in streams + clients:
        p.start()
    running = min(o.streams, o.sequences)
    until(
        lambda: Client(url).get("/hydac/status")["engine"]["running"] >= running, "streams run"
    )
    pairs = spans_of(o, on, count)
    stop.set()
    times = [end.recv() for end, _ in pipes]
    for p in streams + clients:
        p.join()
    return pairs, times


def report(pairs, times):
    rows = []
    for without, loud, requests in pairs:
        row = {"requests": requests / (loud[1] - loud[0])}
        for name, span in (("without", without), ("with", loud)):
            tokens = sum(span[0] <= t < span[1] for seen in times for t in seen)
            row[name] = tokens / (span[1] - span[0])
            row[name + " gap"] = 1e3 * max(longest_gap(seen, span) for seen in times)
        rows.append(row)
        print(
            "without {without:7.1f} tok/s, gap {without gap:6.1f} ms; with {with:7.1f} tok/s,"
            " gap {with gap:6.1f} ms, {requests:6.1f} huge prompts/s".format(**row),
            flush=True,
        )
    ratio = statistics.median(r["with"] / r["without"] for r in rows)
    gap = max(r["with gap"] for r in rows)
    print(f"median ratio {ratio:.3f} (bar 0.800), longest gap {gap:.1f} ms (bar 150)")


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", help="a file, or SHAPE:TYPE")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--threads", type=int, default=2, help="of a worker")
    p.add_argument("--streams", type=int, default=16)
    p.add_argument("--clients", type=int, default=3)
    p.add_argument("--bytes", type=int, default=(4 << 20) - 64, help="of a prompt")
    p.add_argument("--seconds", type=float, default=4)
    p.add_argument("--pairs", type=int, default=3)
    o = p.parse_args()
    o.sequences = min(max(o.streams, 1), 64)
    with tempfile.TemporaryDirectory(prefix="hydac-one-client-") as folder:
        leader = [f"--limits.max_sequences={o.sequences}", f"--cluster.min_workers={o.workers}"]
        with Daemons(
            model_of(o.model, folder), leader, [f"--compute.threads={o.threads}"]
        ) as cluster:
            cluster.start_all(o.workers)
            report(*measure(o, cluster.client.url))


if __name__ == "__main__":
    main()
