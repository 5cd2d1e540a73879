"""Clusters with a key: who has it is in, who has not is told so, on both sides."""

import os
import re
import signal
import socket
import subprocess
import threading

import pytest

import cluster
from cluster import LEADER, WORKER, alive, keygen, until
from prompts import prompt

PROMPT = prompt(40, 61)
ANSWER = 200


def run(args):
    return subprocess.run(args, capture_output=True, text=True, timeout=cluster.LIMIT, check=False)


def until_logged(process, text):
    until(lambda: text in process.output(), f"{process.log} has {text!r}")


def test_same_tokens_with_and_without(daemons):
    answers = []
    for key in (False, True):
        c = daemons(key=key)
        c.start_all(3)
        answers.append(c.client.complete(PROMPT, ANSWER).tokens)
        until_logged(c.leader, f"tls={'on' if key else 'off'}")
    assert answers[0] == answers[1]


def test_a_killed_worker_is_noticed_at_once(daemons):
    """The end of the TCP connection is enough: nobody waits for a close_notify or for silence."""
    args = ["--heartbeat.interval_ms=10000"]  # so that silence would take most of a minute
    c = daemons(key=True, leader_args=args)
    c.start_all(3)
    tokens = c.client.complete(PROMPT, ANSWER).tokens
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(5)
    c.signal("w2", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == tokens
    assert [f["cause"] for f in answer.failovers] == ["closed"]
    c.rejoin("w2")
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


def test_orderly_goodbye(daemons):
    c = daemons(key=True)
    c.start_all(2)
    c.signal("w1", signal.SIGTERM)
    assert c.workers["w1"].wait() == 0
    c.until_status(lambda s: c.state_of("w1") == "offline", "w1 is offline")
    assert c.client.complete(PROMPT, 8).tokens


def refused_worker(c, name, key, here, there):
    """The worker does not get in, both sides say why, it tries again, and it harms nobody."""
    tokens = c.client.complete(PROMPT, ANSWER).tokens
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(1)
    w = c.start(name, key=key)
    until(lambda: len(re.findall(" no_leader .*" + here, w.output())) > 1, "it tries again")
    until_logged(c.leader, there)
    answer = stream.finish()
    assert (answer.tokens, answer.failovers) == (tokens, [])
    assert c.worker(name) is None
    assert w.running()


def test_another_key(daemons, tmp_path):
    c = daemons(key=True)
    c.start_all(1)
    other = keygen(tmp_path / "other.key")
    refused_worker(
        c, "w9", str(other), "the leader has another cluster key", "the peer has another cluster key"
    )
    digits = other.read_text().splitlines()[1]
    for log in (c.leader.output(), c.workers["w9"].output()):
        assert digits[:8] not in log and "hydac-cluster-key" not in log


def test_a_key_file_from_another_system(daemons, tmp_path):
    """Its copy went through an editor that ends lines with CRLF and begins with a mark."""
    c = daemons(key=True)
    with open(c.key, "rb") as f:
        text = f.read()
    copy = tmp_path / "copy.key"
    copy.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    os.chmod(copy, 0o600)
    c.start("w1", key=str(copy))
    c.until_serving(1)


def test_worker_without_a_key(daemons):
    c = daemons(key=True)
    c.start_all(1)
    refused_worker(
        c, "w9", False, "the peer speaks TLS and this side has no cluster key", "speaks without TLS"
    )


def test_leader_without_a_key(daemons, tmp_path):
    c = daemons()
    c.start_all(1)
    refused_worker(
        c,
        "w9",
        str(keygen(tmp_path / "some.key")),
        "the other side speaks without TLS; give it the cluster key",
        "the peer speaks TLS and this side has no cluster key",
    )


class Wire:
    """Between worker and leader: passes everything on, and remembers it."""

    def __init__(self, port):
        self.port, self.seen = port, bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source, sink):
        try:
            while data := source.recv(65536):
                self.seen += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()


@pytest.mark.parametrize("key", [False, True], ids=["plain", "key"])
def test_what_is_seen_on_the_way(daemons, key):
    c = daemons(key=key)
    wire = Wire(c.ports["cluster"])
    name = "a-name-that-travels"
    c.start(name, "--leader.address", wire.address)
    c.until_serving(1)
    assert c.client.complete(PROMPT, 20).tokens
    assert len(wire.seen) > 20000
    assert (name.encode() in wire.seen, b"HDAC" in wire.seen) == (not key, not key)
    wire.listener.close()


# ---- What is refused when a daemon starts


def start_leader(model, tmp_path, *args):
    ports = str(tmp_path / "ports.json")
    return run([LEADER, "--model", model, "--state", str(tmp_path), "--ports-file", ports, *args])


def start_worker(model, tmp_path, *args):
    return run([WORKER, "--model", model, "--state", str(tmp_path), *args])


@pytest.mark.parametrize("start", [start_leader, start_worker], ids=["leader", "worker"])
def test_keys_that_cannot_be_used(model, tmp_path, start):
    key = keygen(tmp_path / "cluster.key")
    good = key.read_text()
    os.chmod(key, 0o640)
    for text, mode, why in (
        (good, 0o640, "is open to group or others"),
        (good, 0o604, "chmod 600"),
        (good[:-2] + "\n", 0o600, "has 63 digits instead of 64"),
        (good.replace("hydac", "other"), 0o600, "the first line is not hydac-cluster-key-1"),
        ("", 0o600, "the first line is not"),
        ("\ufeff" + good, 0o600, "is in UTF-16"),
        (None, 0o600, "cannot read"),
    ):
        if text is None:
            os.remove(key)
        else:
            key.write_text(text, encoding="utf-16-le" if text.startswith("\ufeff") else None)
            os.chmod(key, mode)
        said = start(model, tmp_path, "--key", str(key))
        assert said.returncode == 1
        assert "cluster.key" in said.stderr and why in said.stderr
        assert good.splitlines()[1][:8] not in said.stderr + said.stdout


def test_plaintext_to_others_is_refused(model, tmp_path):
    for at in ("0.0.0.0:0", "[::]:0"):
        said = start_leader(model, tmp_path, "--listen", at, "--http", "127.0.0.1:0")
        assert said.returncode == 2
        assert "hydac keygen > cluster.key" in said.stderr and "cluster.tls: off" in said.stderr
    said = start_worker(model, tmp_path, "--leader", "10.0.0.1:7400")
    assert said.returncode == 2
    assert "leader.address: 10.0.0.1:7400 is not on this machine alone" in said.stderr


def test_plaintext_by_choice(daemons):
    c = daemons(leader_args=["--cluster.listen", "0.0.0.0:0", "--cluster.tls", "off"])
    c.start("w1", "--cluster.tls", "off")
    c.until_serving(1)
    assert c.client.complete(PROMPT, 8).tokens


def test_a_name_that_leads_elsewhere(daemons):
    """What a name means is known when it is looked up: it is not spoken to, and asked again."""
    c = daemons()
    w = c.start("w1", "--leader.address", "10.1:7400")  # to getaddrinfo a name of 10.0.0.1
    until_logged(w, "10.0.0.1:7400 is not on this machine alone and there is no cluster key")
    assert alive(w.pid)
