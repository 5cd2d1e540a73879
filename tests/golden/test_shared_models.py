"""The shared reference models (HYDAC_GOLDEN): Hugging Face folders without a tokenizer."""

import json
import os

import pytest

from golden import DEVICES, check_logits, greedy, greedy_of

FOLDER = os.environ.get("HYDAC_GOLDEN", "")
MODELS = {"tiny-llama2": 6, "tiny-llama3": 4}  # name: KV heads
CASES = [(name, n) for name, heads in MODELS.items() for n in range(1, heads + 1)]

pytestmark = pytest.mark.skipif(
    not os.path.isdir(FOLDER), reason="no shared reference models: set HYDAC_GOLDEN"
)


def load(name):
    with open(os.path.join(FOLDER, name, "golden.json"), encoding="utf-8") as f:
        return json.load(f)


@pytest.mark.parametrize("name, workers", CASES)
def test_greedy(name, workers):
    r = load(name)
    assert greedy(os.path.join(FOLDER, name), workers, "f16", r) == r["greedy"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("devices", DEVICES, ids="-".join)
def test_greedy_of_devices(name, devices):
    r = load(name)
    assert greedy_of(devices, os.path.join(FOLDER, name), r) == r["greedy"]


@pytest.mark.parametrize("name, workers", CASES)
def test_logits(name, workers, tmp_path):
    r = load(name)
    rows = check_logits(os.path.join(FOLDER, name), workers, r, str(tmp_path))
    argmax = [max(range(len(row)), key=row.__getitem__) for row in rows]
    assert argmax == r["argmax_per_prompt_position"]
