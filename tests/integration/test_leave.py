"""A worker that is told to stop, by a signal, and what its leader says to that."""

import signal
import socket

import pytest

import wire
from cluster import LIMIT, WORKER, Process
from wire import Peer, frame

SIZES = wire.number(3, 50) + wire.number(5, 16) + wire.number(6, 128) + wire.number(7, 4)


@pytest.fixture
def leaving(model, tmp_path):
    """A worker that has joined us and has said that it leaves: (process, connection)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        worker = Process(
            [WORKER, "--model", model, "--leader", address, "--state", str(tmp_path)]
            + ["--worker.drain_ms", "3600000", "--die-with-parent"],
            str(tmp_path / "worker.log"),
        )
        try:
            with Peer(sock=server.accept()[0]) as peer:
                assert peer.frame()[0] == wire.HELLO
                peer.send(frame(wire.WELCOME, wire.number(2, 1) + SIZES))
                peer.send(frame(wire.ASSIGN, wire.number(1, 1)))
                assert peer.frame()[0] == wire.KV_RESULT
                worker.signal(signal.SIGTERM)
                assert peer.frame()[0] == wire.DRAIN
                yield worker, peer
        finally:
            worker.popen.kill()
            worker.wait()


def test_it_serves_until_it_is_let_go(leaving):
    worker, peer = leaving
    peer.send(frame(wire.ASSIGN, wire.number(1, 2)))
    assert peer.frame()[0] == wire.KV_RESULT
    assert worker.running()
    peer.send(frame(wire.DRAINED))
    assert worker.wait() == 0
    assert peer.frame() is None


def test_second_signal_does_not_wait(leaving):
    worker, _ = leaving
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0


def test_end_of_the_connection_is_enough(leaving):
    worker, peer = leaving
    peer.close()
    assert worker.wait() == 0
