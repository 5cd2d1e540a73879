"""The manual pages say all that the programs take, and nothing else."""

import re

import pytest

import tree
from cluster import BUILD, HYDAC, LEADER, WORKER
from files import check, path_of, read, run, tool

PAGES = ["hydac.1", "hydac-leader.8", "hydac-worker.8", "hydac.yaml.5"]
COMMANDS = ["up", "chat", "top", "run", "status", "drain", "rebalance", "bench", "synth", "keygen"]
COMMANDS += ["completion", "inspect"]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?!\.)\b")
FILES = {"c", "h", "md", "py", "yaml", "key", "json", "gguf", "service"}  # ends of names


def plain(text):
    """A page's text without its markup."""
    text = re.sub(r"\\f[BRIP]", "", text).replace("\\-", "-")
    return re.sub(r"(?m)^\.\w+ ?", "", text).replace("\\ ", " ")


def help_of(*args):
    said = run([*args, "--help"])
    assert said.returncode == 0, said.stderr
    return said.stdout


def flags(text):
    return set(FLAG.findall(text)) - {"--section", "--name"}


def settings(text):
    """Name -> default of the settings of a daemon's help; None where it is said in words."""
    rows = re.findall(r"(?m)^  ([a-z_]+\.[a-z_]+)(?: .*)?\n((?:        .*\n)+)", text)
    found = {}
    for name, said in rows:
        value = re.search(r"; default(?: (\S+))?(?:: .*)?$", " ".join(said.split()))
        assert value, f"{name}: no default"
        found[name] = value[1]
    return found


def test_pages_are_what_help_says():
    """deploy/man/settings.py makes them from the tables of the programs."""
    check([path_of("man", "settings.py"), "--check", BUILD])


def short_flags(text):
    return set(re.findall(r"(?m)^  (?:\S+\.\S+ .*\()?(--[\w-]+)", text))


@pytest.mark.parametrize("program, name", [(LEADER, "hydac-leader.8"), (WORKER, "hydac-worker.8")])
def test_flags_of_the_daemons(program, name):
    wanted = short_flags(help_of(program))
    assert len(wanted) > 5
    entries = re.findall(r"(?m)^\.TP\n\.BI? (\\-\\-\S+?)(?:\\ .*)?$", read("man", name))
    assert {plain(e) for e in entries} == wanted


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_of_the_commands(command):
    """Each is in the command's own section."""
    parts = re.split(r"(?m)^\.SS hydac (\w+)$", read("man", "hydac.1"))
    section = plain(parts[parts.index(command) + 1].split(".SS")[0])
    wanted = flags(help_of(HYDAC, command))
    assert wanted or command == "completion"
    assert flags(section) == wanted


def test_commands():
    listed = re.findall(r"(?m)^  hydac (\w+)", help_of(HYDAC))
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("program", [LEADER, WORKER])
def test_every_setting_of_help_exists(program):
    """What help calls a setting is taken: the error is about the value, not about the name. Its
    default is taken too."""
    listed = settings(help_of(program))
    assert len(listed) > 15
    for key, default in listed.items():
        said = run([program, f"--{key}=\x01"])
        assert said.returncode != 0
        assert "no such setting" not in said.stderr, key
        if default:
            last = "--heartbeat.phi_suspect=1000" if program == LEADER else "--retry.min_ms=0"
            said = run([program, f"--{key}={default}", last])
            assert key not in said.stderr or key in last, said.stderr
    assert "no such setting" in run([program, "--no.such=\x01"]).stderr


@pytest.mark.parametrize("name", tree.listed("*.md", "*.8", "*.1", "*.yaml"))
def test_settings_of_documents_exist(name):
    """What looks like a setting in a document (`http.listen`, --http.listen) is one. The status has
    a section `cluster` of its own."""
    known = set(settings(help_of(LEADER))) | set(settings(help_of(WORKER)))
    sections = {key.split(".")[0] for key in known}
    named = set(re.findall(r"(?:`(?!cluster\.)|--)([a-z_]+\.[a-z_]+)\b(?!\.\w)", tree.read(name)))
    suspects = {n for n in named if n.split(".")[0] in sections and n.split(".")[1] not in FILES}
    assert suspects <= known, sorted(suspects - known)


@pytest.mark.parametrize("name", PAGES)
def test_markup(name):
    mandoc = tool("mandoc", "mandoc")
    check([mandoc, "-T", "lint", "-W", "warning,stop", path_of("man", name)])
