#!/usr/bin/env python3
"""A cluster of the real binaries under a seeded schedule of faults, while clients stream.

    HYDAC_BUILD=build tests/chaos/chaos.py [--seed S] [--minutes T | --kills N] [--model M] ...

Passes only if every stream's tokens are those of the undisturbed run and every request ends with
tokens or one error, which is allowed only when no worker was left for longer than the limit, or when a worker was found to have
computed wrong bits that may be part of the answer.
"""

import argparse
import collections
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "integration"))

import flips  # noqa: E402 (the path comes first)
import links  # noqa: E402
import machines  # noqa: E402
import schedule  # noqa: E402
import streams  # noqa: E402
from cluster import HYDAC  # noqa: E402

SUMMED = ("heads_lost", "heads_rebuilt", "rows_rebuilt", "rows_replayed")
UNDONE = ("looked over", "start", "joined", "found", "prompt", "continue", "heal", "fast", "honest")
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
        self.kind, self.waves = "", 0  # of the episode in hand
        self.hit = collections.Counter()  # (kind, verb) of faults made while streams ran
        self.survived = collections.Counter()  # those in waves whose streams gave every token
        self.alone_since, self.longest_outage = None, 0.0
        self.blamed = self.lied_at = 0  # findings of wrong bits before this wave, before this lie
        self.longest_gap = self.longest_rejoin = 0.0
        self.why_no_flips = self.look_for_debugger()
        self.flips, self.flipped, self.damaged = [], "", False  # the latest; its process; in this wave

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
            self.note_hit(verb)
            c.kill(name)
        elif verb == "kill":
            return
        elif verb == "start":
            self.check_alive()
            c.start(name)
        elif verb == "joined":
            c.until_joined([name])
        elif verb == "stop":
            self.note_hit(verb)
            c.stop(name)
        elif verb == "continue":
            c.resume(name)
        elif verb.startswith("lie "):
            self.note_hit(verb)
            self.lied_at = c.blamed()
            c.lie(name, verb[len("lie ") :])
        elif verb == "found":
            self.until_found()
        elif verb.startswith("flip "):
            self.flip(name, int(verb.split()[1]))
            verb = "flip"
        elif verb == "looked over":
            self.until_looked_over(name)
        elif verb == "honest":
            c.honest(name)
        elif verb.startswith("cut "):
            self.note_hit(verb)
            c.net.cut(name, verb.split()[1])
        elif verb == "heal":
            c.net.heal(name)
        elif verb in ("slow", "fast"):
            c.net.slow(name, verb == "slow")
        elif verb == "prompt":
            self.running.append(self.follow(streams.PREFILL))
        self.acts[verb] += 1
        self.note_outage()

    def until_found(self):
        """Meanwhile there is always something to lie about."""
        end = time.monotonic() + HANG
        while self.c.blamed() == self.lied_at:
            if time.monotonic() > end:
                raise Failure("wrong bits are not found")
            self.pass_time(0.05)

    def look_for_debugger(self):
        """Why no bit of a worker's memory can be flipped here; "": it can."""
        try:
            flips.rows_of(self.c.workers[self.c.names[0]].pid)
        except (flips.NoDebugger, RuntimeError) as why:
            return str(why)
        return ""

    def flip(self, name, seed):
        worker = self.c.workers[name]
        self.flipped, self.damaged = worker.log, True
        try:
            self.flips = flips.flip(worker.pid, ["weights"], seed)
        except RuntimeError:  # it owns and holds nothing
            self.flips = []
        if self.flips:
            self.note_hit("flip")

    def until_looked_over(self, name):
        """Found by the worker within the time that a round may take, three times over; meanwhile there
        may be audits that cut it off, and then it is found without a session."""
        worker, end = self.c.workers[name], time.monotonic() + HANG
        while self.flips and worker.log == self.flipped:
            found = flips.findings(worker)
            if all(any(flips.is_of(n, f) for n in found) for f in self.flips):
                return
            if time.monotonic() > end:
                raise Failure(f"a flipped bit is not found: {flips.line(self.flips[0])}")
            self.pass_time(0.05)

    def note_hit(self, verb):
        if any(not f.finished.is_set() for f in self.running):
            self.hit[self.kind, verb] += 1

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
        pause, self.kind, steps = episode
        self.kinds[self.kind] += 1
        self.pass_time(pause)
        for wait, verb, name in steps:
            if wait:
                self.pass_time(wait)
            if self.o.verbose:
                at = time.monotonic() - self.begin
                print(f"{at:9.3f}  {self.kind}: {verb} {name}", flush=True)
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
        self.blamed, self.damaged = self.c.blamed(), False
        before = self.hit.copy()
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
            self.survived += self.hit - before
        self.check_alive()
        self.c.until_idle()
        if wave.whole:
            self.c.until_all_own()
        return not self.failures

    def judge(self, f, may_refuse):
        doubted = f.id in self.c.doubtful() or (self.c.blamed() > self.blamed and f.was_told())
        verdict = f.verdict(self.expected[f.index], may_refuse, doubted, self.damaged)
        self.longest_gap = max(self.longest_gap, f.longest_gap)
        if verdict in ("same", "refused", "doubted"):
            self.verdicts[verdict] += 1
        else:
            what = f"wave {self.waves}, request {f.index}: {verdict}"
            self.failures.append(f"{what}; again: {again(self.o)}")

    def run(self):
        self.begin = time.monotonic()
        links = self.c.net.has_links
        n, memory = len(self.requests), not self.why_no_flips
        for wave in schedule.waves(self.o.seed, self.c.names, n, links, memory):
            enough = self.o.kills and self.acts["kill"] >= self.o.kills
            if enough or time.monotonic() - self.begin > self.o.seconds:
                return
            if not self.wave(wave):
                return

    # ---- The account

    def account(self):
        """What happened, as one object."""
        failovers = self.c.failovers()
        total = {k: sum(int(f[k]) for f in failovers) for k in SUMMED}
        return {
            "seed": self.o.seed,
            "model": self.o.model,
            "workers": len(self.c.names),
            "network": self.c.net.kind,
            "waves": self.waves,
            "faults": {k: n for k, n in sorted(self.acts.items()) if k not in UNDONE},
            "episodes": dict(sorted(self.kinds.items())),
            "kills_while_streams_ran": by_kind(self.hit, "kill"),
            "kills_survived": by_kind(self.survived, "kill"),
            "other_faults_survived": by_verb(self.survived),
            "failovers": dict(collections.Counter(f["cause"] for f in failovers)),
            **total,
            "longest_gap_s": round(self.longest_gap, 2),
            "longest_rejoin_s": round(self.longest_rejoin, 2),
            "longest_outage_s": round(self.longest_outage, 2),
            "streams": {**self.verdicts, "wrong": len(self.failures)},
        }

    def summary(self, account):
        def listed(counts):
            return ", ".join(f"{k} {n}" for k, n in counts.items()) or "none"

        hit, survived = (account[k] for k in ("kills_while_streams_ran", "kills_survived"))
        print(f"seed {self.o.seed}, {self.o.model}, {len(self.c.names)} workers, {self.c.net.kind}")
        if self.c.why_loopback:
            print(f"no network namespaces ({self.c.why_loopback}): no faults of links")
        if self.why_no_flips:
            print(f"no bits are flipped in memory: {self.why_no_flips}")
        print(f"faults: {listed(account['faults'])}")
        print(
            f"kills while streams ran: {sum(hit.values())}, of these {sum(survived.values())} in "
            f"waves whose streams all gave every token: {listed(survived)}"
        )
        print(f"other faults survived likewise: {listed(account['other_faults_survived'])}")
        print(f"episodes: {listed(account['episodes'])}")
        print(f"failovers: {listed(account['failovers'])}")
        print(
            f"heads: {account['heads_lost']} lost, {account['heads_rebuilt']} rebuilt; rows: "
            f"{account['rows_rebuilt']} rebuilt, {account['rows_replayed']} replayed"
        )
        print(
            f"longest: gap between tokens {self.longest_gap:.2f} s, until all were back "
            f"{self.longest_rejoin:.2f} s, without a worker {self.longest_outage:.2f} s"
        )
        print(
            f"streams: {sum(account['streams'].values())} compared, {self.verdicts['same']} "
            f"identical, {self.verdicts['refused']} refused after the limit, "
            f"{self.verdicts['doubted']} called wrong by the leader, "
            f"{len(self.failures)} wrong, in {self.waves} waves"
        )


def by_kind(hits, verb):
    """Of (kind, verb) counts those of one verb, by kind of episode."""
    return {kind: n for (kind, v), n in sorted(hits.items()) if v == verb and n}


def by_verb(hits):
    """... of all but kills, by verb."""
    counts = collections.Counter()
    for (_, verb), n in sorted(hits.items()):
        if verb != "kill":
            counts[verb] += n
    return dict(counts)


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
    p.add_argument("--minutes", type=float, help="instead of --seconds: 10, or 60 for an hour")
    p.add_argument("--kills", type=int, help="end after so many SIGKILLs")
    p.add_argument("--model", default="tiny-gqa3", help="a shape of `hydac synth`, or a path")
    p.add_argument("--type", default="q4_0", help="of the synthetic model's weights")
    p.add_argument("--workers", type=int, default=4)
    p.add_argument("--positions", type=int, default=2048, help="of the longest request")
    p.add_argument("--keep", action="store_true", help="keep the daemons' logs")
    p.add_argument("--verbose", action="store_true", help="say each fault as it is made")
    o = p.parse_args(args)
    if o.workers < 2:
        p.error("at least 2 workers")
    o.seconds = o.minutes * 60 if o.minutes else o.seconds
    o.seconds = o.seconds or (float("inf") if o.kills else 45.0)
    return o


def attempt(o, model):
    """True when all went well."""
    names = [f"w{i + 1}" for i in range(o.workers)]
    # A relay takes time from all, so half of the links are never slow.
    net = links.make(names, liars=names[:1], relayed=names[len(names) // 2 :])
    cluster = machines.Cluster(model, names, schedule.LIMIT, net, with_key=False)
    chaos, good = Chaos(cluster, o), False
    try:
        chaos.undisturbed()
        chaos.run()
        good = not chaos.failures
    except (Failure, AssertionError, OSError) as e:
        chaos.failures.append(f"wave {chaos.waves}: {type(e).__name__}: {e}")
    finally:
        account = chaos.account()
        chaos.summary(account)
        statuses = cluster.close(keep=o.keep or not good)
    wrong = {name: s for name, s in statuses.items() if s != 0}
    if good and wrong:
        chaos.failures.append(f"exit statuses at the end: {wrong}")
    for failure in chaos.failures:
        print(f"wrong: {failure}")
    if not good:
        print(f"logs: {cluster.folder}")
    print(json.dumps({**account, "passed": not chaos.failures}))
    return not chaos.failures


def main():
    o = parse(sys.argv[1:])
    if not os.path.exists(HYDAC):
        sys.exit("set HYDAC_BUILD to a build folder")
    with tempfile.TemporaryDirectory(prefix="hydac-chaos-model-") as folder:
        good = attempt(o, model_of(o, folder))
    print(f"again: {again(o)}\n{'PASSED' if good else 'FAILED'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
