"""What a worker with a GPU is run with: the drop-in of its unit, the image's target, the compose file."""

import json
import os
import re
import shutil

import pytest

from cluster import BUILD, WORKER
from files import check, path_of, read, run, tool

UNIT = os.path.join(BUILD, "deploy", "hydac-worker.service")
GIVEN_UP = {"PrivateDevices", "PrivateUsers", "MemoryDenyWriteExecute", "ProcSubset", "ProtectKernelTunables"}


def settings(text):
    """[(name, value)] in their order."""
    return re.findall(r"(?m)^(\w+)=(.*)$", text)


def test_systemd_understands_the_drop_in(tmp_path):
    analyze = tool("systemd-analyze", "systemd")
    with open(UNIT, encoding="utf-8") as f:  # a program that is there
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", f.read())
    (tmp_path / "hydac-worker.service").write_text(text)
    (tmp_path / "hydac-worker.service.d").mkdir()
    shutil.copy(path_of("systemd", "gpu.conf"), tmp_path / "hydac-worker.service.d")
    said = check([analyze, "verify", "--man=no", str(tmp_path / "hydac-worker.service")])
    assert "Unknown" not in said and "ignoring" not in said.lower(), said


def test_the_drop_in_gives_up_what_it_has_to():
    """Each protection that it takes back the unit has, and all others stay."""
    ours = settings(read("systemd", "gpu.conf"))
    unit = dict(settings(open(UNIT, encoding="utf-8").read()))
    given_up = {name for name, value in ours if name in unit and name != "SystemCallFilter"}
    assert given_up == GIVEN_UP
    assert unit["DevicePolicy"] == "closed", "what is not allowed here stays closed"


def test_the_drop_in_allows_devices_and_groups():
    ours = settings(read("systemd", "gpu.conf"))
    allowed = {value for name, value in ours if name == "DeviceAllow"}
    assert {"char-nvidia rw", "char-nvidia-uvm rw", "char-drm rw", "char-kfd rw"} <= allowed
    assert ("SupplementaryGroups", "render video") in ours


def stages():
    """{name: the stage that it is from}, the last one under "": what is built without --target."""
    found = re.findall(r"(?m)^FROM (\S+)(?: AS (\S+))?$", read("docker", "Dockerfile"))
    return {name: source for source, name in found}


def test_the_image_has_a_target():
    """Beside the usual one, which has no loader."""
    assert stages()["gpu"] == "runtime" and stages()[""] == "runtime"
    text = read("docker", "Dockerfile")
    stage = text[text.index("FROM runtime AS gpu") : text.rindex("FROM runtime")]
    assert "ocl-icd-libopencl1" in stage and "/etc/OpenCL/vendors" in stage
    assert re.findall(r"(?m)^USER (\S+)", stage)[-1] == "10001:10001"


@pytest.fixture(scope="module")
def composed():
    """compose.yaml with compose.gpu.yaml over it, as docker reads them."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and run([*command, "version"]).returncode == 0:
            break
    else:
        pytest.skip("neither `docker compose` nor docker-compose is there")
    yaml = pytest.importorskip("yaml")
    files = [w for f in ("compose.yaml", "compose.gpu.yaml") for w in ("-f", path_of("docker", f))]
    env = {**os.environ, "HYDAC_MODEL": "/model.gguf"}
    return yaml.safe_load(check([*command, *files, "config"], env=env))["services"]


def test_compose_asks_for_a_gpu(composed):
    worker, leader = composed["worker"], composed["leader"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"], json.dumps(device)
    assert "deploy" not in leader or "devices" not in json.dumps(leader["deploy"])
    assert worker["build"]["target"] == "gpu" and worker["image"] != leader["image"]
    assert worker["read_only"] and worker["cap_drop"] == ["ALL"]
    assert "--compute.device=opencl" in worker["command"]


def test_the_worker_knows_its_flags(composed):
    said = check([WORKER, "--help"])
    for flag in composed["worker"]["command"][1:]:
        name = flag.split("=")[0].removeprefix("--")
        assert re.search(rf"(?m)^  {re.escape(name)}\b|\(--{re.escape(name)}\)", said), flag
