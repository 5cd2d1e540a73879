"""A worker alone, built where there is nothing but what it needs. Needs root and debootstrap."""

import os
import re
import subprocess

import pytest

from files import TOP, check
from root import debian
from tree import listed

TOOLS = ["gcc", "libc6-dev", "meson", "ninja-build", "pkg-config", "protobuf-c-compiler"]
LIBRARIES = ["libuv1", "libprotobuf-c", "libssl", "libyaml", "libxxhash"]
ALLOWED = {"libuv", "libprotobuf-c", "libssl", "libcrypto", "libyaml", "libxxhash", "libm", "libc"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A Debian tree with these packages and the source, without its tests."""
    base = debian("bookworm-worker", TOOLS + [f"{name}-dev" for name in LIBRARIES])
    tree = str(tmp_path_factory.mktemp("tree") / "root")
    check(["cp", "-a", base, tree])
    sources = "\n".join(name for name in listed() if not name.startswith("tests/"))
    os.mkdir(os.path.join(tree, "src"))
    packed = subprocess.run(
        ["tar", "-C", TOP, "-T", "-", "-c"], input=sources.encode(), stdout=-1, check=True
    )
    subprocess.run(["tar", "-C", f"{tree}/src", "-x"], input=packed.stdout, check=True)
    return tree


def there(tree, command):
    args = ["chroot", tree, "sh", "-ec", command]
    return subprocess.run(args, capture_output=True, text=True, timeout=1200, check=False)


def test_worker_alone(tree):
    setup = "meson setup -Dleader=false -Dtests=false -Doptimization=0 -Dwerror=true /build /src"
    said = there(tree, f"{setup} && ninja -C /build && ldd /build/worker/hydac-worker")
    assert said.returncode == 0, said.stdout[-4000:] + said.stderr
    linked = set(re.findall(r"(?m)^\s(lib[\w-]+?)(?:-[\d.]+)?\.so", said.stdout))
    assert linked <= ALLOWED
    folder = there(tree, "mkdir /model && /build/worker/hydac-worker --model /model")
    assert "built without jansson" in folder.stderr


def test_leader_says_what_it_misses(tree):
    said = there(tree, "meson setup -Dtests=false /none /src")
    assert said.returncode != 0
    assert "jansson" in said.stdout + said.stderr


def test_parts_that_make_no_sense(tree):
    neither = there(tree, "meson setup -Dleader=false -Dworker=false /none1 /src")
    assert "neither the leader nor the worker" in neither.stdout + neither.stderr
    half = there(tree, "meson setup -Dleader=false /none2 /src")
    assert "-Dtests=false" in half.stdout + half.stderr
