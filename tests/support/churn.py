"""A small binary model with a reference, and a service on it that the tests step or run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftline.config.load import Config, load
from driftline.service.runtime import Service

MODEL = "churn"
START = datetime(2024, 3, 1, tzinfo=UTC)

CONFIG = """
models:
  churn:
    task: binary
    columns: {{time: time, prediction: prediction, score: score, label: label, features: [age, plan]}}
    window: 1d
    labels: {{expected_within: 2d, accepted_for: 30d}}
    reference: {{path: reference.parquet}}
    alerts:
      budget: none
      rules:
        - {{name: accuracy-low, measure: accuracy, below: 0.75, severity: page}}
        - {{name: recall-low, measure: recall, below: 0.5, for: 2}}
storage: ./data
keep: {{events: forever, quarantine: forever, notifications: forever, runs: forever}}
{more}
"""


def reference_rows(n: int = 400) -> pl.DataFrame:
    """A year of a model that is right nine times in ten."""
    rng = np.random.default_rng(7)
    label = rng.integers(0, 2, n)
    right = rng.random(n) < 0.9
    prediction = np.where(right, label, 1 - label)
    score = np.clip(np.where(prediction == 1, 0.8, 0.2) + rng.normal(0, 0.05, n), 0.01, 0.99)
    return pl.DataFrame(
        {
            "time": [START - timedelta(days=30) + timedelta(minutes=30 * i) for i in range(n)],
            "age": rng.normal(40, 10, n),
            "plan": rng.choice(["basic", "pro"], n),
            "prediction": prediction,
            "score": score,
            "label": label,
        }
    )


def write_config(folder: Path, more: str = "") -> Path:
    """Write a reference and a configuration into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "reference.parquet").exists():
        reference_rows().write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(CONFIG.format(more=more))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(write_config(tmp_path))


@pytest.fixture
def service(config: Config) -> Iterator[Service]:
    """A service that is not started: tests work it step by step."""
    service = Service(config)
    yield service
    service.stop()


def prediction(id: str, day: float, *, said: int, score: float | None = None, age: Any = 40.0) -> dict[str, Any]:
    """A row for ``POST …/predictions``; ``day`` counts from `START`."""
    row: dict[str, Any] = {
        "id": id,
        "time": (START + timedelta(days=day)).isoformat(),
        "version": "v1",
        "features": {"age": age, "plan": "pro"},
        "prediction": said,
    }
    return row if score is None else row | {"score": score}


def label(id: str, day: float, *, truth: int) -> dict[str, Any]:
    """A row for ``POST …/labels``."""
    return {"id": id, "label": truth, "time": (START + timedelta(days=day)).isoformat()}
