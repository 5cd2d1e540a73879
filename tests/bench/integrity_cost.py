#!/usr/bin/env python3
"""What scrubbing and audits cost while nothing fails: decoding with both at their defaults and
without either, in turns (pairs.py).

  HYDAC_BUILD=build tests/bench/integrity_cost.py MODEL|SHAPE:TYPE [--workers 3] [--threads N]
                                                  [--tokens 64] [--pairs 60]
"""

import pairs

OFF = ["--integrity.scrub_s=0", "--integrity.audit=0"]


def checked(c):
    workers = c.status()["workers"]
    rounds = [w["integrity"]["scrub_rounds"] for w in workers]
    audits = [w["integrity"]["audits"] for w in workers]
    return f"the workers have made {rounds} rounds and {audits} audits"


if __name__ == "__main__":
    pairs.compare(pairs.options(__doc__), {}, {"leader_args": OFF}, checked)
