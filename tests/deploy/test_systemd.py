"""The units as files: installed where systemd looks, understood by it, and confined."""

import os
import re
import subprocess

import pytest

from cluster import BUILD
from files import check, path_of, tool

UNITS = ["hydac-leader.service", "hydac-worker.service"]
EXPOSURE = 20  # tenths: systemd-analyze calls up to 2.0 "OK"


def unit(name):
    return os.path.join(BUILD, "deploy", name)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What meson install puts where, with the prefix that the build has."""
    folder = tmp_path_factory.mktemp("root")
    meson = tool("meson", "meson")
    check([meson, "install", "-C", BUILD, "--no-rebuild", "--destdir", str(folder)])
    return folder


def files_of(folder):
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            found.setdefault(name, []).append(os.path.relpath(os.path.join(base, name), folder))
    return found


def test_everything_is_installed(installed):
    found = files_of(installed)
    places = {
        "hydac": "bin",
        "hydac-leader": "bin",
        "hydac-worker": "bin",
        "hydac-leader.service": "lib/systemd/system",
        "hydac-worker.service": "lib/systemd/system",
        "hydac.conf": "lib/tmpfiles.d",
        "gpu.conf": "share/doc/hydac/examples",
        "hydac.1": "share/man/man1",
        "hydac.bash": "share/bash-completion/completions",
        "hydac-leader.8": "share/man/man8",
        "hydac-worker.8": "share/man/man8",
        "hydac.yaml.5": "share/man/man5",
        "leader.yaml": "etc/hydac",
        "worker.yaml": "etc/hydac",
    }
    for name, place in places.items():
        assert any(os.path.dirname(p).endswith(place) for p in found[name]), name


def test_settings_are_not_overwritten(installed):
    etc = next(p for p in files_of(installed)["worker.yaml"] if "etc/hydac" in p)
    path = installed / etc
    path.write_text("model:\n  path: /mine\n")
    check(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(installed)])
    assert path.read_text() == "model:\n  path: /mine\n"


@pytest.mark.parametrize("kind", ["leader", "worker"])
def test_example_settings_are_taken(kind):
    """What is wrong with them on this machine is only that there is no such model."""
    folder = "leader/daemon" if kind == "leader" else "worker"
    program = os.path.join(BUILD, folder, f"hydac-{kind}")
    said = subprocess.run(
        [program, "--config", path_of("systemd", f"{kind}.yaml"), "--model.path=/nonexistent"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": "/nonexistent", "STATE_DIRECTORY": "/tmp"},
        check=False,
    )
    assert said.returncode == 1, said.stderr
    assert "/nonexistent" in said.stderr


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands(name, tmp_path):
    analyze = tool("systemd-analyze", "systemd")
    with open(unit(name), encoding="utf-8") as f:  # a program that is there
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", f.read())
    (tmp_path / name).write_text(text)
    said = check([analyze, "verify", "--man=no", str(tmp_path / name)])
    assert "Unknown" not in said and "ignoring" not in said.lower(), said


@pytest.mark.parametrize("name", UNITS)
def test_exposure(name):
    analyze = tool("systemd-analyze", "systemd")
    said = check([analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", unit(name)])
    overall = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)[1])
    assert overall <= EXPOSURE / 10


def settings_of(name):
    with open(unit(name), encoding="utf-8") as f:
        return dict(line.split("=", 1) for line in f.read().splitlines() if re.match(r"\w+=", line))


@pytest.mark.parametrize("name", UNITS)
def test_the_key_is_a_credential(name):
    """From a place that only root can read to the flag; without it nothing starts."""
    settings = settings_of(name)
    identity, source = settings["LoadCredential"].split(":")
    assert settings["ExecStart"].endswith(f" --key %d/{identity}")
    assert settings["AssertPathExists"] == source
    assert source == os.path.join(os.path.dirname(settings["ExecStart"].split()[2]), identity)


def test_stopping_leaves_time_to_drain():
    said = check([os.path.join(BUILD, "worker", "hydac-worker"), "--help"])
    drain_ms = int(re.search(r"worker\.drain_ms N\n(?:        .*\n)*?.*; default\s+(\d+)", said)[1])
    limit = re.fullmatch(r"(\d+)s", settings_of("hydac-worker.service")["TimeoutStopSec"])
    assert int(limit[1]) * 1000 > drain_ms
