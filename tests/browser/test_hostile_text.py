"""What the page makes of hostile text: served as it is, by a stand-in for the leader that says it."""

import http.server
import importlib.util
import json
import os
import threading

import pytest

from cluster import until
from window import ask, console, finished, number, text

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "leader", "page")

HOSTILE = """# <img src=x onerror="window.hacked=1">
<script>window.hacked = 1</script> **bold <b>not** *em*

[click](javascript:window.hacked=1) [data](data:text/html,<script>1</script>) [good](https://example.org/a_b)
![picture](https://example.org/x.png) <https://example.org> `<i>code</i>` \\*plain\\*

- one
  - two <svg onload="window.hacked=1">
- three

1. first
2. second

| a | b |
|---|--:|
| `1` | <u>2</u> |

> quoted

```html
<script>window.hacked = 2</script>
```
snake_case_name and 2 * 3 * 4
"""
LONG = "*" * 20000 + "[" * 20000 + "`" * 5000 + "_a" * 10000 + "> " * 500 + "\n" + "- " * 500


def packed():
    spec = importlib.util.spec_from_file_location("pack", os.path.join(PAGE, "pack.py"))
    pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    with open(os.path.join(PAGE, "meson.build"), encoding="utf-8") as f:
        names = [line.strip(" ',)\n") for line in f if line.startswith("        '")]
    paths = [os.path.join(PAGE, name.split("'")[0]) for name in names]
    skeleton, *parts = paths
    return pack.packed(pack.read(skeleton), pack.joined(parts, ".css"), pack.joined(parts, ".js"))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every question with `server.said`; its cluster says nothing."""

    def log_message(self, *args):
        pass

    def reply(self, kind, body, more=()):
        self.send_response(200)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(body))), *more]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/":
            page, policy = self.server.page
            self.reply("text/html; charset=utf-8", page, [("Content-Security-Policy", policy)])
        else:
            self.reply("text/event-stream", b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        chunk = {"choices": [{"index": 0, "delta": {"content": self.server.said}, "finish_reason": "stop"}]}
        self.reply("text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())


@pytest.fixture
def stand_in():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.page = packed()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def say(browser, server, words):
    server.said = words
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    browser.execute_script("sessionStorage.clear()")
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    ask(browser, "Say it.")
    until(lambda: finished(browser) and number(browser, ".message.assistant .tools button"), "it is said")


def test_hostile_text(browser, stand_in):
    say(browser, stand_in, HOSTILE)
    into = ".message.assistant .text"
    assert browser.execute_script("return window.hacked") is None
    for tag in ("script", "img", "svg", "b", "i", "u", "iframe"):
        assert number(browser, f"{into} {tag}") == 0, tag
    links = browser.execute_script(f"return [...document.querySelectorAll('{into} a')].map((a) => a.href)")
    assert links == ["https://example.org/a_b", "https://example.org/x.png", "https://example.org/"]
    assert text(browser, f"{into} pre code") == "<script>window.hacked = 2</script>"
    assert [number(browser, f"{into} {t}") for t in ("ul", "ol", "table", "blockquote", "strong")] == [2, 1, 1, 1, 1]
    assert "snake_case_name and 2 * 3 * 4" in text(browser, into)
    assert "*plain*" in text(browser, into)
    assert console(browser) == []


def test_long_text(browser, stand_in):
    """No text makes the page work for long: all of it in the time of a few screens."""
    say(browser, stand_in, LONG)
    shown = browser.execute_script(
        "return JSON.parse(sessionStorage.getItem('hydac.talk')).at(-1).content.length"
    )
    assert shown == len(LONG)
