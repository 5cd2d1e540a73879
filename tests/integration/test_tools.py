"""Calls of tools, whole and streamed: where one is wanted, the answer is one that parses."""

import json

import pytest

from cluster import Up

COMPACT = {"x-guidance": {"whitespace_flexible": False}}  # a random model would write blanks for ever


def tool(name, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    parameters |= {"additionalProperties": False, **COMPACT}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER = tool(
    "get_weather",
    town={"enum": ["Oslo", "Bern"]},
    days={"type": "array", "items": {"$ref": "#/$defs/day"}, "maxItems": 2},
)
WEATHER["function"]["parameters"]["$defs"] = {"day": {"enum": [1, 2, 3]}}
LIGHT = tool("set_light", on={"type": "boolean"})


@pytest.fixture(scope="module")
def served(model):
    with Up(model, workers=2) as c:
        yield c


def body(**more):
    messages = [{"role": "user", "content": "Is it dark in Oslo?"}]
    return {"messages": messages, "tools": [WEATHER, LIGHT], "max_tokens": 200, "seed": 3, **more}


def whole(c, **more):
    status, _, reply = c.client.request("POST", "/v1/chat/completions", body(**more))
    assert status == 200, reply
    return json.loads(reply)["choices"][0]


def streamed(c, **more):
    """Content, calls and the reason of the end, put together as clients do it."""
    status, _, reply = c.client.request("POST", "/v1/chat/completions", body(stream=True, **more))
    assert status == 200, reply
    content, calls, finish = "", [], None
    for line in reply.decode().splitlines():
        if not line.startswith("data: {"):
            continue
        choice = json.loads(line[6:])["choices"][0]
        content += choice["delta"].get("content") or ""
        finish = choice["finish_reason"] or finish
        for part in choice["delta"].get("tool_calls", ()):
            if part["index"] == len(calls):
                calls.append({**part, "function": dict(part["function"])})
            else:
                calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    return content, calls, finish


def check(call):
    assert call["type"] == "function" and call["id"]
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "get_weather":
        assert set(arguments) == {"town", "days"} and arguments["town"] in ("Oslo", "Bern")
        assert len(arguments["days"]) <= 2 and set(arguments["days"]) <= {1, 2, 3}
    else:
        assert call["function"]["name"] == "set_light" and isinstance(arguments["on"], bool)


@pytest.mark.parametrize("temperature", [0, 1.3])
def test_a_call_that_is_wanted_comes_and_parses(served, temperature):
    how = {"tool_choice": "required", "parallel_tool_calls": False, "temperature": temperature}
    choice = whole(served, **how)
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    check(call)
    content, (same,), finish = streamed(served, **how)
    assert (content, finish) == ("", "tool_calls")
    assert same["function"] == call["function"]


@pytest.mark.parametrize("name", ["get_weather", "set_light"])
def test_the_tool_that_is_named(served, name):
    how = {"tool_choice": {"type": "function", "function": {"name": name}}, "temperature": 0.8}
    (call,) = whole(served, **how)["message"]["tool_calls"]
    assert call["function"]["name"] == name
    check(call)


def test_a_schema_that_cannot_be_held_to_is_its_tools_alone(served):
    """Arguments of that tool are any object, others match; the log names it once."""
    odd = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?=x)(?<!y)z"}}}
    function = {"name": "odd_tool", "parameters": odd}
    how = {"tools": [WEATHER, LIGHT, {"type": "function", "function": function}]}
    for seed in range(4):
        choice = whole(served, tool_choice="required", parallel_tool_calls=False, seed=seed, **how)
        for call in choice["message"].get("tool_calls", ()):
            if call["function"]["name"] != "odd_tool":
                check(call)
            elif choice["finish_reason"] != "length":
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert whole(served, max_tokens=4, **how)["message"]["content"] is not None
    assert served.process.output().count("http_tool_not_strict name=odd_tool ") == 1


def test_tools_that_may_be_called_change_the_prompt_only(served):
    """A random model says something; it is text, and the same as when it is streamed."""
    choice = whole(served, temperature=0, max_tokens=20)
    assert choice["message"]["content"] and "tool_calls" not in choice["message"]
    content, calls, finish = streamed(served, temperature=0, max_tokens=20)
    assert (content, calls) == (choice["message"]["content"], [])
    assert finish == choice["finish_reason"]


def test_a_call_and_its_result_in_the_history(served):
    (call,) = whole(served, tool_choice="required", parallel_tool_calls=False)["message"][
        "tool_calls"
    ]
    messages = body()["messages"] + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "7 degrees"},
    ]
    assert whole(served, messages=messages, max_tokens=8)["message"]["content"] is not None
