#!/usr/bin/env python3
"""embed.py OUT FILE...: C source with the text of each file as an array hd_cl_text_NAME."""

import os
import sys

with open(sys.argv[1], "w", encoding="ascii") as out:
    out.write('#include "worker/opencl/sources.h"\n')
    for path in sys.argv[2:]:
        with open(path, "rb") as f:
            data = f.read() + b"\0"
        name = os.path.splitext(os.path.basename(path))[0]
        out.write(f"const char hd_cl_text_{name}[] = {{\n")
        for i in range(0, len(data), 16):
            out.write(" ".join(f"{b}," for b in data[i : i + 16]) + "\n")
        out.write("};\n")
