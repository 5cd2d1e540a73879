#!/usr/bin/env python3
"""Programs that people put in front of a model, as they come from PyPI: does their first use work?

    HYDAC_BUILD=build tests/integration/real_clients.py MODEL.gguf [--venv DIR]

Makes a virtual environment with the clients (some hundred MB; DIR is kept and used again), starts two
workers of this machine and lets each client talk, be answered in a schema, call tools and stream.
By hand, as it needs PyPI. Prints a line for each, and passes only if all of them work."""

import argparse
import os
import subprocess
import sys
import tempfile
import venv

PACKAGES = {
    "openai": ["openai"],
    "ollama": ["ollama"],
    "anthropic": ["anthropic"],
    "instructor": ["instructor"],
    "langchain": ["langchain-openai"],
    "litellm": ["litellm"],
}

# ---- What runs inside an environment: client.py NAME BASE-URL -------------------------------------

QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": SCHEMA},
}


def use_openai(url):
    import json

    from openai import OpenAI

    ask = OpenAI(base_url=url, api_key="none").chat.completions.create
    common = {"model": "gpt-4o-mini", "messages": QUESTION, "max_tokens": 80, "temperature": 0}
    assert ask(**common).choices[0].message.content
    assert "".join(c.choices[0].delta.content or "" for c in ask(**common, stream=True))
    form = {"type": "json_schema", "json_schema": {"name": "w", "strict": True, "schema": SCHEMA}}
    answer = ask(**common, response_format=form).choices[0].message.content
    assert set(json.loads(answer)) == {"city", "warm"}
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        message = ask(**common, tools=[TOOL], tool_choice=choice).choices[0].message
        assert set(json.loads(message.tool_calls[0].function.arguments)) == {"city", "warm"}
    ask(**common, tools=[TOOL], tool_choice="auto", frequency_penalty=0.3, user="me", metadata={})
    several = ask(**common | {"temperature": 1.0}, n=3, seed=1)
    assert [c.index for c in several.choices] == [0, 1, 2]
    assert len({c.message.content for c in several.choices}) > 1
    use_responses(url)


def use_responses(url):
    import json

    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")
    ask = client.responses.create
    common = {"model": "gpt-4o-mini", "input": QUESTION, "temperature": 0}
    said = ask(**common, max_output_tokens=20)
    assert said.output_text and said.status == "incomplete" and said.usage.output_tokens == 20
    events = list(ask(**common, max_output_tokens=20, stream=True))
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == said.output_text == events[-1].response.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))
    form = {"format": {"type": "json_schema", "name": "w", "strict": True, "schema": SCHEMA}}
    assert set(json.loads(ask(**common, text=form).output_text)) == {"city", "warm"}
    tool = {"type": "function", "strict": True, **TOOL["function"]}
    call = ask(**common, tools=[tool], tool_choice="required").output[0]
    assert call.type == "function_call" and set(json.loads(call.arguments)) == {"city", "warm"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    more = common | {"input": [*QUESTION, call.model_dump(), result]}
    assert ask(**more, tools=[tool], max_output_tokens=20).output_text is not None


def use_ollama(url):
    import json

    from ollama import Client, ResponseError

    client = Client(host=url.removesuffix("/v1"))
    model = client.list().models[0].model
    assert client.show(model).capabilities and client.ps().models
    common = {"model": "llama3.2", "options": {"temperature": 0, "num_predict": 80}}
    said = client.chat(messages=QUESTION, **common)
    assert said.message.content and said.done and said.eval_count > 0
    parts = list(client.chat(messages=QUESTION, stream=True, **common))
    assert "".join(p.message.content for p in parts) == said.message.content
    assert parts[-1].done_reason in ("stop", "length")
    answer = client.chat(messages=QUESTION, format=SCHEMA, **common).message.content
    assert set(json.loads(answer)) == {"city", "warm"}
    client.chat(messages=QUESTION, tools=[TOOL], **common)
    assert client.generate(prompt="Say hi", system="Be brief.", **common).response
    assert client.generate(prompt="Once upon", raw=True, **common).response
    assert client.generate(model="llama3.2").done_reason == "load"
    try:
        client.chat(messages=[{"role": "user", "content": "?", "images": [b"x"]}], **common)
    except ResponseError as e:
        assert e.status_code == 400 and "images" in str(e)
    else:
        raise AssertionError("images are seen")


def use_anthropic(url):
    from anthropic import Anthropic, BadRequestError

    client = Anthropic(base_url=url.removesuffix("/v1"), api_key="none")
    common = {"model": "claude", "max_tokens": 60, "messages": QUESTION}
    said = client.messages.create(**common, extra_body={"seed": 1})
    assert said.content[0].text and said.stop_reason in ("end_turn", "max_tokens")
    with client.messages.stream(**common, extra_body={"seed": 1}) as stream:
        assert "".join(stream.text_stream) == said.content[0].text
        assert stream.get_final_message().usage.output_tokens == said.usage.output_tokens
    tool = {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}
    more = common | {"tools": [tool], "max_tokens": 80, "extra_body": {"temperature": 0}}
    choice = {"type": "any", "disable_parallel_tool_use": True}
    call = client.messages.create(**more, tool_choice=choice).content[0]
    assert call.type == "tool_use" and set(call.input) == {"city", "warm"}
    with client.messages.stream(**more, tool_choice={"type": "tool", "name": tool["name"]}) as s:
        assert set(s.get_final_message().content[0].input) == {"city", "warm"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    more["messages"] = [
        *QUESTION,
        {"role": "assistant", "content": [call.model_dump()]},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(**more).content
    assert client.messages.count_tokens(model="claude", messages=QUESTION).input_tokens > 5
    try:
        client.messages.create(model="claude", max_tokens=5, messages=[])
    except BadRequestError as e:
        assert "messages" in str(e)
    else:
        raise AssertionError("no messages are enough")


def use_instructor(url):
    import instructor
    from openai import OpenAI
    from pydantic import BaseModel

    class User(BaseModel):
        name: str
        age: int

    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(OpenAI(base_url=url, api_key="none"), mode=mode)
        user = client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "Jason is 25 years old."}],
            response_model=User,
            temperature=0,
            max_tokens=80,
        )
        assert isinstance(user, User)


def use_langchain(url):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel

    class Weather(BaseModel):
        warm: bool

    @tool
    def add(a: int, b: int) -> int:
        "Adds two numbers."
        return a + b

    model = ChatOpenAI(base_url=url, api_key="none", model="any", temperature=0, max_tokens=80)
    for method in ("json_schema", "function_calling"):
        said = model.with_structured_output(Weather, method=method).invoke("Is it warm in Rome?")
        assert isinstance(said, Weather)
    call = model.bind_tools([add], tool_choice="any").invoke("What is 2+3?")
    results = [ToolMessage("5", tool_call_id=c["id"]) for c in call.tool_calls]
    assert results
    history = [HumanMessage("What is 2+3?"), call, *results]
    assert model.bind_tools([add]).invoke(history).content is not None
    assert "".join(c.content for c in model.stream("Say hi"))


def use_litellm(url):
    import litellm

    common = {"model": "openai/any", "api_base": url, "api_key": "none", "max_tokens": 10}
    common["messages"] = QUESTION
    assert litellm.completion(**common, presence_penalty=0.2).choices[0].message.content
    last = None
    for last in litellm.completion(**common, stream=True, stream_options={"include_usage": True}):
        pass
    assert last.usage.completion_tokens == 10


# ---- Outside ---------------------------------------------------------------------------------------


def prepare(folder, name):
    """Its Python. Each client has an environment of its own: they disagree about versions."""
    path = os.path.join(folder, name)
    python = os.path.join(path, "bin", "python")
    if not os.path.exists(python):
        venv.create(path, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
    return python


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("model")
    p.add_argument("--venv", help="folder of the environments (default: a temporary one)")
    o = p.parse_args()
    from cluster import Up

    failed = 0
    with tempfile.TemporaryDirectory(prefix="hydac-clients-") as folder, Up(o.model, 2) as c:
        url = f"http://{c.ready['leader'].split('//')[-1]}/v1"
        for name in PACKAGES:
            python = prepare(o.venv or folder, name)
            done = subprocess.run([python, __file__, "--use", name, url], check=False)
            print(f"{name}: {'works' if done.returncode == 0 else 'FAILED'}", flush=True)
            failed += done.returncode != 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--use"]:
        globals()["use_" + sys.argv[2]](sys.argv[3])
    else:
        main()
