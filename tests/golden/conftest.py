"""Golden values: fixtures of this repository, the shared reference models, SmolLM2."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import pytest

import cluster


def pytest_configure(config):
    if not os.path.exists(cluster.HYDAC):
        raise pytest.UsageError("set HYDAC_BUILD to a build folder (tests/run.sh does)")
