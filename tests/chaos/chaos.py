#!/usr/bin/env python3
"""A cluster of the real binaries under a seeded schedule of faults, while clients stream.

    HYDAC_BUILD=build tests/chaos/chaos.py [--seed S] [--seconds T | --kills N] [--model M] ...

Passes only if every stream's tokens are those of the undisturbed run and every request ends with
tokens or one error, which is allowed only when no worker was left for longer than the limit.
"""

import argparse
import collections
import itertools
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "integration"))

import machines  # noqa: E402 (the path comes first)
import schedule  # noqa: E402
import streams  # noqa: E402
from cluster import HYDAC  # noqa: E402

HANG = 300.0  # seconds after which a stream is taken never to end


class Failure(Exception):
    pass


class Chaos:
    def __init__(self, cluster, options):
        self.c, self.o = cluster, options
        context = cluster.status()["model"]["context"]
        self.positions = min(options.positions, context)
        self.requests = streams.requests(self.positions)
        self.expected = []
        self.running, self.more, self.together = [], iter(()), 0  # of the wave in hand
        self.acts, self.kinds = collections.Counter(), collections.Counter()
        self.verdicts, self.failures = collections.Counter(), []
        self.waves = self.kills_in_stream = self.survived = 0
        self.alone_since, self.longest_outage = None, 0.0
        self.longest_gap = self.longest_rejoin = 0.0

    # ---- The undisturbed run

    def undisturbed(self):
        self.running = [self.follow(i, True) for i in range(len(self.requests))]
        for f in self.running:
            f.finished.wait(HANG)
            _, n, _ = f.request
            if f.errors or len(f.answer.tokens) != n:
                raise Failure(f"undisturbed request {f.index}: {f.errors or 'too few tokens'}")
        self.expected = [f.answer.tokens for f in self.running]
        if self.c.failovers():
            print("a failover in the undisturbed run: the machine is very busy")

    def follow(self, index, to_the_end=False):
        leave = int(streams.LEAVES.get(index, 0) * self.positions)
        leave = None if to_the_end else leave
        return streams.Follower(self.c.client, index, self.requests[index], leave)

    # ---- Faults

    def act(self, verb, name):
        c = self.c
        if verb == "kill" and c.workers[name].running():
            if any(not f.finished.is_set() for f in self.running):
                self.kills_in_stream += 1
            c.kill(name)
        elif verb == "kill":
            return
        elif verb == "start":
            self.check_alive()
            c.start(name)
        elif verb == "joined":
            c.until_joined([name])
        elif verb == "stop":
            c.stop(name)
        elif verb == "continue":
            c.resume(name)
        elif verb.startswith("cut "):
            c.net.cut(name, verb.split()[1])
        elif verb == "heal":
            c.net.heal(name)
        elif verb in ("slow", "fast"):
            c.net.slow(name, verb == "slow")
        elif verb == "prompt":
            self.running.append(self.follow(streams.PREFILL))
        self.acts[verb] += 1
        self.note_outage()

    def note_outage(self):
        """Since when nobody can be heard."""
        if self.alone_since is None and not any(self.c.reachable(n) for n in self.c.names):
            self.alone_since = time.monotonic()

    def pass_time(self, seconds):
        """Meanwhile a stream that has ended makes room for another."""
        end = time.monotonic() + seconds
        while True:
            live = sum(not f.finished.is_set() for f in self.running)
            self.running += [self.follow(next(self.more)) for _ in range(self.together - live)]
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.02))

    def play(self, episode):
        pause, kind, steps = episode
        self.kinds[kind] += 1
        self.pass_time(pause)
        for wait, verb, name in steps:
            if wait:
                self.pass_time(wait)
            if self.o.verbose:
                print(f"{time.monotonic() - self.begin:9.3f}  {kind}: {verb} {name}", flush=True)
            self.act(verb, name)

    def check_alive(self):
        """Whatever ended without us doing it has crashed."""
        if not self.c.leader.running():
            raise Failure(f"the leader ended: {self.c.leader.popen.returncode}")
        for name, w in self.c.workers.items():
            if w.popen.poll() not in (None, -9):
                raise Failure(f"{name} ended by itself: {w.popen.returncode}, see {w.log}")

    # ---- Waves

    def make_whole(self, spread):
        """All back. Returns how long nobody could be heard in this wave."""
        began = time.monotonic()
        self.check_alive()
        self.c.mend()
        self.c.until_joined(self.c.names if spread else self.c.names[:1])
        outage = time.monotonic() - self.alone_since if self.alone_since else 0.0
        self.alone_since = None
        self.longest_rejoin = max(self.longest_rejoin, time.monotonic() - began)
        self.longest_outage = max(self.longest_outage, outage)
        return outage

    def wave(self, wave):
        self.waves += 1
        before = self.kills_in_stream
        self.running, self.together = [], len(wave.requests)
        self.more = itertools.cycle(wave.requests)
        for episode in wave.episodes:
            self.play(episode)
        outage = self.make_whole(wave.whole)
        end = time.monotonic() + HANG
        for f in self.running:
            f.finished.wait(max(0, end - time.monotonic()))
            self.judge(f, outage > schedule.LIMIT)
        if outage <= schedule.LIMIT and not self.failures:
            self.survived += self.kills_in_stream - before
        self.check_alive()
        self.c.until_idle()
        if wave.whole:
            self.c.until_all_own()
        return not self.failures

    def judge(self, f, may_refuse):
        verdict = f.verdict(self.expected[f.index], may_refuse)
        self.longest_gap = max(self.longest_gap, f.longest_gap)
        if verdict in ("same", "refused"):
            self.verdicts[verdict] += 1
        else:
            self.failures.append(f"wave {self.waves}, request {f.index}: {verdict}")

    def run(self):
        self.begin = time.monotonic()
        links = self.c.net.has_links
        for wave in schedule.waves(self.o.seed, self.c.names, len(self.requests), links):
            enough = self.o.kills and self.acts["kill"] >= self.o.kills
            if enough or time.monotonic() - self.begin > self.o.seconds:
                return
            if not self.wave(wave):
                return

    # ---- The account

    def summary(self):
        def listed(counter):
            return ", ".join(f"{k} {n}" for k, n in sorted(counter.items())) or "none"

        failovers = self.c.failovers()
        causes = collections.Counter(f["cause"] for f in failovers)
        total = {k: sum(int(f[k]) for f in failovers) for k in ("rows_rebuilt", "rows_replayed")}
        faults = {k: n for k, n in self.acts.items() if k not in ("start", "joined", "prompt")}
        print(f"seed {self.o.seed}, {self.o.model}, {len(self.c.names)} workers, {self.c.net.kind}")
        if self.c.why_loopback:
            print(f"no network namespaces ({self.c.why_loopback}): process faults only")
        print(f"faults: {listed(faults)}")
        print(
            f"kills while streams ran: {self.kills_in_stream}, of these {self.survived} in waves "
            "whose streams all gave every token"
        )
        print(f"episodes: {listed(self.kinds)}")
        print(f"failovers: {len(failovers)} ({listed(causes)})")
        print(f"rows: {total['rows_rebuilt']} rebuilt, {total['rows_replayed']} replayed")
        print(
            f"longest: gap between tokens {self.longest_gap:.2f} s, until all were back "
            f"{self.longest_rejoin:.2f} s, without a worker {self.longest_outage:.2f} s"
        )
        print(
            f"streams: {sum(self.verdicts.values()) + len(self.failures)} compared, "
            f"{self.verdicts['same']} identical, {self.verdicts['refused']} refused after the "
            f"limit, {len(self.failures)} wrong, in {self.waves} waves"
        )


def model_of(options, folder):
    """The model's path: as given, or made."""
    if os.path.exists(options.model):
        return options.model
    path = os.path.join(folder, "model.gguf")
    args = [HYDAC, "synth", "--shape", options.model, "--type", options.type, "--seed", "1", path]
    subprocess.run(args, check=True, capture_output=True)
    return path


def again(o):
    length = f"--kills {o.kills}" if o.kills else f"--seconds {o.seconds:g}"
    more = "" if o.workers == 4 else f" --workers {o.workers}"
    more += "" if o.positions == 2048 else f" --positions {o.positions}"
    return f"tests/chaos/chaos.py --seed {o.seed} {length} --model {o.model} --type {o.type}{more}"


def parse(args):
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=float, help="how long (default: 45, or no end with --kills)")
    p.add_argument("--kills", type=int, help="end after so many SIGKILLs")
    p.add_argument("--model", default="tiny-gqa3", help="a shape of `hydac synth`, or a path")
    p.add_argument("--type", default="f32", help="of the synthetic model's weights")
    p.add_argument("--workers", type=int, default=4)
    p.add_argument("--positions", type=int, default=2048, help="of the longest request")
    p.add_argument("--keep", action="store_true", help="keep the daemons' logs")
    p.add_argument("--verbose", action="store_true", help="say each fault as it is made")
    o = p.parse_args(args)
    if o.workers < 2:
        p.error("at least 2 workers")
    o.seconds = o.seconds or (float("inf") if o.kills else 45.0)
    return o


def attempt(o, model):
    """True when all went well."""
    names = [f"w{i + 1}" for i in range(o.workers)]
    cluster = machines.Cluster(model, names, schedule.LIMIT)
    chaos, good = Chaos(cluster, o), False
    try:
        chaos.undisturbed()
        chaos.run()
        good = not chaos.failures
    except (Failure, AssertionError, OSError) as e:
        chaos.failures.append(f"wave {chaos.waves}: {type(e).__name__}: {e}")
    finally:
        chaos.summary()
        statuses = cluster.close(keep=o.keep or not good)
    wrong = {name: s for name, s in statuses.items() if s != 0}
    if good and wrong:
        chaos.failures.append(f"exit statuses at the end: {wrong}")
    for failure in chaos.failures:
        print(f"wrong: {failure}")
    if not good:
        print(f"logs: {cluster.folder}")
    return not chaos.failures


def main():
    o = parse(sys.argv[1:])
    if not os.path.exists(HYDAC):
        sys.exit("set HYDAC_BUILD to a build folder")
    with tempfile.TemporaryDirectory(prefix="hydac-chaos-model-") as folder:
        good = attempt(o, model_of(o, folder))
    print(f"again: {again(o)}")
    print("PASSED" if good else "FAILED")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
