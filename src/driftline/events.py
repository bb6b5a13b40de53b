"""What comes in: predictions and labels, the schema that they are checked against, and windows of event time.

Rows are parsed and checked here, once, at the edge; everything behind this module trusts them.
"""

from __future__ import annotations

import enum
import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from driftline.errors import EventError, RefusedRow, UsageError, did_you_mean

FUTURE_TOLERANCE = timedelta(days=1)
"""An event further than this after its arrival is refused: one wrong clock must not close every window."""

ID_LENGTH_LIMIT = 256
TEXT_LENGTH_LIMIT = 4096


class Task(enum.StrEnum):
    """What a model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Kind(enum.StrEnum):
    """How the values of a column are profiled."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    DATETIME = "datetime"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Schema:
    """The shape of one model's events: inferred from its reference, or given, and then held to.

    ``features`` maps each feature to its kind, in order. ``classes`` are the known class names of a classifier
    (empty: not known yet). ``positive`` is the class that *binary* measures speak of; None for other tasks.
    """

    task: Task
    features: Mapping[str, Kind] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    positive: str | None = None

    def __post_init__(self) -> None:
        if self.positive is not None and self.task is not Task.BINARY:
            raise UsageError(f"a positive class ({self.positive!r}) came for a {self.task} model; only binary has one")


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One checked prediction: ``time`` is aware UTC, ``prediction`` a class name or a finite float.

    ``score`` maps class names to probabilities in [0, 1] (binary: at least the positive class); empty without scores.
    """

    id: str
    time: datetime
    version: str
    features: dict[str, float | str | None]
    prediction: str | float
    score: dict[str, float]
    latency_seconds: float | None


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One checked label: the true class name or finite value of the prediction with that id; ``time`` is aware UTC."""

    id: str
    label: str | float
    time: datetime


# ---- classes --------------------------------------------------------------------------------------------------------

_POSITIVE_NAMES = ("1", "true", "yes", "y", "positive", "pos", "t")


def class_name(value: object) -> str:
    """Return the one spelling of a class: ``True``, ``1``, ``1.0`` and ``"1"`` are the same class.

    >>> class_name(True), class_name(1.0), class_name("rain"), class_name(2)
    ('1', '1', 'rain', '2')
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def positive_class(classes: Iterable[str]) -> str | None:
    """Return the class that a binary model most plausibly calls positive: a yes-like name, else the last by name.

    >>> positive_class(["0", "1"]), positive_class(["no", "yes"]), positive_class(["churn", "stay"]), positive_class([])
    ('1', 'yes', 'stay', None)
    """
    names = sorted(classes)
    for candidate in _POSITIVE_NAMES:
        for name in names:
            if name.lower() == candidate:
                return name
    return names[-1] if names else None


# ---- windows --------------------------------------------------------------------------------------------------------

_LENGTH = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>min|mo|h|d|w)")
_UNIT_WORDS = {"min": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month"}
_DURATION = re.compile(r"(?P<count>[0-9]{1,6}(\.[0-9]+)?)(?P<unit>ms|s|min|h|d|w)")
_DURATION_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> timedelta:
    """Parse a length of time such as ``30s``, ``5min``, ``1h``, ``7d`` or ``2w``.

    >>> parse_duration("1.5h")
    datetime.timedelta(seconds=5400)
    """
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is not a duration; write a number and one of ms, s, min, h, d, w, such as '1h'")
    return timedelta(seconds=float(found["count"]) * _DURATION_SECONDS[found["unit"]])


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open span of event time, ``start <= t < end``; both aware UTC."""

    start: datetime
    end: datetime

    def overlaps(self, other: Window) -> bool:
        """Whether the two share a moment."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How event time is cut into windows: a length such as ``1h``, ``1d``, ``1w`` or ``1mo``, in a time zone.

    Minutes and hours are cut in elapsed time since the epoch; days, weeks (from Monday) and months follow the
    calendar of ``timezone``, so that the day on which the clocks change has 23 or 25 hours and stays one window.
    """

    length: str = "1d"
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not _LENGTH.fullmatch(self.length):
            raise UsageError(f"window {self.length!r} is not a length; write a number and one of min, h, d, w, mo")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise UsageError(
                f"time zone {self.timezone!r} is not known; write a name such as 'Europe/Berlin'"
            ) from error

    @property
    def _count_and_unit(self) -> tuple[int, str]:
        found = _LENGTH.fullmatch(self.length)
        assert found is not None
        return int(found["count"]), found["unit"]

    @property
    def words(self) -> str:
        """The length in words, for people: ``1 month``, ``2 weeks``."""
        count, unit = self._count_and_unit
        return f"{count} {_UNIT_WORDS[unit]}{'s' if count > 1 else ''}"

    def window_of(self, time: datetime) -> Window:
        """Return the window that holds an aware moment.

        >>> WindowSpec("1mo", "America/Los_Angeles").window_of(datetime(2013, 4, 4, tzinfo=UTC)).start.isoformat()
        '2013-04-01T07:00:00+00:00'
        """
        count, unit = self._count_and_unit
        if unit in ("min", "h"):
            seconds = count * (60 if unit == "min" else 3600)
            start = int(time.timestamp() // 1) // seconds * seconds
            return Window(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(start + seconds, UTC))
        zone = ZoneInfo(self.timezone)
        local = time.astimezone(zone)
        first, after = _calendar_cut(local, count, unit)
        return Window(
            datetime(*first, tzinfo=zone).astimezone(UTC),
            datetime(*after, tzinfo=zone).astimezone(UTC),
        )

    def months_of(self, window: Window) -> tuple[int, ...]:
        """The calendar months, 1 to 12, that a window touches in the time zone.

        >>> spec = WindowSpec("1mo", "America/Los_Angeles")
        >>> spec.months_of(spec.window_of(datetime(2013, 4, 4, tzinfo=UTC)))
        (4,)
        """
        zone = ZoneInfo(self.timezone)
        first = window.start.astimezone(zone)
        last = (window.end - timedelta(microseconds=1)).astimezone(zone)
        count = min((last.year - first.year) * 12 + last.month - first.month + 1, 12)
        return tuple((first.month - 1 + step) % 12 + 1 for step in range(count))

    def starts_of(self, times: Sequence[datetime]) -> list[datetime]:
        """Return the start of the window of each moment; runs of moments in one window are cheap."""
        starts: list[datetime] = []
        current: Window | None = None
        for time in times:
            if current is None or not current.start <= time < current.end:
                current = self.window_of(time)
            starts.append(current.start)
        return starts


def _calendar_cut(local: datetime, count: int, unit: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First day of the cut that holds a local time, and first day after it."""
    if unit == "mo":
        months = (local.year * 12 + local.month - 1) // count * count
        return (months // 12, months % 12 + 1, 1), ((months + count) // 12, (months + count) % 12 + 1, 1)
    days = count * (7 if unit == "w" else 1)
    monday = 1 if unit == "w" else 0  # ordinal 1 is a Monday; days are counted from the epoch's own day 0
    ordinal = (local.toordinal() - monday) // days * days + monday
    ordinal = max(ordinal, 1)
    first, after = datetime.fromordinal(ordinal), datetime.fromordinal(ordinal + days)
    return (first.year, first.month, first.day), (after.year, after.month, after.day)


# ---- parsing --------------------------------------------------------------------------------------------------------


class _RawPrediction(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    prediction: str | int | float | bool
    features: dict[str, Any] = msgspec.field(default_factory=dict)
    id: str | int | None = None
    time: str | int | float | None = None
    version: str | int | None = None
    score: dict[str, float] | float | None = None
    latency_seconds: float | None = None


class _RawLabel(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: str | int
    label: str | int | float | bool
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


class _Refusal(Exception):
    """Carries field and reason of one bad row to the loop that collects them."""

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(reason)


def parse_predictions(rows: Sequence[Any], schema: Schema, *, arrived: datetime) -> ParsedPredictions:
    """Check decoded JSON rows of ``POST …/predictions`` against the schema; ``arrived`` stands in for missing times."""
    good: list[Prediction] = []
    refused: list[tuple[RefusedRow, Any]] = []
    for index, row in enumerate(rows):
        try:
            good.append(_prediction(row, schema, arrived))
        except _Refusal as refusal:
            refused.append((RefusedRow(index, refusal.field, refusal.reason), row))
        except (OverflowError, ValueError):
            refused.append((RefusedRow(index, "", _TOO_LARGE), row))
    return ParsedPredictions(tuple(good), tuple(refused))


def parse_labels(rows: Sequence[Any], schema: Schema, *, arrived: datetime) -> ParsedLabels:
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
                    time=_time(raw.time, arrived),
                )
            )
        except _Refusal as refusal:
            refused.append((RefusedRow(index, refusal.field, refusal.reason), row))
        except (OverflowError, ValueError):
            refused.append((RefusedRow(index, "", _TOO_LARGE), row))
    return ParsedLabels(tuple(good), tuple(refused))


def event_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of one row of ``predictions`` and of ``labels``, for the description of the API."""
    return {
        "predictions": msgspec.json.schema(_RawPrediction)["$defs"]["_RawPrediction"] | {"title": "Prediction"},
        "labels": msgspec.json.schema(_RawLabel)["$defs"]["_RawLabel"] | {"title": "Label"},
    }


def require_all_good(parsed: ParsedPredictions | ParsedLabels) -> None:
    """Raise `EventError` with every refused row, if there is one."""
    if parsed.refused:
        raise EventError([row for row, _ in parsed.refused])


def _prediction(row: Any, schema: Schema, arrived: datetime) -> Prediction:
    raw = _convert(row, _RawPrediction)
    target = _target(raw.prediction, "prediction", schema)
    latency = raw.latency_seconds
    if latency is not None and not (math.isfinite(latency) and latency >= 0):
        raise _Refusal("latency_seconds", f"came {latency!r}; allowed is a finite number of seconds, 0 or more")
    return Prediction(
        id=_identifier(raw.id) if raw.id is not None else str(uuid.uuid4()),
        time=_time(raw.time, arrived),
        version=_text(str(raw.version), "version") if raw.version is not None else "",
        features=_features(raw.features, schema),
        prediction=target,
        score=_scores(raw.score, schema),
        latency_seconds=latency,
    )


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
            known = kind.__struct_fields__
            reason = f"is not a known field; known: {_fields_of(kind)}.{did_you_mean(found['field'], known)}"
            raise _Refusal(found["field"], reason) from None
        at = _AT.search(text)
        raise _Refusal(at["field"] if at else "", _AT.sub("", text)) from None


def _fields_of(kind: type[msgspec.Struct]) -> str:
    return ", ".join(kind.__struct_fields__)


def _text(value: str, name: str, limit: int = TEXT_LENGTH_LIMIT) -> str:
    if len(value) > limit:
        raise _Refusal(name, f"came {len(value)} characters; allowed are at most {limit}")
    if "\x00" in value:
        raise _Refusal(name, "holds a NUL character, which no database stores; remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Refusal(name, "holds half of a surrogate pair, which is not text; send valid UTF-8") from None
    return value


def _identifier(value: str | int) -> str:
    text = _text(str(value), "id", ID_LENGTH_LIMIT)
    if not text:
        raise _Refusal("id", "is empty; send a unique text, or leave it out to have one made")
    return text


def _time(value: str | float | None, arrived: datetime) -> datetime:
    if value is None:
        return arrived
    try:
        time = msgspec.convert(value, datetime) if isinstance(value, str) else datetime.fromtimestamp(value, UTC)
    except (msgspec.ValidationError, ValueError, OverflowError, OSError):
        reason = f"came {value!r}; allowed is RFC 3339 such as '2013-04-04T12:00:00Z', or seconds since 1970"
        raise _Refusal("time", reason) from None
    if time.tzinfo is None:
        raise _Refusal("time", f"came {value!r} without a time zone; add one, such as 'Z' for UTC")
    time = time.astimezone(UTC)
    if time > arrived + FUTURE_TOLERANCE:
        raise _Refusal(
            "time", f"{value} lies more than a day after its arrival ({arrived.isoformat()}); check the clock"
        )
    if time.year < 1900:
        raise _Refusal("time", f"came {value!r}; times before 1900 are not taken")
    return time


def _target(value: str | float | bool, name: Literal["prediction", "label"], schema: Schema) -> str | float:
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
    text = _text(class_name(value), name)
    if schema.task is Task.BINARY and len(schema.classes) == 2 and text not in schema.classes:
        raise _Refusal(name, f"came {text!r}; the classes of this binary model are {', '.join(schema.classes)}")
    return text


def _scores(value: Mapping[str, float] | float | None, schema: Schema) -> dict[str, float]:
    if value is None:
        return {}
    if schema.task is Task.REGRESSION:
        raise _Refusal("score", "came for a regression model, which has none; leave it out")
    if not isinstance(value, Mapping):
        if schema.task is not Task.BINARY:
            raise _Refusal("score", "came as one number; a multiclass model takes an object of class and probability")
        if schema.positive is None:
            raise _Refusal("score", "came as one number, but the positive class is not known; configure `positive`")
        value = {schema.positive: value}
    for name, probability in value.items():
        if not 0.0 <= probability <= 1.0:
            raise _Refusal(f"score.{name}", f"came {probability!r}; allowed is a probability from 0 to 1")
    return {class_name(name): float(probability) for name, probability in value.items()}


def _features(raw: Mapping[str, Any], schema: Schema) -> dict[str, float | str | None]:
    unknown = [name for name in raw if name not in schema.features]
    if unknown:
        reason = f"is not a feature of this model; known: {', '.join(schema.features)}."
        raise _Refusal(f"features.{unknown[0]}", reason + did_you_mean(unknown[0], schema.features))
    return {name: _feature(raw.get(name), name, kind) for name, kind in schema.features.items()}


def _feature(value: Any, name: str, kind: Kind) -> float | str | None:
    if value is None:
        return None
    if kind is Kind.NUMERIC:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Refusal(f"features.{name}", f"came {_short(value)}; this feature is numeric: a number or null")
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, (dict, list)):
        raise _Refusal(f"features.{name}", f"came {_short(value)}; this feature is categorical: a text, number or null")
    return _text(class_name(value), f"features.{name}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
