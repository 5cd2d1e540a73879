"""What is resident is what is counted: pages of the model's file are let go of when they have been
read, and packing leaves no holes between what it has packed."""

import os

import pytest

from cluster import Daemons, until
from prompts import prompt

MIB = 1 << 20


@pytest.fixture(scope="module")
def large(synth):
    """A model whose file is far larger than what is allowed below."""
    return synth("smollm2-135m", "q8_0")


def resident(pid, path):
    """Bytes: (of this file, anonymous)."""
    of_file = anonymous = 0
    name = None
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            word, *rest = line.split()
            if not word.endswith(":"):
                name = rest[4] if len(rest) > 4 else None
            elif word == "Rss:" and name == path:
                of_file += int(rest[0]) << 10
            elif word == "Anonymous:":
                anonymous += int(rest[0]) << 10
    return of_file, anonymous


def test_the_file_is_let_go_of(large):
    """By the leader, which reads all of it at the start, and by workers that pack their own units, and
    for audits those of others."""
    with Daemons(large, leader_args=["--integrity.audit=1"]) as c:
        c.start_all(2)
        c.client.complete(prompt(32, 71), 8)
        c.until_status(lambda s: s["integrity"]["audits"]["equal"] > 0, "something is audited")
        path, most = os.path.realpath(large), os.path.getsize(large) // 8
        for name, pid in {"leader": c.leader.pid, **{n: w.pid for n, w in c.workers.items()}}.items():
            until(lambda pid=pid: resident(pid, path)[0] <= most, f"{name} lets go of the file")


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="sanitizers never give memory back")
def test_packing_leaves_no_holes(large):
    args = ["--recovery.standby_weights=1", "--integrity.audit=0"]
    with Daemons(large, leader_args=args) as c:
        c.start_all(2)
        c.until_status(lambda s: s["cluster"]["moves"]["units_without_copy"] == 0, "copies")
        whole = sum(w["weights_owned_bytes"] for w in c.status()["workers"])

        def is_small(name):
            anonymous = resident(c.workers[name].pid, large)[1]
            return anonymous <= whole + 16 * MIB

        for name in ("w1", "w2"):
            until(lambda name=name: is_small(name), f"{name} has little beside the weights")
