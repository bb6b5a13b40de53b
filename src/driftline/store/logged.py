"""What is appended to the event log: checked events with the inbox row that brought them, and their rows as frames."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import DataError
from driftline.events import Kind, Label, Prediction, Schema, Task
from driftline.profiles.frame import FEATURE, SCORE

TIME = pl.Datetime("us", "UTC")


class LoggedPrediction(msgspec.Struct, frozen=True):
    """A prediction with the inbox row that brought it."""

    seq: int
    prediction: Prediction


class LoggedLabel(msgspec.Struct, frozen=True):
    """A label with the inbox row that caused it to be logged, and the time of its prediction."""

    seq: int
    prediction_time: datetime
    label: Label


def predictions_frame(rows: Sequence[LoggedPrediction], schema: Schema) -> pl.DataFrame:
    """Return predictions as rows of the log, in the canonical layout.

    Raises `DataError` for the score of a class that the model does not have.
    """
    classes = sorted({*schema.classes, *(name for row in rows for name in row.prediction.score)})
    if len(schema.classes) > 1 and len(classes) > len(schema.classes):
        unknown = next(name for name in classes if name not in schema.classes)
        raise DataError(f"a score came for {unknown!r}; the model's classes are {', '.join(schema.classes)}")
    events = [row.prediction for row in rows]
    columns = {
        "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
        "id": pl.Series([event.id for event in events], dtype=pl.String),
        "time": times_of([event.time for event in events]),
        "version": pl.Series([event.version for event in events], dtype=pl.String),
        "prediction": pl.Series([event.prediction for event in events], dtype=target_type(schema)),
        "latency_seconds": pl.Series([event.latency_seconds for event in events], dtype=pl.Float64),
    }
    for (name, kind), values in zip(schema.features.items(), _features(events, [*schema.features]), strict=True):
        dtype = pl.Float64 if kind is Kind.NUMERIC else pl.String
        columns[FEATURE + name] = pl.Series(values, dtype=dtype)
    for name in classes:
        columns[SCORE + name] = pl.Series([event.score.get(name) for event in events], dtype=pl.Float64)
    return pl.DataFrame(columns)


def _features(events: Sequence[Prediction], names: Sequence[str]) -> list[list[float | str | None]]:
    """Return the values of each feature, in the order of the names."""
    if len(names) < 2:
        return [[event.features[name] for event in events] for name in names]
    values = list(chain.from_iterable(map(itemgetter(*names), [event.features for event in events])))
    return [values[place :: len(names)] for place in range(len(names))]


def micros_of(moments: Sequence[datetime]) -> npt.NDArray[np.int64]:
    """Return aware moments as microseconds since 1970, shape (n,).

    >>> micros_of([datetime.fromisoformat("2024-03-01T12:00:00.000001Z")]).tolist()
    [1709294400000001]
    """
    parts = np.array([moment.microsecond for moment in moments], np.int64)
    seconds = np.array([moment.timestamp() for moment in moments], np.float64)  # whole ones are exact, others nearly
    return np.rint(seconds - parts / 1e6).astype(np.int64) * 1_000_000 + parts


def times_of(moments: Sequence[datetime]) -> pl.Series:
    """Return aware moments as a column, which Polars would make of each by itself ten times as slowly."""
    return pl.Series(micros_of(moments)).cast(TIME)


def labels_frame(rows: Sequence[LoggedLabel], schema: Schema) -> pl.DataFrame:
    """Return labels as rows of the log."""
    return pl.DataFrame(
        {
            "seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
            "prediction_time": times_of([row.prediction_time for row in rows]),
            "id": pl.Series([row.label.id for row in rows], dtype=pl.String),
            "time": times_of([row.label.time for row in rows]),
            "label": pl.Series([row.label.label for row in rows], dtype=target_type(schema)),
        }
    )


def target_type(schema: Schema) -> type[pl.Float64] | type[pl.String]:
    """Return the type of predictions and labels: names of classes, or numbers."""
    return pl.Float64 if schema.task is Task.REGRESSION else pl.String
