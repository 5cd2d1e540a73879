#!/usr/bin/python3
"""README's two commands in a container of a bare Debian 12 that has nothing but this source.

    tests/run.sh --bare        root, docker, a Debian mirror; half an hour

Shows what the container prints, each line with the seconds since its start, then when the first
token was served and how long each command took. The last line is that of tests/run.sh in there, and
so is the exit status. What only a machine of its own can do (network namespaces) is skipped there.
"""

import os
import subprocess
import sys
import time

import pytest

from files import TOP, run
from image import BASE, make_base, need_docker, remove_base

COMMANDS = ["deploy/quickstart.sh", "tests/run.sh"]
ANSWER = b"== The answer, undisturbed"  # quickstart.sh: then comes the prompt, then the first token


def network():
    """The container's own network if that leads to the mirror, else this machine's."""
    said = run(["docker", "run", "--rm", BASE, "apt-get", "update", "--error-on=any"])
    return "default" if said.returncode == 0 else "host"


def settings():
    """What this machine's own pip and cargo need to reach an index: a proxy, an authority of its own."""
    args = []
    for name, value in os.environ.items():
        if name == "PIP_CERT":
            args += ["--volume", f"{os.path.realpath(value)}:/own.crt:ro", "--env", "PIP_CERT=/own.crt"]
            args += ["--env", "CARGO_HTTP_CAINFO=/own.crt"]
        elif name.lower() in ("http_proxy", "https_proxy", "no_proxy", "pip_index_url"):
            args += ["--env", f"{name}={value}"]
    return args


def start():
    """A container that waits, with this tree in /hydac."""
    options = ["--detach", "--rm", f"--network={network()}", *settings()]
    said = run(["docker", "run", *options, BASE, "sleep", "86400"])
    assert said.returncode == 0, said.stderr
    container = said.stdout.strip()
    files = ["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(files, capture_output=True, check=True).stdout
    pack = ["tar", "-C", TOP, "--null", "--ignore-failed-read", "-T", "-", "-c"]
    tree = subprocess.run(pack, input=listed, capture_output=True, check=True).stdout
    unpack = ["sh", "-c", "mkdir /hydac && tar -x -C /hydac --no-same-owner"]
    subprocess.run(["docker", "exec", "-i", container, *unpack], input=tree, check=True)
    return container


class Show:
    """Copies a program's output, with the time before each line, and notes the first token's."""

    def __init__(self):
        self.began, self.line, self.first_token = time.monotonic(), b"", None
        self.recent = [b"", b""]  # the last two lines

    def take(self, data):
        for piece in data.splitlines(keepends=True):
            if not self.line:
                now = time.monotonic() - self.began
                sys.stdout.buffer.write(b"%7.1f  " % now)
                if self.recent[0] == ANSWER:
                    self.first_token = now
            sys.stdout.buffer.write(piece)
            self.line += piece
            if piece.endswith(b"\n"):
                self.recent, self.line = [self.recent[1], self.line.rstrip()], b""
        sys.stdout.flush()


def command_in(container, command):
    """(exit status, seconds, Show)"""
    show = Show()
    args = ["docker", "exec", "--workdir=/hydac", container, command]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        while data := os.read(p.stdout.fileno(), 65536):
            show.take(data)
    return p.returncode, time.monotonic() - show.began, show


def both(container):
    lines, status = [], 1
    for command in COMMANDS:
        print(f"\n== {command}", flush=True)
        status, seconds, show = command_in(container, command)
        lines.append(f"{command}: {seconds:.0f} s, exit status {status}")
        if show.first_token:
            lines.append(f"{command}: first token after {show.first_token:.0f} s")
        if status:
            break
    print("", *lines, show.recent[-1].decode(errors="replace"), sep="\n")
    return status


def main():
    need_docker()
    made, container = make_base(), None
    try:
        container = start()
        return both(container)
    finally:
        if container:
            run(["docker", "rm", "--force", container])
        if made:
            remove_base()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except pytest.skip.Exception as why:
        sys.exit(f"bare.py: {why}")
