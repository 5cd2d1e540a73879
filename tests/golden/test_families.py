"""Small models of each family, in both forms, against what transformers computes of them."""

import json
import os
import sys

import pytest

from golden import check_logits, greedy, logits

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


@pytest.mark.parametrize("name", families.WRAPPERS)
def test_part_of_a_model_that_sees(name, tmp_path):
    """The language model in it computes what it does alone."""
    alone, part = str(tmp_path / "alone"), str(tmp_path / "part")
    families.write_folder(alone, families.CASES[name])
    families.write_wrapped(part, name)
    ids = reference(name)["prompt"]
    assert logits(part, 2, "exact", ids, str(tmp_path)) == logits(
        alone, 1, "exact", ids, str(tmp_path)
    )


@pytest.mark.parametrize("name", families.CASES)
def test_greedy(name, tmp_path):
    r, model = reference(name), write(name, "folder", tmp_path)
    assert greedy(model, 2, "f32", r) == r["greedy"]
