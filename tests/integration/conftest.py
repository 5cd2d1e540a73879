"""Fixtures: models of `hydac synth` in a folder of the run, and clusters that serve them."""

import pytest

import cluster
from synth import pytest_configure  # noqa: F401
from synth import synth as synth_model


@pytest.fixture(scope="session")
def synth(tmp_path_factory):
    """synth(shape, type, seed): the path of such a model, made once in a run."""
    folder = tmp_path_factory.mktemp("models")

    def make(shape, dtype="f32", seed=1):
        return synth_model(folder / f"{shape}-{dtype}-{seed}.gguf", shape, dtype, seed)

    return make


@pytest.fixture(scope="session")
def model(synth):
    """Three KV heads: as many as workers, and not divisible by two. Quantized, as what people run:
    activations of 8 bits."""
    return synth("tiny-gqa3", "q4_0")


@pytest.fixture(scope="session")
def slow_model(synth):
    """Thirty layers: a step of it takes long enough to be interrupted by its progress."""
    return synth("smollm2-135m", "q8_0")


@pytest.fixture
def daemons(model):
    """daemons(...): a leader and workers started one by one; all are stopped with the test."""
    running = []

    def start(path=None, **options):
        running.append(cluster.Daemons(path or model, **options))
        return running[-1]

    yield start
    for c in running:
        print(c.logs())  # pytest shows it only for a test that failed
        c.close()


@pytest.fixture
def up(model):
    """up(...): a cluster of `hydac up`; stopped with the test."""
    running = []

    def start(path=None, **options):
        running.append(cluster.Up(path or model, **options))
        return running[-1]

    yield start
    for c in running:
        print(c.process.output()[-8000:])
        c.close()
