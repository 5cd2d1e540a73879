"""Standard error that nobody reads, and standard files that are not there."""

import os
import subprocess

import pytest

import cluster
from cluster import HYDAC, LEADER, WORKER
from prompts import prompt

PROMPT = prompt(20, 91)


class FullPipe:
    """A pipe that takes not one byte more."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.filled = 0
        try:
            while True:
                self.filled += os.write(self.fd, b"x" * 4096)
        except BlockingIOError:
            pass

    def read(self):
        """What is in it now."""
        try:
            return os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self):
        os.close(self.fd)


@pytest.fixture
def full(tmp_path):
    pipe = FullPipe(str(tmp_path / "full"))
    yield pipe
    pipe.close()


def test_log_into_a_full_pipe(daemons, full):
    """Leader and worker serve on; when the reader is back it gets what there was room for, and how
    much there was not."""
    under = f"exec 2>{full.path}"
    c = daemons(leader_args=["--log-level", "debug"], under=under)
    c.start("w1", "--log.level", "debug", under=under)
    c.until_serving(1)
    before = c.client.complete(PROMPT, 8).tokens
    connection = c.client.connect()
    for _ in range(8000):  # lines of fifty bytes and more: beyond the buffer of 256 KiB
        connection.request("POST", "/hydac/rebalance")
        assert connection.getresponse().read()
    connection.close()
    assert c.client.complete(PROMPT, 8).tokens == before
    text = bytearray()

    def told():
        text.extend(full.read())
        return b" log_dropped lines=" in text

    cluster.until(told, "the log says how many lines it dropped")
    seen = text[full.filled :].decode()
    dropped = int(seen.split(" log_dropped lines=")[1].split()[0])
    assert " listening " in seen
    assert dropped > 0
    assert c.client.complete(PROMPT, 8).tokens == before


def test_ends_with_a_full_pipe(daemons, full):
    """SIGTERM is obeyed though the last lines find no reader."""
    under = f"exec 2>{full.path}"
    c = daemons(under=under)
    c.start("w1", under=under)
    c.until_serving(1)
    assert c.workers["w1"].stop() == 0
    assert c.leader.stop() == 0


CLOSED = "exec 0<&- 1>&- 2>&-"


def standard_files(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]


def test_closed_standard_files(daemons):
    c = daemons(under=CLOSED)
    c.start("w1", under=CLOSED)
    c.until_serving(1)
    assert len(c.client.complete(PROMPT, 8).tokens) == 8
    for p in (c.leader, c.workers["w1"]):
        assert standard_files(p.pid) == ["/dev/null"] * 3
    assert c.workers["w1"].stop() == 0
    assert c.leader.stop() == 0


@pytest.mark.parametrize("program", [LEADER, WORKER, HYDAC])
def test_closed_when_it_has_something_to_say(program):
    for flag, status in (("--version", 0), ("--no-such-flag", 2)):
        done = subprocess.run(cluster.shell(CLOSED) + [program, flag], timeout=60, check=False)
        assert done.returncode == status
