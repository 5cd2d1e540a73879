#!/usr/bin/env python3
"""What the input log costs while nothing fails: decoding with it and without it, in turns (pairs.py).

  HYDAC_BUILD=build tests/bench/log_cost.py MODEL|SHAPE:TYPE [--workers 3] [--threads N]
                                            [--tokens 64] [--pairs 60]
"""

import pairs


def logged(c):
    return f"a worker has logged {c.status()['workers'][0]['log_bytes']} bytes"


if __name__ == "__main__":
    pairs.compare(
        pairs.options(__doc__), {}, {"worker_args": ["--input_log.keep=false"]}, logged
    )
