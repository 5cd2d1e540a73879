"""A Debian 12 tree with what the installed programs need, made once and kept in the cache."""

import os
import shutil
import subprocess
import tempfile

import pytest

from files import TOP, check, tool

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "hydac")


def need_root():
    if os.geteuid() != 0:
        pytest.skip("only root can make machines and images")


def add_updates(tree):
    """Debian's own images and installer list what debootstrap leaves out: updates, security."""
    path = os.path.join(tree, "etc/apt/sources.list")
    with open(path, encoding="utf-8") as f:
        kind, mirror, suite, *parts = f.readline().split()
    suites = [(mirror, f"{suite}-updates"), (mirror + "-security", f"{suite}-security")]
    with open(path, "a", encoding="utf-8") as f:
        f.writelines(" ".join([kind, *s, *parts]) + "\n" for s in suites)


def debian(name, packages):
    """The tree's path. `name` says what is in it: another list of packages needs another name."""
    need_root()
    path = os.path.join(CACHE, name)
    if os.path.isdir(path):
        return path
    debootstrap = tool("debootstrap", "debootstrap")
    os.makedirs(CACHE, exist_ok=True)
    work = tempfile.mkdtemp(prefix=name + ".", dir=CACHE)
    os.chmod(work, 0o755)
    more = ["--include=" + ",".join(packages)] if packages else []
    try:
        said = subprocess.run(
            [debootstrap, "--variant=minbase", *more, "bookworm", work],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        if said.returncode != 0:
            pytest.skip(f"debootstrap cannot make a tree: {said.stdout.strip().splitlines()[-1:]}")
        add_updates(work)
        os.rename(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def runtime_packages():
    listed = check([os.path.join(TOP, "deploy", "packages.sh"), "--list", "run"])
    return listed.split()
