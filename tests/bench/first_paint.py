#!/usr/bin/env python3
"""How soon the page at "/" is seen: Chromium's own entries of its first paint.

    HYDAC_BUILD=build tests/bench/first_paint.py MODEL [--visits 12]

Visits in turns the page and a text of two words that the same server sends, in a fresh browser (deploy/packages.sh
browser): what the latter takes is the browser's. Prints of both the median, the least and the most in
milliseconds from the navigation's begin, and the page's size.
"""

import argparse
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), os.path.join(HERE, "..", "browser")]
sys.dont_write_bytecode = True

from cluster import Up  # noqa: E402 (the path comes first)
from window import chromium  # noqa: E402

PAINT = "return performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)[0]"
PARSED = "return performance.getEntriesByType('navigation')[0].domInteractive"


def visit(browser, url):
    """When it was painted first, and when its text was read to the end."""
    browser.get("about:blank")
    browser.get(url)
    end = time.monotonic() + 30
    while (paint := browser.execute_script(PAINT)) is None:
        assert time.monotonic() < end, f"{url} is not painted"
    return paint, browser.execute_script(PARSED)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("model")
    p.add_argument("--visits", type=int, default=12)
    o = p.parse_args()
    browser = chromium()
    try:
        with Up(o.model, 1) as c:
            url = c.client.url
            times = {"/": [], "/health": []}
            for _ in range(o.visits):
                for path, seen in times.items():
                    seen.append(visit(browser, url + path))
            size = len(c.client.request("GET", "/")[2])
    finally:
        browser.quit()
    for path, seen in times.items():
        paints = [paint for paint, _ in seen]
        parsed = statistics.median(read for _, read in seen)
        print(
            f"{path}: first paint {statistics.median(paints):.0f} ms ({min(paints):.0f} to "
            f"{max(paints):.0f}, the first {paints[0]:.0f}), read after {parsed:.0f} ms"
        )
    print(f"the page has {size} bytes")


if __name__ == "__main__":
    main()
