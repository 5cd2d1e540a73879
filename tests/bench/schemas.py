#!/usr/bin/env python3
"""Answers that must match a JSON schema: do they, for schemas of every usual kind?

    HYDAC_BUILD=build tests/bench/schemas.py MODEL [--schemas 500] [--seed 1] [--workers 2] [--guesses ngram]

Schemas are made at random from what published ones have in them: nested objects, arrays, enums, constants,
patterns, formats, bounds, references, anyOf, optional members, open objects. Each is
asked of a cluster, several at once, greedy and sampled in turn; the answer must be JSON and match the schema
as it was given, which the package jsonschema says (PyPI or Debian's python3-jsonschema). Lengths are bounded
(and nothing refers to itself: a small model would never end), so that an answer that is not whole is a failure too. Prints the kinds that failed, and passes if none did.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import client as http_client  # noqa: E402 (the path comes first)
from cluster import Up  # noqa: E402 (the path comes first)
from detect import model_of  # noqa: E402

WORDS = "id name title price tags owner email created city size state items notes code kind".split()
PATTERNS = ["^[A-Z]{2}[0-9]{3}$", "^[a-z]+(-[a-z]+){0,2}$", r"^\d{3}-\d{4}$", "^(yes|no)$"]
FORMATS = ["date", "date-time", "uuid", "ipv4", "email", "time"]


def text(r):
    return r.choice(
        [
            {"type": "string", "maxLength": r.randint(3, 24)},
            {"type": "string", "minLength": 2, "maxLength": 12},
            {"type": "string", "pattern": r.choice(PATTERNS), "maxLength": 24},
            {"type": "string", "format": r.choice(FORMATS)},
            {"enum": r.sample(WORDS, r.randint(1, 5))},
            {"type": "string", "enum": ["a \"b\"", "\u00fc", "x/y"]},
            {"const": r.choice(WORDS)},
        ]
    )


def number(r):
    return r.choice(
        [
            {"type": "integer"},
            {"type": "integer", "minimum": 0, "maximum": r.randint(1, 5000)},
            {"type": "number", "minimum": -1.5, "exclusiveMaximum": 90.25},
            {"type": "number"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["integer", "null"]},
            {"enum": [1, 2.5, "three", None, True]},
        ]
    )


def array(r, depth, refs):
    if r.random() < 0.2:
        kinds = [any_of(r, depth - 1, refs) for _ in range(2)]
        return {"type": "array", "prefixItems": kinds, "items": False, "minItems": 2}
    low = r.randint(0, 2)
    items = any_of(r, depth - 1, refs)
    return {"type": "array", "items": items, "minItems": low, "maxItems": low + r.randint(0, 2)}


def thing(r, depth, refs):
    names = r.sample(WORDS, r.randint(1, 4))
    o = {"type": "object", "properties": {n: any_of(r, depth - 1, refs) for n in names}}
    o["required"] = names if r.random() < 0.6 else r.sample(names, r.randint(0, len(names)))
    if r.random() < 0.7:
        o["additionalProperties"] = False
    if r.random() < 0.3:
        o["description"] = "What it is."
    return o


def any_of(r, depth, refs):
    kinds = [text, number, text, number]
    pick = r.random()
    if depth <= 0 or pick < 0.5:
        return r.choice(kinds)(r)
    if pick < 0.65 and refs:
        return {"$ref": "#/$defs/" + r.choice(refs)}
    if pick < 0.75:
        return {"anyOf": [any_of(r, depth - 1, refs) for _ in range(2)]}
    return array(r, depth, refs) if pick < 0.88 else thing(r, depth, refs)


def schema(r):
    whole = thing(r, 3, ["point", "tree"])
    if "#/$defs/" in json.dumps(whole):
        whole["$defs"] = {
            "point": {
                "type": "object",
                "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
                "required": ["x", "y"],
                "additionalProperties": False,
            },
            "tree": {
                "type": "object",
                "properties": {
                    "leaf": text(r),
                    "more": {"type": "array", "items": {"$ref": "#/$defs/point"}, "maxItems": 1},
                },
                "required": ["leaf"],
                "additionalProperties": False,
            },
        }
    return whole


def ask(client, i, wanted):
    """None, or what is wrong."""
    import jsonschema

    how = {"temperature": 0} if i % 2 else {"temperature": 1.0, "seed": i}
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": wanted}}
    messages = [{"role": "user", "content": "Give me an example, as short as it can be, in JSON."}]
    body = {"messages": messages, "response_format": form, "max_tokens": 700, **how}
    status, _, reply = client.request("POST", "/v1/chat/completions", body)
    reply = json.loads(reply)
    if status != 200:
        return f"{status}: {reply['error']['message']}"
    choice = reply["choices"][0]
    if choice["finish_reason"] != "stop":
        return f"not whole: {choice['message']['content'][-80:]!r}"
    try:
        jsonschema.validate(json.loads(choice["message"]["content"]), wanted)
    except (jsonschema.ValidationError, ValueError) as e:
        return f"does not match: {str(e).splitlines()[0]}: {choice['message']['content'][:200]}"
    return None


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("model")
    p.add_argument("--schemas", type=int, default=500)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--guesses", choices=["off", "auto", "ngram"], default="ngram")
    o = p.parse_args()
    http_client.TIMEOUT = 1800  # the machine may be busy
    r = random.Random(o.seed)
    wanted = [schema(r) for _ in range(o.schemas)]
    with tempfile.TemporaryDirectory(prefix="hydac-schemas-") as folder:
        mode = [f"--speculation.mode={o.guesses}"]
        with (
            Up(model_of(o.model, folder), o.workers, leader_args=mode) as c,
            ThreadPoolExecutor(8) as pool,
        ):
            said = list(pool.map(lambda i: ask(c.client, i, wanted[i]), range(len(wanted))))
    for i, wrong in enumerate(said):
        if wrong:
            print(f"{i}: {wrong}\n    {json.dumps(wanted[i])}")
    good = sum(1 for wrong in said if not wrong)
    print(f"{good} of {len(said)} answers match")
    sys.exit(0 if good == len(said) else 1)


if __name__ == "__main__":
    main()
