"""Small models of each family, in both forms, against what transformers computes of them."""

import json
import os
import sys

import pytest

from golden import answer, check_logits, check_logprobs, logits, logprob

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
sys.path.insert(0, os.path.join(FIXTURES, "families"))
import families  # noqa: E402  (beside its references)
import fp8  # noqa: E402

FORMS = [(n, form) for n, c in families.CASES.items() for form in families.forms(c)]


def reference(name):
    with open(os.path.join(FIXTURES, "families", f"{name}.json"), encoding="utf-8") as f:
        return json.load(f)


def write(name, form, folder):
    path = os.path.join(str(folder), "model.gguf" if form in ("gguf", "fused") else "model")
    families.WRITERS[form](path, families.CASES[name])
    return path


@pytest.mark.parametrize("name, form", FORMS)
def test_logits(name, form, tmp_path):
    r, model = reference(name), write(name, form, tmp_path)
    one, *others = (check_logits(model, n, r, str(tmp_path)) for n in (1, 2, 3))
    assert [max(range(len(row)), key=row.__getitem__) for row in one] == r[
        "argmax_per_prompt_position"
    ]
    tokens = r["prompt"][1:] + r["greedy"][:1]
    check_logprobs([logprob(row, token) for row, token in zip(one, tokens)], r)
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


@pytest.mark.parametrize(
    "arch, name", [("internlm2", "llama-linear"), ("minicpm", "granite"), ("exaone", "qwen2-1kv")]
)
def test_renamed(arch, name, tmp_path):
    """Families of GGUF's that compute what others do."""
    one, other = write(name, "gguf", tmp_path), str(tmp_path / "other.gguf")
    families.write_renamed(other, families.CASES[name], arch)
    ids = reference(name)["prompt"]
    assert logits(one, 1, "exact", ids, str(tmp_path)) == logits(
        other, 2, "exact", ids, str(tmp_path)
    )


@pytest.mark.parametrize("name", fp8.CASES)
def test_fp8(name, tmp_path):
    """Weights of FP8 are the numbers that they stand for: every bit as with these in F32."""
    ids = reference("qwen3")["prompt"][:24]
    floats, bytes_ = str(tmp_path / "floats"), str(tmp_path / "fp8")
    fp8.write(floats, name, True)
    fp8.write(bytes_, name, False)
    want = logits(floats, 1, "exact", ids, str(tmp_path))
    for workers in (1, 2):
        assert logits(bytes_, workers, "exact", ids, str(tmp_path)) == want


@pytest.mark.parametrize("name", families.CASES)
def test_greedy(name, tmp_path):
    """Tokens, and what is said of those of the prompt."""
    r, model = reference(name), write(name, "folder", tmp_path)
    reply = answer(model, 2, "f32", r, prompt_logprobs=0, logprobs=1)
    assert reply["hydac"]["tokens"] == r["greedy"]
    said = [e[str(t)]["logprob"] for t, e in zip(r["prompt"][1:], reply["choices"][0]["prompt_logprobs"][1:])]
    check_logprobs(said + [reply["hydac"]["logprobs"][0]["logprob"]], r)
