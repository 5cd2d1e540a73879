"""The page at "/" and the stream of events that it lives on, without a browser (tests/browser has one)."""

import base64
import hashlib
import json
import os
import re
import secrets
import signal

import pytest

from client import HEADERS
from prompts import prompt

PROMPT = prompt(40, 91)
ANSWER = 128
PHASES = {"detect_ms", "plan_ms", "weights_ms", "rebuild_ms", "retry_ms", "stall_ms"}


class Events:
    """GET /hydac/events, read as they come."""

    def __init__(self, client, headers=None):
        self.connection = client.connect()
        self.connection.request("GET", "/hydac/events", headers=headers or {})
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["Content-Type"] == "text/event-stream"

    def next(self):
        """(name, object) of the next one."""
        name = self.response.readline()
        assert name.startswith(b"event: "), name
        data = self.response.readline()
        assert data.startswith(b"data: ") and self.response.readline() == b"\n"
        return name[7:].strip().decode(), json.loads(data[6:])

    def until(self, name):
        """All events up to one of that name."""
        seen = []
        while not seen or seen[-1][0] != name:
            seen.append(self.next())
        return seen

    def close(self):
        self.connection.close()


def digest(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.mark.quick
def test_page(up):
    """Small, from one place, and its policy allows its own style and script and nothing else."""
    c = up(workers=1)
    status, headers, body = c.client.request("GET", "/")
    page, policy = body.decode(), headers["Content-Security-Policy"]
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert len(body) < 150 * 1024
    (style,), (script,) = (re.findall(f"(?s)<{t}>(.*?)</{t}>", page) for t in ("style", "script"))
    assert f"style-src {digest(style)};" in policy
    assert f"script-src {digest(script)};" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    for word in ("style=", " onclick", "innerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in page.replace("onclick:", ""), word
    assert re.findall(r"(?:src|href)=\"(?!data:|#)", page) == []
    assert c.client.request("HEAD", "/")[0] == 200


def test_key(up, tmp_path):
    """The page is for everybody, the cluster's events are not."""
    path = tmp_path / "api.key"
    path.write_text(secrets.token_hex(24) + "\n")
    os.chmod(path, 0o600)
    c = up(workers=1, leader_args=["--api-key-file", str(path)])
    status, _, page = c.client.request("GET", "/", headers={})
    assert status == 200 and b'data-key="need"' in page
    assert c.client.request("GET", "/hydac/events", headers={})[0] == 401
    key = {"Authorization": f"Bearer {path.read_text().strip()}"}
    watcher = Events(c.client, {**HEADERS, **key})
    assert watcher.next()[0] == "status"
    watcher.close()


def test_a_death_is_told(up):
    """In order: the state, the new plan, who has confirmed, what it was; then a status without the dead."""
    c = up(workers=3)
    tokens = c.client.complete(PROMPT, ANSWER).tokens
    watcher = Events(c.client)
    (_, first), (_, plan) = watcher.next(), watcher.next()
    assert [w["name"] for w in first["workers"]] and first["failovers"] == []
    assert {plan["workers"][i] for i in plan["heads"]} == {"w1", "w2", "w3"}
    assert len(plan["vocab_blocks"]) == first["units"]["vocab_blocks"]
    stream = c.client.stream(PROMPT, ANSWER)
    stream.read_tokens(9)
    c.signal("w2", signal.SIGKILL)
    seen = watcher.until("failover")
    assert stream.finish().tokens == tokens
    told = [(name, o) for name, o in seen if name != "status"]
    names = [name for name, _ in told]
    lost = next(o for name, o in told if name == "change" and o["state"] == "offline")
    assert (lost["worker"], lost["cause"]) == ("w2", "closed")
    new = next(o for name, o in told if name == "plan")
    assert new["epoch"] > plan["epoch"]
    assert {new["workers"][i] for i in new["heads"]} == {"w1", "w3"}
    kept = [i for i, w in enumerate(plan["heads"]) if plan["workers"][w] != "w2"]
    assert all(new["workers"][new["heads"][i]] == plan["workers"][plan["heads"][i]] for i in kept)
    confirmed = {o["worker"] for name, o in told if name == "confirmed" and o["epoch"] == new["epoch"]}
    assert confirmed == {"w1", "w3"}
    assert names.index("plan") < names.index("confirmed") < names.index("failover")
    assert PHASES <= set(told[-1][1])
    times = [o["at_ms"] for _, o in seen]
    assert times == sorted(times)
    after = watcher.until("status")[-1][1]
    assert next(w for w in after["workers"] if w["name"] == "w2")["state"] == "offline"
    assert "failovers" not in after
    watcher.close()


def test_who_watches_is_let_go(up):
    """A leader with somebody who watches stops at once, and the stream ends."""
    c = up(workers=1)
    watcher = Events(c.client)
    watcher.next()
    assert c.process.stop() == 0
    assert watcher.response.read().endswith(b"\n\n")
