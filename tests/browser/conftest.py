"""One headless Chromium for each file of tests."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from synth import pytest_configure  # noqa: E402, F401
from window import chromium, resize  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    """A window as wide as a desk's; what it writes to its console fails the test that reads it."""
    driver = chromium()
    resize(driver, "desk")
    yield driver
    driver.quit()
