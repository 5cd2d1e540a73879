#!/usr/bin/python3
"""Strangers at both of the leader's ports, while a client streams.

    HYDAC_BUILD=build tests/integration/strangers.py [--connections 10000] [--model M.gguf]

Starts a cluster with a key, streams one answer undisturbed and one among hostile connections from
many addresses of 127/8, and compares: the tokens, the median gap between them, the leader's memory.
Exit status 0 if the tokens are the same, no worker was lost and the memory stayed bounded.
"""

import argparse
import asyncio
import os
import random
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import wire
from cluster import HYDAC, Daemons, alive
from prompts import prompt

AT_ONCE = 300  # hostile connections that are held open at a time
ADDRESSES = 40  # that they come from: 127.0.0.2 and up
PATIENCE = 45.0  # seconds until a hostile connection must have been ended by the leader
MEMORY = 96 << 20  # bytes that the leader may grow by: 64 + 256 connections with their buffers

RECORD = bytes.fromhex("1603010200010001fc0303")  # the head of a ClientHello of 512 bytes
LORIS = 0.2  # seconds between the bytes of who is slow on purpose


async def drain(reader):
    """Reads until the leader ends the connection."""
    while await reader.read(65536):
        pass


async def silent(reader, writer, rng):
    await drain(reader)


async def gone(reader, writer, rng):
    writer.write(rng.randbytes(rng.randrange(64)))


async def reset(reader, writer, rng):
    writer.write(RECORD)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SOL_SOCKET, SO_LINGER


async def noise(reader, writer, rng):
    writer.write(rng.randbytes(4096))
    await drain(reader)


async def half_a_hello(reader, writer, rng):
    writer.write((RECORD + bytes(512))[: rng.randrange(1, 500)])
    await drain(reader)


async def plaintext_hello(reader, writer, rng):
    writer.write(wire.hello("w1", "0123456789abcdef"))
    await drain(reader)


async def oversized(reader, writer, rng):
    writer.write(wire.header(wire.STEP, body_len=0xFFFFFFFF, payload_len=0xFFFFFFFF))
    writer.write(b"\x16\x03\x01\xff\xff" + bytes(70000))
    await drain(reader)


async def flood(reader, writer, rng):
    """Sends what it can and never reads."""
    block = RECORD + rng.randbytes(65536)
    for _ in range(64):
        writer.write(block)
        await writer.drain()


async def loris(reader, writer, rng):
    async def drip():
        for byte in RECORD + bytes(500):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(LORIS)

    dripping = asyncio.create_task(drip())
    try:
        await drain(reader)
    finally:
        dripping.cancel()


async def http_headers(reader, writer, rng):
    writer.write(b"GET /health HTTP/1.1\r\n" + b"X-Long: " + b"x" * 60000)
    await drain(reader)


async def http_body(reader, writer, rng):
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n{")
    await drain(reader)


async def http_loris(reader, writer, rng):
    writer.write(b"GET /health HTTP/1.1\r\nHost: h\r\nX: ")
    await loris(reader, writer, rng)


async def http_without_key(reader, writer, rng):
    body = b'{"prompt":[1],"max_tokens":100}'
    head = b"POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    answer = await reader.read(65536)
    assert not answer or b" 401 " in answer.split(b"\r\n")[0], answer


async def http_never_reads(reader, writer, rng):
    for _ in range(200):
        writer.write(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
        await writer.drain()


CLUSTER = [silent, gone, reset, noise, half_a_hello, plaintext_hello, oversized, flood, loris]
HTTP = [silent, gone, noise, flood, http_headers, http_body, http_loris, http_without_key]
HTTP += [http_never_reads]


class Attack:
    """So many hostile connections, some at a time."""

    def __init__(self, ports, connections, seed=1):
        self.ports, self.left, self.rng = ports, connections, random.Random(seed)
        self.ended = self.overdue = self.refused = 0
        self.wrong = []

    async def one(self, i):
        rng = random.Random(self.rng.random())
        port, kinds = (("cluster", CLUSTER), ("http", HTTP))[i % 2]
        source = (f"127.0.0.{2 + rng.randrange(ADDRESSES)}", 0)
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.ports[port], local_addr=source
            )
        except OSError:
            self.refused += 1
            return
        try:
            await asyncio.wait_for(rng.choice(kinds)(reader, writer, rng), PATIENCE)
            self.ended += 1
        except asyncio.TimeoutError:
            self.overdue += 1
        except OSError:
            self.ended += 1  # cut off: what it is for
        except AssertionError as e:
            self.wrong.append(e)
        finally:
            writer.transport.abort()

    async def run(self, stop):
        async def keep_on():
            while self.left > 0 and not stop.is_set():
                self.left -= 1
                await self.one(self.left)

        await asyncio.gather(*(keep_on() for _ in range(min(AT_ONCE, self.left))))


def memory(pid):
    """Resident bytes."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stream(client, tokens):
    """Tokens and the times between them, in ms, of one answer."""
    s = client.stream(prompt(40, 31), tokens)
    times = []
    for _ in s:
        times.append(time.monotonic())
    gaps = [1e3 * (b - a) for a, b in zip(times, times[1:])]
    s.close()
    return s.answer, gaps


def attacked(cluster, connections, tokens):
    """Streams answers while the attack runs: ([(answer, gaps)], the attack)."""
    attack, streams = Attack(cluster.ports, connections), []

    async def both():
        stop = asyncio.Event()
        running = asyncio.create_task(attack.run(stop))
        while not running.done():
            streams.append(await asyncio.to_thread(stream, cluster.client, tokens))
        await running

    asyncio.run(both())
    return streams, attack


def measure(cluster, connections, tokens):
    """What the attack does to a cluster that serves, as a dict; raises what is wrong."""
    quiet, gaps = stream(cluster.client, tokens)
    before = memory(cluster.leader.pid)
    streams, attack = attacked(cluster, connections, tokens)
    for answer, _ in streams:
        assert answer.tokens == quiet.tokens, "other tokens"
        assert answer.failovers == [], "a worker was lost"
    assert not attack.wrong, attack.wrong[0]
    assert attack.overdue == 0, f"{attack.overdue} connections were left open"
    assert alive(cluster.leader.pid)
    grown = memory(cluster.leader.pid) - before
    assert grown < MEMORY, f"the leader grew by {grown >> 20} MiB"
    states = [w["state"] for w in cluster.status()["workers"]]
    assert set(states) == {"online"}, states
    return {
        "connections": connections,
        "ended by the leader or themselves": attack.ended,
        "not accepted": attack.refused,
        "answers": len(streams),
        "tokens of each": len(quiet.tokens),
        "median gap, quiet (ms)": round(statistics.median(gaps), 2),
        "median gap, attacked (ms)": round(
            statistics.median(g for _, gs in streams for g in gs), 2
        ),
        "leader grew by (MiB)": round(grown / 2**20, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--model", help="default: a synthetic one")
    parser.add_argument("--tokens", type=int, default=400, help="of each answer")
    parser.add_argument("--workers", type=int, default=3)
    o = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        model = o.model or os.path.join(folder, "tiny.gguf")
        if not o.model:
            args = [HYDAC, "synth", "--shape", "tiny-gqa3", model]
            subprocess.run(args, check=True, capture_output=True)
        key = os.path.join(folder, "api.key")
        with cluster_with_keys(model, key) as c:
            c.start_all(o.workers)
            try:
                report = measure(c, o.connections, o.tokens)
            except AssertionError as e:
                print(f"failed: {e}")
                return 1
    for name, value in report.items():
        print(f"{name:36} {value}")
    return 0


def cluster_with_keys(model, path):
    """Daemons with a cluster key and an API key, which its client shows."""
    with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write("the-key-of-the-strangers-test\n")
    c = Daemons(model, leader_args=["--api-key-file", path], key=True)
    c.client.headers["Authorization"] = "Bearer the-key-of-the-strangers-test"
    return c


if __name__ == "__main__":
    sys.exit(main())
