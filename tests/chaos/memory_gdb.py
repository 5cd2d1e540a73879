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


def weights(shard):
    units = shard["units"]
    layers = int(shard["model"]["shape"]["n_layers"])

    def parts(kind, unit, layer, w, names):
        for name in names:
            m = w[name] if name else w
            size = int(m["groups"]) * int(m["group_bytes"])
            if int(m["data"]) and size:
                yield {
                    "kind": "weights",
                    "address": int(m["data"]),
                    "bytes": size,
                    "what": f"packed weights of {kind} {unit}, layer {layer}",
                    "places": {(kind, unit, layer)},
                }

    for u in range(int(units["heads"])):
        for l in range(layers) if int(shard["head"][u]) else ():
            yield from parts("head", u, l, shard["head"][u][l], ("q", "k", "v", "o"))
    for u in range(int(units["ffn_blocks"])):
        for l in range(layers) if int(shard["ffn"][u]) else ():
            yield from parts("FFN block", u, l, shard["ffn"][u][l], ("gate", "up", "down"))
    for u in range(int(units["vocab_blocks"])):
        if int(shard["vocab"][u]):
            yield from parts("vocab block", u, 0, shard["vocab"][u].dereference(), ("",))


def kv_rows(kv):
    o, row = kv["o"], int(kv["row_bytes"])
    heads = int(o["heads"])
    for s in range(int(o["sequences"])):
        lanes = kv["sequence"][s]
        for i in range(int(o["layers"]) * heads) if int(lanes) else ():
            lane, layer, head = lanes[i], i // heads, i % heads
            valid = int(lane["valid"])
            for b in range((valid + 63) // 64):
                rows = min(64, valid - 64 * b)
                for half in ("k", "v"):
                    yield {
                        "kind": "kv",
                        "address": int(lane[half][b]),
                        "bytes": rows * row,
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
            for c in range((count + 63) // 64):
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
