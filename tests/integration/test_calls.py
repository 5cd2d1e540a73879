"""Tools that may be called: from a call's mark on the answer is held to the tool's schema, in each family's
way. The mark is said by nobody's luck: the answer goes on behind tokens in which it is."""

import json
import os
import signal

import pytest

from cluster import Up
from gguf_edit import Gguf
from test_tools import LIGHT, WEATHER, check, tool

NAMED = '{"name": "get_weather"'
CHANNELS = ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>"]
# What the template speaks of, control tokens, and beginnings of answers that call.
FAMILIES = {
    "told": ([], [], [["Let me see. <tool_call>"], ["<tool_call>\n"]]),
    "tagged": (["<tool_call>"], ["<tool_call>", "</tool_call>"], [["So: ", "<tool_call>"]]),
    "bare": (["<|python_tag|>"], ["<|python_tag|>"], [["<|python_tag|>"], ["\n" + NAMED]]),
    "list": (["[TOOL_CALLS]"], ["[TOOL_CALLS]"], [["[TOOL_CALLS]"], ["Well", "[TOOL_CALLS]", "["]]),
    "args": (["[TOOL_CALLS][ARGS]"], ["[TOOL_CALLS]", "[ARGS]"], [["[TOOL_CALLS]"]]),
    "channels": (
        ["<|channel|>"],
        CHANNELS,
        [
            ["<|channel|>", "commentary to=functions."],
            ["<|channel|>", "analysis", "<|message|>", "hm", "<|end|>"]
            + ["<|start|>", "assistant to=functions."],
        ],
    ),
}
SEEDS = range(2)


def family_model(name, model, folder):
    """A model of that family, and the ids of its control tokens."""
    marks, controls, _ = FAMILIES[name]
    g = Gguf(model)
    ids = g.controls(controls)
    (template,) = [g.keys["tokenizer.chat_template"][12:].decode()]
    g.text("tokenizer.chat_template", template + "".join(f"{{# tools {m} #}}" for m in marks))
    return g.write(folder / "family.gguf"), ids


@pytest.fixture(params=FAMILIES)
def family(request, model, tmp_path):
    path, ids = family_model(request.param, model, tmp_path)
    with Up(path, workers=2) as c:
        yield c, ids, FAMILIES[request.param][2]


def events(c, **body):
    status, _, reply = c.client.request("POST", "/v1/chat/completions", {**body, "stream": True})
    assert status == 200, reply
    lines = [x[6:] for x in reply.decode().splitlines() if x.startswith("data: {")]
    return [json.loads(x) for x in lines]


def tokens_of(c, ids, parts):
    found = []
    for part in parts:
        body = {"prompt": part, "add_special_tokens": False}
        found += [ids[part]] if part in ids else c.client.post("/tokenize", body)["tokens"]
    return found


def test_a_call_that_has_begun_parses(family):
    c, ids, begins = family
    ask = {
        "messages": [{"role": "user", "content": "Is it dark in Oslo?"}],
        "tools": [WEATHER, LIGHT],
        "max_tokens": 300,
    }
    hydac = next(e["hydac"] for e in events(c, **ask | {"max_tokens": 1}, hydac=True) if "hydac" in e)
    answers = []
    for begin in begins:
        known = tokens_of(c, ids, begin)
        for seed in SEEDS:
            told = {"model_digest": hydac["model_digest"], "seed": seed, "tokens": known}
            body = ask | {"hydac": told, "temperature": 1.3, "parallel_tool_calls": False}
            choice = c.client.post("/v1/chat/completions", body)["choices"][0]
            (call,) = choice["message"]["tool_calls"]
            check(call)
            streamed = [e["choices"][0]["delta"].get("tool_calls") for e in events(c, **body)]
            (same,) = [part for parts in streamed if parts for part in parts]
            assert same["function"] == call["function"]
            answers.append((body, choice["message"]["tool_calls"][0]["function"]))
    os.kill(next(iter(c.pids.values())), signal.SIGKILL)
    for body, function in answers[:: len(SEEDS)]:
        message = c.client.post("/v1/chat/completions", body)["choices"][0]["message"]
        assert message["tool_calls"][0]["function"] == function


def test_a_schema_that_cannot_be_held_to_frees_its_own_tool_only(model, tmp_path):
    wild = tool("anything", text={"type": "string", "pattern": "(?<=a)b"})
    path, ids = family_model("bare", model, tmp_path)
    with Up(path, workers=1) as c:
        ask = {"messages": [{"role": "user", "content": "Is it dark in Oslo?"}], "max_tokens": 300}
        ask |= {"tools": [wild, WEATHER], "parallel_tool_calls": False, "temperature": 1.3}
        hydac = next(e["hydac"] for e in events(c, **ask, hydac=True) if "hydac" in e)
        for name, seeds in (("get_weather", range(4)), ("anything", range(1))):
            known = tokens_of(c, ids, ['\n{"name": "%s"' % name])
            for seed in seeds:
                told = {"model_digest": hydac["model_digest"], "seed": seed, "tokens": known}
                choice = c.client.post("/v1/chat/completions", ask | {"hydac": told})["choices"][0]
                if name == "get_weather":
                    (call,) = choice["message"]["tool_calls"]
                    assert call["function"]["name"] == name
                    check(call)
                else:  # an object of any kind, which a model of noise may not end
                    assert choice["finish_reason"] in ("length", "tool_calls")


def test_thoughts_are_told_apart(model, tmp_path):
    g = Gguf(model)
    template = g.keys["tokenizer.chat_template"][12:].decode()
    opened = template.replace("assistant\n'", "assistant\n<think>\n'")
    assert opened != template
    with Up(g.text("tokenizer.chat_template", opened).write(tmp_path / "thinks.gguf"), 1) as c:
        ask = {"messages": [{"role": "user", "content": "Why?"}], "temperature": 0, "max_tokens": 9}
        reply = c.client.post("/v1/chat/completions", ask | {"hydac": True})
        message, hydac = reply["choices"][0]["message"], reply["hydac"]
        assert message["reasoning_content"] and not message["content"]
        assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 9
        told = events(c, **ask, hydac=True)
        deltas = [e["choices"][0]["delta"] for e in told]
        assert "".join(d.get("reasoning_content", "") for d in deltas) == message["reasoning_content"]
        known = hydac["tokens"] + tokens_of(c, {}, ["</think>\n"])
        digest = next(e["hydac"]["model_digest"] for e in told if "hydac" in e)
        more = {"model_digest": digest, "seed": hydac["seed"], "tokens": known}
        reply = c.client.post("/v1/chat/completions", ask | {"hydac": more, "max_tokens": 60})
        message = reply["choices"][0]["message"]
        assert message["content"] and "reasoning_content" not in message
        assert "</think>" not in message["content"]
