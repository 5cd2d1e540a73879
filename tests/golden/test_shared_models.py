"""The shared reference models (HYDAC_GOLDEN): Hugging Face folders without a tokenizer."""

import json
import os

import pytest

from golden import check_logits, greedy

FOLDER = os.environ.get("HYDAC_GOLDEN", "")
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "shared")
MODELS = {"tiny-llama2": 6, "tiny-llama3": 4}  # name: KV heads

# The values of tiny-llama3/golden.json come from RoPE frequencies that were rounded to bfloat16;
# tests/fixtures/shared_reference.py shows it, and makes what this model is held to instead. Strict:
# a corrected golden.json makes these fail, and then this mark goes.
ROUNDED = pytest.mark.xfail(
    strict=True, reason="golden.json was computed with RoPE frequencies rounded to bfloat16"
)


def cases(name, *marks):
    return [pytest.param(name, n, marks=marks) for n in range(1, MODELS[name] + 1)]


AS_SHARED = cases("tiny-llama2") + cases("tiny-llama3", ROUNDED)
AS_STORED = cases("tiny-llama3")

pytestmark = pytest.mark.skipif(
    not os.path.isdir(FOLDER), reason="no shared reference models: set HYDAC_GOLDEN"
)


def load(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


def check_all_logits(name, workers, reference, folder):
    rows = check_logits(os.path.join(FOLDER, name), workers, reference, folder)
    argmax = [max(range(len(row)), key=row.__getitem__) for row in rows]
    assert argmax == reference["argmax_per_prompt_position"]


@pytest.mark.parametrize("name, workers", AS_SHARED)
def test_greedy(name, workers):
    r = load(os.path.join(FOLDER, name), "golden.json")
    assert greedy(os.path.join(FOLDER, name), workers, "f16", r) == r["greedy"]


@pytest.mark.parametrize("name, workers", AS_SHARED)
def test_logits(name, workers, tmp_path):
    check_all_logits(name, workers, load(os.path.join(FOLDER, name), "golden.json"), str(tmp_path))


@pytest.mark.parametrize("name, workers", AS_STORED)
def test_greedy_of_the_stored_model(name, workers):
    r = load(FIXTURES, name + ".json")
    assert greedy(os.path.join(FOLDER, name), workers, "f16", r) == r["greedy"]


@pytest.mark.parametrize("name, workers", AS_STORED)
def test_logits_of_the_stored_model(name, workers, tmp_path):
    check_all_logits(name, workers, load(FIXTURES, name + ".json"), str(tmp_path))
