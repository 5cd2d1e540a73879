#!/usr/bin/env python3
"""Writes what hydac.yaml(5), hydac-leader(8) and hydac-worker(8) say of settings and flags, and what
hydac(1) says of its commands, from --help.

  deploy/man/settings.py BUILD          writes the pages beside this script
  deploy/man/settings.py --check BUILD  says which of them differ, and exits with 1

What stands between a line .\\" begin and a line .\\" end is replaced; all the rest is written by hand.
"""

import os
import re
import subprocess
import sys
import textwrap

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = {"leader": "leader/daemon/hydac-leader", "worker": "worker/hydac-worker"}
ENTRY = re.compile(r"(?m)^  (\S+)(?: (\S+))?(?: \((--[\w-]+)\))?\n((?:        .*\n)+)")


def entries(build, part):
    """(flags, settings) of --help: lists of (name, value, short flag, text)."""
    program = os.path.join(build, PROGRAMS[part])
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    sections = re.split(r"\nFlags:|\nSettings, ", text)[1:]
    lists = [ENTRY.findall(s.split("\n\n", 1)[1] + "\n") for s in sections]
    # Nothing of --help may be lost, whatever becomes of its form.
    assert sum(len(listed) for listed in lists) == len(re.findall(r"(?m)^  \S", text))
    return [[(n, v, f, " ".join(t.split())) for n, v, f, t in listed] for listed in lists]


def escape(text):
    return text.replace("\\", "\\e").replace("-", "\\-")


def body(text):
    """A paragraph: each sentence on a line of its own, none that looks like a request."""
    sentences = escape(text).replace(". ", ".\n").split("\n")
    lines = [line for s in sentences for line in textwrap.wrap(s, 98, break_on_hyphens=False)]
    return "".join(("\\&" if line[:1] in "'." else "") + line + "\n" for line in lines)


def setting(name, value, short, text):
    also = f" (also {short})" if short else ""
    head = f".BI {escape(name)}\\  {escape(value)}{escape(also).replace(' ', chr(92) + ' ')}\n"
    return ".TP\n" + head + body(text)


def flag(name, value, text):
    head = f".BI {escape(name)}\\  {escape(value)}\n" if value else f".B {escape(name)}\n"
    return ".TP\n" + head + body(text)


def yaml_page(build):
    leader, worker = (entries(build, part)[1] for part in ("leader", "worker"))
    both = [e for e in leader if e in worker]
    parts = {
        "BOTH": both,
        "THE LEADER": [e for e in leader if e not in both],
        "A WORKER": [e for e in worker if e not in both],
    }
    return "".join(
        f".SH SETTINGS OF {title}\n" + "".join(setting(*e) for e in listed)
        for title, listed in parts.items()
    )


def daemon_page(build, part):
    flags, settings = entries(build, part)
    short = [
        (s, v, re.split(r"; default", text)[0] + f" ({name})") for name, v, s, text in settings if s
    ]
    return "".join(flag(*e) for e in short + [(n, v, text) for n, v, _, text in flags])


def help_of(*command):
    return subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout


def command_section(name, text):
    """Of a command's --help: what it says before, between and behind its lists of options."""
    out, lists = f".SS hydac {name}\n", 0
    for part in text.strip("\n").split("\n\n"):
        if part.startswith("hydac "):
            continue  # how it is called stands in SYNOPSIS
        listed = ENTRY.findall(part + "\n")
        if not listed:
            out += (".PP\n" if lists else "") + body(" ".join(part.split()))
        lists += len(listed)
        for flag_name, value, _, said in listed:
            out += flag(flag_name, value, " ".join(said.split()))
    assert lists == len(re.findall(r"(?m)^  --", text))
    return out


def commands_page(build):
    program = os.path.join(build, "leader/ctl/hydac")
    names = re.findall(r"(?m)^  hydac (\w+)", help_of(program))
    return "".join(command_section(name, help_of(program, name)) for name in names)


def pages(build):
    """Path -> what it should hold."""
    made = {"hydac.yaml.5": yaml_page(build), "hydac.1": commands_page(build)}
    made.update({f"hydac-{part}.8": daemon_page(build, part) for part in PROGRAMS})
    whole = {}
    for name, text in made.items():
        path = os.path.join(HERE, name)
        with open(path, encoding="utf-8") as f:
            old = f.read()
        begin, end = (f'.\\" {word}: deploy/man/settings.py\n' for word in ("begin", "end"))
        before, rest = old.split(begin)
        whole[path] = before + begin + text + end + rest.split(end)[1]
    return whole


def main():
    check, build = sys.argv[1] == "--check", sys.argv[-1]
    differ = 0
    for path, text in pages(build).items():
        with open(path, encoding="utf-8") as f:
            if f.read() == text:
                continue
        differ = 1
        if check:
            print(f"{path}: not what --help says; run deploy/man/settings.py {build}")
        else:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
    sys.exit(differ if check else 0)


if __name__ == "__main__":
    main()
