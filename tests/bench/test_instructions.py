"""A step takes no more instructions than it did (instructions.py says how they are counted)."""

import os

import pytest

import instructions

BUILD = os.environ.get("HYDAC_BUILD", "")


def test_no_more_instructions_than_before():
    assert os.path.exists(instructions.driver(BUILD)), "set HYDAC_BUILD to a build folder"
    try:
        wanted = instructions.expected(instructions.compiler(BUILD))
        lines, grown = instructions.compare(instructions.measure(BUILD), wanted)
    except instructions.Skip as why:
        pytest.skip(str(why))
    print("\n".join(lines))
    assert not grown, "; ".join(grown) + " (if that is meant: instructions.py --update)"


def test_growth_is_found():
    wanted = {"decode portable": 1000, "decode avx2": 1000, "prefill avx2": 1000}
    counts = {"decode portable": 1019, "decode avx2": 1021, "prefill portable": 7}
    lines, grown = instructions.compare(counts, wanted)
    assert len(lines) == 4 and "prefill avx2: this CPU cannot run it" in lines
    assert [line.split(":")[0] for line in grown] == ["decode avx2", "prefill portable"]
    assert "+2.10 %" in grown[0]
