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

from ports import free_port

PACKAGES = {
    "openai": ["openai"],
    "ollama": ["ollama"],
    "anthropic": ["anthropic"],
    "instructor": ["instructor"],
    "langchain": ["langchain-openai"],
    "litellm": ["litellm"],
    "open_webui": ["open-webui"],  # some GiB
}

# ---- What runs inside an environment: client.py NAME BASE-URL -------------------------------------

QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
TEXTS = ["Paris is warm.", "A cat sleeps.", "Paris is warm."]
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
    use_vectors(url)


def check_vectors(vectors):
    """Of texts, of which the first and the third are the same."""
    first, second, third = (list(v) for v in vectors)
    assert first == third != second and abs(sum(x * x for x in first) - 1) < 1e-4


def use_vectors(url):
    from openai import OpenAI

    create = OpenAI(base_url=url, api_key="none").embeddings.create
    for form in ({}, {"encoding_format": "float"}):
        reply = create(model="text-embedding-3-small", input=TEXTS, **form)
        check_vectors(d.embedding for d in reply.data)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


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
    check_vectors(client.embed(model="nomic-embed-text", input=TEXTS).embeddings)
    check_vectors(client.embeddings(model="nomic-embed-text", prompt=t).embedding for t in TEXTS)
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
    import typing

    import instructor
    from openai import APIError, OpenAI
    from pydantic import BaseModel, Field

    class User(BaseModel):
        name: str = Field(max_length=20)
        age: int

    # In some modes nothing holds the model to the form: it may say what it likes, or never end.
    free = ("PARALLEL_TOOLS", "JSON", "MD_JSON")
    for name in ("TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", *free):
        mode = getattr(instructor.Mode, name)
        client = instructor.from_openai(OpenAI(base_url=url, api_key="none"), mode=mode)
        ask = {
            "model": "any",
            "messages": [{"role": "user", "content": "Jason is 25 years old."}],
            "temperature": 0,
            "max_tokens": 80,
            "max_retries": 0,
        }
        form = typing.Iterable[User] if name == "PARALLEL_TOOLS" else User
        try:
            user = client.chat.completions.create(response_model=form, **ask)
            assert isinstance(user, User) or all(isinstance(u, User) for u in user)
            if name not in free:
                *_, user = client.chat.completions.create_partial(response_model=User, **ask)
                assert user.age is not None and user.name is not None
        except Exception as e:
            if name not in free or isinstance(e, APIError):
                raise
            print(f"  {name}: {type(e).__name__}, the model's own words")


def use_langchain(url):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from openai import LengthFinishReasonError
    from pydantic import BaseModel

    class Weather(BaseModel):
        warm: bool

    @tool
    def add(a: int, b: int) -> int:
        "Adds two numbers."
        return a + b

    common = {"base_url": url, "api_key": "none"}
    # Else it sends ids of OpenAI's tokenizer.
    vectors = OpenAIEmbeddings(**common, check_embedding_ctx_length=False)
    check_vectors(vectors.embed_documents(TEXTS))
    model = ChatOpenAI(**common, model="any", temperature=0, max_tokens=80)
    for method in ("json_schema", "function_calling"):
        said = model.with_structured_output(Weather, method=method).invoke("Is it warm in Rome?")
        assert isinstance(said, Weather)
    free = model.with_structured_output(Weather, method="json_mode", include_raw=True)
    try:
        free.invoke("Is it warm in Rome? Answer in JSON.")
    except LengthFinishReasonError:
        print("  json_mode: the model does not end an object of any kind")
    call = model.bind_tools([add], tool_choice="any").invoke("What is 2+3?")
    results = [ToolMessage("5", tool_call_id=c["id"]) for c in call.tool_calls]
    assert results and not call.invalid_tool_calls
    history = [HumanMessage("What is 2+3?"), call, *results]
    assert model.bind_tools([add]).invoke(history).content is not None
    whole = None
    for part in model.bind_tools([add], tool_choice="add").stream("What is 2+3?"):
        whole = part if whole is None else whole + part
    assert set(whole.tool_calls[0]["args"]) == {"a", "b"}
    assert "".join(c.content for c in model.stream("Say hi"))


def use_litellm(url):
    import json

    import litellm

    common = {"model": "openai/any", "api_base": url, "api_key": "none", "max_tokens": 10}
    ask = {"model": "openai/any", "api_base": url, "api_key": "none", "input": TEXTS}
    check_vectors(d["embedding"] for d in litellm.embedding(**ask).data)
    common["messages"] = QUESTION
    assert litellm.completion(**common, presence_penalty=0.2).choices[0].message.content
    last = None
    for last in litellm.completion(**common, stream=True, stream_options={"include_usage": True}):
        pass
    assert last.usage.completion_tokens == 10
    more = common | {"max_tokens": 80, "tools": [TOOL], "tool_choice": "required"}
    (call,) = litellm.completion(**more, parallel_tool_calls=False).choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city", "warm"}
    parts = list(litellm.completion(**more, parallel_tool_calls=False, stream=True))
    (call,) = litellm.stream_chunk_builder(parts).choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city", "warm"}
    base = url.removesuffix("/v1")
    for model, at in (("ollama_chat/any", base), ("anthropic/any", base)):
        more = {**common, "model": model, "api_base": at}
        assert litellm.completion(**more).choices[0].message.content, model


def use_open_webui(url):
    """Its defaults, but no login, no Ollama and no network: the first message, as its page sends it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hydac-webui-") as folder:
        settings = {
            "WEBUI_AUTH": "False",
            "ENABLE_OLLAMA_API": "False",
            "OPENAI_API_BASE_URL": url,
            "OPENAI_API_KEY": "none",
            "DATA_DIR": folder,
            "WEBUI_SECRET_KEY": "for a test",
            "HF_HUB_OFFLINE": "1",
        }
        program = os.path.join(os.path.dirname(sys.executable), "open-webui")
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            webui = subprocess.Popen(
                [program, "serve", "--host", "127.0.0.1", "--port", str(port)],
                env=os.environ | settings,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
            try:
                talk_to_webui(f"http://127.0.0.1:{port}", webui)
            except BaseException:
                log.seek(0)
                print(log.read()[-6000:])
                raise
            finally:
                webui.terminate()
                webui.wait()


def talk_to_webui(base, process):
    import time
    import uuid

    import requests

    limit = time.monotonic() + 600
    s = requests.Session()

    def until(ask, what):
        while process.poll() is None and time.monotonic() < limit:
            try:
                if (got := ask()) is not None:
                    return got
            except requests.ConnectionError:
                pass
            time.sleep(0.5)
        raise AssertionError(what)

    until(lambda: s.get(f"{base}/health").ok or None, "it does not start")
    user = s.post(f"{base}/api/v1/auths/signin", json={"email": "", "password": ""}).json()
    s.headers["Authorization"] = f"Bearer {user['token']}"
    model = s.get(f"{base}/api/models").json()["data"][0]["id"]
    parent = chat = None
    for said in ("Say hi.", "And now in French."):
        ask, answer = str(uuid.uuid4()), str(uuid.uuid4())
        message = {"id": ask, "parentId": parent, "role": "user", "content": said, "models": [model]}
        history = [{"role": "user", "content": said}]
        body = {
            "stream": True,
            "model": model,
            "messages": history,
            "params": {"max_tokens": 40},
            "files": [],
            "tool_servers": [],
            "features": {"web_search": False, "image_generation": False, "code_interpreter": False},
            "variables": {},
            "session_id": "a page",
            "id": answer,
            "parent_id": parent,
            "user_message": message | {"childrenIds": [answer], "timestamp": int(time.time())},
            "background_tasks": {
                "title_generation": True,
                "tags_generation": True,
                "follow_up_generation": True,
            },
        } | ({"chat_id": chat} if chat else {})
        r = s.post(f"{base}/api/chat/completions", json=body)
        assert r.ok, r.text
        chat = r.json().get("chat_id") or chat or s.get(f"{base}/api/v1/chats/").json()[0]["id"]

        def reply(answer=answer):
            messages = s.get(f"{base}/api/v1/chats/{chat}").json()["chat"]["history"]["messages"]
            got = messages.get(answer, {})
            return got if got.get("done") or got.get("error") else None

        got = until(reply, "the answer does not come")
        assert got.get("content") and not got.get("error"), got
        print(f"  {said!r}: {got['content'][:60]!r}")
        parent = answer


# ---- Outside ---------------------------------------------------------------------------------------


def prepare(folder, name):
    """Its Python. Each client has an environment of its own: they disagree about versions."""
    path = os.path.join(folder, name)
    python = os.path.join(path, "bin", "python")
    if not os.path.exists(python):
        venv.create(path, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
    return python


def use_all(o, model, folder):
    """How many failed."""
    from cluster import Up

    failed = 0
    with Up(model, 2, leader_args=["--speculation.mode=auto"]) as c:
        url = f"http://{c.ready['leader'].split('//')[-1]}/v1"
        for name in o.only:
            python = prepare(o.venv or folder, name)
            done = subprocess.run([python, __file__, "--use", name, url], check=False)
            print(f"{name}: {'works' if done.returncode == 0 else 'FAILED'}", flush=True)
            failed += done.returncode != 0
    return failed


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("model", help="a Llama's GGUF")
    p.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    p.add_argument("--venv", help="folder of the environments (default: a temporary one)")
    o = p.parse_args()
    from gguf_edit import Gguf

    with tempfile.TemporaryDirectory(prefix="hydac-clients-") as folder:
        model = os.path.join(folder, "model.gguf")  # which says how vectors are made
        Gguf(o.model).u32("llama.pooling_type", 3).write(model)
        failed = use_all(o, model, folder)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--use"]:
        globals()["use_" + sys.argv[2]](sys.argv[3])
    else:
        main()
