"""A thousand hostile connections, and what strangers may do one by one."""

import os
import re
import socket
import ssl

import pytest

import strangers
from cluster import until
from prompts import prompt
from wire import Peer

PROMPT = prompt(40, 31)


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    key = str(tmp_path_factory.mktemp("keys") / "api.key")
    with strangers.cluster_with_keys(model, key) as c:
        c.start_all(3)
        yield c


def test_a_thousand(served):
    report = strangers.measure(served, 1000, 400)
    print(report)
    assert report["answers"] > 0


def connections(c):
    """Sockets that the leader has open."""
    folder = f"/proc/{c.leader.pid}/fd"
    links = [os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)]
    return sum(link.startswith("socket:") for link in links)


def hold(c, source, n):
    """n connections from one address that say nothing."""
    peers = []
    for _ in range(n):
        s = socket.create_connection(
            ("127.0.0.1", c.ports["cluster"]), 30, source_address=(source, 0)
        )
        peers.append(s)
    return peers


def closed(s):
    """The leader has ended it."""
    s.setblocking(False)
    try:
        return s.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_half_open_connections_are_bounded(served):
    """300 from ten addresses: 64 stay, the newest; a worker joins all the same; then all go."""
    before = connections(served)
    held = [s for i in range(10) for s in hold(served, f"127.0.1.{i + 1}", 30)]
    until(lambda: sum(map(closed, held)) >= 300 - 64, "the oldest were dropped")
    assert connections(served) <= before + 64 + 8  # and what the status needs
    assert "too_many_strangers" in served.leader.output()
    served.start("late")
    served.until_status(lambda s: served.worker("late", s), "a worker joins")
    until(lambda: all(map(closed, held)), "those without a Hello are cut off")
    for s in held:
        s.close()
    assert {w["state"] for w in served.status()["workers"]} == {"online"}


def test_one_address_has_a_rate(served):
    """Its burst is let in, the rest is turned away; other addresses do not notice."""
    held = hold(served, "127.0.2.1", 200)
    line = until(
        lambda: re.search(r"turned_away connections=\d+ last_address=127.0.2.1", served.leader.output()),
        "the leader says that it turns somebody away",
    )
    assert line
    (other,) = hold(served, "127.0.2.2", 1)
    other.settimeout(60)
    assert other.recv(1) == b"", "cut off only because it said nothing"
    for s in (*held, other):
        s.close()


def test_an_ordinary_tls_client(served):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(socket.create_connection(("127.0.0.1", served.ports["cluster"]), 30))
    until(
        lambda: "speaks TLS, but without a cluster key" in served.leader.output(),
        "the leader says what is wrong",
    )


def test_a_slow_handshake_is_cut_off(served):
    """Bytes that come do not move the deadline: it is one for handshake and Hello together."""
    with Peer(served.ports["cluster"]) as peer:
        peer.socket.settimeout(0.1)
        sent = 0
        data = strangers.RECORD + bytes(500)

        def cut_off():
            nonlocal sent
            peer.send(data[sent : sent + 1])
            sent += 1
            try:
                return peer.socket.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        until(cut_off, "it is cut off")
        assert sent < len(data)
    assert served.client.complete(PROMPT, 8).tokens
