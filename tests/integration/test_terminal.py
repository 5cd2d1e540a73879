"""`hydac chat`, `hydac top` and the words that a shell completes, on a terminal."""

import contextlib
import http.server
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from fcntl import ioctl

import pytest

from cluster import HYDAC, LIMIT, until

ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])|\x1b\][^\x07]*\x07|[\x0f\x07]")


class Terminal:
    """A program of ours on a terminal of 120 x 40."""

    def __init__(self, *args):
        self.main, child = pty.openpty()
        ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        env = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", "HYDAC_LEADER": ""}
        self.popen = subprocess.Popen(
            [HYDAC, *args], stdin=child, stdout=child, stderr=child, env=env, start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(child)
        self.raw = ""

    def text(self):
        return ESCAPE.sub("", self.raw).replace("\r", "")

    def read(self):
        if not select.select([self.main], [], [], 0.05)[0]:
            return
        try:
            self.raw += os.read(self.main, 65536).decode("utf-8", "replace")
        except OSError:  # the other side is closed
            pass

    def wait(self, needle, behind=0):
        """Until it is there, behind that place; the place behind it."""
        end = time.monotonic() + LIMIT
        while (at := self.text().find(needle, behind)) < 0:
            assert time.monotonic() < end, f"{needle!r} did not come behind {self.text()[behind:]!r}"
            self.read()
        return at + len(needle)

    def send(self, text):
        os.write(self.main, text.encode())

    def end(self):
        def ended():
            self.read()
            return self.popen.poll() is not None

        until(ended, "it has ended")
        self.read()
        os.close(self.main)
        return self.popen.returncode

    def leave(self):
        """Ctrl-D, again where it came before there was a line to be read, and on a line without what
        the terminal has made of that one (a NUL)."""

        def left():
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # gone, or not yet
                self.send("\x15\x04")
                self.read()
                self.popen.wait(0.5)
            return self.popen.poll() is not None

        until(left, "it leaves")
        return self.end()

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


@pytest.fixture
def terminal():
    open_ones = []

    def start(*args):
        open_ones.append(Terminal(*args))
        return open_ones[-1]

    yield start
    for t in open_ones:
        t.kill()


class Recorder(http.server.BaseHTTPRequestHandler):
    """A stand-in for the leader: answers "yes" and keeps what it was asked."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        chunk = {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())


@pytest.fixture
def recorder():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def test_chat(terminal, recorder):
    """Lines, several lines, commands; the model is told what was said and nothing that was taken back."""
    t = terminal("chat", "--leader", f"http://127.0.0.1:{recorder.server_port}")

    def says(line, *messages):
        n = len(recorder.asked)
        t.send(line + "\n")
        until(lambda: t.read() or len(recorder.asked) > n, f"{line!r} is asked")
        assert [m["content"] for m in recorder.asked[-1]["messages"]] == list(messages)

    at = t.wait("> ")
    says("hello", "hello")
    assert recorder.asked[0]["temperature"] == 0.7
    says("and \\\nnow", "hello", "yes", "and \nnow")
    says("/undo\n/again", "hello")
    says("/system be brief\nmore", "be brief", "hello", "yes", "more")
    says('/new\n/system\n"""\none\ntwo\n"""', "one\ntwo")
    assert "max_tokens" not in recorder.asked[-1]
    t.send("/set max_tokens 5\n/set seed 12345678901234567\n/settings\n")
    t.wait("seed 12345678901234567", at)
    says("last", "one\ntwo", "yes", "last")
    assert (recorder.asked[-1]["max_tokens"], recorder.asked[-1]["seed"]) == (5, 12345678901234567)
    t.send("/set nothing 5\n")
    t.wait("there is temperature", at)
    t.send("/help\n")
    t.wait("/again  ", at)
    assert t.leave() == 0


def test_chat_stopped(terminal, up, slow_model):
    """Ctrl-C ends the answer and not the conversation."""
    c = up(slow_model, workers=1)
    t = terminal("chat", "--leader", c.client.url)
    at = t.wait("> ")
    t.send("/set max_tokens 4000\nhello\n")
    until(lambda: t.read() or c.status()["engine"]["tokens"] > 3, "the answer has begun")
    t.send("\x03")
    t.wait("stopped", at)
    c.until_idle()
    t.send("/quit\n")
    assert t.end() == 0


def test_chat_tells_of_a_loss(terminal, up, slow_model):
    c = up(slow_model, workers=2)
    t = terminal("chat", "--leader", c.client.url)
    at = t.wait("> ")
    t.send("/set max_tokens 40\nhello\n")
    until(lambda: t.read() or c.status()["engine"]["tokens"] > 3, "the answer has begun")
    c.signal("w2", signal.SIGKILL)
    t.wait("w2 was lost: its", at)
    assert re.search(r"\x1b\[2mw2 was lost[^\n]* ms", t.raw), "one dim line"
    assert t.leave() == 0


def test_chat_without_a_terminal(up):
    c = up(workers=1)
    said = subprocess.run(
        [HYDAC, "chat", "--leader", c.client.url], input="/set max_tokens 4\nhello\n/nonsense\n",
        capture_output=True, text=True, timeout=LIMIT, check=True,
    )
    assert "/again" in said.stdout and "> " not in said.stdout and "\x1b" not in said.stdout
    assert c.status()["engine"]["requests"] == 1


def test_top(terminal, up, model):
    """It shows each worker, then a loss, and gives the screen back."""
    c = up(model, workers=3)
    t = terminal("top", "--leader", c.client.url)
    at = t.wait("ready")
    for name in ("w1", "w2", "w3"):
        t.wait(name, at)
    c.signal("w2", signal.SIGKILL)
    at = t.wait("w2 offline, closed", at)
    t.wait("stall", at)
    t.send("q")
    assert t.end() == 0
    assert t.raw.rstrip().endswith("\x1b[?25h\x1b[?1049l")
    lines = t.text().split("\n")
    assert max(map(len, lines)) <= 120


def test_top_needs_a_terminal():
    said = subprocess.run([HYDAC, "top"], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=LIMIT, check=False)
    assert said.returncode == 2 and "hydac status" in said.stderr


def complete(*words):
    script = f"""
        source <({HYDAC} completion bash)
        COMP_WORDS=({' '.join(f"'{w}'" for w in words)}) COMP_CWORD={len(words) - 1}
        _hydac
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert said.stderr == ""
    return said.stdout.split()


@pytest.mark.quick
def test_completion(tmp_path):
    assert {"up", "chat", "top", "completion", "--help"} <= set(complete("hydac", ""))
    assert complete("hydac", "up", "--rec") == ["--recovery"]
    assert complete("hydac", "up", "--recovery", "st") == ["standby"]
    assert complete("hydac", "bench", "f")[0] == "failover"
    (tmp_path / "model.gguf").touch()
    path = str(tmp_path / "mod")
    assert complete("hydac", "up", "--model", path) == [path + "el.gguf"]
    assert complete("hydac", "up", "--port", "1") == []


def test_up_chooses(terminal, model, tmp_path):
    """With a model and nothing else: at least two workers, not more than the model has heads. A bar
    while it gets ready, a line for what a loss has cost."""
    ready = tmp_path / "ready.json"
    t = terminal("up", model, "--port", "0", "--ready-file", str(ready))
    until(lambda: t.read() or ready.exists(), "it serves")
    workers = json.loads(ready.read_text())["workers"]
    assert 2 <= len(workers) <= 3
    assert "\u2591\u2591 the leader reads the model" in t.text()
    os.kill(workers[0]["pid"], signal.SIGKILL)
    at = t.wait(f"w1 (pid {workers[0]['pid']}) was killed")
    t.wait("heads rebuilt by others, weights", at)
    t.send("\x03")
    assert t.end() == 0
