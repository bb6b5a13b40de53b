"""Events as columns, and the quick way to them: whole columns are checked at once.

The quick way says yes or nothing. Where a value is not plainly good it returns None, and `driftline.events.parsing`
looks at each row: it alone knows what is refused, and why. What both take, both take as the same events.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Any

import msgspec

from driftline.events.missing import missing_numbers
from driftline.events.names import NAME_LENGTH_LIMIT
from driftline.events.parsing import Label, Prediction
from driftline.events.schema import Kind, Schema, Task
from driftline.events.values import (
    AS_THEY_ARE,
    EARLIEST,
    FUTURE_TOLERANCE,
    Refusal,
    TimesRead,
    classes_known,
    feature_of,
    identifier_of,
    number_of,
    target_of,
    time_of,
    version_of,
)

Column = list[Any]

_TEXTS = {str, NoneType}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros_of(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970.

    >>> micros_of(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)), moment_of(0)
    (-1, datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))
    """
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment_of(micros: int) -> datetime:
    """Return microseconds since 1970 as a moment in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


_EARLIEST = micros_of(EARLIEST)


class PredictionColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Checked predictions by column, all of one length; none of them is a shadow. The fields are those of
    `Prediction`; times are microseconds since 1970, and a score that a row does not have is None.
    """

    ids: list[str]
    times: list[int]
    versions: list[str]
    features: dict[str, list[float | str | None]]
    predictions: list[str | float]
    scores: dict[str, list[float | None]]
    latencies: list[float | None]

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.ids)

    def rows(self) -> list[Prediction]:
        """Return the same events one by one."""
        names, classes = tuple(self.features), tuple(self.scores)
        features = zip(*self.features.values(), strict=True) if names else [()] * len(self)
        scores = zip(*self.scores.values(), strict=True) if classes else [()] * len(self)
        columns = (self.ids, self.times, self.versions, features, self.predictions, scores, self.latencies)
        return [
            Prediction(
                id=id,
                time=moment_of(time),
                version=version,
                features=dict(zip(names, values, strict=True)),
                prediction=prediction,
                score={name: one for name, one in zip(classes, given, strict=True) if one is not None},
                latency_seconds=latency,
            )
            for id, time, version, values, prediction, given, latency in zip(*columns, strict=True)
        ]


class LabelColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Checked labels by column, all of one length; times are microseconds since 1970."""

    ids: list[str]
    labels: list[str | float]
    times: list[int]

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.ids)

    def rows(self) -> list[Label]:
        """Return the same events one by one."""
        columns = zip(self.ids, self.labels, self.times, strict=True)
        return [Label(id=id, label=label, time=moment_of(time)) for id, label, time in columns]


@dataclass(frozen=True, slots=True)
class Came:
    """The columns of a batch as they came, all of one length; None for a field that no row has.

    Of numeric features, scores, latencies and the targets of a regression, values are floats or None, never NaN. Times
    may be datetimes already, which are aware. ``targets`` are the predictions, or the labels.
    """

    rows: int
    targets: Column
    ids: Column | None = None
    times: Column | None = None
    versions: Column | None = None
    latencies: Column | None = None
    features: Mapping[str, Column] = field(default_factory=dict)
    scores: Mapping[str, Column] = field(default_factory=dict)


class NotPlainError(Exception):
    """Says that a column has to be looked at row by row."""


LOOK_CLOSER = (NotPlainError, Refusal, TypeError, ValueError, OverflowError, RecursionError)
"""What a column raises that has to be looked at row by row."""


def quick_predictions(
    came: Came,
    schema: Schema,
    *,
    arrived: datetime,
    new_id: Callable[[], str],
    times: TimesRead = AS_THEY_ARE,
) -> PredictionColumns | None:
    """Check predictions by column; None where one of them has to be looked at by itself."""
    try:
        return PredictionColumns(
            ids=ids_of([None] * came.rows if came.ids is None else came.ids, new_id),
            times=_times(came, schema, arrived, times),
            versions=[""] * came.rows if came.versions is None else _converted(came.versions, version_of),
            features=_features(came, schema),
            predictions=_targets(came.targets, "prediction", schema),
            scores=_scores(came, schema),
            latencies=_latencies(came, schema),
        )
    except LOOK_CLOSER:
        return None


def quick_labels(
    came: Came, schema: Schema, *, arrived: datetime, times: TimesRead = AS_THEY_ARE
) -> LabelColumns | None:
    """Check labels by column; None where one of them has to be looked at by itself."""
    try:
        if came.ids is None:
            return None
        return LabelColumns(
            ids=ids_of(came.ids, None),
            labels=_targets(came.targets, "label", schema),
            times=_times(came, schema, arrived, times),
        )
    except LOOK_CLOSER:
        return None


def _converted(values: Column, convert: Callable[[Any], Any]) -> Column:
    """Convert a column value by value, each different one once."""
    different = set(values)
    if not {*map(type, different)} <= _TEXTS:
        kinds = {*map(type, values)}
        if bool in kinds and (int in kinds or float in kinds):
            raise NotPlainError  # True and 1 would count as one value
    into = {one: convert(one) for one in different}
    if all(one is found for one, found in into.items()):
        return values
    return [into[one] for one in values]


def ids_of(values: Column, new_id: Callable[[], str] | None) -> list[str]:
    """Return ids as they are stored, the same list where they are so already; raise where one has to be looked at."""
    if None in values:
        if new_id is None:
            raise NotPlainError
        values = [new_id() if one is None else one for one in values]
    try:
        joined = "".join(values)
    except TypeError:  # numbers are among them
        return [identifier_of(one) for one in values]
    plain = joined.isascii() and joined.isprintable() and "." not in joined and all(values)
    if plain and max(map(len, values), default=0) <= NAME_LENGTH_LIMIT:
        return values
    return [identifier_of(one) for one in values]


def _times(came: Came, schema: Schema, arrived: datetime, times: TimesRead) -> list[int]:
    if came.times is None:
        return [micros_of(arrived)] * came.rows
    return times_of(came.times, schema, arrived, times)


def times_of(values: Column, schema: Schema, arrived: datetime, times: TimesRead) -> list[int]:
    """Return times as microseconds since 1970; raise where one has to be looked at by itself."""
    others = {one for one in values if type(one) is not datetime}
    into = {one: micros_of(time_of(one, arrived, schema, times)) for one in others}
    found = [micros_of(one) if type(one) is datetime else into[one] for one in values]
    if found and not in_time(min(found), max(found), arrived):
        raise NotPlainError
    return found


def in_time(first: int, last: int, arrived: datetime) -> bool:
    """Return whether times from the first to the last, microseconds since 1970, are those of events."""
    return first >= _EARLIEST and last <= micros_of(arrived + FUTURE_TOLERANCE)


def _targets(values: Column, name: Any, schema: Schema) -> Column:
    if schema.task is not Task.REGRESSION:
        return _converted(values, lambda one: target_of(one, name, schema))
    if not math.isfinite(math.fsum(values)) or missing_numbers(schema.missing).intersection(values):
        raise NotPlainError
    return values


def _features(came: Came, schema: Schema) -> dict[str, Column]:
    if not came.features.keys() <= schema.features.keys():
        raise NotPlainError
    return {name: _feature(came, name, kind, schema) for name, kind in schema.features.items()}


def _feature(came: Came, name: str, kind: Kind, schema: Schema) -> Column:
    values = came.features.get(name)
    if values is None:
        return [None] * came.rows
    if kind is Kind.NUMERIC:
        numbers = _without_missing(values, schema)
        if name not in schema.single:
            return numbers
        return [None if one is None else number_of(one, single=True) for one in numbers]
    if kind in (Kind.UNSUPPORTED, Kind.EMBEDDING):
        return [feature_of(one, name, kind, schema) for one in values]
    return _converted(values, lambda one: feature_of(one, name, kind, schema))


def _without_missing(values: Column, schema: Schema) -> Column:
    numbers = missing_numbers(schema.missing)
    return [None if one in numbers else one for one in values] if numbers else values


def _scores(came: Came, schema: Schema) -> dict[str, Column]:
    if not came.scores:
        return {}
    if schema.task is Task.REGRESSION or not classes_known(schema) or not {*came.scores} <= {*schema.classes}:
        raise NotPlainError
    scores = {name: _without_missing(values, schema) for name, values in came.scores.items()}
    for values in scores.values():
        given = [one for one in values if one is not None]
        if given and not (min(given) >= 0.0 and max(given) <= 1.0):
            raise NotPlainError
    return scores


def _latencies(came: Came, schema: Schema) -> list[float | None]:
    if came.latencies is None:
        return [None] * came.rows
    values = _without_missing(came.latencies, schema)
    given = [one for one in values if one is not None]
    if given and not (min(given) >= 0.0 and max(given) < math.inf):
        raise NotPlainError
    return values
