"""Ports for programs that must be told theirs.

They lie below those that the system gives to connections (32768 and up by default): one of these may be
taken by any connection between the choice and the program's bind, or while a killed program is away.
"""

import random
import socket

FIRST, LAST = 18000, 32000


def free_ports(n):
    """So many, different, on which nothing listens now."""
    held = []
    chosen = random.SystemRandom()  # not the tests' own numbers: several files run at a time
    while len(held) < n:
        s = socket.socket()
        try:
            s.bind(("127.0.0.1", chosen.randint(FIRST, LAST)))
            held.append(s)
        except OSError:
            s.close()
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def free_port():
    return free_ports(1)[0]
