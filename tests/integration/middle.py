#!/usr/bin/env python3
"""A man in the middle between a real worker and the leader: the worker holds heads and computes,
and at a moment of the test what it says becomes a lie.

    middle.py LISTEN-PORT LEADER-HOST:PORT

As a program it prints its port and takes "lie NAME" and "honest" as lines, each answered by "done";
tests use it as an object.

A lie is about the connections that are there when it begins, so that a worker that was cut off for
it is believed again when it comes back; until `honest` nobody else gets through.
"""

import os
import socket
import sys
import threading

from lies import LIES
from wire import take_frames

CONNECT = 1.0  # seconds after which the leader is taken for unreachable; the worker tries again


def frames_of(sock):
    buffer = bytearray()
    while data := sock.recv(65536):
        buffer += data
        yield from take_frames(buffer)


class Link:
    """One worker's connection and ours to the leader for it."""

    def __init__(self, middle, worker):
        self.middle, self.worker = middle, worker
        self.leader = socket.create_connection(middle.leader, CONNECT)
        self.leader.settimeout(None)
        self.lie = None  # frame -> list of bytes that the leader is sent in its place
        self.sending = threading.Lock()  # to the leader
        for s in (self.worker, self.leader):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pump in (self.to_leader, self.to_worker):
            threading.Thread(target=self.run, args=(pump,), daemon=True).start()

    def run(self, pump):
        """Whichever direction ends first ends both."""
        try:
            pump()
        except OSError:
            pass
        self.middle.links.discard(self)
        for s in (self.worker, self.leader):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other direction was faster, or the peer was

    def to_worker(self):
        for frame in frames_of(self.leader):
            down = self.middle.down
            for piece in down(frame) if down else (frame.raw,):
                self.worker.sendall(piece)

    def to_leader(self):
        for frame in frames_of(self.worker):
            lie = self.lie or self.middle.up
            for piece in lie(frame) if lie else (frame.raw,):
                self.say(piece)

    def say(self, data):
        with self.sending:
            self.leader.sendall(data)


class Middle:
    """Listens on `port`. `leader` is (host, port). `up` and `down`: what each frame to the leader, or
    to the worker, becomes; `up` while nobody lies."""

    def __init__(self, leader, port=0, up=None, down=None):
        self.leader, self.links, self.lying = leader, set(), False
        self.up, self.down = up, down
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                worker, _ = self.listener.accept()
            except OSError:
                return  # closed
            try:
                if self.lying:
                    raise ConnectionRefusedError
                self.links.add(Link(self, worker))
            except OSError:
                worker.close()

    def lie(self, lie):
        """`lie`: a name of lies.py, or a function like those there."""
        self.lying = True
        for link in list(self.links):
            link.lie = LIES[lie]() if isinstance(lie, str) else lie

    def honest(self):
        for link in list(self.links):
            link.lie = None
        self.lying = False

    def say(self, data):
        """To the leader, as if the worker had sent it."""
        for link in list(self.links):
            link.say(data)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    host, port = sys.argv[2].rsplit(":", 1)
    middle = Middle((host, int(port)), int(sys.argv[1]))
    print(middle.port, flush=True)
    for line in sys.stdin:
        verb, _, name = line.strip().partition(" ")
        if verb == "lie":
            middle.lie(name)
        else:
            middle.honest()
        print("done", flush=True)
    os._exit(0)  # the threads wait for peers that nobody serves any more


if __name__ == "__main__":
    main()
