"""Rows of a request to checked events. Everything behind this module trusts them."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec

from driftline.errors import EventError, RefusedRow, did_you_mean
from driftline.events.missing import is_missing
from driftline.events.moments import moment_of_number, moment_of_text
from driftline.events.names import alike, name_problem, text_problem
from driftline.events.schema import Kind, Schema, Task, class_name
from driftline.text import quoted, short, visible

FUTURE_TOLERANCE = timedelta(days=1)
"""An event further than this after its arrival is refused: one wrong clock must not close every window."""

ALL_VERSIONS = "*"
"""Stands for all versions together, where one version's name could stand; no version is called that."""

TEXT_LENGTH_LIMIT = 4096
NESTED_LENGTH_LIMIT = 2**18

UNKNOWN_CLASSES_LIMIT = 100
"""How many classes scores may name where the classes of the model are not known: each becomes a column of the log."""

_FIELD_SHOWN, _REASON_SHOWN, _KNOWN_SHOWN = 200, 1000, 20
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
class TimesRead:
    """Times of a batch that were read beforehand, by the ``time_format`` of the model: what came, to its moment.

    What is not among them is not written so, and is read as without a format. Moments are aware UTC.
    """

    moments: Mapping[str | float, datetime] = field(default_factory=dict)
    time_format: str | None = None


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


_AS_THEY_ARE = TimesRead()


class _Refusal(Exception):
    """Carries field and reason of one bad row to the loop that collects them.

    With ``came`` and ``known`` the reason ends with the nearest known name.
    """

    def __init__(self, field: str, reason: str, came: str = "", known: Collection[str] = ()) -> None:
        self._field, self._reason, self._came, self._known = field, reason, came, known
        super().__init__(reason)

    def row(self, index: int, *, hint: bool) -> RefusedRow:
        """Return the refusal as people see it: names and values that came are cut, and act on nothing."""
        near = did_you_mean(self._came, self._known) if hint and self._came else ""
        return RefusedRow(index, short(self._field, _FIELD_SHOWN), short(self._reason, _REASON_SHOWN) + visible(near))


def parse_predictions(
    rows: Sequence[Any],
    schema: Schema,
    *,
    arrived: datetime,
    times: TimesRead = _AS_THEY_ARE,
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
        except _Refusal as refusal:
            refused.append((refusal.row(index, hint=len(refused) < _HINTS), row))
        except (OverflowError, ValueError):
            refused.append((RefusedRow(index, "", _TOO_LARGE), row))
        except RecursionError:
            refused.append((RefusedRow(index, "", _TOO_DEEP), row))
    return ParsedPredictions(tuple(good), tuple(refused))


def parse_labels(
    rows: Sequence[Any], schema: Schema, *, arrived: datetime, times: TimesRead = _AS_THEY_ARE
) -> ParsedLabels:
    """Check decoded JSON rows of ``POST …/labels`` against the schema; ``arrived`` stands in for missing times."""
    good: list[Label] = []
    refused: list[tuple[RefusedRow, Any]] = []
    for index, row in enumerate(rows):
        try:
            raw = _convert(row, _RawLabel)
            good.append(
                Label(
                    id=_identifier(raw.id),
                    label=_target(raw.label, "label", schema),
                    time=_time(raw.time, arrived, schema, times),
                )
            )
        except _Refusal as refusal:
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
    target = _target(raw.prediction, "prediction", schema)
    latency = None if is_missing(raw.latency_seconds, schema.missing) else raw.latency_seconds
    if latency is not None and not (isinstance(latency, float) and math.isfinite(latency) and latency >= 0):
        raise _Refusal("latency_seconds", f"came {latency!r}; allowed is a finite number of seconds, 0 or more")
    if raw.role == "shadow":
        for name, value in (("id", raw.id), ("version", raw.version)):
            if value in (None, ""):
                raise _Refusal(name, "is missing; a shadow has the id of the live prediction, and its own version")
    if raw.id is not None:
        id = _identifier(raw.id)
    elif new_id is not None:
        id = new_id()
    else:
        raise _Refusal("id", "is missing; nobody makes one here")
    return Prediction(
        id=id,
        time=_time(raw.time, arrived, schema, times),
        version=_version(raw.version),
        features=_features(raw.features, schema),
        prediction=target,
        score=_scores(raw.score, schema),
        latency_seconds=latency,
        role=raw.role,
    )


_WHOLE_REAL = re.compile(r"^(-?\d+)\.0+$")
_MISSING_FIELD = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`")
_AT = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")


_Raw = TypeVar("_Raw", _RawPrediction, _RawLabel)


def _convert(row: Any, kind: type[_Raw]) -> _Raw:
    if not isinstance(row, dict):
        raise _Refusal("", f"came {_short(row)}; a row is a JSON object with {_fields_of(kind)}")
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        if found := _MISSING_FIELD.search(text):
            raise _Refusal(found["field"], f"is missing; a row has {_fields_of(kind)}") from None
        if found := _UNKNOWN_FIELD.search(text):
            reason = f"is not a known field; known: {_fields_of(kind)}."
            raise _Refusal(found["field"], reason, found["field"], kind.__struct_fields__) from None
        at = _AT.search(text)
        raise _Refusal(at["field"] if at else "", _AT.sub("", text)) from None


def _fields_of(kind: type[msgspec.Struct]) -> str:
    return ", ".join(kind.__struct_fields__)


def _text(value: str, field: str, limit: int = TEXT_LENGTH_LIMIT) -> str:
    if problem := text_problem(value, limit):
        raise _Refusal(field, problem)
    return value


def _name(value: str, field: str) -> str:
    if problem := name_problem(value):
        raise _Refusal(field, problem)
    return value


def _version(value: str | float | None) -> str:
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    text = "" if absent else _name(class_name(value), "version")
    if text == ALL_VERSIONS:
        raise _Refusal("version", f"came {text!r}, which stands for all versions together; give it another name")
    return text


def identifier(value: str | float) -> str:
    """Return an id as it is stored; raises `ValueError` that says what is wrong with it.

    >>> identifier(17), identifier("17.0"), identifier("a")
    ('17', '17', 'a')
    """
    try:
        return _identifier(value)
    except _Refusal as refusal:
        raise ValueError(str(refusal)) from None


def _identifier(value: str | float) -> str:
    """An id as text: 17, 17.0 and "17.0" are "17"."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _Refusal("id", f"came {value!r}; send a unique text or number, or leave it out to have one made")
    text = _name(class_name(value), "id")
    if "." in text:
        text = _WHOLE_REAL.sub(r"\1", text)
    if not text:
        raise _Refusal("id", "is empty; send a unique text, or leave it out to have one made")
    return text


def _time(value: str | float | None, arrived: datetime, schema: Schema, times: TimesRead) -> datetime:
    if value is None or is_missing(value, schema.missing):
        return arrived
    try:
        time = times.moments.get(value)
        if time is None:
            time = moment_of_text(value) if isinstance(value, str) else moment_of_number(value)
        moment = time.astimezone(UTC)  # of a naive one it is not used
    except (ValueError, OverflowError):
        ours = f"time_format {times.time_format!r}, " if times.time_format is not None else ""
        reason = (
            f"came {short(repr(value))}; allowed is {ours}RFC 3339 such as '2013-04-04T12:00:00Z', or seconds, "
            "milliseconds, microseconds or nanoseconds since 1970"
        )
        raise _Refusal("time", reason) from None
    if time.tzinfo is None:
        raise _Refusal("time", f"came {value!r} without a time zone; add one, such as 'Z' for UTC")
    if moment > arrived + FUTURE_TOLERANCE:
        raise _Refusal(
            "time", f"{value} lies more than a day after its arrival ({arrived.isoformat()}); check the clock"
        )
    if moment.year < 1900:
        raise _Refusal("time", f"came {value!r}; times before 1900 are not taken")
    return moment


def _target(value: str | float | bool | None, name: Literal["prediction", "label"], schema: Schema) -> str | float:
    if value is None or is_missing(value, schema.missing):
        came = "null" if value is None else repr(value)
        allowed = "a finite number" if schema.task is Task.REGRESSION else "the name of a class"
        when = ", once it is known" if name == "label" else ""
        raise _Refusal(name, f"came {came}, which stands for a missing value; allowed is {allowed}{when}")
    if schema.task is Task.REGRESSION:
        if isinstance(value, (str, bool)):
            raise _Refusal(name, f"came {value!r}; a regression model takes a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _Refusal(name, f"came {value!r}; allowed is a finite number")
        return number
    if isinstance(value, float) and not math.isfinite(value):
        raise _Refusal(name, f"came {value!r}; allowed is the name of a class")
    text = class_name(value)
    if text in schema.classes:
        return text
    if schema.task is Task.BINARY and _classes_known(schema):
        raise _Refusal(name, f"came {quoted(text)}; the classes of this binary model are {', '.join(schema.classes)}")
    return _name(text, name)


def _classes_known(schema: Schema) -> bool:
    """Whether the reference showed all classes: a binary model has two."""
    return len(schema.classes) >= (2 if schema.task is Task.BINARY else 1)


def _scores(value: Mapping[str, float | str | None] | float | str | None, schema: Schema) -> dict[str, float]:
    if value is None or (not isinstance(value, Mapping) and is_missing(value, schema.missing)):
        return {}
    if schema.task is Task.REGRESSION:
        raise _Refusal("score", "came for a regression model, which has none; leave it out")
    if not isinstance(value, Mapping):
        if schema.task is not Task.BINARY:
            raise _Refusal("score", "came as one number; a multiclass model takes an object of class and probability")
        if schema.positive is None:
            raise _Refusal("score", "came as one number, but the positive class is not known; configure `positive`")
        value = {schema.positive: value}
    _check_scored(value, schema)
    scores: dict[str, float] = {}
    for name, probability in value.items():
        if is_missing(probability, schema.missing):
            continue
        if not isinstance(probability, (int, float)) or not 0.0 <= probability <= 1.0:
            raise _Refusal(f"score.{name}", f"came {probability!r}; allowed is a probability from 0 to 1")
        scores[name] = float(probability)
    return scores


def _check_scored(scored: Collection[str], schema: Schema) -> None:
    """Let only classes through that can be columns: those that are known; where none are, a few well-formed names."""
    if _classes_known(schema):
        unknown = next((name for name in scored if name not in schema.classes), None)
        if unknown is not None:
            reason = f"is not a class of this model; known: {_few(schema.classes)}."
            raise _Refusal(f"score.{unknown}", reason, unknown, schema.classes)
        return
    most = 2 if schema.task is Task.BINARY else UNKNOWN_CLASSES_LIMIT
    if len(scored) > most:
        raise _Refusal("score", f"names {len(scored)} classes; allowed are at most {most}")
    for name in scored:
        if not name:
            raise _Refusal("score", "has a class without a name; name it")
        _name(name, f"score.{name}")
    if (pair := alike(scored)) is not None:
        first, second = pair
        reason = f"differs from {quoted(first)} by case only, which columns do not; keep one spelling"
        raise _Refusal(f"score.{second}", reason)


def _features(raw: Mapping[str, Any], schema: Schema) -> dict[str, float | str | None]:
    unknown = next((name for name in raw if name not in schema.features), None)
    if unknown is not None:
        reason = f"is not a feature of this model; known: {_few(schema.features)}."
        raise _Refusal(f"features.{unknown}", reason, unknown, schema.features)
    return {name: _feature(raw.get(name), name, kind, schema) for name, kind in schema.features.items()}


def _feature(value: Any, name: str, kind: Kind, schema: Schema) -> float | str | None:
    if value is None or is_missing(value, schema.missing):
        return None
    if type(value) is float and kind is Kind.NUMERIC and not schema.single:
        return value
    if kind is Kind.NUMERIC:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Refusal(f"features.{name}", f"came {_short(value)}; this feature is numeric: a number or null")
        return _number(value, single=name in schema.single)
    if kind is Kind.DATETIME and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _moment(value, name)
    if kind is Kind.UNSUPPORTED:  # not profiled, but kept in the log
        return _text(msgspec.json.encode(value).decode(), f"features.{name}", NESTED_LENGTH_LIMIT)
    if kind is Kind.EMBEDDING:
        return _vector(value, f"features.{name}")
    if isinstance(value, (dict, list)):
        raise _Refusal(f"features.{name}", f"came {_short(value)}; this feature is categorical: a text, number or null")
    limit = NESTED_LENGTH_LIMIT if kind is Kind.TEXT else TEXT_LENGTH_LIMIT
    return _text(class_name(value), f"features.{name}", limit)


def _vector(value: object, field: str) -> str:
    """A list of numbers as the JSON that the log keeps of it."""
    if not isinstance(value, list) or any(type(member) not in (float, int, type(None)) for member in value):
        raise _Refusal(field, f"came {_short(value)}; this feature is an embedding: a list of numbers, or null")
    return _text(msgspec.json.encode(value).decode(), field, NESTED_LENGTH_LIMIT)


def _number(value: float, *, single: bool) -> float:
    """A number of 64 bits, or of 32 where those of the reference are."""
    try:
        number = float(value)
        return struct.unpack("f", struct.pack("f", number))[0] if single else number
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _moment(value: float, name: str) -> str:
    try:
        return moment_of_number(value).isoformat()
    except (ValueError, OverflowError):
        raise _Refusal(f"features.{name}", f"came {value!r}, which is no time; send ISO 8601") from None


def _few(names: Collection[str]) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - _KNOWN_SHOWN} more" if len(names) > _KNOWN_SHOWN else ""
    return ", ".join(list(names)[:_KNOWN_SHOWN]) + more


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
