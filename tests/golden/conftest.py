"""Golden values: fixtures of this repository, the shared reference models, SmolLM2."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from synth import pytest_configure  # noqa: E402,F401 (the path comes first)
