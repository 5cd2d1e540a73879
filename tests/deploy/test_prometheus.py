"""deploy/prometheus: the files are what Prometheus and Grafana take, and name only what there is."""

import json
import re
import shutil
import urllib.parse

import pytest
import yaml

from client import Client
from cluster import Daemons, Process, until
from exposition import parse
from files import check, path_of, read, tool
from ports import free_port

RULES, DASHBOARD = "hydac.rules.yml", "grafana-dashboard.json"
NAME = re.compile(r"\bhydac_[a-z0-9_]+")


@pytest.fixture(scope="module")
def exposed(model):
    """name of a sample -> the labels that it comes with"""
    with Daemons(model) as c:
        c.start_all(1)
        families = parse(c.client.request("GET", "/metrics")[2].decode())
    names = {}
    for family in families.values():
        for name, labels in family.samples:
            names.setdefault(name, set()).update(label for label, _ in labels)
    return names


def panels():
    return json.loads(read("prometheus", DASHBOARD))["panels"]


def dashboard_expressions():
    return [t["expr"] for p in panels() for t in p.get("targets", ())]


def rule_expressions():
    groups = yaml.safe_load(read("prometheus", RULES))["groups"]
    return [rule["expr"] for g in groups for rule in g["rules"]]


def test_scrape_config_and_rules():
    promtool = tool("promtool", "prometheus")
    check([promtool, "check", "config", path_of("prometheus", "prometheus.yml")])
    check([promtool, "check", "rules", path_of("prometheus", RULES)])


def test_alerts_fire_when_they_should():
    promtool = tool("promtool", "prometheus")
    check([promtool, "test", "rules", path_of("..", "tests", "deploy", "hydac.rules.test.yml")])


@pytest.mark.parametrize("expressions", [dashboard_expressions, rule_expressions])
def test_every_metric_exists(exposed, expressions):
    used = [name for e in expressions() for name in NAME.findall(e)]
    assert len(set(used)) > 5
    assert [name for name in used if name not in exposed] == []


@pytest.mark.parametrize("expressions", [dashboard_expressions, rule_expressions])
def test_every_label_exists(exposed, expressions):
    """Labels that expressions select or group by; instance and job come from the scrape."""
    for e in expressions():
        known = {"instance", "job", "le"}
        for name in NAME.findall(e):
            known |= exposed[name]
        used = re.findall(r"([a-z_]+)=~?\"", e)
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", e):
            used += [label.strip() for label in group.split(",")]
        assert set(used) <= known, e


def test_alerts_explain_themselves():
    for group in yaml.safe_load(read("prometheus", RULES))["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
            assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_dashboard_is_whole():
    ids = [p["id"] for p in panels()]
    assert len(ids) == len(set(ids))
    for p in panels():
        grid = p["gridPos"]
        assert grid["x"] + grid["w"] <= 24, p["title"]
        assert p["type"] == "row" or p["targets"], p["title"]


def test_dashboard_expressions_are_promql(tmp_path):
    promtool = tool("promtool", "prometheus")
    rules = []
    for i, e in enumerate(dashboard_expressions()):
        e = e.replace("$__rate_interval", "5m").replace("$instance", ".*")
        assert "$" not in e
        rules.append({"record": f"panel:{i}", "expr": e})
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    check([promtool, "check", "rules", str(path)])


@pytest.fixture
def server(model, tmp_path):
    """A Prometheus that scrapes a leader as prometheus.yml says: a client of its API."""
    program = tool("prometheus", "prometheus")
    with Daemons(model) as c:
        c.start_all(1)
        text = read("prometheus", "prometheus.yml").replace("interval: 5s", "interval: 1s")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{c.ports['http']}")
        (tmp_path / "prometheus.yml").write_text(text)
        shutil.copy(path_of("prometheus", RULES), tmp_path)
        port = free_port()
        args = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        args += [f"--web.listen-address=127.0.0.1:{port}"]
        process = Process([program, *args], str(tmp_path / "log"))
        try:
            yield Client(f"http://127.0.0.1:{port}")
        finally:
            print(process.output())
            process.stop()


def query(server, expression):
    """The vector; None while the server does not answer."""
    try:
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        status, _, body = server.request("GET", path)
    except OSError:
        return None
    assert status in (200, 503), body
    return json.loads(body)["data"]["result"] if status == 200 else None


def test_a_server_scrapes(server):
    until(lambda: query(server, 'up{job="hydac"} == 1'), "the leader is scraped")
    (ready,) = query(server, "hydac_cluster_ready")
    assert ready["value"][1] == "1"
    for e in dashboard_expressions():
        e = e.replace("$__rate_interval", "1m").replace("$instance", ".*")
        until(lambda e=e: query(server, e), f"a panel shows something: {e}")
