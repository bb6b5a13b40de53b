"""Services of a model that is retrained: new ones, and ones that have had twelve days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftline.config.load import load
from driftline.service.runtime import Service
from tests.support.retraining import after_twelve_days, configured


@pytest.fixture
def stopped() -> Iterator[list[Service]]:
    """Services that are stopped when the test is over."""
    services: list[Service] = []
    yield services
    for service in services:
        service.stop()


@pytest.fixture
def make(tmp_path: Path, stopped: list[Service]) -> Callable[..., Service]:
    """Makes a service with options of `configured`."""

    def one(**options: Any) -> Service:
        stopped.append(Service(load(configured(tmp_path, **options))))
        return stopped[-1]

    return one


@pytest.fixture
def lived(tmp_path: Path, stopped: list[Service]) -> Callable[..., Service]:
    """Makes a service with options of `configured`, after `days` from 0 to 12."""

    def one(**options: Any) -> Service:
        stopped.append(after_twelve_days(tmp_path, **options))
        return stopped[-1]

    return one
