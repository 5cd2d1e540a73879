"""Docker on this machine, and the base image that the Dockerfile begins with."""

import shutil
import subprocess

import pytest

from files import run
from root import debian

BASE = "debian:bookworm-slim"
LEFT_OUT = ["var/lib/apt/lists/*", "var/cache/apt/*", "usr/share/doc/*", "usr/share/man/*"]
LEFT_OUT += ["usr/share/locale/*", "proc/*", "sys/*", "dev/*"]


def need_docker():
    if not shutil.which("docker"):
        pytest.skip("docker is not there (Debian's package docker.io)")
    said = run(["docker", "info", "--format", "{{.ServerVersion}}"])
    if said.returncode != 0:
        pytest.skip(f"docker cannot be used: {said.stderr.strip()}")


def make_base():
    """Makes the base image, unless it is there (a registry may have given it); True if it did."""
    if run(["docker", "image", "inspect", BASE]).returncode == 0:
        return False
    tree = debian("bookworm-as-images-have-it", [])
    tar = ["tar", "-C", tree, *(f"--exclude=./{p}" for p in LEFT_OUT), "-c", "."]
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as packed:
        said = run(["docker", "import", "-", BASE], stdin=packed.stdout)
    assert said.returncode == 0, said.stderr
    return True


def remove_base():
    run(["docker", "rmi", "--force", BASE])
