"""GGUF files read whole, changed and written again: what other programs' files look like."""

import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
ALIGNMENT = 32


class Gguf:
    """keys: name -> bytes of its type and value; tensors: name -> [shape, type, offset]; data."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.at = 8
        self.version = 3
        self.keys, self.tensors = {}, {}
        n_tensors, n_keys = self._take("<QQ")
        for _ in range(n_keys):
            name, begin = self._string(), self.at
            self._skip(self._take("<I")[0])
            self.keys[name] = self.bytes[begin : self.at]
        for _ in range(n_tensors):
            name = self._string()
            shape = self._take(f"<{self._take('<I')[0]}Q")
            self.tensors[name] = [shape, *self._take("<IQ")]
        self.data = self.bytes[self.at + -self.at % ALIGNMENT :]

    def _take(self, form):
        values = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return values

    def _string(self):
        (n,) = self._take("<Q")
        self.at += n
        return self.bytes[self.at - n : self.at].decode()

    def _skip(self, kind):
        if kind == 8:
            self._string()
        elif kind == 9:
            element, n = self._take("<IQ")
            if element == 8:
                for _ in range(n):
                    self._string()
            else:
                self.at += n * SIZES[element]
        else:
            self.at += SIZES[kind]

    def u32(self, key, value):
        self.keys[key] = struct.pack("<II", 4, value)
        return self

    def f32(self, key, value):
        self.keys[key] = struct.pack("<If", 6, value)
        return self

    def truth(self, key, value):
        self.keys[key] = struct.pack("<IB", 7, value)
        return self

    def text(self, key, value):
        self.keys[key] = struct.pack("<IQ", 8, len(value)) + value.encode()
        return self

    def strings(self, key):
        n, at, found = struct.unpack_from("<Q", self.keys[key], 8)[0], 16, []
        for _ in range(n):
            (size,) = struct.unpack_from("<Q", self.keys[key], at)
            found.append(self.keys[key][at + 8 : at + 8 + size].decode())
            at += 8 + size
        return found

    def put_strings(self, key, values):
        texts = [struct.pack("<Q", len(v.encode())) + v.encode() for v in values]
        self.keys[key] = struct.pack("<IIQ", 9, 8, len(values)) + b"".join(texts)
        return self

    def controls(self, texts):
        """The last tokens of a synthetic model, which are merges, become these control tokens."""
        n, at = len(texts), "tokenizer.ggml."
        tokens, merges = self.strings(at + "tokens"), self.strings(at + "merges")
        if n:
            self.put_strings(at + "tokens", tokens[:-n] + list(texts))
            self.put_strings(at + "merges", merges[:-n])
            self.keys[at + "token_type"] = self.keys[at + "token_type"][: -4 * n] + struct.pack(
                f"<{n}i", *[3] * n
            )
        return {t: len(tokens) - n + i for i, t in enumerate(texts)}

    def without(self, *names):
        """Without these keys or tensors; a tensor's data stays where it was."""
        for name in names:
            self.keys.pop(name, None)
            self.tensors.pop(name, None)
        return self

    def values(self, name):
        """The bytes of an F32 tensor, by rows: the last dimension of `shape` reversed first."""
        shape, kind, offset = self.tensors[name]
        assert kind == 0
        n = 4
        for d in shape:
            n *= d
        return list(reversed(shape)), self.data[offset : offset + n]

    def write(self, path):
        def string(s):
            return struct.pack("<Q", len(s.encode())) + s.encode()

        head = struct.pack("<4sIQQ", b"GGUF", self.version, len(self.tensors), len(self.keys))
        for name, value in self.keys.items():
            head += string(name) + value
        for name, (shape, kind, offset) in self.tensors.items():
            head += string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            head += struct.pack("<IQ", kind, offset)
        with open(path, "wb") as f:
            f.write(head + bytes(-len(head) % ALIGNMENT) + self.data)
        return str(path)
