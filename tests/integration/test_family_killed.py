"""Each family: workers without a file, one of which is killed in the middle of an answer, say the
tokens that one worker with the file says."""

import os
import signal
import sys

import pytest

from cluster import Daemons
from prompts import prompt

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
sys.path.insert(0, os.path.join(FIXTURES, "families"))
import fp8  # noqa: E402  (beside its like)

PROMPT = prompt(70, 51)  # longer than the windows
ANSWER = 64
SHAPES = [
    "tiny-biases",
    "tiny-qwen2",
    "tiny-qwen3",
    "tiny-phi3",
    "tiny-gemma",
    "tiny-gemma2",
    "tiny-gemma3",
    "tiny-smollm3",
    "tiny-granite",
    "tiny-glm4",
    "tiny-head24",
    "tiny-olmo2",
    "tiny-stablelm",
    "tiny-stablelm-12b",
    "tiny-cohere2",
    "tiny-mistral3",  # attention grows in the prompt, and again in the answer
    "tiny-long",  # in the answer it becomes so long that all begins again
    "tiny-phi2",
    "tiny-starcoder2",
    "tiny-nemotron",
    "tiny-falcon",
    "tiny-gptneox",
    "tiny-mixtral",
    "tiny-qwen3moe",
    "tiny-granitemoe",
    "tiny-olmoe",
    "tiny-gpt-oss",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_killed_without_a_file(synth, shape):
    kill_in_the_middle(synth(shape, "q8_0"))


def test_killed_with_fp8(tmp_path):
    path = str(tmp_path / "model")
    fp8.write(path, "phi3-block", False)
    kill_in_the_middle(path)


def kill_in_the_middle(path):
    with Daemons(path, leader_args=["--cluster.min_workers=1"]) as c:
        c.start_all(1)
        tokens = c.client.complete(PROMPT, ANSWER).tokens
    with Daemons(path, leader_args=["--cluster.min_workers=3"]) as c:
        for name in ("w1", "w2", "w3"):
            c.start(name, "--model.path", "")
        c.until_serving()
        stream = c.client.stream(PROMPT, ANSWER)
        stream.read_tokens(9)
        c.signal("w2", signal.SIGKILL)
        answer = stream.finish()
    assert answer.tokens == tokens
    assert len(answer.failovers) == 1
