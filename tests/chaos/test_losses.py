"""Each kind of loss that a machine or its link can cause (losses.py)."""

import json
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import losses  # noqa: E402 (the path comes first)


@pytest.mark.parametrize("kind", [*losses.KINDS, losses.LATE])
def test_loss(kind):
    args = [sys.executable, os.path.join(HERE, "losses.py"), "--only", kind]
    done = subprocess.run(args, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode == losses.NO_NAMESPACES:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["kind"], report["passed"]) == (kind, True)
