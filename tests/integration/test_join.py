"""A worker that comes to a busy cluster gets heads while an answer goes on, and nothing changes."""

from cluster import Daemons
from prompts import prompt

LONG = 1500  # tokens; long enough for a worker to come and prepare beside it


def test_newcomer_gets_heads_beside_a_running_answer(model):
    with Daemons(model, leader_args=["--cluster.min_workers=2"]) as c:
        c.start_all(2)
        expected = c.client.complete(prompt(40, 61), LONG).tokens
        before = c.client.stream(prompt(40, 62), LONG)
        before.read_tokens(1)
        c.start("w3")
        c.until_status(lambda s: c.worker("w3", s), "w3 is there")
        assert c.worker("w3")["heads"] == []  # its log does not hold the answer that runs
        beside = c.client.stream(prompt(40, 61), LONG)
        beside.read_tokens(1)
        before.close()
        c.until_status(lambda s: c.worker("w3", s)["heads"], "w3 owns heads")
        status = c.status()
        assert status["engine"]["running"] == 1, "the answer ended too early to show anything"
        answer = beside.finish()
        assert answer.tokens == expected
        assert answer.failovers == [] and status["failovers"] == []
        heads = sorted(h for w in c.status()["workers"] for h in w["heads"])
        assert heads == [0, 1, 2]


def test_newcomer_helps_when_the_next_worker_dies(model):
    with Daemons(model, leader_args=["--cluster.min_workers=2"]) as c:
        c.start_all(2)
        expected = c.client.complete(prompt(40, 61), LONG).tokens
        c.start("w3")
        c.until_status(lambda s: c.worker("w3", s), "w3 is there")
        stream = c.client.stream(prompt(40, 61), LONG)
        stream.read_tokens(1)
        c.until_status(lambda s: c.worker("w3", s)["heads"], "w3 owns heads")
        c.signal("w1", 9)
        answer = stream.finish()
        assert answer.tokens == expected
        assert [f["worker"] for f in answer.failovers] == ["w1"]
        assert answer.failovers[0]["rows_replayed"] == 0
