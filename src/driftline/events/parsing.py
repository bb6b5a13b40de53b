"""Rows of a request to checked events. Everything behind this module trusts them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from driftline.errors import EventError, RefusedRow
from driftline.events.missing import is_missing
from driftline.events.schema import Schema
from driftline.events.values import (
    AS_THEY_ARE,
    Refusal,
    TimesRead,
    features_of,
    identifier_of,
    scores_of,
    shortened,
    target_of,
    time_of,
    version_of,
)

_HINTS = 10
"""Only so many rows of a batch get a "did you mean": looking for the nearest name costs far more than the rest."""


Role = Literal["live", "shadow"]
"""A live prediction was given to somebody; a shadow is what another version would have said of the same row."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One checked prediction: ``time`` is aware UTC, ``prediction`` a class name or a finite float.

    ``score`` maps class names to probabilities in [0, 1] (binary: at least the positive class); empty without scores. A
    shadow has the id of the live prediction of its row, and a version of its own.
    """

    id: str
    time: datetime
    version: str
    features: dict[str, float | str | None]
    prediction: str | float
    score: dict[str, float]
    latency_seconds: float | None
    role: Role = "live"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One checked label: the true class name or finite value of the prediction with that id; ``time`` is aware UTC."""

    id: str
    label: str | float
    time: datetime


class _RawPrediction(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    prediction: str | int | float | bool | None
    features: dict[str, Any] = msgspec.field(default_factory=dict)
    id: str | int | float | None = None
    time: str | int | float | None = None
    version: str | int | float | None = None
    score: dict[str, float | str | None] | float | str | None = None
    latency_seconds: float | str | None = None
    role: Role = "live"


class _RawLabel(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: str | int | float
    label: str | int | float | bool | None
    time: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class ParsedPredictions:
    """The good rows of a batch, in order, and the refused ones with the raw row of each."""

    good: tuple[Prediction, ...]
    refused: tuple[tuple[RefusedRow, Any], ...]


@dataclass(frozen=True, slots=True)
class ParsedLabels:
    """The good rows of a batch, in order, and the refused ones with the raw row of each."""

    good: tuple[Label, ...]
    refused: tuple[tuple[RefusedRow, Any], ...]


_TOO_LARGE = "holds a whole number with more digits than can be read; allowed are numbers that fit a float"
"""JSON's whole numbers are unbounded: one of 400 digits is no float, one of 5,000 not even a text."""

_TOO_DEEP = "is nested too deeply; a row is a flat object"


def parse_predictions(
    rows: Sequence[Any],
    schema: Schema,
    *,
    arrived: datetime,
    times: TimesRead = AS_THEY_ARE,
    new_id: Callable[[], str] | None = None,
) -> ParsedPredictions:
    """Check decoded JSON rows of ``POST …/predictions`` against the schema; ``arrived`` stands in for missing times.

    ``new_id`` makes the ids of rows that have none; without it they are refused.
    """
    good: list[Prediction] = []
    refused: list[tuple[RefusedRow, Any]] = []
    for index, row in enumerate(rows):
        try:
            good.append(_prediction(row, schema, arrived, times, new_id))
        except Refusal as refusal:
            refused.append((refusal.row(index, hint=len(refused) < _HINTS), row))
        except (OverflowError, ValueError):
            refused.append((RefusedRow(index, "", _TOO_LARGE), row))
        except RecursionError:
            refused.append((RefusedRow(index, "", _TOO_DEEP), row))
    return ParsedPredictions(tuple(good), tuple(refused))


def parse_labels(
    rows: Sequence[Any], schema: Schema, *, arrived: datetime, times: TimesRead = AS_THEY_ARE
) -> ParsedLabels:
    """Check decoded JSON rows of ``POST …/labels`` against the schema; ``arrived`` stands in for missing times."""
    good: list[Label] = []
    refused: list[tuple[RefusedRow, Any]] = []
    for index, row in enumerate(rows):
        try:
            raw = _convert(row, _RawLabel)
            good.append(
                Label(
                    id=identifier_of(raw.id),
                    label=target_of(raw.label, "label", schema),
                    time=time_of(raw.time, arrived, schema, times),
                )
            )
        except Refusal as refusal:
            refused.append((refusal.row(index, hint=len(refused) < _HINTS), row))
        except (OverflowError, ValueError):
            refused.append((RefusedRow(index, "", _TOO_LARGE), row))
        except RecursionError:
            refused.append((RefusedRow(index, "", _TOO_DEEP), row))
    return ParsedLabels(tuple(good), tuple(refused))


def event_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of one row of ``predictions`` and of ``labels``, for the description of the API."""
    return {
        "predictions": msgspec.json.schema(_RawPrediction)["$defs"]["_RawPrediction"] | {"title": "Prediction"},
        "labels": msgspec.json.schema(_RawLabel)["$defs"]["_RawLabel"] | {"title": "Label"},
    }


def refusal_reason(kind: Literal["predictions", "labels"], field: str) -> str:
    """Return the reason under which a refusal is counted, of a closed set: the kind of event and the field, if it has
    that.

    >>> refusal_reason("predictions", "features.age"), refusal_reason("labels", "lable"), refusal_reason("labels", "")
    ('predictions.features', 'labels.unknown_field', 'labels.row')
    """
    first = re.split(r"[.\[]", field, maxsplit=1)[0]
    known = (_RawPrediction if kind == "predictions" else _RawLabel).__struct_fields__
    return f"{kind}.{first if first in known else 'unknown_field' if first else 'row'}"


def require_all_good(parsed: ParsedPredictions | ParsedLabels) -> None:
    """Raise `EventError` with every refused row, if there is one."""
    if parsed.refused:
        raise EventError([row for row, _ in parsed.refused])


def _prediction(
    row: Any, schema: Schema, arrived: datetime, times: TimesRead, new_id: Callable[[], str] | None
) -> Prediction:
    raw = _convert(row, _RawPrediction)
    target = target_of(raw.prediction, "prediction", schema)
    latency = None if is_missing(raw.latency_seconds, schema.missing) else raw.latency_seconds
    if latency is not None and not (isinstance(latency, float) and math.isfinite(latency) and latency >= 0):
        raise Refusal("latency_seconds", f"came {latency!r}; allowed is a finite number of seconds, 0 or more")
    if raw.role == "shadow":
        for name, value in (("id", raw.id), ("version", raw.version)):
            if value in (None, ""):
                raise Refusal(name, "is missing; a shadow has the id of the live prediction, and its own version")
    if raw.id is not None:
        id = identifier_of(raw.id)
    elif new_id is not None:
        id = new_id()
    else:
        raise Refusal("id", "is missing; nobody makes one here")
    return Prediction(
        id=id,
        time=time_of(raw.time, arrived, schema, times),
        version=version_of(raw.version),
        features=features_of(raw.features, schema),
        prediction=target,
        score=scores_of(raw.score, schema),
        latency_seconds=latency,
        role=raw.role,
    )


_MISSING_FIELD = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`")
_AT = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")


_Raw = TypeVar("_Raw", _RawPrediction, _RawLabel)


def _convert(row: Any, kind: type[_Raw]) -> _Raw:
    if not isinstance(row, dict):
        raise Refusal("", f"came {shortened(row)}; a row is a JSON object with {_fields_of(kind)}")
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        if found := _MISSING_FIELD.search(text):
            raise Refusal(found["field"], f"is missing; a row has {_fields_of(kind)}") from None
        if found := _UNKNOWN_FIELD.search(text):
            reason = f"is not a known field; known: {_fields_of(kind)}."
            raise Refusal(found["field"], reason, found["field"], kind.__struct_fields__) from None
        at = _AT.search(text)
        raise Refusal(at["field"] if at else "", _AT.sub("", text)) from None


def _fields_of(kind: type[msgspec.Struct]) -> str:
    return ", ".join(kind.__struct_fields__)
