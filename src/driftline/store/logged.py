"""What is appended to the event log: checked events with the inbox row that brought them, and their rows as frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import DataError
from driftline.events import Label, Prediction, Schema
from driftline.events.columns import PredictionColumns
from driftline.profiles.frame import FEATURE, SCORE
from driftline.store.framed import TIME, PredictionFrame, feature_type, logged_frame, target_type


class LoggedPrediction(msgspec.Struct, frozen=True):
    """A prediction with the inbox row that brought it."""

    seq: int
    prediction: Prediction


@dataclass(slots=True)
class Came:
    """The live predictions of some batches: frames and lists with the number of their batch, and one by one.

    ``frames_at``, ``lists_at`` and ``single_at`` are their places among all events.
    """

    frames: list[tuple[int, PredictionFrame]] = field(default_factory=list)
    lists: list[tuple[int, PredictionColumns]] = field(default_factory=list)
    single: list[LoggedPrediction] = field(default_factory=list)
    frames_at: list[npt.NDArray[np.int64]] = field(default_factory=list)
    lists_at: list[npt.NDArray[np.int64]] = field(default_factory=list)
    single_at: list[int] = field(default_factory=list)


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
        columns[FEATURE + name] = pl.Series(values, dtype=feature_type(kind))
    for name in classes:
        columns[SCORE + name] = pl.Series([event.score.get(name) for event in events], dtype=pl.Float64)
    return pl.DataFrame(columns)


@dataclass(frozen=True, slots=True)
class LivePredictions:
    """Predictions in the order of their arrival, those of some batches by column and others one by one.

    ``at`` are their places among all events, ``times`` microseconds since 1970. They become rows of the log late: only
    then does one that cannot be such a row raise.
    """

    ids: pl.Series
    versions: pl.Series
    times: npt.NDArray[np.int64]
    seqs: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    _frames: Sequence[tuple[int, PredictionFrame]]
    _lists: Sequence[tuple[int, PredictionColumns]]
    _single: Sequence[LoggedPrediction]
    _order: npt.NDArray[np.int64]

    @classmethod
    def of(cls, came: Came) -> LivePredictions:
        """Return the predictions of batches."""
        frames = [one.frame for _, one in came.frames]
        lists, single = [columns for _, columns in came.lists], [one.prediction for one in came.single]
        times = np.array([time for columns in lists for time in columns.times], np.int64)
        whole: list[tuple[int, PredictionFrame | PredictionColumns]] = [*came.frames, *came.lists]
        seqs = np.repeat(np.array([seq for seq, _ in whole], np.int64), [len(events) for _, events in whole])
        listed_ids = [id for columns in lists for id in columns.ids] + [one.id for one in single]
        listed_versions = [version for columns in lists for version in columns.versions]
        every = cls(
            _joined([one["id"] for one in frames], listed_ids),
            _joined([one["version"] for one in frames], listed_versions + [one.version for one in single]),
            np.concatenate(
                [
                    *([pl.concat([one["time"] for one in frames]).to_physical().to_numpy()] if frames else []),
                    times,
                    micros_of([one.time for one in single]),
                ]
            ),
            np.append(seqs, np.array([one.seq for one in came.single], np.int64)),
            np.concatenate([*came.frames_at, *came.lists_at, np.array(came.single_at, np.int64)]),
            came.frames,
            came.lists,
            came.single,
            np.arange(len(seqs) + len(single)),
        )
        kinds = bool(came.frames) + bool(came.lists) + bool(came.single)
        return every if kinds < 2 else every.chosen(np.argsort(every.at))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.ids)

    def chosen(self, places: npt.NDArray[np.int64]) -> LivePredictions:
        """Return those at these places, in this order."""
        if len(places) == len(self) and np.array_equal(places, np.arange(len(self))):
            return self
        which = pl.Series(places)
        return replace(
            self,
            ids=self.ids.gather(which),
            versions=self.versions.gather(which),
            times=self.times[places],
            seqs=self.seqs[places],
            at=self.at[places],
            _order=self._order[places],
        )

    def frame(self, schema: Schema) -> pl.DataFrame:
        """Return them as rows of the log, in the canonical layout.

        Raises `DataError` for the score of a class that the model does not have.
        """
        frames = [logged_frame(self._frames, schema)] if self._frames else []
        if self._lists:
            frames.append(columns_frame(self._lists, schema))
        if self._single or not frames:
            frames.append(predictions_frame(self._single, schema))
        frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
        return frame if len(frame) == len(self._order) and self._in_place() else frame[self._order]

    def _in_place(self) -> bool:
        return np.array_equal(self._order, np.arange(len(self._order)))


def _joined(columns: Sequence[pl.Series], listed: Sequence[str]) -> pl.Series:
    rest = pl.Series(listed, dtype=pl.String)
    return pl.concat([*(one.alias("") for one in columns), rest], rechunk=True) if columns else rest


def columns_frame(parts: Sequence[tuple[int, PredictionColumns]], schema: Schema) -> pl.DataFrame:
    """Return the predictions of batches as rows of the log, as `predictions_frame` does; there is at least one.

    Each batch comes with its number in the inbox.
    """
    several = [columns for _, columns in parts]
    lengths = [len(columns) for columns in several]

    def whole(values: Iterable[list[Any]], dtype: Any) -> pl.Series:
        return pl.Series(list(chain.from_iterable(values)), dtype=dtype)

    seqs = np.repeat(np.array([seq for seq, _ in parts], np.int64), lengths)
    columns = {
        "seq": pl.Series(seqs, dtype=pl.Int64),
        "id": whole((one.ids for one in several), pl.String),
        "time": whole((one.times for one in several), pl.Int64).cast(TIME),
        "version": whole((one.versions for one in several), pl.String),
        "prediction": whole((one.predictions for one in several), target_type(schema)),
        "latency_seconds": whole((one.latencies for one in several), pl.Float64),
    }
    for name, kind in schema.features.items():
        values = (one.features.get(name) or [None] * len(one) for one in several)  # a feature can be newer
        columns[FEATURE + name] = whole(values, feature_type(kind))
    for name in sorted({*schema.classes, *(name for one in several for name in one.scores)}):
        columns[SCORE + name] = whole((one.scores.get(name) or [None] * len(one) for one in several), pl.Float64)
    return pl.DataFrame(columns)


def _features(events: Sequence[Prediction], names: Sequence[str]) -> list[list[float | str | None]]:
    """Return the values of each feature, in the order of the names."""
    try:
        if len(names) < 2:
            return [[event.features[name] for event in events] for name in names]
        values = list(chain.from_iterable(map(itemgetter(*names), [event.features for event in events])))
    except KeyError:  # a feature that the model had not yet when they came is null
        return [[event.features.get(name) for event in events] for name in names]
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
