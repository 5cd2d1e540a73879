#!/usr/bin/env python3
"""Each kind of loss that a machine or its link can cause, once, in the middle of an answer.

    HYDAC_BUILD=build tests/chaos/losses.py [--only KIND]

Three workers in network namespaces. Prints one line of JSON for each kind: what the leader
reported, and whether all was well: the tokens are those of the undisturbed run, the counters of
every head are right, the worker came back and the answer after that was undisturbed. (For what a worker can say that is not so, see
../integration/test_liars.py.) Passes only if all is well; exits with 77 where there are no
namespaces."""

import argparse
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "integration"))

import links  # noqa: E402 (the path comes first)
import machines  # noqa: E402
from chaos import model_of  # noqa: E402
from checks import check_failover, check_reuse, heads_by_worker  # noqa: E402
from cluster import HYDAC  # noqa: E402
from prompts import prompt  # noqa: E402

PROMPT, ANSWER = prompt(60, 81), 256
NO_NAMESPACES = 77


def killed(c, w):
    c.kill(w)
    return lambda: c.start(w)


def power_lost(c, w):
    """Dead, and nobody is told: the end of the connection stays in its machine."""
    c.net.cut(w, "both")
    c.kill(w)
    return lambda: (c.net.heal(w), c.start(w))


def stopped(c, w):
    c.stop(w)
    return lambda: c.resume(w)


def cut(direction):
    def fault(c, w):
        c.net.cut(w, direction)
        return lambda: c.net.heal(w)

    return fault


# Kind: what is done to a worker (it returns what undoes it), to which one, the cause of the loss.
KINDS = {
    "killed": (killed, "w1", "closed"),
    "power lost": (power_lost, "w2", "silent"),
    "stopped": (stopped, "w1", "silent"),
    "cut both ways": (cut("both"), "w2", "silent"),
    "cut to the worker": (cut("in"), "w1", "silent"),
    "cut from the worker": (cut("out"), "w2", "silent"),
}


def lose(c, kind, tokens):
    """Raises AssertionError when anything is not as it must be."""
    fault, victim, cause = KINDS[kind]
    before = c.status()
    joins = c.worker(victim, before)["joins"]
    stream = c.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(20) < ANSWER, "the answer was over before the fault"
    undo = fault(c, victim)
    answer = stream.finish()
    after = c.status()
    undo()
    assert answer.tokens == tokens, "the tokens differ"
    assert len(answer.failovers) == 1, f"failovers: {answer.failovers}"
    check_failover(answer.failovers[0], victim, cause, heads_by_worker(before))
    check_reuse(before, after, victim, len(PROMPT) + ANSWER - 1)
    c.until_status(
        lambda s: c.worker(victim, s)["joins"] > joins and c.worker(victim, s)["heads"],
        f"{victim} has joined anew and owns heads",
    )
    c.until_serving(3)
    again = c.client.complete(PROMPT, ANSWER)
    assert (again.tokens, again.failovers) == (tokens, []), "the answer after its return differs"
    return answer.failovers[0]


def late(c, tokens):
    """The link becomes 200 ms slower, for a while. The worker may be lost by that or not."""
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(20)
    c.net.slow("w3", True)
    stream.read_tokens(23)
    c.net.slow("w3", False)
    answer = stream.finish()
    assert answer.tokens == tokens, "the tokens differ"
    losses = [(f["worker"], f["cause"], f["rows_replayed"]) for f in answer.failovers]
    assert losses in ([], [("w3", "silent", 0)]), f"losses: {losses}"
    assert answer.timings["max_gap_ms"] > 200, "the link was not slow"
    c.until_status(lambda s: c.worker("w3", s)["heads"], "w3 owns heads")
    return {"max_gap_ms": answer.timings["max_gap_ms"], "lost": len(losses)}


LATE = "late by 200 ms"


def one(kind, model):
    """A cluster of its own, so that its counters begin at 0. True when all is well."""
    names = ["w1", "w2", "w3"]
    net = links.make(names, liars=[], relayed=["w3"])
    if net[1]:
        print(f"no network namespaces: {net[1]}")
        sys.exit(NO_NAMESPACES)
    c = machines.Cluster(model, names, 30, net, with_key=True, guesses=False)
    report = {"kind": kind, "passed": False}
    try:
        tokens = c.client.complete(PROMPT, ANSWER).tokens
        report.update(late(c, tokens) if kind == LATE else lose(c, kind, tokens), passed=True)
    except AssertionError as e:
        report["wrong"] = str(e) or "a counter; see the line above"
    finally:
        c.close(keep=not report["passed"])
    print(json.dumps(report), flush=True)
    return report["passed"]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--only", choices=[*KINDS, LATE])
    o = p.parse_args()
    o.model, o.type = "tiny-gqa3", "f32"
    if not os.path.exists(HYDAC):
        sys.exit("set HYDAC_BUILD to a build folder")
    with tempfile.TemporaryDirectory(prefix="hydac-losses-") as folder:
        model = model_of(o, folder)
        good = [one(kind, model) for kind in ([o.only] if o.only else [*KINDS, LATE])]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
