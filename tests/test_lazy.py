"""A room that imports its public names on first use has all of those that it lists, and says which there are."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize("room", ["driftline", "driftline.events", "driftline.profiles"])
def test_every_public_name_is_there(room: str) -> None:
    module = importlib.import_module(room)
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize("room", ["driftline.events", "driftline.profiles"])
def test_a_name_that_is_not_public_is_refused_with_those_that_are(room: str) -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'; public: \w+"):
        importlib.import_module(room).nothing  # noqa: B018 - asking is the test
