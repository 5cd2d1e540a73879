"""Small models of each family, in both forms, against what transformers computes of them."""

import json
import os
import sys

import pytest

from golden import check_logits, greedy

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
sys.path.insert(0, os.path.join(FIXTURES, "families"))
import families  # noqa: E402  (beside its references)

FORMS = [(n, form) for n, c in families.CASES.items() for form in families.forms(c)]


def reference(name):
    with open(os.path.join(FIXTURES, "families", f"{name}.json"), encoding="utf-8") as f:
        return json.load(f)


def write(name, form, folder):
    path = os.path.join(str(folder), "model.gguf" if form == "gguf" else "model")
    families.WRITERS[form](path, families.CASES[name])
    return path


@pytest.mark.parametrize("name, form", FORMS)
def test_logits(name, form, tmp_path):
    r, model = reference(name), write(name, form, tmp_path)
    one, *others = (check_logits(model, n, r, str(tmp_path)) for n in (1, 2, 3))
    assert [max(range(len(row)), key=row.__getitem__) for row in one] == r[
        "argmax_per_prompt_position"
    ]
    assert all(rows == one for rows in others), "every bit, whoever owns what"


@pytest.mark.parametrize("name", families.CASES)
def test_greedy(name, tmp_path):
    r, model = reference(name), write(name, "folder", tmp_path)
    assert greedy(model, 2, "f32", r) == r["greedy"]
