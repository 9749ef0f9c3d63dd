"""Skips what needs the packages of requirements-micro.txt, unless make test-micro asks for it."""

from __future__ import annotations

import importlib.util
import os

import pytest

from search.exporting.micro.converting import PACKAGES


@pytest.fixture(scope="session")
def packages() -> None:
    """The test needs them."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("MICRO_TESTS_REQUIRED"):
        pytest.skip(f"{', '.join(missing)} not installed: make test-micro")
    assert not missing
