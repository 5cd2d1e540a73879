"""Several leaders of one cluster with their workers, and a client that knows nothing of hydac."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile

from client import Client
from cluster import HYDAC, LEADER, LIMIT, WORKER, Process, keygen, read_json, until
from ports import free_ports
from prompts import prompt

PROMPT = prompt(40, 78)
TOKENS = 400


class Here:
    """All on this machine."""

    def address(self, name):
        return "127.0.0.1"

    def prefix(self, name):
        return []


class Leaders:
    """Leaders a, b, c ... in order of preference, and workers that know them all; `net`: on which machines
    (chaos/links.py)."""

    def __init__(self, model, leaders, workers, leader_args=(), net=None, worker_args=(), own_urls=False):
        self.leader_args, self.worker_args, self.net = leader_args, worker_args, net or Here()
        self.own_urls = own_urls  # they say where clients find them (http.public_url)
        self.model, self.folder = model, tempfile.mkdtemp(prefix="hydac-test-")
        self.key = keygen(os.path.join(self.folder, "cluster.key"))
        self.names = "abc"[:leaders]
        ports = free_ports(leaders)
        self.ports = dict(zip(self.names, ports))
        self.http = dict(zip(self.names, free_ports(leaders)))
        self.list = ",".join(f"{self.net.address(n)}:{p}" for n, p in self.ports.items())
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
        at = self.net.address(name)
        args = [*self.net.prefix(name), LEADER, "--model.path", self.model, "--key", self.key]
        args += ["--cluster.listen", f"{at}:{self.ports[name]}", "--cluster.leaders", self.list]
        args += ["--http.listen", f"{at}:{self.http[name]}", "--state.dir", os.path.join(self.folder, name)]
        args += ["--ports-file", ports, "--http.open=true"]
        args += ["--cluster.rebalance=manual", *self.leader_args]
        args += [f"--http.public_url=http://{at}:{self.http[name]}"] if self.own_urls else []
        self.leaders[name] = Process(args, self._log(name))
        started = self.leaders[name]
        told = until(lambda: read_json(ports) or not started.running(), f"leader {name} listens")
        assert started.running(), f"leader {name} has ended:\n{started.output()}"
        self.clients[name] = Client(f"http://{at}:{told['http']}")

    def start_worker(self, name):
        args = [*self.net.prefix(name), WORKER, "--model.path", self.model, "--worker.name", name]
        args += ["--key", self.key]
        args += ["--leader.address", self.list, "--compute.threads", "1", "--retry.max_ms", "500"]
        args += ["--state.dir", os.path.join(self.folder, name), *self.worker_args]
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
        self.on_event = lambda: None

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
                    self.on_event()
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
