"""A small binary model whose rows have a season, and days of it that go well or badly in each season."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from driftline.config.load import Config, load
from driftline.service.runtime import Service
from tests.support.churn import START, label
from tests.support.steps import deliver

SEASONS = ("summer", "winter")

CONFIG = """
models:
  churn:
    task: binary
    columns: {{time: time, prediction: prediction, label: label, features: [age], segments: [season]}}
    window: 1d
    labels: {{expected_within: 2d, accepted_for: 30d}}
    reference: {{path: reference.parquet}}
    alerts:
      budget: none
      rules: [{rules}]
storage: ./data
keep: {{events: forever, quarantine: forever, notifications: forever, runs: forever}}
{more}
"""
WHOLE_RULE = "{name: accuracy-low, measure: accuracy, below: 0.75}"
ALL_RULE = "{name: segment-low, measure: accuracy, below: 0.75, segment: all, severity: page}"


def seasons_config(folder: Path, *rules: str, more: str = "") -> Config:
    """A model with these rules, whose reference knows summer and winter."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 200)
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "time": [START - timedelta(days=30) + timedelta(hours=i) for i in range(200)],
            "age": rng.normal(40, 10, 200),
            "season": rng.choice(SEASONS, 200),
            "prediction": truth,
            "label": truth,
        }
    ).write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(CONFIG.format(rules=", ".join(rules), more=more))
    return load(path)


def prediction(id: str, day: float, season: str | None, *, said: int, version: str = "v1") -> dict[str, Any]:
    """A row for ``POST …/predictions``."""
    features = {"age": 40.0} if season is None else {"age": 40.0, "season": season}
    time = (START + timedelta(days=day)).isoformat()
    return {"id": id, "time": time, "version": version, "features": features, "prediction": said}


def day_of(
    day: int, right: Mapping[str | None, tuple[int, int]], *, version: str = "v1"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The predictions and labels of a day: in each season so many are right, of so many."""
    predictions, labels = [], []
    for season, (good, of) in right.items():
        for index in range(of):
            said, id = index % 2, f"{day}-{season}-{version}-{index}"
            predictions.append(prediction(id, day + index / 10_000, season, said=said, version=version))
            labels.append(label(id, day + 0.5, truth=said if index < good else 1 - said))
    return predictions, labels


def send(service: Service, day: int, right: Mapping[str | None, tuple[int, int]], *, version: str = "v1") -> None:
    """Deliver a day with its labels."""
    predictions, labels = day_of(day, right, version=version)
    deliver(service, "predictions", predictions)
    deliver(service, "labels", labels)
