"""Where the tensors of a GGUF file lie, to damage them: see ggml's docs/gguf.md."""

import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        value = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return value[0] if len(value) == 1 else value

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n : self.at].decode()

    def value(self, kind):
        """The integers and strings; None for the others."""
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            element, n = self.take("IQ")
            for _ in range(n):
                self.value(element)
            return None
        value = self.take("I") if kind == 4 else None
        self.at += 0 if kind == 4 else SIZES[kind]
        return value


def tensors(path):
    """{name: (offset in the file, bytes up to the next tensor)}"""
    with open(path, "rb") as f:
        r = Reader(f.read())
    _, _, n_tensors, n_keys = r.take("IIQQ")
    keys = {}
    for _ in range(n_keys):
        name = r.text()
        keys[name] = r.value(r.take("I"))
    offsets = {}
    for _ in range(n_tensors):
        name = r.text()
        n_dims = r.take("I")
        r.at += 8 * n_dims + 4
        offsets[name] = r.take("Q")
    alignment = keys.get("general.alignment") or 32
    begin = (r.at + alignment - 1) // alignment * alignment
    ends = sorted(offsets.values()) + [len(r.data) - begin]
    return {n: (begin + o, ends[ends.index(o) + 1] - o) for n, o in offsets.items()}


def write_at(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def zero_middle(path, suffix, n):
    """n bytes of zeros in the middle of each tensor whose name ends so; how many there are."""
    which = [place for name, place in tensors(path).items() if name.endswith(suffix)]
    for offset, size in which:
        some = min(n, size)
        write_at(path, offset + (size - some) // 2, bytes(some))
    return len(which)
