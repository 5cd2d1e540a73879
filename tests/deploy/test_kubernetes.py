"""deploy/kubernetes: manifests that a cluster would take, whose parts fit together. There is no
cluster here: what is checked is the schemas (kubernetes-validate, where it is installed) and, by
hand, what the schemas cannot know."""

import pytest
import yaml

from cluster import LEADER, WORKER
from files import path_of, read, run

KINDS = {
    "Namespace": 1,
    "Secret": 1,
    "ConfigMap": 1,
    "Service": 3,
    "Deployment": 1,
    "StatefulSet": 1,
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
    sets = (one("Deployment"), one("StatefulSet"))
    return {
        s["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: s["spec"][
            "template"
        ]
        for s in sets
    }


def container(component):
    (only,) = pods()[component]["spec"]["containers"]
    return only


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
        elif o["kind"] in ("Deployment", "StatefulSet"):
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
    host, port = settings["leader"]["address"].split(":")
    service = one("Service", host)
    assert [p["port"] for p in service["spec"]["ports"]] == [int(port)]
    assert service["spec"]["publishNotReadyAddresses"], "it is ready only when workers are there"
    (env,) = container("worker")["env"]
    assert env["name"] == "HYDAC_LEADER"
    assert one("Service", env["value"].removeprefix("http://"))["spec"]["ports"][0]["port"] == 80
    assert (
        one("StatefulSet")["spec"]["serviceName"]
        == one("Service", "hydac-worker")["metadata"]["name"]
    )


@pytest.mark.parametrize("component", ["leader", "worker"])
def test_volumes_and_settings_are_there(component):
    spec = pods()[component]["spec"]
    volumes = {v["name"]: v for v in spec["volumes"]}
    mounts = {m["name"]: m["mountPath"] for m in container(component)["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert volumes["config"]["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    assert volumes["key"]["secret"]["secretName"] == one("Secret")["metadata"]["name"]
    command = container(component)["command"]
    file = command[command.index("--config") + 1]
    assert file == f"{mounts['config']}/{component}.yaml"
    settings = yaml.safe_load(one("ConfigMap")["data"][f"{component}.yaml"])
    assert settings["model"]["path"].startswith(mounts["model"] + "/")


@pytest.mark.parametrize("component, program", [("leader", LEADER), ("worker", WORKER)])
def test_settings_are_taken(component, program, tmp_path):
    """What is wrong with them here is only that there is no such model."""
    path = tmp_path / "settings.yaml"
    path.write_text(one("ConfigMap")["data"][f"{component}.yaml"])
    said = run([program, "--config", str(path), "--state.dir", str(tmp_path)])
    assert said.returncode == 1, said.stderr
    assert "/model/model.gguf" in said.stderr
    assert container(component)["command"][0] == f"hydac-{component}"


@pytest.mark.parametrize("component", ["leader", "worker"])
def test_confined_and_bounded(component):
    spec, c = pods()[component]["spec"], container(component)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert c["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(c["resources"]["requests"])
    assert "memory" in c["resources"]["limits"]
    assert str(spec["securityContext"]["runAsUser"]) in read("docker", "Dockerfile")


def test_one_leader_and_one_disruption_at_a_time():
    leader = one("Deployment")["spec"]
    assert leader["replicas"] == 1
    assert leader["strategy"] == {"type": "Recreate"}, "two leaders would share the workers' name"
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    settings = yaml.safe_load(one("ConfigMap")["data"]["leader.yaml"])
    assert settings["cluster"]["min_workers"] <= one("StatefulSet")["spec"]["replicas"]


def test_probes():
    """Only readiness may depend on the cluster: a restart of a leader without workers helps nobody."""
    assert container("leader")["readinessProbe"]["httpGet"]["path"] == "/health"
    assert container("leader")["livenessProbe"]["httpGet"]["path"] != "/health"
    assert "livenessProbe" not in container("worker")
    (command,) = container("worker")["readinessProbe"]["exec"]["command"]
    assert f"/usr/bin/{command}" in read("docker", "Dockerfile")


def test_readme_names_the_file():
    with open(path_of("README.md"), encoding="utf-8") as f:
        assert "kubernetes/hydac.yaml" in f.read()
