"""deploy/kubernetes: manifests that a cluster would take, whose parts fit together. There is no
cluster here: what is checked is the schemas (kubernetes-validate, where it is installed) and, by
hand, what the schemas cannot know."""

import os
import re

import pytest
import yaml

from cluster import HYDAC, LEADER, WORKER
from files import check, path_of, read, run

KINDS = {
    "Namespace": 1,
    "ConfigMap": 1,
    "Service": 3,
    "StatefulSet": 2,
    "PodDisruptionBudget": 1,
    "NetworkPolicy": 1,
}
VERSIONS = ["1.27", "1.31"]


def objects():
    return list(yaml.safe_load_all(read("kubernetes", "hydac.yaml")))


def one(kind, name=None):
    found = [o for o in objects() if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, (kind, name)
    return found[0]


def pods():
    """component -> the template of its pods"""
    sets = (one("StatefulSet", "hydac-leader"), one("StatefulSet", "hydac-worker"))
    return {
        s["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: s["spec"][
            "template"
        ]
        for s in sets
    }


def container(component):
    (only,) = pods()[component]["spec"]["containers"]
    return only


def init(component):
    (only,) = pods()[component]["spec"]["initContainers"]
    return only


def mounts_of(c):
    return {m["name"]: m["mountPath"] for m in c["volumeMounts"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(version):
    validator = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed (PyPI)"
    )
    for o in objects():
        validator.validate(o, version, strict=True)


def test_what_there_is():
    count = {}
    for o in objects():
        count[o["kind"]] = count.get(o["kind"], 0) + 1
        assert o["kind"] == "Namespace" or o["metadata"]["namespace"] == "hydac"
    assert count == KINDS


def test_selectors_find_pods():
    labels = [p["metadata"]["labels"] for p in pods().values()]

    def found(selector):
        return [l for l in labels if selector.items() <= l.items()]

    for o in objects():
        spec = o.get("spec", {})
        if o["kind"] == "Service":
            assert len(found(spec["selector"])) == 1, o["metadata"]["name"]
        elif o["kind"] == "StatefulSet":
            mine = spec["template"]["metadata"]["labels"]
            assert found(spec["selector"]["matchLabels"]) == [mine]
        elif o["kind"] == "PodDisruptionBudget":
            (only,) = found(spec["selector"]["matchLabels"])
            assert only["app.kubernetes.io/component"] == "worker"
        elif o["kind"] == "NetworkPolicy":
            (only,) = found(spec["podSelector"]["matchLabels"])
            assert only["app.kubernetes.io/component"] == "leader"


def test_ports_have_names_that_exist():
    names = {p["name"]: p["containerPort"] for p in container("leader")["ports"]}
    used = [
        container("leader")[f"{probe}Probe"]["httpGet"]["port"]
        for probe in ("startup", "liveness", "readiness")
    ]
    for o in objects():
        if o["kind"] == "Service" and o["metadata"]["name"] != "hydac-worker":
            used += [p["targetPort"] for p in o["spec"]["ports"]]
        if o["kind"] == "NetworkPolicy":
            used += [p["port"] for rule in o["spec"]["ingress"] for p in rule["ports"]]
    assert set(used) == set(names)
    settings = yaml.safe_load(one("ConfigMap")["data"]["leader.yaml"])
    assert settings["cluster"]["listen"].endswith(f":{names['cluster']}")
    assert settings["http"]["listen"].endswith(f":{names['http']}")


def test_workers_find_the_leader():
    settings = yaml.safe_load(one("ConfigMap")["data"]["worker.yaml"])
    leaders = yaml.safe_load(one("ConfigMap")["data"]["leader.yaml"])["cluster"]["leaders"]
    assert settings["leader"]["address"] == leaders
    stateful = one("StatefulSet", "hydac-leader")
    name, service = stateful["metadata"]["name"], one("Service", stateful["spec"]["serviceName"])
    (port,) = [p["port"] for p in service["spec"]["ports"]]
    at = service["metadata"]["name"]
    assert leaders.split(",") == [f"{name}-{i}.{at}:{port}" for i in range(stateful["spec"]["replicas"])]
    assert service["spec"]["publishNotReadyAddresses"], "it is ready only when workers are there"
    env = {e["name"]: e["value"] for e in container("worker")["env"]}
    leader = one("Service", env["HYDAC_LEADER"].removeprefix("http://"))
    assert leader["spec"]["ports"][0]["port"] == 80
    assert (
        one("StatefulSet", "hydac-worker")["spec"]["serviceName"]
        == one("Service", "hydac-worker")["metadata"]["name"]
    )


@pytest.mark.parametrize("component", ["leader", "worker"])
def test_volumes_and_settings_are_there(component):
    spec = pods()[component]["spec"]
    volumes = {v["name"]: v for v in spec["volumes"]}
    mounts = mounts_of(container(component))
    assert set(volumes) == set(mounts) | set(mounts_of(init(component)))
    assert volumes["config"]["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    command = container(component)["command"]
    file = command[command.index("--config") + 1]
    assert file == f"{mounts['config']}/{component}.yaml"
    settings = yaml.safe_load(one("ConfigMap")["data"][f"{component}.yaml"])
    assert settings["model"]["path"].startswith(mounts["model"] + "/")


def test_the_secret_is_the_operators():
    """The keys are in no file; the comment says how the Secret is made that the pods name."""
    for component in pods():
        (secret,) = [v["secret"] for v in pods()[component]["spec"]["volumes"] if "secret" in v]
        assert f"create secret generic {secret['secretName']} " in read("kubernetes", "hydac.yaml")


@pytest.mark.parametrize("component", ["leader", "worker"])
def test_keys_are_copied_for_their_owner(component, tmp_path):
    """The command of the init container, run here: from files that the group may read to files that
    the daemon takes. The daemon's container does not see the Secret."""
    spec, copy = pods()[component]["spec"], init(component)
    secret, keys = mounts_of(copy)["secret"], mounts_of(copy)["keys"]
    assert "secret" not in mounts_of(container(component))
    assert mounts_of(container(component))["keys"] == keys
    volumes = {v["name"]: v for v in spec["volumes"]}
    assert volumes["keys"]["emptyDir"]["medium"] == "Memory"
    assert "runAsUser" not in copy["securityContext"], "one user for both, the pod's"
    for name in ("secret", "keys"):
        (tmp_path / name).mkdir()
    for name in ("cluster.key", "api.key"):
        (tmp_path / "secret" / name).write_text(name)
        (tmp_path / "secret" / name).chmod(volumes["secret"]["secret"]["defaultMode"])
    places = {secret: str(tmp_path / "secret"), keys: str(tmp_path / "keys")}
    command = copy["command"]
    for place, here in places.items():
        command = [re.sub(rf"(^|=){place}\b", rf"\g<1>{here}", word) for word in command]
    for _ in range(2):  # it may run again in the same pod
        check(command)
    settings = yaml.safe_load(one("ConfigMap")["data"][f"{component}.yaml"])
    used = [settings["cluster"]["key"], settings.get("http", {}).get("api_key_file")]
    used += [e["value"] for e in container(component).get("env", ()) if "FILE" in e["name"]]
    for path in filter(None, used):
        there = tmp_path / "keys" / os.path.relpath(path, keys)
        assert there.stat().st_mode & 0o777 == 0o400, path


def test_stopping_leaves_time_to_drain():
    settings = yaml.safe_load(one("ConfigMap")["data"]["worker.yaml"])
    grace = pods()["worker"]["spec"]["terminationGracePeriodSeconds"]
    assert grace * 1000 > settings["worker"]["drain_ms"]


def test_clients_show_a_key():
    http = yaml.safe_load(one("ConfigMap")["data"]["leader.yaml"])["http"]
    assert http["api_key_file"] and not http.get("open")


@pytest.mark.parametrize("component, program", [("leader", LEADER), ("worker", WORKER)])
def test_settings_are_taken(component, program, tmp_path):
    """What is wrong with them here is only that there is no such model."""
    path = tmp_path / "settings.yaml"
    text = one("ConfigMap")["data"][f"{component}.yaml"]
    path.write_text(text.replace("/keys/", f"{tmp_path}/"))
    for name, key in (("cluster.key", check([HYDAC, "keygen"])), ("api.key", "0123456789abcdef")):
        (tmp_path / name).write_text(key)
        (tmp_path / name).chmod(0o400)
    said = run([program, "--config", str(path), "--state.dir", str(tmp_path)])
    assert said.returncode == 1, said.stderr
    assert "/model/model.gguf" in said.stderr
    assert container(component)["command"][0] == f"hydac-{component}"


@pytest.mark.parametrize("component", ["leader", "worker"])
def test_confined_and_bounded(component):
    spec = pods()[component]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for c in (init(component), container(component)):
        assert c["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(c["resources"]["requests"])
        assert "memory" in c["resources"]["limits"]
    assert str(spec["securityContext"]["runAsUser"]) in read("docker", "Dockerfile")


def test_two_leaders_and_one_disruption_at_a_time():
    leader = one("StatefulSet", "hydac-leader")["spec"]
    assert leader["podManagementPolicy"] == "Parallel", "the standby is never ready: nothing may wait for it"
    rules = one("NetworkPolicy")["spec"]["ingress"]
    (cluster,) = [r for r in rules if r["ports"] == [{"port": "cluster"}]]
    may = [f["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for f in cluster["from"]]
    assert sorted(may) == ["leader", "worker"]
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    settings = yaml.safe_load(one("ConfigMap")["data"]["leader.yaml"])
    assert settings["cluster"]["min_workers"] == 1, "a takeover does not wait for all of them"


def test_probes():
    """Only readiness may depend on the cluster: a restart of a leader without workers helps nobody."""
    assert container("leader")["readinessProbe"]["httpGet"]["path"] == "/health"
    for probe in ("startup", "liveness"):  # an answer without a key, with or without workers
        assert container("leader")[f"{probe}Probe"]["httpGet"]["path"] == "/metrics"
    assert "livenessProbe" not in container("worker")
    (command,) = container("worker")["readinessProbe"]["exec"]["command"]
    assert f"/usr/bin/{command}" in read("docker", "Dockerfile")


def test_readme_names_the_file():
    with open(path_of("README.md"), encoding="utf-8") as f:
        assert "kubernetes/hydac.yaml" in f.read()
