#!/usr/bin/env python3
"""What the core does with a few seeds, line by line: golden.py TEST_SIM [--update]

Each line of golden/SEED.txt has the virtual time in ms, the epoch, what happened, to which slot, and
why. A change of the core that means to change nothing leaves them as they are; one that does shows here
what it changes, and --update writes them anew."""
import difflib
import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent / "golden"


def main():
    files = sorted(FOLDER.glob("*.txt"))
    assert files, "there are no golden traces"
    same = True
    for path in files:
        run = subprocess.run([sys.argv[1], "--seed", path.stem, "--seeds", "1", "--trace"],
                             capture_output=True, text=True, check=True)
        events = [line for line in run.stdout.splitlines() if line.startswith(" ")]
        if "--update" in sys.argv:
            path.write_text("\n".join(events) + "\n")
        want = path.read_text().splitlines()
        for line in difflib.unified_diff(want, events, path.name, "now", lineterm=""):
            print(line)
        same = same and want == events
    return 0 if same else 1


sys.exit(main())
