"""Files of a model with a year or less of rows: a reference, what came after it, and a configuration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

BEGIN = datetime(2025, 1, 6, tzinfo=UTC)
"""A Monday: the first day of the reference, which has `REFERENCE_DAYS`."""

REFERENCE_DAYS = 28
AFTER = BEGIN + timedelta(days=REFERENCE_DAYS)

CONFIG = """
models:
  churn:
    columns: {{time: time, prediction: p, label: y}}
    window: 1d
    reference: {{path: reference.parquet}}
    alerts:
      budget: {budget}
      rules:
        - {{name: accuracy-low, measure: accuracy, below: 0.8, for: 2, severity: page}}
"""


def days_of_rows(
    days: int, *, begin: datetime = AFTER, changed: int | None = None, a_day: int = 60, seed: int = 2
) -> pl.DataFrame:
    """Labelled rows, so many a day; from day ``changed`` on ``wind`` is 3 sd higher and more predictions are wrong."""
    rng, count = np.random.default_rng(seed), days * a_day
    day = np.arange(count) // a_day
    bad = day >= (days if changed is None else changed)
    truth = rng.integers(0, 2, count)
    right = rng.random(count) < np.where(bad, 0.5, 0.9)
    return pl.DataFrame(
        {
            "time": [begin + timedelta(days=int(day), minutes=index % a_day) for index, day in enumerate(day)],
            "wind": rng.normal(5.0, 1.0, count) + 3.0 * bad,
            "kind": rng.choice(["a", "b", "c"], count),
            "p": np.where(right, truth, 1 - truth),
            "y": truth,
        }
    )


def write_model(folder: Path, *, budget: str = "1 per 90d") -> Path:
    """Write a reference and its configuration; return the configuration's path."""
    days_of_rows(REFERENCE_DAYS, begin=BEGIN, seed=1).write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(CONFIG.format(budget=budget), "utf-8")
    return path
