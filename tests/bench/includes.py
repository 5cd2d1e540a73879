#!/usr/bin/env python3
"""How the parts of a folder lean on one another: levels and circles of includes.

  tests/bench/includes.py [FOLDER ...]     worker, leader/core and leader/api, if none is given

A part is a header and the source beside it that has its name; "x_impl.h" belongs to x, and so do
sources that have no header of their own and include it. A part that includes nothing of the folder is on
level 1, every other one above the highest that it includes. Parts in a circle count as one. The same is
said of the rooms (sub-folders) of the folder. Exit status 1: there is a circle.
"""

import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
INCLUDE = re.compile(r'(?m)^#include "([^"]+\.h)"')


def sources(folder):
    """Path -> the paths of this folder that it includes."""
    found = {}
    for where, _, names in os.walk(os.path.join(ROOT, folder)):
        for name in names:
            if name.endswith((".c", ".h")):
                path = os.path.relpath(os.path.join(where, name), ROOT)
                with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                    found[path] = INCLUDE.findall(f.read())
    beside = {p: {os.path.join(os.path.dirname(p), i) for i in found[p]} for p in found}
    return {p: sorted((set(found[p]) | beside[p]) & set(found)) for p in found}


def part_of(path, files):
    """Its header's name without ending; a source without one belongs to the _impl.h it includes."""
    stem = os.path.splitext(path)[0]
    if stem.endswith("_impl"):
        return stem[: -len("_impl")]
    if path.endswith(".c") and stem + ".h" not in files:
        for include in files[path]:
            if include.endswith("_impl.h") and os.path.dirname(include) == os.path.dirname(path):
                return include[: -len("_impl.h")]
    return stem


def room_of(path, folder):
    inside = os.path.relpath(path, folder)
    return os.path.dirname(inside) or os.path.splitext(inside)[0]


def graph_of(files, name):
    graph = {name(p): set() for p in files}
    for p, includes in files.items():
        graph[name(p)] |= {name(i) for i in includes} - {name(p)}
    return graph


def components(graph):
    """Tarjan's: each list is one part, or a circle of some, those that it leans on before it."""
    index, low, stack, done, out = {}, {}, [], set(), []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(graph[v]):
            if w not in index:
                visit(w)
            if w not in done:
                low[v] = min(low[v], low[w])
        if low[v] == index[v]:
            out.append(stack[stack.index(v) :])
            del stack[stack.index(v) :]
            done.update(out[-1])

    for v in sorted(graph):
        if v not in index:
            visit(v)
    return out


def measure(graph):
    level, circles = {}, []
    for parts in components(graph):
        below = {w for v in parts for w in graph[v]} - set(parts)
        for v in parts:
            level[v] = 1 + max((level[w] for w in below), default=0)
        if len(parts) > 1:
            circles.append(sorted(parts))
    return level, circles


def report(title, graph):
    level, circles = measure(graph)
    print(f"{title}: {len(graph)}, levels {max(level.values())}, circles {len(circles)}")
    for n in range(1, max(level.values()) + 1):
        print(f"  {n:2}  " + " ".join(sorted(os.path.basename(v) for v in level if level[v] == n)))
    for c in circles:
        print("  circle: " + " ".join(os.path.basename(v) for v in c))
    return len(circles)


def main():
    sys.setrecursionlimit(10000)
    bad = 0
    for folder in sys.argv[1:] or ["worker", "leader/core", "leader/api"]:
        files = sources(folder)
        bad += report(f"{folder}, parts", graph_of(files, lambda p: part_of(p, files)))
        if any(os.path.dirname(p) != folder for p in files):
            bad += report(f"{folder}, rooms", graph_of(files, lambda p: room_of(p, folder)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
