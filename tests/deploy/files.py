"""The files under deploy/, and programs that check them."""

import os
import shutil
import subprocess

import pytest

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
DEPLOY = os.path.join(TOP, "deploy")


def path_of(*parts):
    return os.path.join(DEPLOY, *parts)


def read(*parts):
    with open(path_of(*parts), encoding="utf-8") as f:
        return f.read()


def run(args, **more):
    return subprocess.run(args, capture_output=True, text=True, timeout=120, check=False, **more)


def tool(name, package):
    """The program's path, or the test is skipped with the reason."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{name} is not there (Debian's package {package})")
    return found


def check(args, **more):
    """Runs a checker; its output when it is content."""
    said = run(args, **more)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout + said.stderr
