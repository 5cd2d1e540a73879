"""What a worker can say that is not so. A lie is made anew for each time it is told (LIES[name]());
it takes each frame of a real worker and returns the bytes that the leader gets in its place."""

import random
import struct

import wire
from wire import frame


def instead(kind, replacement):
    """Frames of that kind become replacement(frame); the others pass."""

    def lie(f):
        return replacement(f) if f.kind == kind else [f.raw]

    return lambda: lie


def nothing(_):
    return []


def noise(_):
    return [random.Random(3).randbytes(300)]


def damaged(f):
    """One bit of the payload is another: the checksum is wrong."""
    return [f.raw[:-1] + bytes([f.raw[-1] ^ 1])]


def with_fields(fields):
    """The message with these fields over its own: of a number that comes twice the last counts, of
    a list both."""
    return lambda f: [frame(f.kind, f.body + fields, f.payload)]


def with_payload(change):
    return lambda f: [frame(f.kind, f.body, change(f.payload))]


def with_epoch(change):
    def replacement(f):
        epoch = wire.numbers(f.body).get(1, 0)
        return [frame(f.kind, f.body + wire.number(1, change(epoch)), f.payload)]

    return replacement


def foreign_token(f):
    """The best token of the first vocab block that it owns is said to be one of another's. Where all
    logits were asked for there are no tokens in it: then the first logit is no number."""
    if wire.numbers(f.body).get(3, 0) != LOGITS:
        return [f.raw]
    lse, _, rest = f.payload[:4], f.payload[4:8], f.payload[8:]
    return [frame(f.kind, f.body, lse + struct.pack("<I", 0xFFFFFFFF) + rest)]


def no_number(f):
    """The log-sum-exp of the first vocab block that it owns."""
    if wire.numbers(f.body).get(3, 0) != LOGITS:
        return [f.raw]
    return [frame(f.kind, f.body, b"\xff\xff\xff\x7f" + f.payload[4:])]


def more_logits(f):
    """One vocab block more than it owns."""
    if wire.numbers(f.body).get(3, 0) != LOGITS:
        return [f.raw]
    return [frame(f.kind, f.body, f.payload + bytes(12))]


def in_sums(change):
    """Of answers to ATTENTION and FFN."""

    def replacement(f):
        if wire.numbers(f.body).get(3, 0) == LOGITS:
            return [f.raw]
        return [frame(f.kind, f.body, change(f.payload))]

    return replacement


def as_exact(payload):
    """As many rows, none of them wide, as 32-bit integers."""
    return bytes(len(payload) // 34 * 32 * 4)


def twice(f):
    return [f.raw, f.raw]


def also_from_the_past(f):
    """The same sums under the epoch before, then the truth."""
    return with_epoch(lambda e: e - 1)(f) + [f.raw]


def also_from_the_future(f):
    return with_epoch(lambda e: e + 1)(f) + [f.raw]


def also_of_nobody(f):
    """A layer, a half, a group that does not exist, then the truth."""
    no_layer = frame(f.kind, f.body + wire.number(4, 9999), f.payload)
    no_half = frame(f.kind, f.body + wire.number(3, 77), f.payload)
    no_group = frame(f.kind, f.body + wire.number(9, 77), f.payload)
    return [no_layer, no_half, no_group, f.raw]


def weights_request(kind, unit=0, offset=0):
    fields = wire.number(1, kind) + wire.number(2, unit) + wire.number(4, offset)
    return frame(wire.WEIGHTS_REQUEST, fields)


def other_sums(payload):
    """A high bit of every 32-bit sum is another."""
    changed = bytearray(payload)
    changed[2::4] = bytes(b ^ 0x40 for b in changed[2::4])
    return bytes(changed)


def other_digest(change):
    """Of what it was asked to compute."""

    def replacement(f):
        digest = wire.numbers(f.body).get(AUDITED_DIGEST[f.kind], 0)
        return [frame(f.kind, f.body + wire.number(AUDITED_DIGEST[f.kind], change(digest)))]

    return replacement


ROWS_DIGESTS = 14  # the field of KvResult; a digest is what each of them ends with


def other_rows(f):
    """What it says of the K/V rows that it has is of other rows."""
    body = bytearray(f.body)
    for field, where in wire.fields(f.body):
        if field == ROWS_DIGESTS:
            body[where.stop - 1] ^= 1
    return [frame(f.kind, bytes(body))]


AUDITED_DIGEST = {wire.SELF_TEST_RESULT: 2, wire.AUDIT_RESULT: 3}  # the field
LOGITS = 2
RESULT, KV, ACK = wire.STEP_RESULT, wire.KV_RESULT, wire.HEARTBEAT_ACK

# Told in the middle of an answer, with the cause for which the liar is lost.
IN_A_STEP = {
    "says nothing": (lambda: nothing, "silent"),
    "never computes": (instead(RESULT, nothing), "deadline"),
    "only of the past": (instead(RESULT, with_epoch(lambda e: e - 1)), "deadline"),
    "noise": (instead(RESULT, noise), "protocol"),
    "wrong checksum": (instead(RESULT, damaged), "protocol"),
    "result too short": (instead(RESULT, with_payload(lambda p: p[:-4])), "protocol"),
    "result too long": (instead(RESULT, with_payload(lambda p: p + bytes(4))), "protocol"),
    "empty result": (instead(RESULT, with_payload(lambda p: b"")), "protocol"),
    "wide rows that are not there": (
        instead(RESULT, with_fields(wire.packed(5, [1 << 20]))),
        "protocol",
    ),
    "bad rows that are not there": (
        instead(RESULT, with_fields(wire.packed(7, [1 << 20]))),
        "protocol",
    ),
    "result that is no message": (
        instead(RESULT, lambda f: [frame(RESULT, b"\xff" * 40)]),
        "protocol",
    ),
    "token of another's": (instead(RESULT, foreign_token), "protocol"),
    "logits that are no numbers": (instead(RESULT, no_number), "protocol"),
    "logits of another's": (instead(RESULT, more_logits), "protocol"),
    "leader's frame": (instead(RESULT, lambda f: [frame(wire.ASSIGN, b"\x08\x01")]), "protocol"),
    "another greeting": (instead(RESULT, lambda f: [wire.hello("w9", "0")]), "protocol"),
    "payload of 4 GiB": (
        instead(RESULT, lambda f: [wire.header(RESULT, 8, 0xFFFFFFFF)]),
        "protocol",
    ),
    "weights that do not exist": (instead(RESULT, lambda f: [weights_request(99)]), "protocol"),
    "weights of a unit that does not exist": (
        instead(RESULT, lambda f: [weights_request(0, unit=4096)]),
        "protocol",
    ),
    "weights past their end": (
        instead(RESULT, lambda f: [weights_request(0, offset=1 << 40)]),
        "protocol",
    ),
    "all weights at once": (instead(RESULT, lambda f: [weights_request(0)] * 1000), "protocol"),
    "the model, twice": (instead(RESULT, lambda f: [frame(wire.MODEL_REQUEST)] * 2), "protocol"),
    "half a frame": (instead(RESULT, lambda f: [f.raw[:-1]]), "protocol"),
}
# Told in the middle of an answer too, and nobody is the worse for it.
HARMLESS = {
    "twice": instead(RESULT, twice),
    "also of the past": instead(RESULT, also_from_the_past),
    "also of the future": instead(RESULT, also_from_the_future),
    "also of nobody": instead(RESULT, also_of_nobody),
    "no heartbeats": instead(ACK, nothing),
    "heartbeats of the future": instead(ACK, with_fields(wire.number(2, 1 << 62))),
    "heartbeats nobody asked for": instead(ACK, with_fields(wire.number(1, 1 << 62))),
}
# Told of an assignment, so during a recovery.
IN_A_RECOVERY = {
    "never confirms": (instead(KV, nothing), "deadline"),
    "heads that do not exist": (instead(KV, with_fields(wire.packed(2, [4096]))), "protocol"),
    "gaps that do not exist": (instead(KV, with_fields(wire.packed(11, [4096]))), "protocol"),
    "an epoch to come": (instead(KV, with_epoch(lambda e: e + 1)), "protocol"),
    "an epoch gone by": (instead(KV, with_epoch(lambda e: e - 1)), "deadline"),
    "confirmation that is no message": (
        instead(KV, lambda f: [frame(KV, b"\xff" * 40)]),
        "protocol",
    ),
}
# Told where partial sums are compact, with what the leader says of them.
IN_COMPACT_SUMS = {
    "scale that is no number": (
        instead(RESULT, in_sums(lambda p: b"\x00\x7e" + p[2:]))(),
        "compact sums of row 0 have a scale that is negative or no number",
    ),
    "scale that is infinite, in the last block": (
        instead(RESULT, in_sums(lambda p: p[:-34] + b"\x00\x7c" + p[-32:]))(),
        "compact sums of row 0 have a scale that is negative or no number",
    ),
    "scale below zero": (
        instead(RESULT, in_sums(lambda p: b"\x01\x80" + p[2:]))(),
        "compact sums of row 0 have a scale that is negative or no number",
    ),
    "sums that are exact": (
        instead(RESULT, in_sums(as_exact))(),
        "partial sums of 1152 bytes where 306 were expected",
    ),
    "one byte less": (
        instead(RESULT, in_sums(lambda p: p[:-1]))(),
        "partial sums of 305 bytes where 306 were expected",
    ),
}
# Well-formed and wrong: only another worker can tell.
WRONG = {
    "other sums": instead(RESULT, in_sums(other_sums)),
    "one bit of one sum": instead(RESULT, in_sums(lambda p: bytes([p[0] ^ 1]) + p[1:])),
    "another digest, always the same": instead(
        wire.AUDIT_RESULT, other_digest(lambda d: d ^ 1 << 40)
    ),
    "another digest each time": instead(
        wire.AUDIT_RESULT, other_digest(lambda d: random.getrandbits(63))
    ),
    "another answer to the self test": instead(
        wire.SELF_TEST_RESULT, other_digest(lambda d: d ^ 1)
    ),
}
LIES = {name: lie for name, (lie, _) in (IN_A_STEP | IN_A_RECOVERY).items()}
LIES |= HARMLESS | WRONG
