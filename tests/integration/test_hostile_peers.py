"""Whatever connects to the leader's port for workers, the cluster goes on."""

import os
import random
import struct
import subprocess

import pytest

import wire
from cluster import BUILD, Daemons, alive, until
from prompts import prompt
from wire import OTHER_VERSIONS, Peer, frame, header

PROMPT = prompt(40, 31)
ANSWER = 400


@pytest.fixture(scope="module")
def served(model):
    args = ["--recovery.assign_deadline_ms=1500", "--recovery.step_deadline_ms=1500"]
    with Daemons(model, leader_args=["--cluster.min_workers=2", "--cache.memory=0", *args]) as c:
        c.start_all(2)
        yield c, c.client.complete(PROMPT, ANSWER).tokens


def check_unharmed(c, stream, tokens):
    assert stream.finish().tokens == tokens
    assert stream.answer.failovers == []
    assert alive(c.leader.pid)
    status = c.status()
    assert [w["state"] for w in status["workers"] if w["heads"]] == ["online", "online"]


CUT_OFF = {
    "noise": random.Random(1).randbytes(4096),
    "http": b"GET / HTTP/1.1\r\nHost: leader\r\n\r\n",
    "tls": bytes.fromhex("160301020001000001fc0303") + bytes(512),
    "zeros": bytes(64),
    "other magic": header(wire.HELLO, magic=0x46554747),
    "unknown type": frame(200),
    "type zero": frame(0),
    "unknown flags": header(wire.HELLO, flags=0x8000),
    "body too long": header(wire.HELLO, body_len=4097),
    "body of 4 GiB": header(wire.HELLO, body_len=0xFFFFFFFF),
    "payload in a greeting": header(wire.HELLO, body_len=8, payload_len=1),
    "payload of 4 GiB": header(wire.HELLO, body_len=8, payload_len=0xFFFFFFFF),
    "both of 4 GiB": header(wire.STEP, body_len=0xFFFFFFFF, payload_len=0xFFFFFFFF),
    "wrong checksum": header(wire.HELLO, body_len=2, checksum=1) + b"\x0a\x00",
    "empty hello": frame(wire.HELLO),
    "hello that is no message": frame(wire.HELLO, b"\xff" * 100),
    "name of 64 bytes": wire.hello("n" * 64, "0"),
    "not a hello": frame(wire.HEARTBEAT_ACK, wire.number(1, 1)),
    "leader's frame": frame(wire.WELCOME, wire.number(1, 1)),
    "a leader where there is one": frame(wire.LEADER_STATE, wire.number(1, 7)),
}


@pytest.mark.parametrize("name", CUT_OFF)
def test_cut_off(served, name):
    c, tokens = served
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(1)
    with Peer(c.ports["cluster"]) as peer:
        peer.send(CUT_OFF[name])
        kinds = [kind for kind, _ in peer.until_cut_off()]
    assert set(kinds) <= {wire.REJECT, wire.ERROR}
    check_unharmed(c, stream, tokens)


@pytest.mark.parametrize("cut", [1, 4, 5, 23, 24, 30])
def test_half_a_frame_then_gone(served, cut):
    c, tokens = served
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(1)
    with Peer(c.ports["cluster"]) as peer:
        peer.send(wire.hello("half", "0")[:cut])
    check_unharmed(c, stream, tokens)


def test_silent_peers_are_cut_off(served):
    """One says nothing, one stops in the middle of its greeting."""
    c, _ = served
    with Peer(c.ports["cluster"]) as silent, Peer(c.ports["cluster"]) as half:
        half.send(wire.hello("half", "0")[:30])
        assert silent.until_cut_off() == []
        assert half.until_cut_off() == []
    assert c.client.complete(PROMPT, 8).tokens


def rejection(c, data):
    """Code and text of the Reject that answers these bytes."""
    with Peer(c.ports["cluster"]) as peer:
        peer.send(data)
        (kind, body), *rest = peer.until_cut_off()
    assert (kind, rest) == (wire.REJECT, [])
    return wire.numbers(body)[1], body


@pytest.mark.parametrize("kind", [wire.HELLO, wire.MODEL_REQUEST])
@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_wrong_protocol_version(served, version, kind):
    """Refused at once and by both numbers, before its messages are read: these may mean another."""
    c, tokens = served
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(1)
    code, body = rejection(c, frame(kind, b"\xff" * 100, version=version))
    assert code == wire.REJECT_VERSION
    both = f"speaks protocol version {version} and this is version {wire.VERSION}"
    assert both.encode() in body
    check_unharmed(c, stream, tokens)


def test_another_model(served):
    c, _ = served
    code, _ = rejection(c, wire.hello("w7", "0123456789abcdef"))
    assert code == wire.REJECT_MODEL
    assert c.worker("w7") is None


def test_name_of_a_live_worker(served):
    c, _ = served
    code, body = rejection(c, wire.hello("w1", c.status()["model"]["digest"]))
    assert code == wire.REJECT_NAME
    assert b"name" in body
    assert c.state_of("w1") == "online"


def greet(c, peer, name, more=b""):
    peer.send(wire.hello(name, c.status()["model"]["digest"], more))
    kind, _ = peer.frame()
    assert kind == wire.WELCOME


def join(c, peer, name):
    """Up to the known answer, which it gives: what comes next is an assignment."""
    greet(c, peer, name)
    kind = wire.WELCOME
    while kind != wire.SELF_TEST:
        kind, body = peer.frame()
    seed = wire.numbers(body)[1]
    program = os.path.join(BUILD, "tests/integration/self_test")
    digest = int(subprocess.check_output([program, str(seed)]))
    peer.send(frame(wire.SELF_TEST_RESULT, wire.number(1, seed) + wire.number(2, digest)))


def has_tokens(payload, sequence=0, parent=0, shared=0, positions=1):
    numbers = (sequence, parent, shared, positions)
    body = b"".join(wire.number(field, n) for field, n in zip((1, 2, 3, 5), numbers))
    return frame(wire.SEQUENCE_TOKENS, body, payload)


def ids(*tokens):
    return struct.pack(f"<{len(tokens)}i", *tokens)


HAS_KEPT = wire.number(13, 1)
# Of a Hello that says that something was kept, or not: what follows it, and what the leader says of it.
KEPT_NONSENSE = {
    "tokens unasked": (b"", has_tokens(ids(1)), "SequenceTokens without a Hello that says so"),
    "kept unasked": (b"", frame(wire.KEPT, b"\x0a\x00"), "Kept out of place"),
    "no message": (HAS_KEPT, frame(wire.SEQUENCE_TOKENS, b"\xff" * 40, ids(1)), "SequenceTokens cannot be read"),
    "noise as kept": (HAS_KEPT, frame(wire.KEPT, b"\xff" * 40), "Kept cannot be read"),
    "nothing kept": (HAS_KEPT, frame(wire.KEPT), "Kept out of place"),
    "half a token": (HAS_KEPT, has_tokens(b"\x01\x00\x00"), "SequenceTokens that are none"),
    "no tokens": (HAS_KEPT, has_tokens(b""), "SequenceTokens that are none"),
    "half a block": (HAS_KEPT, has_tokens(ids(1), 1, 0, 63, 64), "SequenceTokens that are none"),
    "its own parent": (HAS_KEPT, has_tokens(ids(1), 1, 1, 64, 65), "SequenceTokens that are none"),
    "sequence 64": (HAS_KEPT, has_tokens(ids(1), 64), "SequenceTokens of a sequence that cannot be"),
    "parent 64": (HAS_KEPT, has_tokens(ids(1), 0, 64, 64, 65), "SequenceTokens of a sequence that cannot be"),
    "more rows than tokens": (HAS_KEPT, has_tokens(ids(1), positions=2), "SequenceTokens of more positions"),
    "all numbers": (HAS_KEPT, has_tokens(ids(1), 1, 0, 0xFFFFFFC0, 0xFFFFFFC1), "SequenceTokens of more positions"),
    "no such token": (HAS_KEPT, has_tokens(ids(1, 1 << 30), positions=2), "a token that the model has not"),
    "negative token": (HAS_KEPT, has_tokens(ids(-1)), "a token that the model has not"),
    "no such unit": (HAS_KEPT, frame(wire.KEPT, b"\x0a\x06\x0a\x04\xff\xff\xff\x0f"), None),
    "kept twice": (HAS_KEPT, 2 * frame(wire.KEPT, b"\x0a\x00"), "Kept out of place"),
}


def broken_rules(c):
    return [line for line in c.leader.output().splitlines() if " worker_broke_rules " in line]


@pytest.fixture(scope="module", params=["serving", "waiting"])
def kept_asked(request, model, served):
    """One that serves, and one whose workers have yet to come, which would take what they bring."""
    if request.param == "serving":
        yield served[0]
        return
    with Daemons(model, leader_args=["--cluster.min_workers=2"]) as c:
        yield c


@pytest.mark.parametrize("name", KEPT_NONSENSE)
def test_nonsense_of_what_was_kept(kept_asked, name):
    """Cut off, and said why in one line of the log; whoever serves serves on."""
    c, (more, data, why) = kept_asked, KEPT_NONSENSE[name]
    before = len(broken_rules(c))
    with Peer(c.ports["cluster"]) as peer:
        greet(c, peer, "liar", more)
        peer.send(data)
        peer.until_cut_off()
    offline_with(c, "liar", "protocol", serving=0)
    if why:  # lines are written by a thread of their own
        until(lambda: len(broken_rules(c)) > before, "the log says why")
    said = broken_rules(c)[before:]
    assert len(said) == (1 if why else 0), said
    assert not why or why in said[0]
    assert alive(c.leader.pid)
    if c.status()["cluster"]["state"] == "ready":
        assert c.client.complete(PROMPT, 8).tokens


def answer_heartbeats(peer, also=None):
    """Until the leader ends it: a Heartbeat's body is a HeartbeatAck's, too."""
    while (f := peer.frame()) is not None:
        kind, body = f
        if kind == wire.HEARTBEAT:
            peer.send(frame(wire.HEARTBEAT_ACK, body))
        elif also:
            also(kind, body)


def offline_with(c, name, cause, serving=2):
    def found(status):
        events = [e for e in status["events"] if e["worker"] == name]
        return events and (events[-1]["state"], events[-1]["cause"]) == ("offline", cause)

    c.until_status(found, f"{name} is offline: {cause}")
    if serving:
        c.until_serving(serving)


def test_worker_that_never_speaks_again(served):
    c, tokens = served
    with Peer(c.ports["cluster"]) as peer:
        join(c, peer, "mute")
        offline_with(c, "mute", "silent")
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


def test_worker_that_never_confirms(served):
    """It answers heartbeats, but never says that it is ready for what it is to own."""
    c, tokens = served
    with Peer(c.ports["cluster"]) as peer:
        join(c, peer, "lazy")
        answer_heartbeats(peer)
    offline_with(c, "lazy", "deadline")
    assert c.client.complete(PROMPT, ANSWER).tokens == tokens


def confirm(peer, body):
    n = wire.numbers(body)
    same = wire.number(1, n.get(1, 0)) + wire.number(12, n.get(7, 0))  # epoch and round
    peer.send(frame(wire.KV_RESULT, same))


@pytest.mark.parametrize("answer", ["nothing", "noise", "bad result", "leader's frame"])
def test_worker_that_breaks_the_rules(served, answer):
    """It confirms its assignment, then answers half-steps with nonsense, or not at all."""
    c, tokens = served
    nonsense = {
        "nothing": b"",
        "noise": random.Random(2).randbytes(300),
        "bad result": lambda body: frame(wire.STEP_RESULT, step_head(body), b"\x01\x02\x03"),
        "leader's frame": frame(wire.ASSIGN, wire.number(1, 1)),
    }[answer]
    stream = None
    with Peer(c.ports["cluster"]) as peer:
        join(c, peer, "liar")

        def react(kind, body):
            nonlocal stream
            if kind == wire.ASSIGN:
                confirm(peer, body)
                stream = stream or c.client.stream(PROMPT, ANSWER)
            elif kind == wire.STEP:
                peer.send(nonsense(body) if callable(nonsense) else nonsense)

        answer_heartbeats(peer, react)
    assert stream.finish().tokens == tokens
    if answer == "nothing":
        offline_with(c, "liar", "deadline")
    c.until_serving(2)


def step_head(body):
    """Epoch, step, half and layer of a Step, as a StepResult says them."""
    n = wire.numbers(body)
    return b"".join(wire.number(field, n.get(field, 0)) for field in (1, 2, 3, 4))
