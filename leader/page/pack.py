#!/usr/bin/env python3
"""Puts the page at "/" together: style and script into the skeleton, all of it into a C source.

    pack.py OUT.c SKELETON.html STYLE.css... SCRIPT.js...

The Content-Security-Policy allows exactly this style and this script, by their digests."""

import base64
import hashlib
import re
import sys

LIMIT = 150 * 1024  # bytes of the page
KEY = 'data-key="none"'  # becomes "need" where requests need a key


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def joined(paths, kind):
    return "".join(read(p).strip() + "\n" for p in paths if p.endswith(kind))


def digest(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy(style, script):
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {digest(script)}",
            f"style-src {digest(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "connect-src 'self'",
        ]
    )


def packed(skeleton, style, script):
    """The page as bytes, and its policy."""
    style = re.sub(r"\n\s*", "\n", re.sub(r"/\*.*?\*/", "", style, flags=re.S))
    script = '"use strict";\n{\n' + re.sub(r"(?m)^\s*(//.*)?\n", "", script) + "}\n"
    for text, end in ((style, "</style"), (script, "</script"), (script, "<!--")):
        if end in text:
            raise SystemExit(f"pack.py: {end} would end the element that it stands in")
    page = skeleton.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    if page.count(KEY) != 1:
        raise SystemExit(f"pack.py: {KEY} has to be there once")
    return page.encode(), policy(style, script)


def c_source(page, csp):
    lines = [",".join(str(b) for b in page[i : i + 24]) for i in range(0, len(page), 24)]
    at = page.index(KEY.encode()) + len('data-key="')
    return (
        '/* Made by leader/page/pack.py. */\n#include "leader/page/page.h"\n\n'
        f"const size_t hd_page_key_at = {at};\nconst size_t hd_page_len = {len(page)};\n"
        f'const char hd_page_policy[] = "{csp}";\n'
        "const unsigned char hd_page[] = {\n" + ",\n".join(lines) + "};\n"
    )


def main():
    out, skeleton, *parts = sys.argv[1:]
    page, csp = packed(read(skeleton), joined(parts, ".css"), joined(parts, ".js"))
    if len(page) > LIMIT:
        raise SystemExit(f"pack.py: the page has {len(page)} bytes, {LIMIT} are allowed")
    with open(out, "w", encoding="ascii") as f:
        f.write(c_source(page, csp))


if __name__ == "__main__":
    main()
