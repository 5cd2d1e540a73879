"""What people run it with: the files of deploy/, and clusters made with them.

Tests that need minutes, root and systemd or docker are collected only with HYDAC_DEPLOY=1
(tests/run.sh --deploy)."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from synth import pytest_configure, synth  # noqa: E402,F401 (the path comes first)

BOOTED = ["test_docker.py", "test_machines.py", "test_parts.py", "test_two_leader_machines.py"]
collect_ignore = [] if os.environ.get("HYDAC_DEPLOY") else [*BOOTED]


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Three KV heads."""
    return synth(tmp_path_factory.mktemp("models") / "tiny.gguf", "tiny-gqa3", "q8_0")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory):
    """Three KV heads, thirty layers: an answer takes seconds, so that much can happen in it."""
    return synth(tmp_path_factory.mktemp("models") / "slow.gguf", "smollm2-135m", "q8_0")
