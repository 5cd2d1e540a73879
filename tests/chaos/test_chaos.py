"""The schedule is a function of the seed; 30 s of it on the real binaries."""

import itertools
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import schedule  # noqa: E402 (the path comes first)

NAMES = ["w1", "w2", "w3", "w4"]


def first_waves(seed, links=True, n=40, names=None, memory=True):
    return list(itertools.islice(schedule.waves(seed, names or NAMES, 10, links, memory), n))


def test_same_seed_same_schedule():
    one, two, other = (first_waves(seed) for seed in (3, 3, 4))
    assert [w.episodes for w in one] == [w.episodes for w in two]
    assert [w.requests for w in one] == [w.requests for w in two]
    assert [w.episodes for w in one] != [w.episodes for w in other]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("memory", [True, False])
def test_every_kind_comes_before_any_again(links, memory):
    kinds = [name for w in first_waves(5, links, memory=memory) for _, name, _ in w.episodes]
    n = len(schedule.PROCESSES) + (len(schedule.LINKS) if links else 0)
    n += len(schedule.MEMORY) if memory else 0
    assert len(set(kinds[:n])) == n
    assert sorted(kinds[:n]) == sorted(kinds[n : 2 * n])


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_an_episode_undoes_what_it_does(names):
    undo = {"kill": "start", "stop": "continue", "slow": "fast", "cut": "heal", "lie": "honest"}
    for wave in first_waves(6, names=names):
        for _, kind, steps in wave.episodes:
            for i, (_, verb, name) in enumerate(steps):
                wanted = undo.get(verb.split()[0])
                later = [s[1] for s in steps[i + 1 :] if s[2] == name]
                # A process that is killed need not be continued.
                assert not wanted or wanted in later or "kill" in later, (kind, steps)


def test_chaos(capsys):
    seed = os.environ.get("HYDAC_CHAOS_SEED", "1")
    args = [sys.executable, os.path.join(HERE, "chaos.py"), "--seed", seed, "--seconds", "30"]
    done = subprocess.run(args, capture_output=True, text=True, check=False, timeout=300)
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0
