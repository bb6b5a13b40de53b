"""A real `driftline serve` in a process of its own, and what is sent to it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.churn import MODEL, write_config
from tests.support.starting import Started, started


@contextmanager
def serving(config: Path, *more: str, stderr: int | None = None) -> Iterator[tuple[Started, str]]:
    """Run ``driftline serve`` and give its process and address."""
    process = started(["serve", "--config", str(config), "--port", "0", *more], stderr=stderr)
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.end()


@pytest.fixture(scope="session")
def churn_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service of the model `churn`, one for all tests of this process: count what comes on top."""
    with serving(write_config(tmp_path_factory.mktemp("churn"))) as (_, address):
        yield address


def post(address: str, kind: str, rows: list[dict[str, Any]]) -> bool:
    """Send a batch; whether it was acknowledged."""
    try:
        answer = httpx.post(
            f"{address}/api/v1/models/{MODEL}/{kind}", json=rows, timeout=10, trust_env=False, verify=False
        )
    except httpx.HTTPError:
        return False
    assert answer.status_code == 202, answer.text
    return True


def wait_until_idle(address: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if httpx.get(f"{address}/ready", timeout=10, trust_env=False, verify=False).json()["idle"]:
            return
        time.sleep(0.05)
    raise AssertionError("the worker did not come to rest")
