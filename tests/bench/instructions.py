#!/usr/bin/python3
"""How many instructions a prompt of 64 rows and the decoding of one token take, beside what they
took when tests/bench/instructions.json was written. Unlike times, they do not depend on what else
the machine does.

    HYDAC_BUILD=build tests/bench/instructions.py [--update]

Prints each count with its change; the exit status is 1 when one has grown by more than 2 %.
--update writes the counts to the file instead. They are those of a compiler and its options: each
has its own in the file, and one that is not there is not compared. Valgrind knows no AVX-512, so the
portable kernels and those for AVX2 are counted (tests/bench/instructions.c)."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
MOST = 1.02  # of what is in the file
VARIANTS = ("portable", "avx2")
STEPS = ("prefill", "decode")
NOT_HERE = 77  # the CPU lacks the variant


class Skip(Exception):
    """Why nothing can be compared here."""


def driver(build):
    return os.path.join(build, "tests/bench/instructions")


def compiler(build):
    """What the counts depend on: "gcc 12, x86_64, -O3"."""
    said = subprocess.run([driver(build), "--compiler"], capture_output=True, text=True, check=True)
    with open(os.path.join(build, "meson-info/intro-buildoptions.json"), encoding="utf-8") as f:
        options = {o["name"]: o["value"] for o in json.load(f)}
    if options["b_sanitize"] != "none":
        raise Skip("a build with sanitizers is not counted")
    return f"{said.stdout.strip()}, {os.uname().machine}, -O{options['optimization']}"


def counted(build, variant, step):
    """Instructions of one step; None when this CPU cannot run the variant."""
    options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        ["valgrind", *options, f"--toggle-collect=measured_{step}", driver(build), variant],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NOT_HERE:
        return None
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found or int(found[1]) == 0:
        raise RuntimeError(f"nothing was counted of {step} {variant}:\n{done.stderr}")
    return int(found[1])


def measure(build):
    """{"decode avx2": instructions} for all that this CPU can run."""
    if not shutil.which("valgrind"):
        raise Skip("valgrind is not installed (deploy/packages.sh test)")
    counts = {f"{step} {v}": counted(build, v, step) for v in VARIANTS for step in STEPS}
    return {name: n for name, n in counts.items() if n is not None}


def expected(key):
    """The counts of that compiler."""
    with open(FILE, encoding="utf-8") as f:
        known = json.load(f)
    if key not in known:
        raise Skip(f"instructions.json has no counts of {key}; it has those of {', '.join(known)}")
    return known[key]


def compare(counts, wanted):
    """Lines for all, and for those that have grown too much."""
    lines, grown = [], []
    for name in sorted(counts.keys() | wanted.keys()):
        if name not in counts:
            lines.append(f"{name}: this CPU cannot run it")
            continue
        before = wanted.get(name, 0)
        change = 100 * (counts[name] / before - 1) if before else float("inf")
        lines.append(f"{name}: {counts[name]:,} instructions, {before:,} in the file: {change:+.2f} %")
        if counts[name] > MOST * before:
            grown.append(lines[-1])
    return lines, grown


def update(key, counts):
    known = {}
    if os.path.exists(FILE):
        with open(FILE, encoding="utf-8") as f:
            known = json.load(f)
    known[key] = {**known.get(key, {}), **counts}
    with open(FILE, "w", encoding="utf-8") as f:
        json.dump(known, f, indent=2, sort_keys=True)
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--update", action="store_true", help="write the counts to instructions.json")
    a = p.parse_args()
    build = os.environ.get("HYDAC_BUILD", "")
    if not os.path.exists(driver(build)):
        p.error("set HYDAC_BUILD to the build folder")
    try:
        key = compiler(build)
        if a.update:
            update(key, measure(build))
            return
        wanted = expected(key)
        lines, grown = compare(measure(build), wanted)
    except Skip as why:
        print(f"nothing was compared: {why}")
        return
    print("\n".join([key, *lines]))
    if grown:
        sys.exit(f"more than {MOST - 1:.0%} more instructions than before: {'; '.join(grown)}")


if __name__ == "__main__":
    main()
