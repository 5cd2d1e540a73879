"""The cluster under test: a leader and workers on their machines (links.py)."""

import os
import re
import shutil
import signal
import tempfile

import links
from client import Client
from cluster import LEADER, WORKER, Base, Process, keygen, read_json, until

DEADLINE, ASSIGN_DEADLINE = 1500, 2000  # ms; less than requests wait for a worker
REJOIN = 60.0  # seconds after which a worker that could join is taken never to


class Cluster(Base):
    def __init__(self, model, names, limit, net, with_key, guesses=True):
        """`net`: what links.make returned. With a key nobody in the middle can lie. Without guesses
        every row is computed once."""
        self.model, self.names = model, names
        self.net, self.why_loopback = net
        self.folder = tempfile.mkdtemp(prefix="hydac-chaos-")
        self.workers, self.stopped, self.liars, self.starts = {}, set(), set(), 0
        ports = os.path.join(self.folder, "ports.json")
        at = self.net.leader_address
        self.tls = ["--cluster.tls=off"]
        if with_key:
            self.tls = ["--key", keygen(os.path.join(self.folder, "cluster.key"))]
        args = [LEADER, "--die-with-parent", "--model.path", model]
        args += ["--cluster.listen", f"{at}:0", "--http.listen", f"{at}:0", "--ports-file", ports]
        args += ["--state.dir", os.path.join(self.folder, "leader")]
        args += [f"--recovery.wait_for_worker_ms={int(limit * 1000)}"]
        args += ["--limits.max_rows=32", "--compute.overlap_rows=8"]
        args += [f"--cluster.min_workers={len(names)}", f"--recovery.step_deadline_ms={DEADLINE}"]
        args += [f"--recovery.assign_deadline_ms={ASSIGN_DEADLINE}"]
        args += [*self.tls, "--http.open=true"]
        args += ["--integrity.audit=8", "--integrity.quarantine_s=0"]
        args += ["--integrity.scrub_s=2", "--integrity.drain_after=0"]
        # Who was silent twice in a minute rests for longer than a wave waits for all to own something.
        args += ["--cluster.rebalance=manual"]
        args += [] if guesses else ["--speculation.mode=off"]
        self.leader = Process(args, os.path.join(self.folder, "leader.log"))
        self.ports = until(lambda: read_json(ports), "the leader listens")
        self.client = Client(f"http://{at}:{self.ports['http']}")
        for name in names:
            self.start(name)
        self.until_serving()

    def start(self, name):
        """Starts the worker, if it does not run."""
        if name in self.workers and self.workers[name].running():
            return
        self.starts += 1
        args = [*self.net.prefix(name), WORKER, "--die-with-parent", "--model.path", self.model]
        args += ["--leader.address", self.net.leader_for(name, self.ports["cluster"])]
        args += [*self.tls, "--worker.name", name, "--compute.threads", "1"]
        args += ["--retry.max_ms", "400", "--state.dir", os.path.join(self.folder, name)]
        self.workers[name] = Process(args, os.path.join(self.folder, f"{name}-{self.starts}.log"))

    def kill(self, name):
        if self.workers[name].running():
            self.workers[name].signal(signal.SIGKILL)
            self.workers[name].wait()
        self.stopped.discard(name)

    def stop(self, name):
        self.workers[name].signal(signal.SIGSTOP)
        self.stopped.add(name)

    def resume(self, name):
        self.workers[name].signal(signal.SIGCONT)
        self.stopped.discard(name)

    def lie(self, name, lie):
        self.net.middles.tell(name, f"lie {lie}")
        self.liars.add(name)

    def honest(self, name):
        if name in self.liars:
            self.net.middles.tell(name, "honest")
        self.liars.discard(name)

    def reachable(self, name):
        """It runs and can be heard: whatever the leader thinks of it."""
        cut = self.net.has_links and name in self.net.cuts
        hindered = cut or name in self.stopped or name in self.liars
        return self.workers[name].running() and not hindered

    def online(self):
        return [w["name"] for w in self.status()["workers"] if w["state"] != "offline"]

    def mend(self):
        """Everything runs and is connected again; does not wait for it."""
        for name in self.names:
            self.net.heal(name)
            self.honest(name)
            if self.net.has_links:
                self.net.slow(name, False)
            if name in self.stopped:
                self.resume(name)
            self.start(name)

    def until_joined(self, names, limit=REJOIN):
        """These processes are, or were, in the cluster, and the leader has them in it now."""

        def joined():
            met = all(" joined " in self.workers[n].output() for n in names)
            return met and set(names) <= set(self.online())

        until(joined, f"{', '.join(names)} joined", limit)

    def until_all_own(self):
        """Every worker has work, as many as there are heads at least."""

        def spread(status):
            owners = [w for w in status["workers"] if w["ffn_blocks"] or w["heads"]]
            return status["cluster"]["state"] == "ready" and len(owners) == len(self.names)

        self.until_status(spread, "every worker owns something")

    def failovers(self):
        """The leader's own account of each, as a dict of strings."""
        lines = [line for line in self.leader.output().splitlines() if " failover " in line]
        return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines]

    def blamed(self):
        """How often somebody was cut off for wrong bits, or nobody could be."""
        log = self.leader.output()
        return log.count(" worker_wrong ") + log.count(" workers_contradict ")

    def doubtful(self):
        """Ids of requests that had ended when it was found."""
        return set(re.findall(r" ended_request_suspect id=(\S+)", self.leader.output()))

    def logs(self, name):
        logs = [f for f in os.listdir(self.folder) if f.startswith(name) and f.endswith(".log")]
        return [os.path.join(self.folder, f) for f in sorted(logs)]

    def close(self, keep=False):
        """Exit status of the leader, and of each worker that was to end well."""
        self.mend()
        statuses = {name: w.stop() for name, w in self.workers.items()}
        statuses["leader"] = self.leader.stop()
        self.net.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        return statuses
