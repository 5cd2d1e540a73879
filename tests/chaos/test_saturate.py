"""Fifteen seconds beside more busy loops than cores, and nobody is suspected: no worker, and not the leader."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def test_nobody_is_suspected_on_a_saturated_machine(capsys):
    args = [sys.executable, os.path.join(HERE, "saturate.py"), "--seconds", "15"]
    done = subprocess.run(args, capture_output=True, text=True, check=False, timeout=300)
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0
