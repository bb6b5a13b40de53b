"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.churn import config, service
from tests.support.receiver import Server, serving

__all__ = ["config", "server", "service", "shared_server"]

# Time limits on single examples fail on slow machines and say nothing; CI takes the same examples each time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    """One server for all examples of a law."""
    with serving() as server:
        yield server
