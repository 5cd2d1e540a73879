"""What people run it with: the files of deploy/, and clusters made with them.

Tests that need minutes, root and systemd or docker are collected only with HYDAC_DEPLOY=1
(tests/run.sh --deploy)."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import cluster  # noqa: E402 (the path comes first)

BOOTED = ["test_docker.py", "test_machines.py", "test_parts.py"]
collect_ignore = [] if os.environ.get("HYDAC_DEPLOY") else [*BOOTED]


def pytest_configure(config):
    if not os.path.exists(cluster.HYDAC):
        raise pytest.UsageError("set HYDAC_BUILD to a build folder (tests/run.sh does)")


def make_model(path, shape):
    args = [cluster.HYDAC, "synth", "--shape", shape, "--type", "q8_0", "--seed", "1", str(path)]
    subprocess.run(args, check=True, capture_output=True)
    return str(path)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Three KV heads."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny.gguf", "tiny-gqa3")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory):
    """Three KV heads, thirty layers: an answer takes seconds, so that much can happen in it."""
    return make_model(tmp_path_factory.mktemp("models") / "slow.gguf", "smollm2-135m")
