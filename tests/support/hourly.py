"""A model with windows shorter than a day: hours of rows from one world with a daily rhythm, and what breaks it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from driftline.config.load import Config, load
from tests.support.churn import START, label

CONFIG = """
models:
  churn:
    task: binary
    columns: {{id: id, time: time, prediction: prediction, label: label, features: [load, plan]}}
    window: {window}
    timezone: {timezone}
    labels: {{expected_within: {expected}, accepted_for: 60d}}
    reference: {reference}
    alerts: {{budget: 1 per 90d}}
{model}
storage: ./data
keep: {{events: forever, quarantine: forever, notifications: forever, runs: forever}}
{more}
"""
HOUR = timedelta(hours=1)


class Hour(NamedTuple):
    """The predictions of a window, and their labels, which come as it ends."""

    predictions: list[dict[str, Any]]
    labels: list[dict[str, Any]]


def hour_of(number: int, *, hours: int = 1, rows: int = 24, broken: bool = False, later: int = 0) -> Hour:
    """The rows of a window of so many ``hours``, by its number since `START`; the same one is the same rows.

    ``broken`` ones have no load. The load has its rhythm so many hours ``later``.
    """
    rng = np.random.default_rng(number + 100_000)
    predictions, labels = [], []
    for k in range(rows):
        hour = number * hours + hours * k / rows
        said = int(rng.integers(0, 2))
        load = 50 + 20 * np.sin((hour - later) / 24 * 2 * np.pi) + rng.normal(0, 5)
        row = {
            "id": f"{number}-{k}",
            "time": (START + hour * HOUR).isoformat(),
            "features": {"load": None if broken else float(load), "plan": str(rng.choice(["a", "b"]))},
            "prediction": said,
        }
        predictions.append(row)
        truth = said if rng.random() < 0.9 else 1 - said
        labels.append(label(f"{number}-{k}", (number + 0.99) * hours / 24, truth=truth))
    return Hour(predictions, labels)


def hourly_config(
    folder: Path,
    *,
    days: int = 8,
    window: str = "1h",
    timezone: str = "UTC",
    timed: bool = True,
    first: str = "",
    rolling: str = "",
    expected: str = "3d",
    model: str = "",
    more: str = "",
) -> Config:
    """A model whose reference has so many ``days`` before `START`, without a time where it is not ``timed``.

    ``model`` has more lines of the model, and ``more`` of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hours = int(window.removesuffix("h")) if window.endswith("h") else 1
    found = [hour_of(number, hours=hours) for number in range(-days * 24 // hours, 0)]
    truth = {one["id"]: one["label"] for hour in found for one in hour.labels}
    rows = pl.DataFrame(
        [
            {"id": one["id"], "time": one["time"], **one["features"], "prediction": one["prediction"]}
            | {"label": truth[one["id"]]}
            for hour in found
            for one in hour.predictions
        ]
    ).with_columns(pl.col("time").str.to_datetime(time_zone="UTC"))
    if not timed:
        rows = rows.with_columns(time=pl.lit(None, pl.Datetime("us", "UTC")))
    rows.write_parquet(folder / "reference.parquet")
    parts = (f"{key}: {time}" for key, time in (("first", first), ("rolling", rolling)) if time)
    reference = "{" + ", ".join(["path: reference.parquet", *parts]) + "}"
    path = folder / "driftline.yaml"
    filled = {"window": window, "timezone": timezone, "reference": reference, "expected": expected}
    path.write_text(CONFIG.format(**filled, model=indent(model, 4 * " "), more=more))
    return load(path)


def predictions(hours: Iterable[Hour]) -> list[dict[str, Any]]:
    """All predictions of some windows."""
    return [row for hour in hours for row in hour.predictions]


def labels(hours: Iterable[Hour]) -> list[dict[str, Any]]:
    """All labels of some windows."""
    return [row for hour in hours for row in hour.labels]
