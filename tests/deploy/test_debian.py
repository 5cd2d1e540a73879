"""The Debian packages: made from the programs of this build, and looked into."""

import os
import re

import pytest

from cluster import BUILD
from files import TOP, check, path_of, tool

PARTS = ["leader", "worker"]
PROGRAMS = {"leader": ["hydac", "hydac-leader"], "worker": ["hydac-worker"]}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The files, by part."""
    tool("dpkg-shlibdeps", "dpkg-dev")
    out = tmp_path_factory.mktemp("packages")
    check([path_of("debian", "make.sh"), "--programs", BUILD, "--out", str(out)])
    found = {re.match(r"hydac-(\w+)_", n)[1]: str(out / n) for n in os.listdir(out)}
    assert sorted(found) == PARTS
    return found


def files_of(package):
    """Path -> (mode, owner); folders end with a slash."""
    rows = [line.split(None, 5) for line in check(["dpkg-deb", "-c", package]).splitlines()]
    return {row[5].lstrip("."): (row[0], row[1]) for row in rows}


def field(package, name):
    return check(["dpkg-deb", "-f", package, name]).strip()


@pytest.fixture(params=PARTS)
def part(request):
    return request.param


def test_contents(packages, part):
    found = files_of(packages[part])
    wanted = {f"/usr/bin/{name}": "-rwxr-xr-x" for name in PROGRAMS[part]}
    data = [
        f"/usr/lib/systemd/system/hydac-{part}.service",
        f"/usr/lib/tmpfiles.d/hydac-{part}.conf",
        f"/usr/share/man/man8/hydac-{part}.8.gz",
        f"/usr/share/man/man5/hydac-{part}.yaml.5.gz",
        f"/usr/share/doc/hydac/examples/{part}.yaml",
        f"/usr/share/doc/hydac-{part}/copyright",
        f"/etc/hydac/{part}.yaml",
    ]
    if part == "leader":
        data += ["/usr/share/man/man1/hydac.1.gz"]
        data += ["/usr/share/bash-completion/completions/hydac.bash"]
    else:
        data += ["/usr/share/doc/hydac/examples/gpu.conf"]
    wanted.update({path: "-rw-r--r--" for path in data})
    assert {p: mode for p, (mode, _) in found.items() if not p.endswith("/")} == wanted
    assert {owner for _, owner in found.values()} == {"root/root"}


def test_one_machine_can_have_both(packages):
    """No file is in both: dpkg would refuse the second package."""
    leader, worker = (
        {p for p in files_of(packages[part]) if not p.endswith("/")} for part in PARTS
    )
    assert not leader & worker


def test_control(packages, part):
    package = packages[part]
    assert field(package, "Package") == f"hydac-{part}"
    assert field(package, "Architecture") == check(["dpkg", "--print-architecture"]).strip()
    assert int(field(package, "Installed-Size")) > 100
    said = check([os.path.join(BUILD, "worker", "hydac-worker"), "--version"]).split()[1]
    assert field(package, "Version") == said
    assert check(["dpkg-deb", "-I", package, "conffiles"]).split() == [f"/etc/hydac/{part}.yaml"]


def test_dependencies(packages):
    """A worker needs nothing that only a leader does; what each needs packages.sh knows."""
    listed = set(check([os.path.join(TOP, "deploy", "packages.sh"), "--list", "run"]).split())
    named = {p: set(re.findall(r"lib[\w.+-]+", field(packages[p], "Depends"))) for p in PARTS}
    assert {"libuv1", "libprotobuf-c1", "libssl3"} <= named["worker"]
    assert {"libmicrohttpd12", "libcurl4"} <= named["leader"]
    assert not {"libmicrohttpd12", "libcurl4"} & named["worker"]
    assert named["leader"] | named["worker"] <= listed | {"libc6", "libgcc-s1"}


def test_unit_starts_what_is_installed(packages, part, tmp_path):
    check(["dpkg-deb", "-x", packages[part], str(tmp_path)])
    unit = (tmp_path / f"usr/lib/systemd/system/hydac-{part}.service").read_text()
    program, _, config = re.search(r"ExecStart=(\S+) (\S+) (\S+)", unit).groups()
    assert (tmp_path / config.lstrip("/")).is_file()
    assert check([str(tmp_path / program.lstrip("/")), "--version"]).startswith(f"hydac-{part} ")


def test_scripts(packages, part, tmp_path):
    """Each is a shell script that names its own part, and harms nothing where there is no systemd."""
    check(["dpkg-deb", "-e", packages[part], str(tmp_path)])
    for name in ("postinst", "prerm", "postrm"):
        text = (tmp_path / name).read_text()
        assert "@part@" not in text
        check(["sh", "-n", str(tmp_path / name)])
    assert f"hydac-{part}.service" in (tmp_path / "prerm").read_text()
