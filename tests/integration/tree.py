"""The files of this source tree, whether git is there or not."""

import fnmatch
import os

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LEFT_OUT = ("build*", ".git", ".cache", "__pycache__", "target")


def listed(*patterns):
    """Names from the top, of files whose own name fits one of the patterns (all, if there is none)."""
    found = []
    for base, folders, names in os.walk(TOP):
        folders[:] = [f for f in folders if not any(fnmatch.fnmatch(f, p) for p in LEFT_OUT)]
        for name in names:
            if not patterns or any(fnmatch.fnmatch(name, p) for p in patterns):
                found.append(os.path.relpath(os.path.join(base, name), TOP))
    return sorted(found)


def read(name):
    with open(os.path.join(TOP, name), encoding="utf-8", errors="replace") as f:
        return f.read()
