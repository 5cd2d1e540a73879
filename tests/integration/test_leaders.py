"""Several leaders: one serves, the others stand by; workers and `hydac run` go from one to the next."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from client import Client, HttpError
from cluster import HYDAC, LEADER, LIMIT, WORKER, Process, keygen, read_json, until
from prompts import prompt

PROMPT = prompt(40, 78)
TOKENS = 400


def free_ports(n):
    """Ports that the system has just chosen: a leader must be told its own and the others'."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Leaders:
    """Leaders a, b, c ... in order of preference, and workers that know them all."""

    def __init__(self, model, leaders, workers):
        self.model, self.folder = model, tempfile.mkdtemp(prefix="hydac-test-")
        self.key = keygen(os.path.join(self.folder, "cluster.key"))
        self.names = "abc"[:leaders]
        ports = free_ports(leaders)
        self.ports = dict(zip(self.names, ports))
        self.list = ",".join(f"127.0.0.1:{p}" for p in ports)
        self.leaders, self.clients, self.workers, self.starts = {}, {}, {}, 0
        for name in self.names:
            self.start_leader(name)
        for i in range(workers):
            self.start_worker(f"w{i + 1}")

    def _log(self, name):
        self.starts += 1
        return os.path.join(self.folder, f"{name}-{self.starts}.log")

    def start_leader(self, name):
        ports = os.path.join(self.folder, f"{name}-{self.starts}.json")
        args = [LEADER, "--model.path", self.model, "--key", self.key, "--ports-file", ports]
        args += ["--cluster.listen", f"127.0.0.1:{self.ports[name]}", "--cluster.leaders", self.list]
        args += ["--http.listen", "127.0.0.1:0", "--state.dir", os.path.join(self.folder, name)]
        args += ["--cluster.rebalance=manual"]
        self.leaders[name] = Process(args, self._log(name))
        told = until(lambda: read_json(ports), f"leader {name} listens")
        self.clients[name] = Client(f"http://127.0.0.1:{told['http']}")

    def start_worker(self, name):
        args = [WORKER, "--model.path", self.model, "--worker.name", name, "--key", self.key]
        args += ["--leader.address", self.list, "--compute.threads", "1", "--retry.max_ms", "500"]
        args += ["--state.dir", os.path.join(self.folder, name)]
        self.workers[name] = Process(args, self._log(name))

    def role(self, name):
        return self.clients[name].get("/hydac/status")["leaders"]["role"]

    def until_active(self, name, workers):
        """It serves, with so many workers."""

        def serving():
            if self.clients[name].request("GET", "/health")[0] != 200:
                return False
            status = self.clients[name].get("/hydac/status")
            return len([w for w in status["workers"] if w["heads"]]) == workers

        until(serving, f"leader {name} serves with {workers} workers")

    def run(self, *names):
        urls = ",".join(self.clients[n].url for n in names)
        args = [HYDAC, "run", "--leader", urls, "--max-tokens", str(TOKENS), "--json"]
        args += ["--prompt-tokens", ",".join(map(str, PROMPT)), "--ignore-eos", "--patience", "50"]
        return subprocess.Popen(
            [*args, "--temperature", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def until_answering(self, name, tokens=20):
        until(
            lambda: self.clients[name].get("/hydac/status")["engine"]["tokens"] > tokens,
            f"leader {name} answers",
        )

    def close(self):
        for p in [*self.workers.values(), *self.leaders.values()]:
            if p.running():
                p.signal(signal.SIGCONT)
        for p in [*self.workers.values(), *self.leaders.values()]:
            p.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        return "\n".join(p.output()[-4000:] for p in [*self.leaders.values(), *self.workers.values()])


@pytest.fixture
def leaders(model):
    running = []

    def start(n, workers):
        running.append(Leaders(model, n, workers))
        return running[-1]

    yield start
    for c in running:
        print(c.logs())
        c.close()


def finish(child):
    out, told = child.communicate(timeout=LIMIT)
    assert child.returncode == 0, told
    return json.loads(out)


def test_a_standby_refuses_and_says_who_serves(leaders):
    c = leaders(2, 1)
    c.until_active("a", 1)
    until(lambda: c.role("b") == "standby", "b stands by")
    assert c.role("a") == "active"

    def says_who_serves():
        status, _, body = c.clients["b"].request("GET", "/health")
        return status == 503 and str(c.ports["a"]) in body.decode()

    until(says_who_serves, "b says who serves")
    with pytest.raises(HttpError) as refused:
        c.clients["b"].complete(PROMPT, 4)
    assert refused.value.status == 503 and b"standby" in refused.value.body


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_leader_dies_and_the_answer_goes_on(leaders, how):
    c = leaders(2, 2)
    c.until_active("a", 2)
    whole = c.clients["a"].complete(PROMPT, TOKENS).tokens
    made = c.clients["a"].get("/hydac/status")["engine"]["tokens"]
    child = c.run("a", "b")
    c.until_answering("a", made + 20)
    c.leaders["a"].signal(how)
    if how == signal.SIGSTOP:  # its connection stays; it is let go as soon as another one serves
        c.until_active("b", 2)
        c.leaders["a"].signal(signal.SIGCONT)
    answer = finish(child)
    assert answer["tokens"] == whole and answer["resumed"] >= 1
    c.until_active("b", 2)
    status = c.clients["b"].get("/hydac/status")  # b went on by itself; nothing was asked of it anew
    assert 1 <= status["records"]["adopted"] == status["engine"]["requests"]
    if how == signal.SIGSTOP:
        until(lambda: c.role("a") == "standby", "a stands by now")
    else:
        c.leaders["a"].wait()
        c.start_leader("a")
        until(lambda: c.role("a") == "standby", "a stands by now")
    assert c.role("b") == "active"
    assert c.clients["b"].get("/hydac/status")["leaders"]["term"] == 2


class Stream:
    """A client that knows nothing of hydac: events as they come, by their ids."""

    def __init__(self, url, path, body=None, **headers):
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=LIMIT)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            headers["Content-Type"] = "application/json"
        text = json.dumps(body) if body else None
        self.connection.request("POST" if body else "GET", path, text, headers)
        self.answer = self.connection.getresponse()
        self.events, self.last, self.whole = {}, None, False

    def read(self, events=None):
        """So many more events, or all until the connection ends."""
        n = 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            while events is None or n < events:
                line = self.answer.readline().decode()
                if not line:
                    break
                if line.startswith("id: "):
                    self.last = line[4:].strip()
                elif line.startswith("data: "):
                    n += 1
                    self.whole = line.strip() == "data: [DONE]"
                    if not self.whole:
                        event = json.loads(line[6:])
                        for choice in event.get("choices", []):
                            text = choice.get("text") or choice.get("delta", {}).get("content") or ""
                            i = choice["index"]
                            self.events[i] = self.events.get(i, "") + text
        return self

    def going_on(self, earlier):
        self.events = dict(earlier.events)
        return self


def begin(c, name, body, **headers):
    return Stream(c.clients[name].url, "/v1/completions", body, **headers)


def test_clients_that_know_nothing_of_it_resume_by_ids(leaders):
    c = leaders(2, 2)
    c.until_active("a", 2)
    until(lambda: c.clients["a"].get("/hydac/status")["records"]["followers"] == 1, "b follows")
    body = {"prompt": PROMPT, "max_tokens": 200, "stream": True, "ignore_eos": True}
    bodies = [
        {**body, "temperature": 0},
        {**body, "temperature": 1, "seed": 5, "n": 3},
        {**body, "temperature": 1, "seed": 6, "stop": "no such text", "logprobs": 2},
    ]
    expected = [begin(c, "a", b).read() for b in bodies]
    assert all(s.whole and len(s.events) == b.get("n", 1) for s, b in zip(expected, bodies))
    streams = [begin(c, "a", b, X_Request_Id=f"mine-{i}").read(20) for i, b in enumerate(bodies)]
    plain = begin(c, "a", bodies[0]).read(20)  # its client asks again, with nothing but its body
    c.leaders["a"].signal(signal.SIGKILL)
    for s in [*streams, plain]:
        s.read()
        assert not s.whole
    c.until_active("b", 2)
    for i, (s, b, e) in enumerate(zip(streams, bodies, expected)):
        if i == 0:
            path = f"/v1/hydac/requests/mine-{i}/events"
            rest = Stream(c.clients["b"].url, path, Last_Event_ID=s.last)
        else:
            rest = begin(c, "b", b, X_Request_Id=f"mine-{i}", Last_Event_ID=s.last)
        rest = rest.going_on(s).read()
        assert rest.whole and rest.events == e.events, b
    again = begin(c, "b", bodies[0]).read()
    assert again.whole and again.events == expected[0].events
    status = c.clients["b"].get("/hydac/status")
    assert status["records"]["adopted"] == status["engine"]["requests"] - 2  # three of one request
    with pytest.raises(HttpError) as refused:
        c.clients["b"].get("/v1/hydac/requests/another/events")
    assert refused.value.status == 404


def test_two_leaders_die_one_after_the_other(leaders):
    c = leaders(3, 2)
    c.until_active("a", 2)
    whole = c.clients["a"].complete(PROMPT, TOKENS).tokens
    child = c.run("a", "b", "c")
    made = len(whole)
    for name, following in (("a", "b"), ("b", "c")):
        c.until_answering(name, made + 10)
        c.leaders[name].signal(signal.SIGKILL)
        c.until_active(following, 2)
        made = 0
    answer = finish(child)
    assert answer["tokens"] == whole and answer["resumed"] >= 2


def test_a_worker_that_comes_late_finds_who_serves(leaders):
    c = leaders(2, 1)
    c.until_active("a", 1)
    c.leaders["a"].signal(signal.SIGKILL)
    c.until_active("b", 1)
    c.leaders["a"].wait()
    c.start_leader("a")
    until(lambda: c.role("a") == "standby", "a stands by now")
    c.start_worker("w2")
    c.until_active("b", 2)
    assert c.role("a") == "standby"
