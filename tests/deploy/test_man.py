"""The manual pages say all that the programs take, and nothing else."""

import re

import pytest

from cluster import HYDAC, LEADER, WORKER
from files import check, path_of, read, run, tool

PAGES = ["hydac.1", "hydac-leader.8", "hydac-worker.8", "hydac.yaml.5"]
COMMANDS = ["up", "run", "status", "drain", "rebalance", "bench", "synth", "keygen"]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?!\.)\b")
KEY = re.compile(r"\b[a-z_]+\.[a-z_]+\b")


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
    """The keys of the second part of a daemon's help, and those in parentheses behind flags."""
    keys = set(re.findall(r"\(([a-z_]+\.[a-z_]+)(?::|\))", text))
    rest = text.split("Every other setting")[1]
    return (keys | set(KEY.findall(rest))) - {"section.key"}


@pytest.mark.parametrize("program, name", [(LEADER, "hydac-leader.8"), (WORKER, "hydac-worker.8")])
def test_flags_of_the_daemons(program, name):
    wanted = flags(help_of(program))
    assert len(wanted) > 5
    assert flags(plain(read("man", name))) == wanted


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_of_the_commands(command):
    """Each is in the command's own section."""
    parts = re.split(r"(?m)^\.SS hydac (\w+)$", read("man", "hydac.1"))
    section = plain(parts[parts.index(command) + 1].split(".SS")[0])
    wanted = flags(help_of(HYDAC, command))
    assert wanted
    assert flags(section) == wanted


def test_commands():
    listed = re.findall(r"(?m)^  hydac (\w+)", help_of(HYDAC))
    assert sorted(listed) == sorted(COMMANDS)


def test_settings():
    """Those of both daemons' help are in hydac.yaml(5), and it names no other."""
    wanted = settings(help_of(LEADER)) | settings(help_of(WORKER))
    assert len(wanted) > 20
    said = set(re.findall(r"(?m)^\.B ([a-z_]+\.[a-z_]+)$", read("man", "hydac.yaml.5")))
    assert said == wanted


@pytest.mark.parametrize("program", [LEADER, WORKER])
def test_every_setting_of_help_exists(program):
    """What help calls a setting is taken: the error is about the value, not about the name."""
    for key in settings(help_of(program)) - {"assignment.fixed"}:
        said = run([program, f"--{key}=\x01"])
        assert said.returncode != 0
        assert "no such setting" not in said.stderr, key
    assert "no such setting" in run([program, "--no.such=\x01"]).stderr


@pytest.mark.parametrize("name", PAGES)
def test_markup(name):
    mandoc = tool("mandoc", "mandoc")
    check([mandoc, "-T", "lint", "-W", "warning,stop", path_of("man", name)])
