#!/usr/bin/env python3
"""What a standby costs: decoding with one that follows and without, in turns (pairs.py).

  HYDAC_BUILD=build tests/bench/following_cost.py MODEL|SHAPE:TYPE [--workers 3] [--threads N]
                                                  [--tokens 64] [--pairs 60]

The standby is on the same machine, so what it needs itself is part of the price.
"""

import pairs
from cluster import LEADER, Process, until
from ports import free_ports


class Followed(pairs.Daemons):
    """With a second leader."""

    def __init__(self, model, leader_args=(), worker_args=(), **more):
        first, second = (f"127.0.0.1:{p}" for p in free_ports(2))
        both = f"--cluster.leaders={first},{second}"
        super().__init__(model, [*leader_args, f"--cluster.listen={first}", both], worker_args, **more)
        args = [LEADER, "--model.path", model, f"--cluster.listen={second}", both]
        args += ["--http.listen=127.0.0.1:0", f"--state.dir={self.folder}/standby"]
        self.standby = Process(args, f"{self.folder}/standby.log")

    def start_all(self, workers):
        super().start_all(workers)
        until(lambda: self.status()["records"]["followers"] == 1, "the standby follows")

    def close(self):
        self.standby.stop()
        return super().close()


def told(c):
    return f"records {c.status().get('records', {}).get('begun', 0)}"


if __name__ == "__main__":
    options = pairs.options(__doc__)
    pairs.compare(options, {"made_by": Followed}, {}, told)
