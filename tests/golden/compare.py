#!/usr/bin/python3
"""What compute.wire compact changes: the whole distribution of a model after each position of the
reference text, beside that of the exact mode, with several numbers of workers. By hand:

    HYDAC_BUILD=build tests/golden/compare.py MODEL.gguf [--workers 1,2,3] [--floats]

--floats: both modes beside rows and K/V in f32. The text is SmolLM2's (tests/fixtures/smollm2.json):
for a model with another tokenizer it is noise."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integration"))
sys.dont_write_bytecode = True

import cluster  # noqa: E402

TOOLS = os.path.join(cluster.BUILD, "tests/golden")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("--workers", default="1,2,3")
    p.add_argument("--floats", action="store_true")
    a = p.parse_args()
    if not cluster.BUILD:
        p.error("set HYDAC_BUILD to the build folder")
    with open(os.path.join(HERE, "../fixtures/smollm2.json"), encoding="utf-8") as f:
        ids = json.load(f)["tokens"]
    with tempfile.TemporaryDirectory() as folder:

        def dump(workers, how):
            out = os.path.join(folder, how)
            args = [os.path.join(TOOLS, "logits_dump"), a.model, workers, how, out]
            subprocess.run([*args, *map(str, ids)], check=True)
            return out

        reference = dump("1", "exact" if a.floats else "usual")  # whatever the number
        vocab = os.path.getsize(reference) // 4 // len(ids)

        def compare(workers, how):
            print(f"{how}, workers {workers}: ", end="", flush=True)
            args = [os.path.join(TOOLS, "logits_compare"), str(vocab), reference]
            subprocess.run([*args, dump(workers, how)], check=True)

        if a.floats:
            compare("1", "usual")
        for workers in a.workers.split(","):
            compare(workers, "compact")


if __name__ == "__main__":
    main()
