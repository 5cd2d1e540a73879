"""Limits of the leader's HTTP: what clients see when there are too many of them, or one is heavy."""

import asyncio
import json
import socket

import cluster
from beside import Beside
from client import HEADERS, body_of
from prompts import prompt

PROMPT = prompt(20, 101)


async def ask(port, body):
    """The status of one completion over a connection of its own; 0: closed without an answer."""
    text = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + text)
        answer = await reader.read()
        writer.close()
    except OSError:
        return 0, b""
    return (int(answer.split()[1]) if answer else 0), answer


def test_many_at_once(daemons):
    """400 requests at once, with the defaults: each is answered, or told when to come back."""
    c = daemons()
    c.start_all(2)

    async def rush():
        body = body_of(PROMPT, 4)
        return await asyncio.gather(*(ask(c.ports["http"], body) for _ in range(400)))

    answers = asyncio.run(rush())
    statuses = [status for status, _ in answers]
    assert set(statuses) <= {200, 429}, {s: statuses.count(s) for s in set(statuses)}
    assert statuses.count(200) >= 256  # as many wait
    for status, answer in answers:
        assert status == 200 or b"\r\nRetry-After: 1\r\n" in answer
    assert len(c.client.complete(PROMPT, 4).tokens) == 4


def test_descriptors_run_out(daemons):
    """100 idle clients of a leader with 40 descriptors go away again: it serves, and so it does
    while they are there, if one waits a little. Workers find descriptors all the while."""
    c = daemons(under="ulimit -n 40")
    c.start("w1")
    c.until_serving(1)
    before = c.client.complete(PROMPT, 4).tokens
    idle = [socket.create_connection((c.client.host, c.client.port)) for _ in range(100)]
    c.start("w2")
    assert c.client.complete(PROMPT, 4).tokens == before
    c.until_status(lambda s: c.worker("w2", s) is not None, "another worker has joined")
    for s in idle:
        s.close()
    assert c.client.complete(PROMPT, 4).tokens == before
    assert c.client.request("GET", "/health")[0] == 200


class Heavy(Beside):
    """A client that sends prompts of 4 MiB, one after another."""

    def __init__(self, served, path, body):
        super().__init__()
        self.served, self.path, self.text, self.statuses = served, path, json.dumps(body), []

    def drive(self):
        connection = self.served.client.connect()
        while not self.over.is_set():
            connection.request("POST", self.path, self.text, HEADERS)
            response = connection.getresponse()
            response.read()
            self.statuses.append(response.status)
        connection.close()


def test_heavy_clients(daemons, synth):
    """A stream goes on while three clients send prompts that are much too long; they are refused."""
    c = daemons(synth("tiny-gqa3", "q4_0"))
    c.start_all(2)
    long = ("word " * (1 << 20))[: (4 << 20) - 100]  # the largest body is 4 MiB
    message = [{"role": "user", "content": long}]
    heavy = [
        Heavy(c, "/v1/completions", {"prompt": long}),
        Heavy(c, "/v1/completions", {"prompt": long, "stream": True}),
        Heavy(c, "/v1/chat/completions", {"messages": message}),
    ]
    context = c.status()["model"]["context"]
    n = context - len(PROMPT)
    tokens = 0
    with heavy[0], heavy[1], heavy[2]:
        while any(len(h.statuses) < 3 for h in heavy):
            stream = c.client.stream(PROMPT, n)
            tokens += stream.read_tokens(n)
            stream.close()
    assert all(set(h.statuses) == {400} for h in heavy)
    assert tokens >= n
    assert cluster.alive(c.leader.pid)
