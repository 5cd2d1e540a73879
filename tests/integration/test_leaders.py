"""Several leaders: one serves, the others stand by; workers and `hydac run` go from one to the next."""

import contextlib
import json
import os
import signal

import pytest

from client import Client, HttpError
from cluster import LIMIT, Up, read_json, until
from leaders import PROMPT, TOKENS, Leaders, Stream


@pytest.fixture
def leaders(model):
    running = []

    def start(n, workers, leader_args=(), **more):
        running.append(Leaders(model, n, workers, leader_args, **more))
        return running[-1]

    yield start
    for c in running:
        print(c.logs())
        c.close()


def finish(child):
    out, told = child.communicate(timeout=LIMIT)
    assert child.returncode == 0, told
    return json.loads(out)


def test_a_standby_refuses_and_says_who_serves(leaders):
    c = leaders(2, 1)
    c.until_active("a", 1)
    until(lambda: c.role("b") == "standby", "b stands by")
    assert c.role("a") == "active"

    def says_who_serves():
        status, _, body = c.clients["b"].request("GET", "/health")
        return status == 503 and str(c.ports["a"]) in body.decode()

    until(says_who_serves, "b says who serves")
    with pytest.raises(HttpError) as refused:
        c.clients["b"].complete(PROMPT, 4)
    assert refused.value.status == 503 and b"standby" in refused.value.body


def test_leaders_know_where_clients_find_the_others(leaders):
    """A standby sends clients there; the page of one may ask the other."""
    c = leaders(2, 1, own_urls=True)
    c.until_active("a", 1)
    a, b = c.clients["a"], c.clients["b"]
    (other,) = until(lambda: [o for o in a.get("/hydac/status")["leaders"]["others"] if o["url"]], "a knows b")
    assert (other["url"], other["active"]) == (b.url, False)
    assert f"connect-src 'self' {b.url}" in a.request("GET", "/")[1]["Content-Security-Policy"]
    origin = {"Origin": b.url}
    assert a.request("GET", "/hydac/status", headers=origin)[1]["Access-Control-Allow-Origin"] == b.url

    def sent_on():
        status, headers, _ = b.request("GET", "/v1/models")
        return status == 307 and headers["Location"] == f"{a.url}/v1/models"

    until(sent_on, "b sends clients to a")


def kept_of(process):
    """What workers said they had kept, and what their first assignment took: from a leader's log."""
    text = process.output()
    rows = [dict(w.split("=", 1) for w in line.split() if "=" in w) for line in text.splitlines()]
    return (
        [r for line, r in zip(text.splitlines(), rows) if " kept " in line],
        [r for line, r in zip(text.splitlines(), rows) if " kv_result " in line],
    )


def expect_taken_over(c, name, owned, answer):
    """Leader `name` has packed no weights again and computed no row again."""
    status = c.clients[name].get("/hydac/status")
    assert {w["name"]: w["heads"] for w in status["workers"]} == owned
    kept, taken = kept_of(c.leaders[name])
    assert len({k["slot"] for k in kept}) == len(taken) == len(owned)
    assert {k["of_use"] for k in kept} == {"yes"}
    for t in taken:
        assert t["heads"] == t["ready"] and (t["rows_rebuilt"], t["weights_us"]) == ("0", "0"), t
        assert int(t["rows_kept"]) > 0
    # All of the request's rows are there but the last one, whose logits count; or but the last block,
    # where workers have rows of tokens that this leader has not heard of.
    cache = status["engine"]["prefix_cache"]
    assert cache["hits"] > 0 and cache["queries"] - cache["hits"] <= 64 * answer["resumed"]


def owners(c, name):
    return {w["name"]: w["heads"] for w in c.clients[name].get("/hydac/status")["workers"]}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_leader_dies_and_the_answer_goes_on(leaders, how):
    c = leaders(2, 2)
    c.until_active("a", 2)
    whole = c.clients["a"].complete(PROMPT, TOKENS).tokens
    made, owned = c.clients["a"].get("/hydac/status")["engine"]["tokens"], owners(c, "a")
    child = c.run("a", "b")
    c.until_answering("a", made + 100)
    c.leaders["a"].signal(how)
    if how == signal.SIGSTOP:  # its connection stays; it is let go as soon as another one serves
        c.until_active("b", 2)
        c.leaders["a"].signal(signal.SIGCONT)
    answer = finish(child)
    assert answer["tokens"] == whole and answer["resumed"] >= 1
    c.until_active("b", 2)
    expect_taken_over(c, "b", owned, answer)
    status = c.clients["b"].get("/hydac/status")  # b went on by itself; nothing was asked of it anew
    assert 1 <= status["records"]["adopted"] == status["engine"]["requests"]
    if how == signal.SIGSTOP:
        until(lambda: c.role("a") == "standby", "a stands by now")
    else:
        c.leaders["a"].wait()
        c.start_leader("a")
        until(lambda: c.role("a") == "standby", "a stands by now")
    assert c.role("b") == "active"
    assert c.clients["b"].get("/hydac/status")["leaders"]["term"] == 2


@pytest.mark.parametrize("copies", ["policy=standby", "standby_weights=1"])
def test_copies_outlive_the_leader(leaders, copies):
    """A worker dies with it: who held copies of its units owns them, and nothing is packed again, nor computed
    where K/V was held, too."""
    c = leaders(2, 3, [f"--recovery.{copies}"])
    c.until_active("a", 3)
    whole = c.clients["a"].complete(PROMPT, TOKENS).tokens
    made, owned = c.clients["a"].get("/hydac/status")["engine"]["tokens"], owners(c, "a")

    def covered():
        cluster = c.clients["a"].get("/hydac/status")["cluster"]["moves"]
        return cluster["units_without_copy"] == 0 and not cluster["moving"]

    until(covered, "each unit has a copy")
    child = c.run("a", "b")
    c.until_answering("a", made + 100)
    c.workers["w1"].signal(signal.SIGSTOP)  # so that a does not learn of it before it dies
    c.leaders["a"].signal(signal.SIGKILL)
    c.workers["w1"].signal(signal.SIGKILL)
    assert finish(child)["tokens"] == whole
    taken = kept_of(c.leaders["b"])[1][:2]
    assert [t["weights_us"] for t in taken] == ["0", "0"], taken
    if copies == "policy=standby":
        assert all(t["heads"] == t["ready"] and t["rows_rebuilt"] == "0" for t in taken), taken
    else:
        assert any(t["heads"] != t["ready"] and t["rows_rebuilt"] != "0" for t in taken), taken
    assert sum(int(t["heads"]) for t in taken) == sum(map(len, owned.values()))


def begin(c, name, body, **headers):
    return Stream(c.clients[name].url, "/v1/completions", body, **headers)


def test_clients_that_know_nothing_of_it_resume_by_ids(leaders):
    c = leaders(2, 2)
    c.until_active("a", 2)
    until(lambda: c.clients["a"].get("/hydac/status")["records"]["followers"] == 1, "b follows")
    body = {"prompt": PROMPT, "max_tokens": 200, "stream": True, "ignore_eos": True}
    bodies = [
        {**body, "temperature": 0},
        {**body, "temperature": 1, "seed": 5, "n": 3},
        {**body, "temperature": 1, "seed": 6, "stop": "no such text", "logprobs": 2},
    ]
    expected = [begin(c, "a", b).read() for b in bodies]
    assert all(s.whole and len(s.events) == b.get("n", 1) for s, b in zip(expected, bodies))
    streams = [begin(c, "a", b, X_Request_Id=f"mine-{i}").read(20) for i, b in enumerate(bodies)]
    plain = begin(c, "a", bodies[0]).read(20)  # its client asks again, with nothing but its body
    c.leaders["a"].signal(signal.SIGKILL)
    for s in [*streams, plain]:
        s.read()
        assert not s.whole
    c.until_active("b", 2)
    for i, (s, b, e) in enumerate(zip(streams, bodies, expected)):
        if i == 0:
            path = f"/v1/hydac/requests/mine-{i}/events"
            rest = Stream(c.clients["b"].url, path, Last_Event_ID=s.last)
        else:
            rest = begin(c, "b", b, X_Request_Id=f"mine-{i}", Last_Event_ID=s.last)
        rest = rest.going_on(s).read()
        assert rest.whole and rest.events == e.events, b
    again = begin(c, "b", bodies[0]).read()
    assert again.whole and again.events == expected[0].events
    status = c.clients["b"].get("/hydac/status")
    adopted = status["records"]["adopted"]  # those that had just ended, too, as far as b knew them
    assert adopted >= 4 and status["engine"]["requests"] - adopted in (2, 4)  # n = 3 is one request
    with pytest.raises(HttpError) as refused:
        c.clients["b"].get("/v1/hydac/requests/another/events")
    assert refused.value.status == 404


def test_the_only_leader_is_started_again(leaders):
    c = leaders(1, 2, ["--state.journal=true"])
    c.until_active("a", 2)
    body = {"prompt": PROMPT, "max_tokens": 200, "stream": True, "ignore_eos": True, "temperature": 0}
    whole = begin(c, "a", body).read()
    stream = begin(c, "a", body).read(30)
    child = c.run("a")
    until(lambda: c.clients["a"].get("/hydac/status")["records"]["begun"] == 3, "a knows of all")
    c.leaders["a"].signal(signal.SIGKILL)
    c.leaders["a"].wait()
    assert not stream.read().whole
    with open(os.path.join(c.folder, "a", "answers.journal"), "ab") as f:
        f.write(b"HDAC what was written when it died")
    c.start_leader("a")
    c.until_active("a", 2)
    rest = begin(c, "a", body).read()  # nobody has asked for it since: the request is that one
    assert rest.whole and rest.events == whole.events
    assert finish(child)["finish_reason"] == "length"
    status = c.clients["a"].get("/hydac/status")
    assert status["records"]["journal"] and status["records"]["adopted"] >= 1


def test_the_only_leader_is_started_anew(leaders):
    c = leaders(1, 3)
    c.until_active("a", 3)
    owned = owners(c, "a")
    child = c.run("a")
    c.until_answering("a", 150)
    c.leaders["a"].signal(signal.SIGKILL)
    c.leaders["a"].wait()
    c.start_leader("a")
    answer = finish(child)
    assert answer["resumed"] >= 1
    expect_taken_over(c, "a", owned, answer)
    assert c.clients["a"].complete(PROMPT, TOKENS).tokens == answer["tokens"]


def test_two_leaders_die_one_after_the_other(leaders):
    c = leaders(3, 2)
    c.until_active("a", 2)
    whole = c.clients["a"].complete(PROMPT, TOKENS).tokens
    child = c.run("a", "b", "c")
    made = len(whole)
    for name, following in (("a", "b"), ("b", "c")):
        c.until_answering(name, made + 10)
        c.leaders[name].signal(signal.SIGKILL)
        c.until_active(following, 2)
        made = 0
    answer = finish(child)
    assert answer["tokens"] == whole and answer["resumed"] >= 1  # twice, if b has said anything


def test_a_worker_that_comes_late_finds_who_serves(leaders):
    c = leaders(2, 1)
    c.until_active("a", 1)
    c.leaders["a"].signal(signal.SIGKILL)
    c.until_active("b", 1)
    c.leaders["a"].wait()
    c.start_leader("a")
    until(lambda: c.role("a") == "standby", "a stands by now")
    c.start_worker("w2")
    c.until_active("b", 2)
    assert c.role("a") == "standby"


def test_hydac_up_starts_two_leaders(model):
    with Up(model, workers=2, options=["--leaders", "2", "--restart"]) as c:
        first, second = c.ready["leaders"]
        body = {"prompt": PROMPT, "max_tokens": 200, "stream": True, "ignore_eos": True, "temperature": 0}
        whole = Stream(first["url"], "/v1/completions", body).read()
        stream = Stream(first["url"], "/v1/completions", body, X_Request_Id="mine").read(20)
        os.kill(first["pid"], signal.SIGKILL)
        assert not stream.read().whole
        client = Client(second["url"])
        until(lambda: client.request("GET", "/health")[0] == 200, "the second one serves")
        rest = Stream(second["url"], "/v1/hydac/requests/mine/events", Last_Event_ID=stream.last)
        assert rest.going_on(stream).read().whole and rest.events == whole.events
        until(lambda: read_json(c.ready_file)["leaders"][0]["pid"] != first["pid"], "it is started again")

        def stands_by():
            with contextlib.suppress(OSError):
                return Client(first["url"]).get("/hydac/status")["leaders"]["role"] == "standby"

        until(stands_by, "it stands by")
