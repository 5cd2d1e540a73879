"""The leader's HTTP: OpenAI's shapes, OpenAI's errors, and clients that leave."""

import json
import re
import socket

import pytest

from client import HEADERS, body_of
from cluster import Up
from prompts import prompt

PROMPT = prompt(20, 41)


@pytest.fixture(scope="module")
def served(model):
    with Up(model, workers=2) as c:
        yield c


def good(**more):
    return {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, **more}


def chat(**more):
    messages = [{"role": "user", "content": "Hello there"}]
    return {"messages": messages, "max_tokens": 8, "temperature": 0, **more}


BAD_BODIES = {
    "not JSON": b"{",
    "empty": b"",
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "two values": b"{} {}",
    "an array": b"[]",
    "a key twice": b'{"prompt": "a", "prompt": "b"}',
    "deeply nested": b'{"prompt":' + b"[" * 100000,
    "no prompt": {"max_tokens": 4},
    "prompt is a number": good(prompt=7),
    "prompt is empty": good(prompt=[]),
    "id is negative": good(prompt=[-1]),
    "id is too large": good(prompt=[1 << 31]),
    "id is a string": good(prompt=["1", 2]),
    "id is a fraction": good(prompt=[1.5]),
    "max_tokens is a string": good(max_tokens="8"),
    "max_tokens is negative": good(max_tokens=-1),
    "max_tokens is zero": good(max_tokens=0),
    "max_tokens over the context": good(max_tokens=1 << 30),
    "temperature is negative": good(temperature=-0.1),
    "temperature is a string": good(temperature="hot"),
    "top_p over one": good(top_p=1.5),
    "top_k is negative": good(top_k=-1),
    "seed is a fraction": good(seed=0.5),
    "logprobs over the limit": good(logprobs=21),
    "stream is a string": good(stream="yes"),
    "stop is empty": good(stop=""),
    "n is none": good(n=0),
    "min_p over one": good(min_p=1.5),
    "penalty over two": good(presence_penalty=3),
    "bias of no token": good(logit_bias={"": 1}),
    "bias of half a pair": good(logit_bias=[[5]]),
}
BAD_CHATS = {
    "no messages": {"max_tokens": 4},
    "messages is empty": chat(messages=[]),
    "messages is a string": chat(messages="hello"),
    "message is a string": chat(messages=["hello"]),
    "unknown role": chat(messages=[{"role": "wizard", "content": "hello"}]),
    "content is missing": chat(messages=[{"role": "user"}]),
    "content is an image": chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
}


def check_error(reply, status):
    code, headers, body = reply
    assert code == status, body
    assert headers["Content-Type"].startswith("application/json")
    error = json.loads(body)["error"]
    assert error["message"] and error["type"]
    assert {"message", "type", "param", "code"} <= set(error)
    return error


@pytest.mark.quick
@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_completion(served, name):
    check_error(served.client.request("POST", "/v1/completions", BAD_BODIES[name]), 400)
    assert served.client.request("GET", "/health")[0] == 200


@pytest.mark.parametrize("name", BAD_CHATS)
def test_bad_chat(served, name):
    check_error(served.client.request("POST", "/v1/chat/completions", BAD_CHATS[name]), 400)


def test_any_model_is_the_one_that_is_served(served):
    status, _, body = served.client.request("POST", "/v1/completions", good(model="another"))
    assert status == 200
    name = json.loads(body)["model"]
    listed = json.loads(served.client.request("GET", "/v1/models")[2])["data"]
    assert [m["id"] for m in listed] == [name]
    one = json.loads(served.client.request("GET", f"/v1/models/{name}")[2])
    assert one == listed[0] and one["created"] > 0


def test_unknown_model(model):
    with Up(model, workers=1, leader_args=["--http.any_model=false", "--http.model_alias=a,b"]) as c:
        reply = c.client.request("POST", "/v1/completions", good(model="another"))
        assert check_error(reply, 404)["code"] == "model_not_found"
        assert c.client.request("POST", "/v1/completions", good(model="b"))[0] == 200


def test_unknown_members_are_left_out_and_told_once(served):
    plain = served.client.complete(PROMPT, 8).tokens
    for _ in range(2):
        assert served.client.complete(PROMPT, 8, mirostat=2).tokens == plain
    assert served.process.output().count("http_field_ignored name=mirostat") == 1


def test_bias_and_penalties(served):
    plain = served.client.complete(PROMPT, 24).tokens
    banned = {str(t): -100 for t in plain}
    assert not set(served.client.complete(PROMPT, 24, logit_bias=banned).tokens) & set(plain)
    pairs = [[int(i), False] for i in banned]
    assert not set(served.client.complete(PROMPT, 24, logit_bias=pairs).tokens) & set(plain)
    (a,) = served.client.post("/tokenize", {"prompt": "a", "add_special_tokens": False})["tokens"]
    for text in ([["a", 100]], {"a": 100}):
        assert served.client.complete(PROMPT, 5, logit_bias=text, ignore_eos=True).tokens == [a] * 5
    only = served.client.complete(PROMPT, 5, logit_bias={"17": 100}, ignore_eos=True).tokens
    assert only == [17] * 5
    assert served.client.complete(PROMPT, 24, repetition_penalty=1).tokens == plain
    assert served.client.complete(PROMPT, 24, repetition_penalty=50).tokens != plain


def test_prompt_over_the_context(served):
    context = served.status()["model"]["context"]
    reply = served.client.request("POST", "/v1/completions", good(prompt=prompt(context + 1)))
    assert check_error(reply, 400)["code"] == "context_length_exceeded"


def test_fills_the_context_exactly(served):
    context = served.status()["model"]["context"]
    p = prompt(context - 3)
    assert len(served.client.complete(p, 3).tokens) == 3
    check_error(served.client.request("POST", "/v1/completions", good(prompt=p, max_tokens=4)), 400)


@pytest.mark.quick
def test_paths_and_methods(served):
    request = served.client.request
    check_error(request("GET", "/nothing"), 404)
    check_error(request("GET", "/v1/completions"), 405)
    check_error(request("POST", "/health", {}), 405)
    check_error(request("DELETE", "/v1/models"), 405)
    assert request("HEAD", "/health")[0] == 200


def test_body_over_the_limit(served):
    status, _, _ = served.client.request("POST", "/v1/completions", b" " * (5 << 20))
    assert status == 413


def test_lying_content_length(served):
    """Promises more than it sends, then goes."""
    with socket.create_connection((served.client.host, served.client.port)) as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
    assert served.client.request("GET", "/health")[0] == 200


def raw(served, data):
    """All that comes back until the leader ends the connection."""
    answer = b""
    with socket.create_connection((served.client.host, served.client.port), timeout=60) as s:
        s.sendall(data)
        while more := s.recv(65536):
            answer += more
    return answer


POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
AMBIGUOUS = {
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
    "length and chunks": POST + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "blank before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "folded": POST + b"X: a\r\n Content-Length: 99\r\nContent-Length: 2\r\n\r\n{}",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_framing(served, name):
    """400 and the end; what comes behind is not served."""
    answer = raw(served, AMBIGUOUS[name] + b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"max_model_len" not in answer


def test_cross_site(served):
    """What a page of another site can send without asking first: a form, or a rebound name."""
    form = {"Content-Type": "text/plain"}
    url = f"{served.client.host}:{served.client.port}"
    for path, body in (("/hydac/drain", '{"worker": "w1"}'), ("/v1/completions", json.dumps(good()))):
        for status, headers in (
            (403, {**form, "Origin": "https://evil.example", "Host": url}),
            (403, {**HEADERS, "Host": "evil.example"}),
            (415, {**form, "Host": url}),
        ):
            check_error(served.client.request("POST", path, body, headers), status)
    assert not any(w.get("draining") for w in served.status()["workers"])


def test_models(served):
    reply = served.client.get("/v1/models")
    assert reply["object"] == "list"
    (entry,) = reply["data"]
    assert entry["object"] == "model"
    assert served.client.post("/v1/completions", good(model=entry["id"]))["model"] == entry["id"]


@pytest.mark.quick
def test_completion_object(served):
    reply = served.client.post("/v1/completions", good(ignore_eos=True))
    assert reply["object"] == "text_completion"
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "length"
    assert isinstance(choice["text"], str)
    assert reply["usage"] == {
        "prompt_tokens": len(PROMPT),
        "completion_tokens": 8,
        "total_tokens": len(PROMPT) + 8,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert "hydac" not in reply


def test_chat_object(served):
    reply = served.client.post("/v1/chat/completions", chat())
    assert reply["object"] == "chat.completion"
    message = reply["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert isinstance(message["content"], str)


def sse(served, path, body):
    """The events of a stream, and that it ends with [DONE]."""
    status, headers, text = served.client.request("POST", path, {**body, "stream": True})
    assert status == 200
    assert headers["Content-Type"].startswith("text/event-stream")
    events = [e for e in text.decode().split("\n\n") if e]
    found = [re.fullmatch(r"id: [0-9.]+\ndata: (.*)", e) for e in events]
    assert all(found), events
    assert found.pop()[1] == "[DONE]"
    return [json.loads(f[1]) for f in found]


@pytest.mark.quick
def test_stream_says_what_the_whole_says(served):
    body = good(ignore_eos=True, max_tokens=40)
    events = sse(served, "/v1/completions", body)
    whole = served.client.post("/v1/completions", body)["choices"][0]
    assert "".join(e["choices"][0]["text"] for e in events) == whole["text"]
    reasons = [e["choices"][0]["finish_reason"] for e in events]
    assert reasons[-1] == whole["finish_reason"]
    assert set(reasons[:-1]) <= {None}


@pytest.mark.quick
def test_chat_stream(served):
    body = chat(stream_options={"include_usage": True})
    *events, last = sse(served, "/v1/chat/completions", body)
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] <= 8
    whole = served.client.post("/v1/chat/completions", chat())["choices"][0]["message"]["content"]
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == whole


def test_logprobs(served):
    body = body_of(PROMPT, 4, logprobs=5)
    reply = served.client.post("/v1/completions", body)
    for score in reply["hydac"]["logprobs"]:
        top = score["top"]
        assert len(top) == 5
        assert [t["logprob"] for t in top] == sorted((t["logprob"] for t in top), reverse=True)
        assert top[0]["id"] == score["id"] and top[0]["logprob"] == score["logprob"]
    assert len(reply["choices"][0]["logprobs"]["token_logprobs"]) == 4


def test_prompt_scores_are_the_answers(served):
    """Scoring prompt + answer gives each token of the answer the logprob it was chosen with."""
    n = 16
    first = served.client.post("/v1/completions", body_of(PROMPT, n, logprobs=1))["hydac"]
    body = body_of(PROMPT + first["tokens"], 0, logprobs=1, echo=True)
    again = served.client.post("/v1/completions", body)["hydac"]["prompt_logprobs"]
    assert len(again) == len(PROMPT) + n
    assert again[0]["logprob"] is None
    assert again[len(PROMPT) :] == first["logprobs"]


def test_prompt_scores_as_vllm_says_them(served):
    """`prompt_logprobs`: of each token but the first the alternatives and itself, by id; they are those of
    an echo."""
    n = 7
    echo = served.client.post("/v1/completions", body_of(PROMPT, 0, logprobs=3, echo=True))
    scores = echo["hydac"]["prompt_logprobs"]
    reply = served.client.post("/v1/completions", body_of(PROMPT, n, prompt_logprobs=3))
    (choice,) = reply["choices"]
    assert len(reply["hydac"]["tokens"]) == n
    said = choice["prompt_logprobs"]
    assert said[0] is None and len(said) == len(PROMPT)
    for token, score, entry in zip(PROMPT[1:], scores[1:], said[1:]):
        assert entry[str(token)]["logprob"] == score["logprob"]
        best = {str(t["id"]): t["logprob"] for t in score["top"]}
        assert {i: e["logprob"] for i, e in entry.items() if i != str(token) or i in best} == best
        ranks = sorted(e["rank"] for i, e in entry.items() if i in best)
        assert ranks == [1, 2, 3]
    for more in ({"stream": True}, {"prompt_logprobs": 21}, {"prompt_logprobs": -1}):
        body = body_of(PROMPT, 1, prompt_logprobs=1) | more
        assert served.client.request("POST", "/v1/completions", body)[0] == 400


@pytest.mark.quick
def test_client_that_leaves(served):
    """Its work stops: the engine is empty long before the answer could have ended."""
    context = served.status()["model"]["context"]
    before = served.status()["engine"]["tokens"]
    streams = [served.client.stream(PROMPT, context - len(PROMPT)) for _ in range(3)]
    for s in streams:
        s.read_tokens(2)
        s.close()
    served.until_idle()
    made = served.status()["engine"]["tokens"] - before
    assert made < 3 * (context - len(PROMPT))


def test_client_that_leaves_while_it_waits(served):
    """The same for a client that does not stream, and has heard nothing yet."""
    context = served.status()["model"]["context"]
    running = served.status()["engine"]["running"]
    connection = served.client.connect()
    body = json.dumps(body_of(PROMPT, context - len(PROMPT)))
    connection.request("POST", "/v1/completions", body, HEADERS)
    served.until_status(lambda s: s["engine"]["running"] > running, "the request runs")
    connection.close()
    served.until_idle()


def test_client_that_only_listens(served):
    """Who closes his sending side in the middle of a stream gets the whole answer."""
    body = body_of(PROMPT, 60, stream=True, seed=1, hydac=False)
    whole = served.client.request("POST", "/v1/completions", body)[2]
    connection = served.client.connect()
    connection.request("POST", "/v1/completions", json.dumps(body), HEADERS)
    response = connection.getresponse()
    connection.sock.shutdown(socket.SHUT_WR)
    reply = response.read()
    assert response.status == 200
    assert text_of(reply) == text_of(whole)
    connection.close()
    served.until_idle()


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_sends_and_only_listens(served, stream):
    """The same of one that ends its sending side with its request."""
    body = body_of(PROMPT, 60, stream=stream, seed=1, hydac=False)
    whole = served.client.request("POST", "/v1/completions", body)[2]
    connection = served.client.connect()
    connection.request("POST", "/v1/completions", json.dumps(body), HEADERS)
    connection.sock.shutdown(socket.SHUT_WR)
    response = connection.getresponse()
    reply = response.read()
    assert response.status == 200
    if stream:
        assert text_of(reply) == text_of(whole)
    else:
        assert json.loads(reply)["choices"] == json.loads(whole)["choices"]
    connection.close()
    served.until_idle()


def text_of(reply):
    lines = [x[6:] for x in reply.decode().splitlines() if x.startswith("data: {")]
    parts = [json.loads(x)["choices"] for x in lines]
    assert reply.endswith(b"data: [DONE]\n\n")
    return "".join(p[0]["text"] for p in parts if p)


def test_client_that_never_reads(served):
    """A full socket does not stop the others."""
    context = served.status()["model"]["context"]
    stuck = served.client.stream(PROMPT, context - len(PROMPT), logprobs=20)
    assert len(served.client.complete(PROMPT, 8).tokens) == 8
    stuck.close()
    served.until_idle()


def test_openai_package(served):
    openai = pytest.importorskip("openai", reason="the openai package is not installed")
    client = openai.OpenAI(base_url=served.client.url + "/v1", api_key="none")
    name = client.models.list().data[0].id
    messages = [{"role": "user", "content": "Hello there"}]
    kind = {"model": name, "messages": messages, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**kind).choices[0].message.content
    parts = client.chat.completions.create(stream=True, **kind)
    assert "".join(p.choices[0].delta.content or "" for p in parts) == whole
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=name, messages=[])
