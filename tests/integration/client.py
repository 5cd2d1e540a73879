"""A client of the leader's HTTP, with nothing but the standard library."""

import http.client
import json
import threading
from urllib.parse import urlsplit

TIMEOUT = 120.0  # seconds; a hang fails the test instead of stopping it for good


class HttpError(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Answer:
    """An answer to a completion: what its events said, put together."""

    def __init__(self):
        self.tokens, self.text, self.finish_reason = [], "", None
        self.failovers, self.timings, self.error = [], None, None
        self.suspect, self.id = False, None

    def add(self, event):
        self.id = event.get("id", self.id)
        if "error" in event:
            self.error = event["error"]
        for choice in event.get("choices", ()):
            self.text += choice.get("text") or ""
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        extra = event.get("hydac") or {}
        self.tokens += extra.get("tokens", ())
        self.failovers = extra.get("failovers", self.failovers)
        self.timings = extra.get("timings", self.timings)
        self.suspect = extra.get("suspect", self.suspect)


class Stream:
    """A running streamed completion: iterate for its events."""

    def __init__(self, client, body):
        self.connection = client.connect()
        self.connection.request("POST", "/v1/completions", json.dumps(body), client.headers)
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            status, text = self.response.status, self.response.read()
            self.close()
            raise HttpError(status, text)
        self.answer, self.done = Answer(), False

    def __iter__(self):
        for line in self.response:
            if not line.startswith(b"data: "):
                continue
            data = line[len(b"data: ") :].strip()
            if data == b"[DONE]":
                assert self.answer.error is None, f"[DONE] behind an error: {self.answer.error}"
                self.done = True
                continue
            assert not self.done, "an event after [DONE]"
            event = json.loads(data)
            self.answer.add(event)
            yield event

    def read_tokens(self, n):
        """Reads on until n tokens have come, or the end."""
        while len(self.answer.tokens) < n:
            if next(iter(self), None) is None:
                break
        return len(self.answer.tokens)

    def finish(self):
        """Reads to the end."""
        for _ in self:
            pass
        self.close()
        assert self.done, f"the stream ended without [DONE]: {self.answer.error}"
        return self.answer

    def close(self):
        self.connection.close()


HEADERS = {"Content-Type": "application/json"}


def body_of(prompt, max_tokens, **more):
    """The body of a completion. Greedy, and never ended by a stop token, unless `more` says else."""
    body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    body.update(ignore_eos=True, hydac=True)
    body.update(more)
    return body


class Client:
    def __init__(self, url):
        self.url = url
        self.headers = dict(HEADERS)
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def connect(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)

    def request(self, method, path, body=None, headers=None):
        """Status, headers, body as bytes. `body` may be bytes, text, or what becomes JSON."""
        headers = self.headers if headers is None else headers
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, path):
        status, _, body = self.request("GET", path)
        if status != 200:
            raise HttpError(status, body)
        return json.loads(body)

    def post(self, path, body):
        status, _, text = self.request("POST", path, body)
        if status != 200:
            raise HttpError(status, text)
        return json.loads(text)

    def complete(self, prompt, max_tokens, **more):
        answer = Answer()
        answer.add(self.post("/v1/completions", body_of(prompt, max_tokens, **more)))
        return answer

    def stream(self, prompt, max_tokens, **more):
        return Stream(self, body_of(prompt, max_tokens, stream=True, **more))

    def together(self, requests):
        """Completions that run at once; `requests` are (prompt, max_tokens, options)."""
        answers = [None] * len(requests)

        def one(i, prompt, max_tokens, options):
            try:
                answers[i] = self.complete(prompt, max_tokens, **options)
            except Exception as e:  # handed to the test's thread
                answers[i] = e

        threads = [
            threading.Thread(target=one, args=(i, *request)) for i, request in enumerate(requests)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for a in answers:
            if isinstance(a, Exception):
                raise a
        return answers
