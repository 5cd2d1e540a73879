#!/usr/bin/env python3
"""What the cluster key costs: decoding over TLS and in plaintext, in turns (pairs.py).

  HYDAC_BUILD=build tests/bench/tls_cost.py MODEL|SHAPE:TYPE [--workers 3] [--threads N]
                                            [--tokens 64] [--pairs 60]

Over TCP on loopback both times. `hydac up` on one machine uses a Unix socket, which needs no TLS.
"""

import pairs


def protected(c):
    return f"tls {'on' if c.status()['cluster']['tls'] else 'off'}"


if __name__ == "__main__":
    pairs.compare(pairs.options(__doc__), {"key": True}, {"key": False}, protected)
