"""GET /metrics of a real leader: the format, the numbers, and a failover in them."""

import shutil
import signal
import subprocess

import pytest

from cluster import HYDAC, Daemons, until
from exposition import parse, value
from prompts import prompt

PROMPT = prompt(40, 71)
ANSWER = 200


@pytest.fixture(scope="module")
def cluster(model):
    with Daemons(model, leader_args=["--cluster.min_workers=3"]) as c:
        yield c


def text_of(c):
    status, headers, body = c.client.request("GET", "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def metrics_of(c):
    return parse(text_of(c))


def check_histogram(family):
    """For each set of labels: buckets ascend, the last is the count."""
    series = {}
    for (name, labels), v in family.samples.items():
        rest = tuple(l for l in labels if l[0] != "le")
        entry = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            entry["buckets"].append((float(dict(labels)["le"]), v))
        else:
            entry[name.rsplit("_", 1)[1]] = v
    for entry in series.values():
        bounds = [b for b, _ in entry["buckets"]]
        counts = [n for _, n in entry["buckets"]]
        assert bounds == sorted(bounds) and bounds[-1] == float("inf")
        assert counts == sorted(counts) and counts[-1] == entry["count"]


def promtool(text):
    tool = shutil.which("promtool")
    if not tool:
        pytest.skip("promtool is not there (Debian's package prometheus)")
    said = subprocess.run(
        [tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert not (said.stdout + said.stderr).strip()


def test_before_any_worker(cluster):
    m = metrics_of(cluster)
    assert value(m, "hydac_cluster_ready") == 0
    assert value(m, "hydac_cluster_min_workers") == 3
    assert m["hydac_worker_phi"].samples == {}
    promtool(text_of(cluster))


def test_serving_and_a_failover(cluster):
    cluster.start_all(3)
    tokens = cluster.client.complete(PROMPT, ANSWER).tokens
    m = metrics_of(cluster)
    assert value(m, "hydac_cluster_ready") == 1
    assert value(m, "hydac_prompt_tokens_total") == len(PROMPT)
    assert value(m, "hydac_generation_tokens_total") == ANSWER
    assert value(m, "hydac_time_to_first_token_seconds_count") == 1
    assert value(m, "hydac_inter_token_latency_seconds_count") == ANSWER - 1
    assert value(m, "hydac_request_queue_time_seconds_count") == 1
    assert value(m, "hydac_e2e_request_latency_seconds_count") == 1
    assert value(m, "hydac_request_success_total", finished_reason="length") == 1
    assert value(m, "hydac_request_success_total", finished_reason="error") == 0
    assert value(m, "hydac_heads_lost_total") == 0
    loss = {"policy": "reuse", "cause": "closed"}
    assert value(m, "hydac_failover_stall_seconds_count", **loss) == 0

    stream = cluster.client.stream(PROMPT, ANSWER)
    assert stream.read_tokens(20) < ANSWER
    during = metrics_of(cluster)
    assert value(during, "hydac_num_requests_running") == 1
    assert value(during, "hydac_num_requests_waiting") == 0
    heads = value(during, "hydac_worker_heads", worker="w2")
    cluster.signal("w2", signal.SIGKILL)
    answer = stream.finish()
    assert answer.tokens == tokens

    m = metrics_of(cluster)
    (failover,) = answer.failovers
    assert value(m, "hydac_failover_stall_seconds_count", **loss) == 1
    stall = value(m, "hydac_failover_stall_seconds_sum", **loss)
    assert stall == pytest.approx(failover["stall_ms"] / 1e3)
    detect = value(m, "hydac_failover_detection_seconds_sum", **loss)
    assert detect == pytest.approx(failover["detect_ms"] / 1e3)
    assert value(m, "hydac_heads_lost_total") == heads == failover["heads_lost"]
    assert value(m, "hydac_heads_rebuilt_total") == failover["heads_rebuilt"]
    assert value(m, "hydac_heads_ready_total") == failover["heads_ready"] == 0
    assert value(m, "hydac_heads_reused_total") == failover["heads_reused"]
    assert value(m, "hydac_kv_rows_rebuilt_total") == failover["rows_rebuilt"]
    assert value(m, "hydac_rows_replayed_total") == 0
    assert value(m, "hydac_worker_state", worker="w2", state="offline") == 1
    assert value(m, "hydac_worker_state", worker="w2", state="online") == 0
    assert value(m, "hydac_worker_failures_total", worker="w2") == 1
    assert ("hydac_worker_phi", (("worker", "w2"),)) not in m["hydac_worker_phi"].samples
    for family in m.values():
        assert family.help and family.type
        if family.type == "histogram":
            check_histogram(family)
    promtool(text_of(cluster))


def test_build_info(cluster):
    assert value(metrics_of(cluster), "hydac_build_info", cluster_tls="off", **version()) == 1


def version():
    said = subprocess.run([HYDAC, "--version"], capture_output=True, text=True, check=True)
    return {"version": said.stdout.split()[1]}


def test_standby_weights(model):
    policy = ["--cluster.min_workers=2", "--recovery.standby_weights=1"]
    with Daemons(model, leader_args=policy) as c:
        c.start_all(2)
        until(lambda: value(metrics_of(c), "hydac_cluster_units_without_copy") == 0,
              "the weights of each unit have a copy")
        m = metrics_of(c)
        assert value(m, "hydac_cluster_standby_weights") == 1
        assert value(m, "hydac_cluster_standby_copies") == 0
        said = c.hydac("status")
        assert "1 copies of each unit's weights, 0 units without" in said


def test_standby_and_draining(model):
    """Copies, a loss that computes nothing, and a worker that is emptied."""
    policy = ["--cluster.min_workers=3", "--recovery=standby"]
    with Daemons(model, leader_args=policy) as c:
        c.start_all(3)
        settled = {"hydac_cluster_moving": 0, "hydac_cluster_units_without_copy": 0}

        def is_settled():
            m = metrics_of(c)
            return all(value(m, name) == v for name, v in settled.items())

        until(is_settled, "each unit has a copy")
        m = metrics_of(c)
        assert value(m, "hydac_cluster_standby_copies") == 1
        assert value(m, "hydac_cluster_standby_weights") == 0
        assert value(m, "hydac_cluster_workers_preparing") == 0
        assert value(m, "hydac_cluster_workers_draining") == 0
        stream = c.client.stream(PROMPT, ANSWER)
        assert stream.read_tokens(20) < ANSWER
        c.signal("w2", signal.SIGKILL)
        (failover,) = stream.finish().failovers
        m = metrics_of(c)
        assert failover["heads_ready"] > 0
        assert value(m, "hydac_heads_ready_total") == failover["heads_ready"]
        assert value(m, "hydac_heads_rebuilt_total") == failover["heads_rebuilt"]
        loss = {"policy": "standby", "cause": "closed"}
        assert value(m, "hydac_failover_stall_seconds_count", **loss) == 1
        c.hydac("drain", "w3")
        assert value(metrics_of(c), "hydac_cluster_workers_draining") == 1
        c.signal("w3", signal.SIGKILL)
        units = sum(c.status()["units"].values())

        def copies_missing():
            return value(metrics_of(c), "hydac_cluster_units_without_copy")

        until(lambda: copies_missing() == units, "one is left: no copy has a place")
        assert value(metrics_of(c), "hydac_cluster_workers_draining") == 0


def test_an_answer_that_is_left(cluster):
    before = metrics_of(cluster)
    stream = cluster.client.stream(PROMPT, ANSWER)
    stream.read_tokens(2)
    stream.close()
    cluster.until_idle()
    after = metrics_of(cluster)
    ends = [
        value(m, "hydac_request_success_total", finished_reason="abort") for m in (before, after)
    ]
    assert ends[1] == ends[0] + 1


def test_cardinality_is_bounded(cluster):
    """Labels that a client can choose do not exist, those that a worker can choose are its name."""
    allowed = {"le", "policy", "cause", "finished_reason", "worker", "state", "version"}
    allowed |= {"model_name", "digest", "cluster_tls", "kind", "direction", "result"}
    for family in metrics_of(cluster).values():
        for _, labels in family.samples:
            assert {name for name, _ in labels} <= allowed


def test_what_workers_say_of_themselves(cluster):
    """It comes with heartbeats, so after a moment; a log's bytes are there while an answer runs."""
    stream = cluster.client.stream(PROMPT, 1500)
    stream.read_tokens(1)
    until(
        lambda: value(metrics_of(cluster), "hydac_worker_log_bytes", worker="w1") > 0,
        "the log has bytes",
    )
    stream.close()
