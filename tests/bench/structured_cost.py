#!/usr/bin/env python3
"""What an answer that must match a JSON schema costs: decoding with a schema and without, in turns in
one cluster.

  HYDAC_BUILD=build tests/bench/structured_cost.py MODEL|SHAPE:TYPE [--workers 2] [--threads N]
                                                   [--tokens 64] [--pairs 20] [--guesses]

With --guesses tokens are guessed on both sides, and how many tokens a step had is printed.
"""

import math
import statistics
import tempfile

import pairs
from cluster import Daemons
from detect import model_of
from prompts import prompt

STRING = {"type": "string"}
POINT = {"type": "object", "properties": {"name": STRING, "at": {"type": "integer"}, "tags":
         {"type": "array", "items": STRING}}, "required": ["name", "at", "tags"]}
SCHEMA = {"type": "array", "items": POINT, "minItems": 1000}  # no answer comes to its end


def speed(c, tokens, **more):
    """Tokens a second, and of a step from the first token on."""
    saved = c.status()["engine"]["speculation"]["steps_saved"]
    answer = c.client.complete(prompt(64, 3), tokens, temperature=0.8, seed=1, **more)
    assert len(answer.tokens) == tokens, answer.finish_reason
    steps = tokens - 1 - (c.status()["engine"]["speculation"]["steps_saved"] - saved)
    return answer.timings["tokens_per_second"], (tokens - 1) / steps


def main():
    o = pairs.options(__doc__, guesses=True)
    guesses = f"--speculation.mode={'auto' if o.guesses else 'off'}"
    threads = [f"--compute.threads={o.threads}"] if o.threads else []
    with tempfile.TemporaryDirectory(prefix="hydac-structured-") as folder:
        model = model_of(o.model, folder)
        with Daemons(model, [f"--cluster.min_workers={o.workers}", guesses], threads) as c:
            c.start_all(o.workers)
            turns = [dict(guided_json=SCHEMA), {}]
            for more in turns:
                speed(c, o.tokens, **more)
            ratios, both, of_a_step = [], ([], []), ([], [])
            for i in range(o.pairs):
                of = [0, 0]
                for k in (0, 1) if i % 2 == 0 else (1, 0):
                    of[k], tokens = speed(c, o.tokens, **turns[k])
                    both[k].append(of[k])
                    of_a_step[k].append(tokens)
                ratios.append(of[0] / of[1])
    low, high = pairs.interval(ratios)
    print(f"medians: with a schema {statistics.median(both[0]):.2f}, without "
          f"{statistics.median(both[1]):.2f} tok/s; median ratio {statistics.median(ratios):.4f}, 95 % "
          f"of its chances between {low:.4f} and {high:.4f}; "
          f"mean of logarithms {math.exp(statistics.mean(map(math.log, ratios))):.4f}")
    print(f"tokens a step: with a schema {statistics.mean(of_a_step[0]):.2f}, without "
          f"{statistics.mean(of_a_step[1]):.2f}")


if __name__ == "__main__":
    main()
