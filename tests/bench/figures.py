#!/usr/bin/python3
"""Speed and memory for the README, measured on this machine (recovery: `hydac bench failover`).

    HYDAC_BUILD=build tests/bench/figures.py MODEL [--repeat 3] [--workers 1,3] [--threads N]
                                             [--csv FILE]

Prints Markdown: a prompt of 256 tokens, 64 generated, medians; the clusters of different sizes take
turns, so that a change of the machine's speed meets all. The CSV has a line for each run."""

import argparse
import csv
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
sys.dont_write_bytecode = True

import cluster  # noqa: E402

PROMPT, ANSWER = 256, 64


def prompt(n, seed):
    """Token ids that every vocabulary of ours has."""
    return [3 + (i * 7919 + seed * 104729) % 250 for i in range(n)]


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f)
    return tuple(int(fields[k].split()[0]) / 1024 for k in ("VmRSS", "RssAnon"))


def shared_out(workers):
    return max(1, (os.cpu_count() or 1) // workers)


def speed(a, sizes):
    runs = {n: [] for n in sizes}
    threads = {n: a.threads or shared_out(n) for n in sizes}
    memory = {}
    for i in range(a.repeat):
        for n in sizes:
            options = ("--threads", str(threads[n]))
            with cluster.Up(a.model, workers=n, options=options) as c:
                c.client.complete(prompt(16, 1), 4)  # touches the weights
                t = c.client.complete(prompt(PROMPT, 2 + i), ANSWER).timings
                runs[n].append((PROMPT / t["prefill_ms"] * 1e3, t["tokens_per_second"]))
                memory[n] = [("leader", *rss_mib(c.leader_pid))]
                memory[n] += [(name, *rss_mib(pid)) for name, pid in c.pids.items()]
    print(f"| workers | threads each | prefill tok/s ({PROMPT}) | decode tok/s ({ANSWER}) |")
    print("|---|---|---|---|")
    for n in sizes:
        prefill, decode = (statistics.median(x) for x in zip(*runs[n]))
        print(f"| {n} | {threads[n]} | {prefill:.0f} | {decode:.1f} |")
    print("\n| workers | process | resident MiB | of it anonymous (not the mapped model) |")
    print("|---|---|---|---|")
    for n in sizes:
        for name, rss, anon in memory[n]:
            print(f"| {n} | {name} | {rss:.0f} | {anon:.0f} |")
    return [(n, threads[n], i, *r) for n in sizes for i, r in enumerate(runs[n])]


def write_csv(path, rows):
    with open(path, "w", encoding="ascii", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(("workers", "threads", "run", "prefill_tok_s", "decode_tok_s"))
        out.writerows((*r[:3], f"{r[3]:.1f}", f"{r[4]:.2f}") for r in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--workers", default="1,3")
    p.add_argument("--threads", type=int, help="of each worker; default: the cores shared out")
    p.add_argument("--csv")
    a = p.parse_args()
    if not cluster.BUILD:
        p.error("set HYDAC_BUILD to the build folder")
    print(f"### {os.path.basename(a.model)}, {os.cpu_count()} cores\n")
    rows = speed(a, [int(n) for n in a.workers.split(",")])
    if a.csv:
        write_csv(a.csv, rows)


if __name__ == "__main__":
    main()
