"""For gdb's Python: flips bits in what a hydac-worker keeps in memory.

    HYDAC_FLIPS='{"seed": 1, "kinds": ["weights", "kv"]}' gdb -q -batch -p PID -x memory_gdb.py

For each kind one bit, of a row or a piece that is there and in use: weights, kv or log; no two in
one lane or piece. While gdb has the process stopped nothing moves, so an address that was looked up
is right; the bit itself is flipped through /proc/PID/mem. Needs the binary's debug information.
Prints, as JSON between two marks, what was flipped and how the worker calls it when it finds it, and
where the rows are that there are."""

import json
import os
import random

import gdb

BEGIN, END = "flips-begin", "flips-end"


def crew():
    """main's own struct has the worker, and that the rest."""
    frame = gdb.newest_frame()
    while frame is not None and frame.name() != "main":
        frame = frame.older()
    if frame is None:
        raise gdb.GdbError("the first thread is not in main")
    return frame.read_var("p")["worker"]["crew"]


NAMES = ("head", "FFN block", "vocab block")
PARTS = {"head": ("q", "k", "v", "o"), "ffn": ("gate", "up", "down"), "vocab": ("output",)}


def memory_of(store, struct):
    """What is behind a store of the device (worker/device.h), which is the CPU's."""
    return store["memory"].cast(gdb.lookup_type(f"struct {struct}").pointer()).dereference()


def piece_at(units, layers, index):
    """common/model/piece.h's numbers: kind, unit, layer."""
    for kind, count in enumerate((int(units["heads"]), int(units["ffn_blocks"]))):
        if index < count * layers:
            return kind, index // layers, index % layers
        index -= count * layers
    return 2, index, 0


def weights(shard):
    units, w = shard["units"], memory_of(shard, "hd_cpu_weights")
    layers = int(w["model"]["shape"]["n_layers"])
    for i in range(int(w["n"])):
        if not int(w["piece"][i]):
            continue
        kind, unit, layer = piece_at(units, layers, i)
        matrices = w["piece"][i].dereference()[tuple(PARTS)[kind]]
        for name in PARTS[tuple(PARTS)[kind]]:
            m = matrices[name]
            yield {
                "kind": "weights",
                "address": int(m["data"]),
                "bytes": int(m["groups"]) * int(m["group_bytes"]),
                "what": f"packed weights of {NAMES[kind]} {unit}, layer {layer}",
                "places": {(NAMES[kind], unit, layer)},
            }


def kv_rows(kv):
    memory = memory_of(kv, "hd_cpu_kv")
    heads, row = int(kv["heads"]), int(memory["row_bytes"])
    for s in range(int(kv["sequences"])):
        lanes = kv["sequence"][s]
        for i in range(int(kv["layers"]) * heads) if int(lanes) else ():
            layer, head, valid = i // heads, i % heads, int(lanes[i]["valid"])
            for b in range(int(lanes[i]["first"]), (valid + 63) // 64):  # the parent's before it
                for half in ("k", "v"):
                    yield {
                        "kind": "kv",
                        "address": int(memory["sequence"][s][i][half][b]),
                        "bytes": min(64, valid - 64 * b) * row,
                        "row": row,
                        "first": 64 * b,
                        "what": f"sequence {s}, layer {layer}, head {head}",
                        "places": {("layer", s, layer)},
                    }


def log_rows(log):
    row = int(log["o"]["row_bytes"])
    for s in range(int(log["o"]["sequences"])):
        sequence = log["sequence"][s]
        for layer in range(int(log["o"]["layers"])) if int(sequence["extents"]) else ():
            count = int(sequence["extents"][layer]["count"])
            for c in range(int(sequence["start"]) // 64, (count + 63) // 64):
                yield {
                    "kind": "log",
                    "address": int(sequence["chunk"][c]["rows"]) + layer * 64 * row,
                    "bytes": min(64, count - 64 * c) * row,
                    "row": row,
                    "first": 64 * c,
                    "what": f"sequence {s}, layer {layer}",
                    "places": {("layer", s, layer)},
                }


def all_blocks():
    node = crew()["node"].dereference()
    blocks = list(weights(node["shard"].dereference()))
    if int(node["kv"]):
        blocks += kv_rows(node["kv"].dereference())
        blocks += log_rows(node["input_log"].dereference())
    return blocks


def flip(memory, address, bit):
    memory.seek(address)
    byte = memory.read(1)[0]
    memory.seek(address)
    memory.write(bytes([byte ^ 1 << bit]))
    return byte ^ 1 << bit


def choose(blocks, kind, taken, rng):
    """A block, each byte as likely as any other; None: there is none that is free."""
    free = [b for b in blocks if b["kind"] == kind and not taken & b["places"]]
    return rng.choices(free, [b["bytes"] for b in free])[0] if free else None


def main():
    gdb.execute("thread 1", to_string=True)
    order = json.loads(os.environ["HYDAC_FLIPS"])
    rng, taken, flips = random.Random(order["seed"]), set(), []
    blocks = all_blocks()
    with open(f"/proc/{gdb.selected_inferior().pid}/mem", "r+b", buffering=0) as memory:
        for kind in order["kinds"]:
            block = choose(blocks, kind, taken, rng)
            if not block:
                continue
            taken |= block["places"]
            offset, bit = rng.randrange(block["bytes"]), rng.randrange(8)
            position = block["first"] + offset // block["row"] if "row" in block else None
            byte = flip(memory, block["address"] + offset, bit)
            where = {"offset": offset, "bit": bit, "byte": byte, "position": position}
            flips.append({**block, **where})
    for f in flips:
        del f["places"]
    print(BEGIN)
    rows = [[b["address"], b["what"]] for b in blocks if "row" in b]
    print(json.dumps({"flips": flips, "rows": rows}))
    print(END)


main()
