"""deploy/proxy: the examples are taken by the programs, and do what they say with two clusters."""

import os
import re
import signal

import pytest

from client import Client
from cluster import Daemons, Process, until
from files import check, path_of, read, tool
from ports import free_port
from prompts import prompt

PROMPT = prompt(20, 93)


@pytest.fixture
def clusters(model):
    running = []
    try:
        for _ in range(2):
            running.append(Daemons(model))
            running[-1].start_all(1)
        yield running
    finally:
        for c in running:
            c.close()


def adapted(text, clusters, folder):
    """The example with ports of this test; what nginx writes goes to `folder`."""
    front = free_port()
    ports = {"8000": front, "8080": clusters[0].ports["http"], "8081": clusters[1].ports["http"]}
    text = re.sub(r"127\.0\.0\.1:(80\d\d)", lambda m: f"127.0.0.1:{ports[m[1]]}", text)
    paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    own = "".join(f"    {p}_temp_path {folder}/{p};\n" for p in paths)
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{own}")
    return text, front


def haproxy(folder, text):
    path = folder / "haproxy.cfg"
    path.write_text(text)
    program = tool("haproxy", "haproxy")
    check([program, "-c", "-f", str(path)])
    return [program, "-db", "-f", str(path)]


def nginx(folder, text):
    path = folder / "nginx.conf"
    head = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/errors;\n"
    path.write_text(head + text)
    program = tool("nginx", "nginx-light")
    args = ["-c", str(path), "-p", str(folder)]
    check([program, "-t", *args])
    return [program, *args]


PROXIES = {"haproxy.cfg": haproxy, "nginx.conf": nginx}


def served_by(clusters):
    """Tokens that each cluster has generated."""
    return [c.status()["engine"]["tokens"] for c in clusters]


def reachable(client):
    try:
        return client.request("GET", "/health")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("name", PROXIES)
def test_two_clusters(clusters, name, tmp_path):
    text, port = adapted(read("proxy", name), clusters, tmp_path)
    proxy = Process(PROXIES[name](tmp_path, text), str(tmp_path / "proxy.log"))
    client = Client(f"http://127.0.0.1:{port}")
    try:
        until(lambda: reachable(client), "the proxy serves")
        # At once: one for each.
        tokens = [a.tokens for a in client.together([(PROMPT, 150, {})] * 2)]
        assert tokens[0] == tokens[1]
        assert min(served_by(clusters)) > 0, "both were asked"
        stream = client.stream(PROMPT, 150)
        assert 1 <= stream.read_tokens(2) < 150, "tokens come one by one"
        assert stream.finish().tokens == tokens[0]
        # A whole cluster dies: whoever asks now hears nothing of it.
        clusters[0].leader.signal(signal.SIGKILL)
        clusters[0].leader.wait()
        for _ in range(4):
            assert client.complete(PROMPT, 150).tokens == tokens[0]
    finally:
        print(proxy.output())
        proxy.stop()


@pytest.mark.parametrize("name", PROXIES)
def test_workers_gone(clusters, name, tmp_path):
    """A cluster without workers does not serve (503): requests go to the other one."""
    text, port = adapted(read("proxy", name), clusters, tmp_path)
    clusters[0].workers["w1"].signal(signal.SIGKILL)
    until(lambda: clusters[0].client.request("GET", "/health")[0] == 503, "it does not serve")
    proxy = Process(PROXIES[name](tmp_path, text), str(tmp_path / "proxy.log"))
    client = Client(f"http://127.0.0.1:{port}")
    try:
        until(lambda: reachable(client), "the proxy serves")
        if name == "haproxy.cfg":  # it asks /health itself, and needs a moment for it
            until(lambda: "cluster1" in proxy.output() and "DOWN" in proxy.output(), "it knows")
            for _ in range(4):
                assert len(client.complete(PROMPT, 8).tokens) == 8
        for _ in range(4):
            assert client.request("GET", "/health")[0] == 200
    finally:
        print(proxy.output())
        proxy.stop()


def test_examples_are_there():
    assert sorted(os.listdir(path_of("proxy"))) == sorted([*PROXIES, "leaders.cfg", "keepalived.conf"])
