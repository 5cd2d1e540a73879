"""What is done to the cluster, and when: a function of the seed alone.

A wave is some requests that run at once and some episodes that happen to them, one after the other;
after it the cluster is made whole again. An episode is a list of steps (pause before it in seconds,
verb, worker); its verbs are those of Chaos.act. Every kind of episode comes once before any comes
again.
"""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))

from lies import HARMLESS, IN_A_RECOVERY, IN_A_STEP  # noqa: E402 (the path comes first)

LIMIT = 4.0  # seconds that requests wait for a worker: recovery.wait_for_worker_ms


def back(r, names, longest=0.4):
    """The dead come back in any order."""
    return [(r.uniform(0, longest), "start", n) for n in r.sample(names, len(names))]


def one(r, names):
    a = r.choice(names)
    return [(0, "kill", a), *back(r, [a])]


def two_at_once(r, names):
    two = r.sample(names, 2)
    return [*((0, "kill", n) for n in two), *back(r, two)]


def several_at_once(r, names):
    """As many as may be, so that one is left."""
    few = r.sample(names, r.randint(min(2, len(names) - 1), len(names) - 1))
    return [*((0, "kill", n) for n in few), *back(r, few)]


def second_in_recovery(r, names):
    a, b = r.sample(names, 2)
    return [(0, "kill", a), (r.choice((0.001, 0.003, 0.01, 0.03)), "kill", b), *back(r, [a, b])]


def again(r, names):
    a = r.choice(names)
    steps = []
    for _ in range(2):
        steps += [(0, "kill", a), (r.uniform(0, 0.1), "start", a), (0, "joined", a)]
        steps += [(r.uniform(0, 0.2), "kill", a)]
        steps += back(r, [a])
    return steps


def while_joining(r, names):
    """The one that comes back dies while it connects, loads, or takes its first units."""
    a = r.choice(names)
    steps = [(0, "kill", a), (0, "start", a), (r.uniform(0, 0.15), "kill", a)]
    return [*steps, *back(r, [a])]


def other_while_joining(r, names):
    a, b = r.sample(names, 2)
    steps = [(0, "kill", a), (0, "start", a), (r.uniform(0, 0.15), "kill", b)]
    return [*steps, *back(r, [b])]


def all_but_one(r, names):
    most = r.sample(names, len(names) - 1)
    return [*((r.choice((0, 0.005, 0.1)), "kill", n) for n in most), *back(r, most, 0.2)]


def everybody(r, names):
    gaps = r.choice((0, 0.005, 0.1))
    steps = [(r.uniform(0, gaps), "kill", n) for n in r.sample(names, len(names))]
    return [*steps, (r.uniform(0.1, 0.5), "start", r.choice(names)), *back(r, names, 0.1)]


def beyond_the_limit(r, names):
    """All are gone for so long that the requests must fail; then they come back."""
    steps = [(0, "kill", n) for n in r.sample(names, len(names))]
    return [*steps, (LIMIT + 0.5, "start", r.choice(names)), *back(r, names, 0)]


def in_prefill(r, names):
    few = r.sample(names, r.choice((1, 1, 2)))
    steps = [(0, "prompt", ""), (r.uniform(0.002, 0.06), "kill", few[0])]
    return [*steps, *((0, "kill", n) for n in few[1:]), *back(r, few)]


def stopped(r, names):
    a = r.choice(names)
    return [(0, "stop", a), (r.uniform(0.4, 1.2), "continue", a)]


def stopped_briefly(r, names):
    a = r.choice(names)
    return [(0, "stop", a), (r.uniform(0.02, 0.25), "continue", a)]


def stopped_then_killed(r, names):
    a = r.choice(names)
    return [(0, "stop", a), (r.uniform(0, 0.4), "kill", a), *back(r, [a])]


def stopped_and_another_killed(r, names):
    a, b = r.sample(names, 2)
    steps = [(0, "stop", a), (r.uniform(0, 0.3), "kill", b), (r.uniform(0, 0.4), "continue", a)]
    return [*steps, *back(r, [b])]


def in_assignment(r, names):
    """One dies, and another, which is stopped and cannot confirm what it takes over, dies of it."""
    a, b = r.sample(names, 2)
    steps = [(0, "stop", b), (0, "kill", a), (r.uniform(0.01, 0.2), "kill", b)]
    return [*steps, *back(r, [a, b])]


# Only the first worker can lie: there is a man in the middle of its connection.


def liar(r, names):
    lie = r.choice([*IN_A_STEP, *HARMLESS])
    return [(0, f"lie {lie}", names[0]), (r.uniform(0.2, 1), "honest", names[0])]


def wrong_bits(r, names):
    """Well-formed, so that only another worker can tell: all must be there."""
    a = names[0]
    lie = r.choice(("other sums", "one bit of one sum", "another digest each time"))
    there = ((0, "joined", n) for n in names)
    return [*there, (0, f"lie {lie}", a), (0, "found", a), (r.uniform(0, 0.3), "honest", a)]


def hung(r, names):
    """It answers heartbeats and nothing else, until a deadline ends it."""
    return [(0, "lie never computes", names[0]), (r.uniform(1.6, 2.2), "honest", names[0])]


def liar_and_another_killed(r, names):
    a, b = names[0], r.choice(names[1:])
    steps = [(0, f"lie {r.choice([*IN_A_STEP])}", a), (r.uniform(0, 0.1), "kill", b)]
    return [*steps, (r.uniform(0.2, 0.6), "honest", a), *back(r, [b])]


def lie_in_recovery(r, names):
    a, b = names[0], r.choice(names[1:])
    steps = [(0, f"lie {r.choice([*IN_A_RECOVERY])}", a), (0, "kill", b)]
    return [*steps, (r.uniform(0.2, 0.6), "honest", a), *back(r, [b])]


def cut(direction):
    def episode(r, names):
        a = r.choice(names)
        return [(0, f"cut {direction}", a), (r.uniform(0.3, 1.2), "heal", a)]

    episode.__name__ = f"cut_{direction}"
    return episode


def cut_briefly(r, names):
    a = r.choice(names)
    return [(0, "cut both", a), (r.uniform(0.02, 0.25), "heal", a)]


def cut_and_another_killed(r, names):
    a, b = r.sample(names, 2)
    steps = [(0, f"cut {r.choice(('both', 'in', 'out'))}", a), (r.uniform(0, 0.3), "kill", b)]
    return [*steps, (r.uniform(0, 0.4), "heal", a), *back(r, [b])]


def power_lost(r, names):
    """Dead without a word, and back before the leader can have noticed."""
    a = r.choice(names)
    return [(0, "cut both", a), (0, "kill", a), (r.uniform(0, 0.1), "heal", a), (0, "start", a)]


def slow(r, names):
    """Where the kernel has no netem only the later half can be slow."""
    a = r.choice(names[len(names) // 2 :])
    return [(0, "slow", a), (r.uniform(0.5, 1.5), "fast", a)]


def slow_and_another_killed(r, names):
    a = r.choice(names[len(names) // 2 :])
    b = r.choice([n for n in names if n != a])
    steps = [(0, "slow", a), (r.uniform(0, 0.5), "kill", b), (r.uniform(0, 0.5), "fast", a)]
    return [*steps, *back(r, [b])]


def flipped(r, names):
    """One bit of a worker's packed weights is another: it finds it and says so, or an audit does. Rows
    would not last: gdb stops the worker for so long that it may be given up."""
    a = r.choice(names)
    return [(0, "joined", a), (0, f"flip {r.randrange(1 << 20)}", a), (0, "looked over", a)]


PROCESSES = (one, two_at_once, several_at_once, second_in_recovery, in_assignment, again)
PROCESSES += (while_joining, other_while_joining, all_but_one, everybody, in_prefill, stopped)
PROCESSES += (stopped_briefly, stopped_then_killed, stopped_and_another_killed, beyond_the_limit)
PROCESSES += (liar, wrong_bits, hung, liar_and_another_killed, lie_in_recovery)
MEMORY = (flipped,)  # where there is a debugger
LINKS = (cut("both"), cut("in"), cut("out"), cut_briefly, cut_and_another_killed, power_lost)
LINKS += (slow, slow_and_another_killed)


class Wave:
    def __init__(self, requests, episodes, whole):
        self.requests = requests  # indices
        self.episodes = episodes  # (pause before it, name, steps)
        self.whole = whole  # the next wave waits until every worker owns something


def deal(r, names, links, memory):
    """Episodes without end."""
    while True:
        deck = list(PROCESSES + (LINKS if links else ()) + (MEMORY if memory else ()))
        r.shuffle(deck)
        for kind in deck:
            yield r.uniform(0, 0.25), kind.__name__, kind(r, names)


def waves(seed, names, n_requests, links, memory=False):
    """Without end. What makes requests fail gets a wave of its own."""
    r = random.Random(seed)
    episodes = deal(r, names, links, memory)

    def wave_of(some):
        requests = [r.randrange(n_requests) for _ in range(r.randint(2, 6))]
        return Wave(requests, some, r.random() < 0.75)

    while True:
        batch, alone = [], None
        for _ in range(r.randint(2, 5)):
            episode = next(episodes)
            if episode[1] == beyond_the_limit.__name__:
                alone = episode
                break
            batch.append(episode)
        if batch:
            yield wave_of(batch)
        if alone:
            yield wave_of([alone])
