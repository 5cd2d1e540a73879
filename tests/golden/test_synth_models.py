"""Models of `hydac synth` against transformers: tests/fixtures/synth."""

import glob
import hashlib
import json
import os

import pytest

from golden import DEVICES, check_logits, greedy, greedy_of
from synth import synth as synth_model

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "synth")


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


REFERENCES = {
    os.path.basename(p)[: -len(".json")]: load(p)
    for p in sorted(glob.glob(os.path.join(FIXTURES, "*.json")))
}
CASES = [(name, n) for name, r in REFERENCES.items() for n in range(1, r["kv_heads"] + 1)]
QUICK = [("tiny-gqa3-q4_0", 3), ("tiny-f32", 2)]
GREEDY = [pytest.param(*c, marks=[pytest.mark.quick] if c in QUICK else []) for c in CASES]


@pytest.fixture(scope="module")
def synth(tmp_path_factory):
    """synth(reference): the path of the very model that the reference was made from."""
    folder = tmp_path_factory.mktemp("models")

    def make(r):
        path = folder / f"{r['shape']}-{r['type']}-{r['seed']}.gguf"
        return synth_model(path, r["shape"], r["type"], r["seed"])

    return make


def test_there_are_references():
    assert len(REFERENCES) == 9


@pytest.mark.parametrize("name", REFERENCES)
def test_same_bytes_everywhere(synth, name):
    r = REFERENCES[name]
    with open(synth(r), "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == r["sha256"]


@pytest.mark.parametrize("name, workers", GREEDY)
def test_greedy(synth, name, workers):
    r = REFERENCES[name]
    assert greedy(synth(r), workers, "f16", r) == r["greedy"]


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("devices", DEVICES[1:], ids="-".join)
def test_greedy_of_devices(synth, name, devices):
    r = REFERENCES[name]
    assert greedy_of(devices, synth(r), r) == r["greedy"]


@pytest.mark.parametrize("name, workers", CASES)
def test_logits(synth, name, workers, tmp_path):
    check_logits(synth(REFERENCES[name]), workers, REFERENCES[name], str(tmp_path))
