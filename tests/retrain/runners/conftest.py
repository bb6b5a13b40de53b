"""Requests, and runs that end when their test does."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from driftline.retrain.policy import Trigger
from driftline.retrain.runners.command import Command
from driftline.retrain.runners.run import Limits, Surroundings
from driftline.retrain.runners.runner import Handle, Outcome, Request
from tests.support.servers import until

NOW = datetime(2026, 11, 23, 12, 30, 15, tzinfo=UTC)
ID = "019ab0c4e8f07d3a9c5b1e2f3a4b5c6d"
RESULT = {"version": "2026-11-23", "predictions": {"challenger": "challenger.parquet"}}
PYTHON = "{python}"

SUCCEED = f"""
import json, pathlib
pathlib.Path("challenger.parquet").write_bytes(b"rows")
pathlib.Path("result.json").write_text(json.dumps({RESULT!r}))
"""


def request(id: str = ID, **changes: Any) -> Request:
    """A request for a challenger."""
    fields = {
        "model": "churn",
        "trigger": Trigger.ALERT,
        "reason": "the alert accuracy-low is firing",
        "asked_at": NOW,
        "callback": f"https://driftline.example/api/v1/retraining/{id}/result",
    }
    return Request(id=id, **(fields | changes))  # type: ignore[arg-type]


def surroundings(project: Path, *passed_on: str, **more: str) -> Surroundings:
    """Those of a server that has secrets."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "SECRET": "hush", **more}
    return Surroundings(project, environment, passed_on)


def python(project: Path, *scripts: str, **limits: Any) -> Command:
    """A command of Python scripts."""
    steps = [[PYTHON, "-c", script] for script in scripts]
    return Command(steps, surroundings(project), Limits(**({"seconds": 60.0, "grace_seconds": 0.3} | limits)))


def ended(handle: Handle) -> Outcome:
    """What came of a run."""
    outcome: Outcome = until(handle.outcome, "the run ends", seconds=60)
    return outcome


def stored(folder: Path, name: str) -> dict[str, Any]:
    """What stands in one of a run's files, when it is there."""
    content: dict[str, Any] = until(lambda: (folder / name).exists() and json.loads((folder / name).read_text()), name)
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / ID
