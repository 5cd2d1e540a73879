"""Clusters of the real binaries on this machine's loopback, for tests.

Nothing here waits for a time: every wait is for a condition, with a generous limit after which the
test fails and shows the daemons' logs.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from client import Client

BUILD = os.environ.get("HYDAC_BUILD", "")
HYDAC = os.path.join(BUILD, "leader/ctl/hydac")
LEADER = os.path.join(BUILD, "leader/daemon/hydac-leader")
WORKER = os.path.join(BUILD, "worker/hydac-worker")
REFERENCE = os.path.join(BUILD, "tests/device/hydac-worker-reference")  # has compute.device: reference

# Seconds after which a condition is taken never to come true; more under an instrument (bench/).
LIMIT = float(os.environ.get("HYDAC_LIMIT", "60"))
POLL = 0.005


def until(condition, what, limit=LIMIT):
    """Polls until condition() is true (its value is returned); fails the test after `limit`."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit:g} s: {what}")
        time.sleep(POLL)


def alive(pid):
    """True while the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def read_json(path):
    """The file's value, or None while it is not there."""
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def need_devices(devices):
    """Skips the test where a worker would not find one of these."""
    if any(d.startswith("opencl") for d in devices):
        there = subprocess.run([WORKER, "--list-devices"], stdout=subprocess.PIPE, check=True).stdout
        if b"opencl:" not in there:
            raise unittest.SkipTest("no OpenCL driver")


def keygen(path):
    """A new cluster key in that file; the path."""
    with open(path, "wb") as f:
        subprocess.run([HYDAC, "keygen"], stdout=f, check=True)
    return path


def shell(before):
    """What to put before a program's arguments so that a shell does that first."""
    return ["sh", "-c", before + '\nexec "$@"', "sh"] if before else []


class Process:
    """One of our programs, with its output kept in a file."""

    def __init__(self, args, log):
        self.args, self.log = args, log
        with open(log, "ab") as f:
            # A session of its own, so that a forgotten child can be found and ended with it.
            self.popen = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True
            )
        self.pid = self.popen.pid

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, limit=LIMIT):
        return self.popen.wait(limit)

    def stop(self):
        """SIGTERM, then the exit status. Whatever is left after the limit is killed."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Base:
    """What both kinds of cluster can be asked."""

    client = None

    def status(self):
        return self.client.get("/hydac/status")

    def worker(self, name, status=None):
        """The status of one worker, None if it never joined."""
        workers = (status or self.status())["workers"]
        return next((w for w in workers if w["name"] == name), None)

    def state_of(self, name):
        w = self.worker(name)
        return w["state"] if w else None

    def hydac(self, *command, fails=False):
        """What `hydac COMMAND` prints for this cluster; with `fails` its error."""
        args = [HYDAC, command[0], "--leader", self.client.url, *command[1:]]
        done = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert (done.returncode != 0) == fails, f"{command}: {done.stderr or done.stdout}"
        return done.stderr if fails else done.stdout

    def until_status(self, condition, what, limit=LIMIT):
        return until(lambda: condition(self.status()), what, limit)

    def until_serving(self, workers=None, limit=LIMIT):
        """Health is good and, with `workers`, that many own heads."""

        def serving():
            if self.client.request("GET", "/health")[0] != 200:
                return False
            owners = [w for w in self.status()["workers"] if w["heads"]]
            return workers is None or len(owners) == workers

        until(serving, f"the cluster serves with {workers or 'enough'} workers", limit)

    def until_idle(self):
        self.until_status(
            lambda s: s["engine"]["running"] == 0 and s["engine"]["waiting"] == 0,
            "no request is left in the engine",
        )


def steady(leader_args):
    """Who owns what, and what is counted, must not depend on how busy the machine is: slow workers are
    relieved, and tokens guessed, only where a test says so."""
    unsaid = {"cluster.rebalance": "manual", "speculation.mode": "off"}
    args = [f"--{k}={v}" for k, v in unsaid.items() if not any(k in arg for arg in leader_args)]
    return [*args, *leader_args]


class Up(Base):
    """`hydac up`: a leader and workers w1..wN."""

    def __init__(self, model, workers=3, recovery="reuse", leader_args=(), options=()):
        self.folder = tempfile.mkdtemp(prefix="hydac-test-")
        self.ready_file = os.path.join(self.folder, "ready.json")
        args = [HYDAC, "up", "--model", model, "--workers", str(workers), "--port", "0"]
        args += ["--state", os.path.join(self.folder, "state"), "--ready-file", self.ready_file]
        args += ["--recovery", recovery, "--threads", "1", *options]
        for arg in steady(leader_args):
            args += ["--leader-arg", arg]
        self.process = Process(args, os.path.join(self.folder, "up.log"))

        def ready():
            if not self.process.running():
                raise AssertionError(f"hydac up ended:\n{self.process.output()}")
            return read_json(self.ready_file)

        try:
            self.ready = until(ready, "hydac up serves")
        except AssertionError:
            self.close()
            raise
        self.leader_pid = self.ready["leader_pid"]
        self.pids = {w["name"]: w["pid"] for w in self.ready["workers"]}
        self.client = Client(self.ready["leader"])

    def signal(self, name, number):
        os.kill(self.pids[name], number)

    def close(self):
        status = self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if value is not None:
            print(self.process.output()[-8000:])
        self.close()


class Daemons(Base):
    """A leader and workers started one by one, so that workers can come and go."""

    def __init__(self, model, leader_args=(), worker_args=(), key=False, under=""):
        """`under`: what a shell does before it becomes the leader: "ulimit -n 40", "exec 2>&-"."""
        self.model, self.worker_args = model, list(worker_args)
        self.folder = tempfile.mkdtemp(prefix="hydac-test-")
        self.key = keygen(os.path.join(self.folder, "cluster.key")) if key else None
        self.workers = {}
        self.starts = 0
        ports = os.path.join(self.folder, "ports.json")
        args = [LEADER, "--model.path", model, "--cluster.listen", "127.0.0.1:0"]
        args += ["--http.listen", "127.0.0.1:0", "--ports-file", ports]
        args += ["--state.dir", os.path.join(self.folder, "leader"), *steady(leader_args)]
        args += ["--key", self.key] if key else []
        self.leader = Process(shell(under) + args, os.path.join(self.folder, "leader.log"))

        def listening():
            if not self.leader.running():
                raise AssertionError(f"hydac-leader ended:\n{self.leader.output()}")
            return read_json(ports)

        try:
            self.ports = until(listening, "the leader listens")
        except AssertionError:
            self.close()
            raise
        self.client = Client(f"http://127.0.0.1:{self.ports['http']}")

    def start(self, name, *more, key=True, program=WORKER, under=""):
        """Starts (again) the worker of that name; key: the cluster's, False for none, or a path."""
        self.starts += 1
        args = [program, "--model.path", self.model, "--worker.name", name]
        args += ["--leader.address", f"127.0.0.1:{self.ports['cluster']}"]
        args += ["--compute.threads", "1", "--state.dir", os.path.join(self.folder, name)]
        path = self.key if key is True else key
        args += ["--key", path] if path else []
        log = os.path.join(self.folder, f"{name}-{self.starts}.log")
        self.workers[name] = Process(shell(under) + args + self.worker_args + list(more), log)
        return self.workers[name]

    def start_all(self, n):
        for i in range(n):
            self.start(f"w{i + 1}")
        self.until_serving(n)

    def start_devices(self, devices):
        """Workers w1, w2 ... with these kinds of device."""
        need_devices(devices)
        for i, device in enumerate(devices):
            program = REFERENCE if device == "reference" else WORKER
            self.start(f"w{i + 1}", f"--compute.device={device}", program=program)
        self.until_serving(len(devices), limit=300)  # a driver compiles its kernels first

    def signal(self, name, number):
        self.workers[name].signal(number)

    def rejoin(self, name):
        """Starts a killed worker again and waits until it owns heads."""
        self.workers[name].wait()
        self.start(name)
        self.until_status(lambda s: (self.worker(name, s) or {}).get("heads"), f"{name} owns heads")
        self.until_serving()

    def logs(self):
        parts = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as f:
                    parts.append(f"---- {name}\n{f.read()[-4000:]}")
        return "\n".join(parts)

    def close(self):
        for w in self.workers.values():
            if w.running():
                w.signal(signal.SIGCONT)  # a stopped one could not take its leave
        statuses = [p.stop() for p in (self.leader, *self.workers.values())]
        shutil.rmtree(self.folder, ignore_errors=True)
        return statuses

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if value is not None:
            print(self.logs())
        self.close()
