#!/usr/bin/env python3
"""Leaders die, stand still or cannot be reached, at any moment of many answers; their clients resume by the
answers' ids.

    HYDAC_BUILD=build tests/chaos/leaders_die.py [--deaths 300] [--leaders 2] [--workers 3] [--streams 6]
                                                 [--model M.gguf] [--seed 1] [--loopback]

In each round streams of different kinds begin at the leader that serves, and at a random moment (before
the first token, in the middle, near the end) it is killed, or stopped until another one serves; a worker
is killed in the same moment or shortly before (while its loss is recovered), or is being drained. As root
each daemon has a network namespace, and cables are cut until another leader serves: the leader's own, those
between it and all workers (the leaders still see each other), those between two halves, each a leader with
workers. A client whose stream breaks asks one leader after the other for what follows its last event. Every
answer is compared with that of an undisturbed run. Prints the deaths by kind, answers, how many were
resumed and the longest silences that clients saw; passes only if every answer came, and came out the same."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "integration"))

import cluster  # noqa: E402 (the path comes first)
import links  # noqa: E402
from leaders import Leaders, Stream  # noqa: E402
from prompts import prompt  # noqa: E402

PATIENCE_S = 60


def bodies(rng):
    """Requests of all kinds, with what makes their answers repeatable."""
    for i in range(8):
        body = {"prompt": prompt(rng.randint(5, 200), i), "stream": True, "ignore_eos": True}
        body |= {"max_tokens": rng.randint(60, 300), "temperature": i % 3 / 2, "seed": i}
        if i % 4 == 1:
            body |= {"n": 2}
        if i % 4 == 2:
            body |= {"logprobs": 1}
        if i % 4 == 3:
            body |= {"presence_penalty": 1, "stop": "no such text"}
        yield body


class Answer:
    """A request, and its client, who does not give up."""

    def __init__(self, c, first, body, name):
        self.c, self.body, self.name, self.resumed, self.lost = c, body, name, 0, ""
        self.events, self.last, self.silence = {}, None, 0
        self.thread = threading.Thread(target=self.run, args=(first,))
        self.thread.start()

    def ask(self, leader):
        """One try. True: the answer is whole."""
        headers = {"X_Request_Id": self.name} | ({"Last_Event_ID": self.last} if self.last else {})
        try:
            s = Stream(self.c.clients[leader].url, "/v1/completions", self.body, **headers)
        except OSError:
            return False
        except Exception:  # noqa: BLE001 (a leader that dies may say anything, or half of it)
            return False
        if s.answer.status in (400, 404, 409):
            self.lost = f"{leader}: {s.answer.status} {s.answer.read()[:200]} behind {self.last}"
            return True
        if s.answer.status != 200:
            return False
        s.events, s.last, s.on_event = self.events, self.last, self.note
        self.resumed += self.last is not None
        s.read()
        self.events, self.last = s.events, s.last
        return s.whole

    def note(self):
        now = time.monotonic()
        self.silence = max(self.silence, now - self.heard)
        self.heard = now

    def run(self, first):
        self.heard = time.monotonic()
        names = self.c.names
        turn = names.index(first)
        while not self.ask(names[turn % len(names)]):
            turn += 1
            if time.monotonic() - self.heard > PATIENCE_S:
                self.lost = f"nothing for {PATIENCE_S} s behind {self.last}"
                return
            time.sleep(0.02)


class Chaos:
    def __init__(self, c, o, rng):
        self.c, self.o, self.rng = c, o, rng
        kinds = ["kill", "stop", "kill with a worker", "kill in a recovery", "kill in a drain"]
        if c.net.has_links:
            kinds += ["cut", "cut", "no worker reaches it", "halves"]
        self.choices, self.kinds = kinds, dict.fromkeys(kinds, 0)
        self.answers = self.resumed = 0
        self.silences, self.wrong = [], []

    def whole(self):
        """Who serves with all workers, and all others follow it. After a cut that may be another one than at
        first."""
        for name in self.c.names:
            if not self.c.leaders[name].running():
                continue
            status = self.c.clients[name].get("/hydac/status")
            owners = [w for w in status["workers"] if w["heads"]]
            followed = status["records"]["followers"] == self.o.leaders - 1
            if status["cluster"]["state"] == "ready" and len(owners) == self.o.workers and followed:
                return name
        return None

    def settle(self):
        return cluster.until(self.whole, "a leader serves with all workers, and the others follow")

    def strike(self, name):
        kind = self.rng.choice(self.choices)
        self.kinds[kind] += 1
        worker = self.rng.choice(sorted(self.c.workers))
        others = [n for n in self.c.names if n != name]
        if kind in ("kill with a worker", "kill in a recovery"):
            self.c.workers[worker].signal(signal.SIGKILL)
        if kind == "kill in a drain":
            self.c.clients[name].request("POST", "/hydac/drain", {"worker": worker})
        if kind in ("kill in a recovery", "kill in a drain"):
            time.sleep(self.rng.random() * 0.3)  # any moment of it
        if kind.startswith("kill"):
            self.c.leaders[name].signal(signal.SIGKILL)
        elif kind == "stop":
            self.c.leaders[name].signal(signal.SIGSTOP)
        elif kind == "cut":
            self.c.net.cut(name)
        elif kind == "no worker reaches it":
            self.c.net.part(name, sorted(self.c.workers))
        else:
            rest = [*others, *(w for w in self.c.workers if w != worker)]
            self.c.net.part(name, rest)
            self.c.net.part(worker, rest)
        return kind, worker

    def restore(self, name, kind, worker):
        if not kind.startswith("kill"):
            others = [n for n in self.c.names if n != name]
            cluster.until(lambda: any(self.c.role(n) == "active" for n in others), "another serves")
            if kind == "stop":
                self.c.leaders[name].signal(signal.SIGCONT)
            elif kind == "cut":
                self.c.net.heal(name)
            else:
                self.c.net.unite(name)
                self.c.net.unite(worker)
            return
        self.c.leaders[name].wait()
        self.c.start_leader(name)
        if kind in ("kill with a worker", "kill in a recovery"):
            self.c.workers[worker].wait()
            self.c.start_worker(worker)

    def round(self, number, expected, requests):
        name = self.settle()
        chosen = [self.rng.randrange(len(requests)) for _ in range(self.o.streams)]
        running = [
            Answer(self.c, name, requests[k], f"r{self.o.seed}-{number}-{i}") for i, k in enumerate(chosen)
        ]
        time.sleep(self.rng.random() * self.rng.choice([0.05, 0.5, 1.5]))
        kind, worker = self.strike(name)
        if not kind.startswith("kill"):  # a client of a leader that stands still waits for it
            self.restore(name, kind, worker)
        for a in running:
            a.thread.join()
        if kind.startswith("kill"):
            self.restore(name, kind, worker)
        for a, k in zip(running, chosen):
            self.answers += 1
            self.resumed += a.resumed > 0
            if a.resumed:
                self.silences.append((a.silence, kind))
            if a.lost or a.events != expected[k]:
                self.wrong.append((number, kind, k, a.lost or "other text"))


def silence_of(chaos, kind):
    times = sorted(1000 * s for s, k in chaos.silences if k == kind)
    return f"{times[len(times) // 2]:.0f} / {times[-1]:.0f}" if times else "-"


def machines(o):
    names = [*"abc"[: o.leaders], *(f"w{i + 1}" for i in range(o.workers))]
    net, why = (links.Loopback(()), "as asked") if o.loopback else links.make(names, (), ())
    print(f"on {net.kind}" + (f": {why}" if why else ""), flush=True)
    return net


def run(o):
    """The chaos when it is over; o: the options."""
    rng = random.Random(o.seed)
    with tempfile.TemporaryDirectory() as folder:
        model = o.model or os.path.join(folder, "m.gguf")
        if not o.model:
            subprocess.run([cluster.HYDAC, "synth", "--shape", "tiny-gqa3", "--type", "q4_0", model], check=True)
        c = Leaders(model, o.leaders, o.workers, net=machines(o))
        chaos = Chaos(c, o, rng)
        try:
            name, requests = chaos.settle(), list(bodies(rng))
            whole = [Stream(c.clients[name].url, "/v1/completions", b).read() for b in requests]
            assert all(s.whole for s in whole)
            for number in range(o.deaths):
                chaos.round(number, [s.events for s in whole], requests)
                if chaos.wrong:
                    break
        except BaseException:
            print(c.logs(), file=sys.stderr)
            raise
        finally:
            if chaos.wrong:
                print(c.logs(), file=sys.stderr)
            c.close()
            c.net.close()
        return chaos


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--deaths", type=int, default=300)
    p.add_argument("--leaders", type=int, default=2)
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--streams", type=int, default=6)
    p.add_argument("--model")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--loopback", action="store_true")
    chaos = run(p.parse_args())
    print(f"deaths: {sum(chaos.kinds.values())} {chaos.kinds}")
    print(f"answers: {chaos.answers}, resumed: {chaos.resumed}, lost or different: {len(chaos.wrong)}")
    for kind in chaos.kinds:
        print(f"longest silence of a resumed stream, {kind}: {silence_of(chaos, kind)} ms (median / worst)")
    for w in chaos.wrong:
        print("  ", *w)
    sys.exit(1 if chaos.wrong else 0)


if __name__ == "__main__":
    main()
