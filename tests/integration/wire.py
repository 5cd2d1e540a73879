"""hydac's frames and the few messages that a hostile worker needs, by hand: see proto/README.md."""

import collections
import ctypes
import socket
import struct

MAGIC = 0x43414448
VERSION = 4
OTHER_VERSIONS = (VERSION - 1, VERSION + 1)
HEADER = struct.Struct("<IBBHIIQ")
HELLO, WELCOME, REJECT, HEARTBEAT, HEARTBEAT_ACK, ASSIGN, KV_RESULT = range(1, 8)
STEP, STEP_RESULT, STATS_REQUEST, STATS, ERROR = 10, 11, 12, 13, 14
DRAIN, DRAINED = 19, 20
MODEL_REQUEST, MODEL_OUTLINE, WEIGHTS_REQUEST, WEIGHTS = range(21, 25)
PIECE_DIGESTS, SELF_TEST, SELF_TEST_RESULT, AUDIT, AUDIT_RESULT, DAMAGE = range(25, 31)
LEADER_STATE = 31
SEQUENCE_TOKENS, KEPT = 35, 36
REJECT_VERSION, REJECT_MODEL, REJECT_NAME = 1, 2, 3

_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH3_64bits.restype = ctypes.c_uint64
_xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def header(kind, body_len=0, payload_len=0, version=VERSION, magic=MAGIC, flags=0, checksum=0):
    return HEADER.pack(magic, version, kind, flags, body_len, payload_len, checksum)


def frame(kind, body=b"", payload=b"", version=VERSION):
    start = header(kind, len(body), len(payload), version)[:16]
    data = start + body + payload
    return start + struct.pack("<Q", _xxhash.XXH3_64bits(data, len(data))) + body + payload


Frame = collections.namedtuple("Frame", "kind body payload raw")


def take_frames(buffer):
    """The whole frames at the beginning of a bytearray, which loses them."""
    frames, at = [], 0
    while len(buffer) - at >= HEADER.size:
        _, _, kind, _, body_len, payload_len, _ = HEADER.unpack_from(buffer, at)
        payload_at = at + HEADER.size + body_len
        end = payload_at + payload_len
        if end > len(buffer):
            break
        raw = bytes(buffer[at:end])
        body = raw[HEADER.size : payload_at - at]
        frames.append(Frame(kind, body, raw[payload_at - at :], raw))
        at = end
    del buffer[:at]
    return frames


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n)


def packed(field, values):
    data = b"".join(map(varint, values))
    return varint(field << 3 | 2) + varint(len(data)) + data


def text(field, s):
    return varint(field << 3 | 2) + varint(len(s)) + s.encode()


def hello(name, digest, more=b""):
    """`digest`: as in the status, 16 hexadecimal digits."""
    fields = text(1, name) + number(2, int(digest, 16)) + text(3, "model") + text(4, "a test")
    return frame(HELLO, fields + number(5, 1) + number(6, 1 << 30) + number(7, 1 << 30) + more)


def fields(body):
    """(field, number) of the integers of a message, (field, slice of the body) of all that has a
    length."""
    at = 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(body):
        key = take()
        value = take()
        if key & 7:
            value, at = slice(at, at + value), at + value
        yield key >> 3, value


def numbers(body):
    """The integer fields of a message."""
    return {field: value for field, value in fields(body) if isinstance(value, int)}


class Peer:
    """A connection to the leader's port for workers, or one that a worker made to us."""

    def __init__(self, port=None, limit=30.0, sock=None):
        self.socket = sock or socket.create_connection(("127.0.0.1", port), limit)
        self.socket.settimeout(limit)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # cut off already, which is what most tests want to see

    def read(self, n):
        """Exactly n bytes, or None when the connection ended."""
        data = b""
        while len(data) < n:
            try:
                more = self.socket.recv(n - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            data += more
        return data

    def frame(self):
        """(type, body) of the next frame, None at the end."""
        head = self.read(HEADER.size)
        if head is None:
            return None
        _, _, kind, _, body_len, payload_len, _ = HEADER.unpack(head)
        body = self.read(body_len) if body_len else b""
        if body is None or (payload_len and self.read(payload_len) is None):
            return None
        return kind, body

    def until_cut_off(self):
        """Frames that came before the leader ended the connection."""
        frames = []
        while (f := self.frame()) is not None:
            frames.append(f)
        return frames

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
