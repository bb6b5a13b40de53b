"""A model that its detector watches: days of rows from one world, with a fault or a change from some day on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from driftline.config.load import Config, load
from driftline.monitoring.assess import Arrived
from driftline.monitoring.backtest import detector_track, subject_of
from driftline.monitoring.feedback import guidance_for
from driftline.monitoring.replay import replay_windows
from driftline.rules.backtest import BUDGET, Track
from driftline.service.runtime import Service
from driftline.store.counters import LABELS_UNTIL
from driftline.store.judgements import Judgement
from tests.support.churn import MODEL, START, label

ROWS = 30
"""Rows of a day."""

CONFIG = """
models:
  churn:
    task: binary
    columns: {{id: id, time: time, prediction: prediction, label: label, features: [age, plan]}}
    window: {window}
    labels: {{expected_within: 3d, accepted_for: 60d}}
    reference: {{path: reference.parquet{season}}}
    alerts: {{budget: {budget}}}
{model}
storage: ./data
keep: {{events: forever, quarantine: forever, notifications: forever, runs: forever}}
{more}
"""


class Day(NamedTuple):
    """The predictions of a day, and their labels, which come as it ends."""

    predictions: list[dict[str, Any]]
    labels: list[dict[str, Any]]


def day_of(day: int, *, broken: bool = False, right: float = 0.9, version: str = "v1") -> Day:
    """A day's rows; ``broken`` ones have no age. The same day is the same rows."""
    rng = np.random.default_rng(day + 1000)
    truth = rng.integers(0, 2, ROWS)
    said = np.where(rng.random(ROWS) < right, truth, 1 - truth)
    predictions, labels = [], []
    for k in range(ROWS):
        row = {
            "id": f"{day}-{k}",
            "time": (START + timedelta(days=day, minutes=45 * k)).isoformat(),
            "version": version,
            "features": {"age": None if broken else float(rng.normal(40, 10)), "plan": str(rng.choice(["a", "b"]))},
            "prediction": int(said[k]),
        }
        predictions.append(row)
        labels.append(label(f"{day}-{k}", day + 0.99, truth=int(truth[k])))
    return Day(predictions, labels)


def days_of(numbers: Iterable[int], broken: Sequence[int] = ()) -> list[Day]:
    """Some days, those of ``broken`` with a fault."""
    return [day_of(day, broken=day in broken) for day in numbers]


def daily_config(
    folder: Path,
    *,
    timed: int = 0,
    budget: str = "1 per 90d",
    window: str = "1d",
    season: str = "",
    model: str = "",
    more: str = "",
) -> Config:
    """A model whose reference has a time in so many days before `START`; no times at all where it is none.

    ``model`` has more lines of the model, and ``more`` of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = days_of(range(-max(timed, 10), 0))
    truth = {one["id"]: one["label"] for day in found for one in day.labels}
    rows = pl.DataFrame(
        [
            {"id": one["id"], "time": one["time"], **one["features"], "prediction": one["prediction"]}
            | {"label": truth[one["id"]]}
            for day in found
            for one in day.predictions
        ]
    )
    rows = rows.with_columns(pl.col("time").str.to_datetime(time_zone="UTC"))
    if not timed:
        rows = rows.with_columns(time=pl.lit(None, pl.Datetime("us", "UTC")))
    rows.write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(
        CONFIG.format(
            budget=budget,
            window=window,
            season=f", season: {season}" if season else "",
            model=indent(model, 4 * " "),
            more=more,
        )
    )
    return load(path)


class Said(NamedTuple):
    """What the detector said of a window."""

    day: float
    state: str
    value: float | None
    reason: str


def said_of(judged: Iterable[Judgement]) -> list[Said]:
    """Verdicts in order of time, by the number of the day."""
    ordered = sorted(judged, key=lambda one: one.window_start)
    return [Said((one.window_start - START) / timedelta(days=1), one.state, one.value, one.reason) for one in ordered]


def said(service: Service) -> list[Said]:
    """What the detector says now of each window of a service."""
    with service.state.read() as read:
        return said_of(read.judgements.find(MODEL, rule=BUDGET))


def backtested(service: Service, *, heard: bool = True) -> Track:
    """What a backtest says of the windows that a service has; where it ``heard``, by what people said of them."""
    config = service.config.models[MODEL]
    subject = subject_of(config)
    assert config.budget is not None
    with service.state.read() as read:
        stored, model, feedback = read.windows.between(MODEL), read.models.get(MODEL), read.feedback.of(MODEL)
        labels_until = read.counters.moment(MODEL, LABELS_UNTIL)
    assert model is not None and model.watermark is not None
    replayed = list(replay_windows(subject.setup, stored, Arrived(model.watermark, labels_until)))
    guidance = guidance_for(config, feedback if heard else ())
    return detector_track(subject, config.budget, replayed, guidance, model.watermark)


def by_backtest(service: Service, *, heard: bool = True) -> list[Said]:
    """What a backtest says of each window."""
    track = backtested(service, heard=heard)
    found = []
    for one in track.judged:
        detail, verdict = track.details.get(one.window.start), one.verdict
        reason = detail.sentences[0].removesuffix(".") if detail is not None and detail.sentences else verdict.reason
        found.append(Said((one.window.start - START) / timedelta(days=1), verdict.state.value, verdict.value, reason))
    return found
