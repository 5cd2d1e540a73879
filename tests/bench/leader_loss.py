#!/usr/bin/env python3
"""How long a client waits for the next token when its leader dies: `hydac run --leader A,B`.

    HYDAC_BUILD=build tests/bench/leader_loss.py MODEL [--how kill|silence|restart] [--workers 3]
                                                       [--positions 1024] [--runs 10]

Leaders, workers and the client are on this machine. When the answer has come to so many positions, the
leader that serves is killed (SIGKILL), stopped (SIGSTOP: its connections stay open), or, being the only one
and with a journal, killed and started again half a second later, as systemd does. Prints the time from then to
the next text at the client, which is the end of its longest silence: median and worst."""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.dont_write_bytecode = True

from cluster import HYDAC, until  # noqa: E402 (the path comes first)
from leaders import Leaders  # noqa: E402
from prompts import prompt  # noqa: E402

SYSTEMD_S = 0.5  # RestartSec of the unit


def active(c):
    return next((n for n in c.names if c.leaders[n].running() and c.role(n) == "active"), None)


def settled(c, o):
    name = until(lambda: active(c), "a leader serves")
    c.until_active(name, o.workers)
    others = len(c.names) - 1
    until(lambda: c.clients[name].get("/hydac/status")["records"]["followers"] == others, "all others follow")
    return name


def strike(c, o, name):
    """The leader is gone from here on."""
    c.leaders[name].signal(signal.SIGSTOP if o.how == "silence" else signal.SIGKILL)
    struck = time.monotonic()
    if o.how == "restart":
        c.leaders[name].wait()
        time.sleep(SYSTEMD_S)
        c.start_leader(name)
    return struck


def mend(c, o, name):
    if o.how == "silence":
        c.leaders[name].signal(signal.SIGCONT)
        until(lambda: c.role(name) == "standby", "it stands by")
    elif o.how == "kill":
        c.leaders[name].wait()
        c.start_leader(name)


def once(c, o):
    """Seconds from the signal to the next text."""
    name = settled(c, o)
    urls = ",".join(c.clients[n].url for n in (name, *(n for n in c.names if n != name)))
    made = c.clients[name].get("/hydac/status")["engine"]["tokens"]
    args = [HYDAC, "run", "--leader", urls, "--patience", "30", "--ignore-eos"]
    args += ["--prompt-tokens", ",".join(map(str, prompt(o.positions - 32, time.time_ns() % 10**6)))]
    child = subprocess.Popen(
        [*args, "--max-tokens", "96"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    until(lambda: c.clients[name].get("/hydac/status")["engine"]["tokens"] >= made + 32, "it answers")
    struck = strike(c, o, name)
    times = [struck]
    while os.read(child.stdout.fileno(), 4096):
        times.append(time.monotonic())
    assert child.wait() == 0
    _, end = max((b - a, b) for a, b in zip(times, times[1:]))  # the text behind the longest silence
    mend(c, o, name)
    return end - struck


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--how", choices=["kill", "silence", "restart"], default="kill")
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--positions", type=int, default=1024)
    p.add_argument("--runs", type=int, default=10)
    o = p.parse_args()
    alone = o.how == "restart"
    c = Leaders(o.model, 1 if alone else 2, o.workers, ["--state.journal=true"] if alone else [])
    try:
        times = [1000 * once(c, o) for _ in range(o.runs)]
        print(f"{o.how}: {statistics.median(times):.0f} ms, worst {max(times):.0f} ({o.runs} runs)")
    finally:
        c.close()


if __name__ == "__main__":
    main()
