#!/usr/bin/env python3
"""Random small configurations of every family, as transformers writes them to a folder, against what
transformers computes of it in float32: all logits of a prompt within 2e-3, and every bit the same
with 1 and 3 workers; where GGUF has words for it, as GGUF too. What hydac refuses is listed with
its reason; wrong is only another answer. By hand:

    pip install torch transformers
    HYDAC_BUILD=build python3 tests/golden/random_models.py [--seed 1] [--runs 3] [FAMILY...]
"""

import argparse
import array
import math
import os
import random
import subprocess
import sys
import tempfile

import torch
import transformers

import random_gguf
from random_configs import FAMILIES, VOCAB

DUMP = os.path.join(os.environ.get("HYDAC_BUILD", "build"), "tests/golden/logits_dump")
TOLERANCE = 2e-3


def fill(model, r):
    """Weights with which attention looks somewhere and the logits differ."""
    g = torch.Generator().manual_seed(r.randrange(1 << 30))
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if p.dim() > 1:
                p.copy_(noise * (1.5 / math.sqrt(p.shape[-1])))
            elif name.endswith("weight"):
                p.copy_(p + 0.2 * noise)
            else:
                p.copy_(0.3 * noise)


def logits(folder, workers, ids):
    out = os.path.join(os.path.dirname(folder), "logits")
    done = subprocess.run(
        [DUMP, folder, str(workers), "exact", out, *map(str, ids)], capture_output=True, text=True
    )
    if done.returncode != 0:
        return None, done.stderr.strip()
    values = array.array("f")
    with open(out, "rb") as f:
        values.frombytes(f.read())
    return values, None


def run(family, seed):
    r = random.Random(f"{family.__name__} {seed}")
    fields = family(r)
    config = transformers.AutoConfig.for_model(family.__name__, **fields)
    torch.manual_seed(1)
    model = (
        transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        .float()
        .eval()
    )
    fill(model, r)
    kind = r.choice([torch.float32, torch.bfloat16, torch.float16])
    ids = [r.randrange(3, VOCAB) for _ in range(40)]
    with tempfile.TemporaryDirectory() as top:
        folder = os.path.join(top, "model")
        model.to(kind).save_pretrained(folder, max_shard_size=r.choice(["20KB", "1GB"]))
        again = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        with torch.no_grad():
            want = again(torch.tensor([ids]), use_cache=False).logits[0].flatten()
        one, why = logits(folder, 1, ids)
        three, _ = logits(folder, 3, ids) if one else (None, None)
        gguf = os.path.join(top, "model.gguf")
        there = random_gguf.write(folder, gguf)
        other, why_not = logits(gguf, 2, ids) if there else (one, None)
    if one is None or other is None:
        return "refused" if one is None else "refused as GGUF", why or why_not
    worst = [float((torch.tensor(x) - want).abs().max()) for x in (one, other)]
    if max(worst) > TOLERANCE:
        return "WRONG", f"{worst} {fields} {kind}"
    said = f"{worst[0]:.1e}" + (f", GGUF {worst[1]:.1e}" if there else "")
    return ("right" if one == three else "WRONG with 3 workers"), said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("families", nargs="*")
    a = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    wrong = 0
    for family in FAMILIES:
        if a.families and family.__name__ not in a.families:
            continue
        for seed in range(a.seed, a.seed + a.runs):
            try:
                how, what = run(family, seed)
            except Exception as e:  # the reference's own refusals: not every draw is a model
                how, what = "no reference", repr(e)[:150]
            wrong += how.startswith("WRONG")
            print(family.__name__, seed, how, what, flush=True)
    print(f"{wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
