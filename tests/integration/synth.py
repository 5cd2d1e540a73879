"""Models of `hydac synth`, and the build that tests need."""

import os
import subprocess

import pytest

import cluster


def pytest_configure(config):
    """For conftest.py of folders whose tests run the programs."""
    if not os.path.exists(cluster.HYDAC):
        raise pytest.UsageError("set HYDAC_BUILD to a build folder (tests/run.sh does)")


def synth(path, shape, dtype, seed=1):
    """Writes the model unless it is there; its path."""
    if not os.path.exists(path):
        args = ["synth", "--shape", shape, "--type", dtype, "--seed", str(seed), str(path)]
        subprocess.run([cluster.HYDAC, *args], check=True, capture_output=True)
    return str(path)
