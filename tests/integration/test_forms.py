"""Several answers to one request, and the forms of other APIs: the same tokens as OpenAI's."""

import json

import pytest

from cluster import Up

MESSAGES = [{"role": "user", "content": "Is it dark in Oslo?"}]
ANSWER = 12


@pytest.fixture(scope="module")
def served(model):
    with Up(model, workers=2) as c:
        yield c


def post(c, path, body):
    status, _, reply = c.client.request("POST", path, body)
    assert status == 200, reply
    return reply.decode()


def said(c, **more):
    """The chat's answer."""
    body = {"messages": MESSAGES, "max_tokens": ANSWER, "seed": 3, **more}
    reply = json.loads(post(c, "/v1/chat/completions", body))
    return [choice["message"]["content"] for choice in reply["choices"]]


def events(reply):
    return [json.loads(line[6:]) for line in reply.splitlines() if line.startswith("data: {")]


def test_several_answers(served):
    several = said(served, n=4)
    assert several == said(served, n=4)
    assert several[:2] == said(served, n=2)
    assert several[:1] == said(served)
    assert len(set(several)) == 4


def test_prompts_as_if_each_were_alone(served):
    def texts(prompt):
        body = {"prompt": prompt, "max_tokens": ANSWER, "seed": 3, "n": 2}
        return [x["text"] for x in json.loads(post(served, "/v1/completions", body))["choices"]]

    assert texts(["a b", "c d e"]) == texts("a b") + texts("c d e")


def test_the_best(served):
    body = {"prompt": "a b", "max_tokens": ANSWER, "seed": 3, "logprobs": 0}

    def scored(**more):
        choices = json.loads(post(served, "/v1/completions", {**body, **more}))["choices"]
        return [(sum(x["logprobs"]["token_logprobs"]), x["text"]) for x in choices]

    best = scored(best_of=4, n=2)
    assert [text for _, text in best] == [t for _, t in sorted(scored(n=4), reverse=True)[:2]]


def test_responses(served):
    body = {"input": MESSAGES, "max_output_tokens": ANSWER, "seed": 3}
    response = json.loads(post(served, "/v1/responses", body))
    assert [response["output"][0]["content"][0]["text"]] == said(served)
    assert response["usage"]["output_tokens"] == ANSWER
    streamed = events(post(served, "/v1/responses", {**body, "stream": True}))
    text = "".join(e["delta"] for e in streamed if e["type"] == "response.output_text.delta")
    assert [text] == said(served)
    assert streamed[-1]["response"]["output"][0]["content"] == response["output"][0]["content"]


def test_messages(served):
    body = {"messages": MESSAGES, "max_tokens": ANSWER, "seed": 3}
    message = json.loads(post(served, "/v1/messages", body))
    assert [message["content"][0]["text"]] == said(served)
    assert message["stop_reason"] == "max_tokens"
    streamed = events(post(served, "/v1/messages", {**body, "stream": True}))
    text = "".join(
        e["delta"]["text"] for e in streamed if e["type"] == "content_block_delta"
    )
    assert [text] == said(served)
    counted = json.loads(post(served, "/v1/messages/count_tokens", {"messages": MESSAGES}))
    usage = message["usage"]
    assert counted["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]


def test_ollama(served):
    body = {"messages": MESSAGES, "options": {"num_predict": ANSWER, "seed": 3, "temperature": 1}}
    lines = [json.loads(line) for line in post(served, "/api/chat", body).splitlines()]
    assert ["".join(x["message"]["content"] for x in lines)] == said(served)
    assert lines[-1]["done"] and lines[-1]["eval_count"] == ANSWER
    prompt = {"prompt": MESSAGES[0]["content"], "options": body["options"], "stream": False}
    assert [json.loads(post(served, "/api/generate", prompt))["response"]] == said(served)
    status, _, tags = served.client.request("GET", "/api/tags")
    assert status == 200 and json.loads(tags)["models"][0]["name"]


def test_a_prompt_says_how_far_it_is(up):
    """`return_progress`: what was there, then more with each step, up to all; then the answer, as ever."""
    c = up(workers=1, leader_args=["--limits.max_rows=16"])
    body = {"prompt": [65 + i % 26 for i in range(100)], "max_tokens": 4, "stream": True}
    body |= {"temperature": 0, "ignore_eos": True}
    for cached in (0, 64):
        told = events(post(c, "/v1/completions", body | {"return_progress": True}))
        parts = [e["prompt_progress"] for e in told if "prompt_progress" in e]
        assert all(not e["choices"] for e in told[: len(parts)]), "they come first"
        assert {(p["total"], p["cache"]) for p in parts} == {(100, cached)}
        done = [p["processed"] for p in parts]
        assert done[0] == cached and done[-1] == 100 and done == sorted(set(done))
        assert len(done) == 1 + -(-(100 - cached) // 16)
        assert [p["time_ms"] for p in parts] == sorted(p["time_ms"] for p in parts)
        texts = [e["choices"][0]["text"] for e in told[len(parts) :] if e["choices"]]
        plain = events(post(c, "/v1/completions", body))
        assert all("prompt_progress" not in e for e in plain)
        assert "".join(texts) == "".join(e["choices"][0]["text"] for e in plain if e["choices"])
