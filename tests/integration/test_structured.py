"""Answers that must match something: they do, whatever the plan, the company and the failures."""

import json
import re
import signal

import pytest

from prompts import prompt

PROMPT = prompt(24, 51)
SAMPLED = {"temperature": 1.2, "seed": 5}

SCHEMAS = {
    "bool": {"type": "boolean"},
    "enum": {"enum": ["red", "green", 7, None, [1, 2]]},
    "integer": {"type": "integer", "minimum": -5, "maximum": 120},
    "short text": {"type": "string", "maxLength": 8},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    "object": {
        "type": "object",
        "properties": {
            "ok": {"type": "boolean"},
            "level": {"enum": ["low", "high"]},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        },
        "required": ["ok", "level", "tags"],
        "additionalProperties": False,
    },
    "reference": {
        "$defs": {"point": {"type": "array", "items": {"enum": [0, 1]}, "minItems": 2, "maxItems": 2}},
        "type": "object",
        "properties": {"from": {"$ref": "#/$defs/point"}, "to": {"$ref": "#/$defs/point"}},
        "required": ["from", "to"],
        "additionalProperties": False,
    },
    "one of": {"anyOf": [{"const": "none"}, {"type": "array", "items": {"type": "null"}, "maxItems": 2}]},
}

HOLDS = {
    "bool": lambda v: isinstance(v, bool),
    "enum": lambda v: v in ["red", "green", 7, None, [1, 2]],
    "integer": lambda v: isinstance(v, int) and -5 <= v <= 120,
    "short text": lambda v: isinstance(v, str) and len(v) <= 8,
    "pattern": lambda v: re.fullmatch("[A-Z]{2}-[0-9]{3}", v),
    "list": lambda v: 2 <= len(v) <= 4 and all(isinstance(x, bool) for x in v),
    "object": lambda v: set(v) == {"ok", "level", "tags"}
    and isinstance(v["ok"], bool)
    and v["level"] in ("low", "high")
    and len(v["tags"]) <= 3
    and set(v["tags"]) <= {"a", "b"},
    "reference": lambda v: set(v) == {"from", "to"}
    and all(len(p) == 2 and set(p) <= {0, 1} for p in v.values()),
    "one of": lambda v: v == "none" or (len(v) <= 2 and all(x is None for x in v)),
}

COMPACT = {"x-guidance": {"whitespace_flexible": False}}  # a random model would write blanks for ever


def schema(name):
    form = {"name": "answer", "strict": True, "schema": SCHEMAS[name] | COMPACT}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


@pytest.fixture(scope="module")
def three(model):
    from cluster import Up

    with Up(model, workers=3) as c:
        yield c


def finished(answer):
    assert answer.error is None
    assert answer.finish_reason == "stop", answer.text
    return answer.text


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("how", [{}, SAMPLED, {**SAMPLED, "top_p": 0.9, "top_k": 40}])
def test_answers_hold_to_the_schema(three, name, how):
    text = finished(three.client.complete(PROMPT, 200, **schema(name), **how))
    assert HOLDS[name](json.loads(text)), text


def test_choices_expressions_and_grammars(three):
    ask = three.client.complete
    assert finished(ask(PROMPT, 20, guided_choice=["yes", "no"])) in ("yes", "no")
    words = ["a \"b\"", "\u00fc\U0001f600"]
    assert finished(ask(PROMPT, 20, structured_outputs={"choice": words})) in words
    assert re.fullmatch("[0-9]{4}", finished(ask(PROMPT, 20, guided_regex="[0-9]{4}", **SAMPLED)))
    lark = 'start: ("ab" | "c")~3'
    assert re.fullmatch("(ab|c){3}", finished(ask(PROMPT, 20, guided_grammar=lark, **SAMPLED)))
    gbnf = 'root ::= (pair | "c"){3} # three\npair ::= "a" [b]'
    said = [finished(ask(PROMPT, 20, **{k: gbnf}, **SAMPLED)) for k in ("grammar", "guided_grammar")]
    assert re.fullmatch("(ab|c){3}", said[0]) and said[0] == said[1]


def test_ignore_eos_ends_a_whole_answer_all_the_same(three):
    assert finished(three.client.complete(PROMPT, 20, guided_regex="ab", ignore_eos=True)) == "ab"


@pytest.mark.parametrize(
    "how",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "wizard"}}}},
        {"guided_regex": "(a"},
        {"guided_regex": "(?=a)b"},
        {"guided_grammar": "start: nothing"},
        {"guided_choice": ["a"], "guided_regex": "a"},
        {"grammar": "root ::= nothing"},
    ],
)
def test_what_cannot_be_matched_is_400(three, how):
    body = {"prompt": PROMPT, "max_tokens": 4, **how}
    status, _, reply = three.client.request("POST", "/v1/completions", body)
    assert status == 400, reply
    assert json.loads(reply)["error"]["param"] in how
    assert three.client.request("GET", "/health")[0] == 200


def test_the_same_tokens_with_any_number_of_workers_in_company_and_after_a_death(three, model):
    from cluster import Up

    requests = [
        (PROMPT, 200, {**schema("object"), **SAMPLED}),
        (prompt(9, 52), 200, {**schema("reference"), **SAMPLED, "presence_penalty": 0.5}),
        (prompt(31, 53), 60, {"guided_regex": "([a-z]{3} ){15}", **SAMPLED}),
        (prompt(40, 54), 60, {"temperature": 0.9, "seed": 6}),
    ]
    with Up(model, workers=1) as one:
        alone = [one.client.complete(p, n, **o).tokens for p, n, o in requests]
    assert [a.tokens for a in three.client.together(requests)] == alone
    streams = [three.client.stream(p, n, **o) for p, n, o in requests]
    for s in streams:
        s.read_tokens(3)
    three.signal("w2", signal.SIGKILL)
    assert [s.finish().tokens for s in streams] == alone
