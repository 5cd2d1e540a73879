"""deploy/proxy: what finds the leader that serves, haproxy or an address that moves, does so when it dies in the
middle of an answer; whoever resumes through it gets the same tokens."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from client import Client
from cluster import Process, until
from files import check, read, tool
from leaders import Leaders, Stream
from ports import free_port
from prompts import prompt

BODY = {"prompt": prompt(30, 12), "max_tokens": 300, "stream": True, "ignore_eos": True, "temperature": 0}
EVENTS = 40


def serves(client):
    try:
        return client.request("GET", "/health")[0] == 200
    except OSError:
        return False


def resumed(c, url, expected, name):
    """The leader dies in the middle of an answer that came through this address, and so does its rest."""
    first = Stream(url, "/v1/completions", BODY, X_Request_Id=name).read(EVENTS)
    c.leaders["a"].signal(signal.SIGKILL)
    c.leaders["a"].wait()
    first.read()  # what was on its way, and the end
    assert not first.whole and first.last
    client = Client(url)
    until(lambda: serves(client), "the other one is found")
    headers = {"Last_Event_ID": first.last, "X_Request_Id": name}
    rest = Stream(url, "/v1/completions", BODY, **headers).going_on(first).read()
    assert rest.whole and rest.events == expected


def test_haproxy(model, tmp_path):
    c = Leaders(model, 2, 2)
    port, path = free_port(), tmp_path / "leaders.cfg"
    path.write_text(read("proxy", "leaders.cfg"))
    program = tool("haproxy", "haproxy")
    check([program, "-c", "-f", str(path)])
    env = ["env", f"HYDAC_BIND=127.0.0.1:{port}"]
    env += [f"HYDAC_LEADER_{i}=127.0.0.1:{c.http[n]}" for i, n in ((1, "a"), (2, "b"))]
    proxy = Process([*env, program, "-db", "-f", str(path)], str(tmp_path / "proxy.log"))
    try:
        c.until_active("a", 2)
        expected = Stream(c.clients["a"].url, "/v1/completions", BODY).read().events
        until(lambda: serves(Client(f"http://127.0.0.1:{port}")), "haproxy serves")
        resumed(c, f"http://127.0.0.1:{port}", expected, "through-haproxy")
    finally:
        print(c.logs(), proxy.output())
        proxy.stop()
        c.close()


ADDRESS = "10.77.0.100"


def with_address(folder):
    """In namespaces of their own (this program moves into one): leaders whose address moves."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../chaos"))
    import links

    net = links.Namespaces(["a", "b", "w1"], (), ())
    model = os.path.join(folder, "m.gguf")
    from cluster import HYDAC

    check([HYDAC, "synth", "--shape", "tiny-gqa3", "--type", "q4_0", model])
    c = Leaders(model, 2, 1, ["--http.listen=0.0.0.0:8080"], net)
    text = read("proxy", "keepalived.conf").replace("10.0.0.100", ADDRESS)
    keepers = []
    try:
        c.until_active("a", 1)
        expected = Stream(c.clients["a"].url, "/v1/completions", BODY).read().events
        for name in "ab":
            path = os.path.join(folder, f"{name}.conf")
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            args = [*net.prefix(name), "keepalived", "--dont-fork", "--log-console", "--use-file", path]
            args += [f"--{kind}={folder}/{name}-{kind}" for kind in ("pid", "vrrp_pid", "checkers_pid")]
            keepers.append(Process(args, os.path.join(folder, f"{name}.log")))
        url = f"http://{ADDRESS}:8080"
        until(lambda: serves(Client(url)), "somebody has the address")
        resumed(c, url, expected, "through-the-address")
    except BaseException:
        print(c.logs(), *(k.output()[-3000:] for k in keepers))
        raise
    finally:
        for k in keepers:
            k.stop()
        c.close()
        net.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for network namespaces")
@pytest.mark.skipif(not shutil.which("keepalived"), reason="keepalived is not installed")
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_keepalived(tmp_path):
    run = "import sys; sys.path[:0] = sys.argv[2:]; import test_two_leaders as t; t.with_address(sys.argv[1])"
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [here, os.path.join(here, "../integration")]
    done = subprocess.run(
        [sys.executable, "-c", run, str(tmp_path), *paths], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
