"""Daemons of different releases. Within one version of the protocol workers are upgraded one after
the other while an answer runs, and a message may have fields that only a later release knows;
another version is refused, each side saying so."""

import os
import re
import signal
import socket
import subprocess

import pytest

import wire
from cluster import WORKER, Process, until
from middle import Middle
from prompts import prompt
from wire import OTHER_VERSIONS, Peer, frame

PROMPT = prompt(40, 31)
ANSWER = 1500


def later_release(folder):
    """The worker's program with another number for its release: (path, what it calls itself)."""
    said = subprocess.run([WORKER, "--version"], capture_output=True, check=True).stdout
    release = said.split()[1]
    later = re.sub(rb"[0-9]", b"9", release)
    with open(WORKER, "rb") as f:
        data = f.read()
    assert data.count(b"hydac " + release) == 1
    path = os.path.join(folder, "hydac-worker")
    with open(path, "wb", opener=lambda p, flags: os.open(p, flags, 0o755)) as f:
        f.write(data.replace(release + b"\0", later + b"\0"))
    return path, "hydac " + later.decode()


def releases(c):
    return {w["name"]: w["software"] for w in c.status()["workers"] if "software" in w}


def test_rolling_upgrade(daemons, tmp_path):
    """Each worker is stopped as systemd does it, and started as another release: no answer notices."""
    c = daemons(leader_args=["--cluster.min_workers=3"])
    c.start_all(3)
    tokens = c.client.complete(PROMPT, ANSWER).tokens
    program, later = later_release(tmp_path)
    own = c.status()["cluster"]["software"]
    assert set(releases(c).values()) == {own} and own != later
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    for name in ("w1", "w2", "w3"):
        assert c.workers[name].stop() == 0
        c.start(name, program=program)
        c.until_status(lambda s: (c.worker(name, s) or {}).get("heads"), f"{name} owns heads")
        assert releases(c)[name] == later
        if name == "w1":
            assert f"w1 runs {later}, the leader {own}" in c.hydac("status")
    answer = stream.finish()
    assert (answer.tokens, answer.failovers) == (tokens, [])
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens
    assert set(releases(c).values()) == {later}


def with_later_fields(f):
    """A number and a text in fields that no message has yet."""
    return [frame(f.kind, f.body + wire.number(500, 7) + wire.text(501, "later"), f.payload)]


def test_fields_of_a_later_release(daemons):
    """In every message, both ways, among them those of a recovery and of a worker without a file."""
    c = daemons(leader_args=["--cluster.min_workers=3"])
    c.start_all(3)
    tokens = c.client.complete(PROMPT, ANSWER).tokens

    def failures():
        return {w["name"]: w["failures"] for w in c.status()["workers"] if w["name"] != "w1"}

    leader = ("127.0.0.1", c.ports["cluster"])
    with Middle(leader, up=with_later_fields, down=with_later_fields) as middle:
        for name, *more in (("w2",), ("w3", "--model.path", "")):
            assert c.workers[name].stop() == 0
            c.start(name, "--leader.address", f"127.0.0.1:{middle.port}", *more)
        c.until_serving(3)
        before = failures()
        stream = c.client.stream(PROMPT, ANSWER)
        stream.read_tokens(20)
        c.signal("w1", signal.SIGKILL)
        answer = stream.finish()
        assert answer.tokens == tokens
        assert [f["worker"] for f in answer.failovers] == ["w1"]
        c.rejoin("w1")
        assert failures() == before


@pytest.mark.parametrize("has_model", [True, False], ids=["model", "no model"])
@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_leader_of_another_version(model, tmp_path, version, has_model):
    """The worker says what is wrong and asks on: its leader may be the next to be upgraded."""
    path, asks = (model, wire.HELLO) if has_model else ("", wire.MODEL_REQUEST)
    refusal = wire.number(1, wire.REJECT_VERSION) + wire.text(2, "another version")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        args = [WORKER, "--model.path", path, "--leader.address", f"127.0.0.1:{port}"]
        w = Process([*args, "--state.dir", str(tmp_path / "state")], str(tmp_path / "w.log"))
        try:
            for _ in range(2):
                with Peer(sock=server.accept()[0]) as peer:
                    assert peer.frame()[0] == asks
                    peer.send(frame(wire.REJECT, refusal, version=version))
                    peer.until_cut_off()
            wrong = f"speaks protocol version {version} and this is version {wire.VERSION}"
            until(lambda: w.output().count(wrong) >= 2, "it says what is wrong")
            assert w.running()
        finally:
            assert w.stop() == 0
