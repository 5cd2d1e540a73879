#!/usr/bin/env python3
"""Compares what kernels_digest prints on this host with what it prints on aarch64 under qemu.

    check.py NATIVE [QEMU AARCH64]

Every line of the same name must have the same digest, whatever the variant and the host. Without
QEMU and AARCH64 only this host's variants are compared, and the exit status is 77 ("skipped").
"""

import collections
import subprocess
import sys

SKIPPED = 77


def run(command, host, digests):
    """Adds {name: {digest: ["host/variant", ...]}}; returns the variants that ran."""
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.split("\t") for line in output.splitlines()]
    for variant, name, digest in lines:
        digests[name][digest].append(f"{host}/{variant}")
    return {variant for variant, _, _ in lines}


def main():
    native, *cross = sys.argv[1:]
    digests = collections.defaultdict(lambda: collections.defaultdict(list))
    variants = len(run([native], "native", digests))
    if cross:
        ran = run(cross, "aarch64", digests)
        if ran != {"portable", "neon"}:
            sys.exit(f"aarch64 under qemu ran {sorted(ran)} only")
        variants += len(ran)
    different = [name for name, found in digests.items() if len(found) != 1]
    for name in different:
        print(name, *(f"{d} {' '.join(v)}" for d, v in digests[name].items()), sep="\n    ")
    missing = [n for n, found in digests.items() if sum(map(len, found.values())) != variants]
    print(f"{len(digests)} results of {variants} variants: {len(different)} differ, "
          f"{len(missing)} are not in all of them")
    if different or missing or not digests:
        sys.exit(1)
    if not cross:
        print("aarch64 skipped: it needs aarch64-linux-gnu-gcc and qemu-aarch64")
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
