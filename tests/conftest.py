"""What every test stands on: recorded data when there is some, loopback only."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# A proxy of the machine would carry the tests' loopback requests elsewhere.
for name in list(os.environ):
    if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
        del os.environ[name]

# A busy machine is not a failing example; and where nobody looks at the example, the
# same ones are tried every time.
hypothesis.settings.register_profile(
    "llmbalance", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("llmbalance")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded provider exchanges; without it the test is skipped."""
    folder = os.environ.get("LLMBALANCE_RECORDED")
    if not folder:
        pytest.skip("needs recorded exchanges: LLMBALANCE_RECORDED names no folder")
    return Path(folder)
