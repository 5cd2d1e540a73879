"""Adds up the results that tests/run.sh has collected; the last line is "N passed, N failed".

Criterion's programs count with each of their cases, any other test program as one, a pytest case
as one. A program that crashed before its own summary counts as one failure, and so does a pytest
run that could not collect its tests.
"""

import json
import os
import re
import sys
import xml.etree.ElementTree

SYNTHESIS = re.compile(
    r"Synthesis: Tested: .*?(\d+).*?Passing: .*?(\d+).*?Failing: .*?(\d+).*?Crashing: .*?(\d+)"
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = self.expected = 0
        self.failures = []

    def fail(self, name, n=1):
        self.failed += n
        self.failures.append(name)


def add_meson(count, path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            test = json.loads(line)
            output = COLOUR.sub("", test.get("stdout", "") + test.get("stderr", ""))
            found = SYNTHESIS.search(output)
            good = test["result"] in ("OK", "EXPECTEDFAIL")
            if test["result"] == "SKIP":
                count.skipped += 1
            elif found:
                _, passing, failing, crashing = map(int, found.groups())
                count.passed += passing
                if not good:
                    count.fail(test["name"], max(1, failing + crashing))
            elif good:
                count.passed += 1
            else:
                count.fail(f"{test['name']} ({test['result']})")


def add_pytest(count, path):
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            count.fail(f"{case.get('classname')}.{case.get('name')}")
        elif any(child.get("type") == "pytest.xfail" for child in case):
            count.expected += 1
        elif "skipped" in kinds:
            count.skipped += 1
        else:
            count.passed += 1


def main():
    folder, count = sys.argv[1], Count()
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".json"):
            add_meson(count, path)
        elif name.endswith(".xml"):
            add_pytest(count, path)
        elif name.endswith(".broken"):
            count.fail(f"tests/{name[:-7]}: the tests could not be run")
    for name in count.failures:
        print(f"failed: {name}")
    if count.expected:
        print(f"{count.expected} failed as expected (reasons above)")
    if count.skipped:
        print(f"{count.skipped} skipped")
    if count.passed + count.failed == 0:
        count.fail("no test was run")
    print(f"{count.passed} passed, {count.failed} failed")
    sys.exit(count.failed > 0)


if __name__ == "__main__":
    main()
