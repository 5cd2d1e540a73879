#!/usr/bin/env python3
"""Each part of the leader's core is reached into by its own files only: parts.py leader/core"""
import pathlib
import re
import sys

OWNERS = {
    "adoption": ("adoption",),
    "members": ("members", "signs"),
    "epochs": ("epochs", "planning"),
    "steps": ("steps", "sequences"),
    "moves": ("moves", "drain"),
    "logs": ("logs", "room"),
    "reports": ("reports",),
    "audits": ("audit", "verdict"),
    "rows": ("rows",),
    "trust": ("trust",),
    "pace": ("pace", "relief"),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    core = re.search(r"struct hd_core \{(.*?)\n\};", (folder / "core_impl.h").read_text(), re.S)
    parts = set(re.findall(r"struct \w+ (\w+);", core[1])) - {"o"}
    assert parts == set(OWNERS), f"parts without an owner here, or the other way: {parts}"
    wrong = []
    for path in sorted(folder.glob("*.c")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for part in re.findall(r"\bc->(\w+)\b", line):
                if part in OWNERS and path.stem not in OWNERS[part]:
                    wrong.append(f"{path}:{number}: c->{part} belongs to {OWNERS[part]}")
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
