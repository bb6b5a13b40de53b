"""Checks the values of an event, one by one: what each may be, and what it is from then on."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from driftline.errors import RefusedRow, did_you_mean
from driftline.events.missing import is_missing
from driftline.events.moments import moment_of_number, moment_of_text
from driftline.events.names import alike, name_problem, text_problem
from driftline.events.schema import Kind, Schema, Task, class_name
from driftline.text import quoted, short, visible

FUTURE_TOLERANCE = timedelta(days=1)
"""An event further than this after its arrival is refused: one wrong clock must not close every window."""

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Times before this are not taken: they are mistakes of a unit, or stand for none."""

ALL_VERSIONS = "*"
"""Stands for all versions together, where one version's name could stand; no version is called that."""

TEXT_LENGTH_LIMIT = 4096
NESTED_LENGTH_LIMIT = 2**18

UNKNOWN_CLASSES_LIMIT = 100
"""How many classes scores may name where the classes of the model are not known: each becomes a column of the log."""

_FIELD_SHOWN, _REASON_SHOWN, _KNOWN_SHOWN = 200, 1000, 20
_WHOLE_REAL = re.compile(r"^(-?\d+)\.0+$")


@dataclass(frozen=True, slots=True)
class TimesRead:
    """Times of a batch that were read beforehand, by the ``time_format`` of the model: what came, to its moment.

    What is not among them is not written so, and is read as without a format. Moments are aware UTC.
    """

    moments: Mapping[str | float, datetime] = field(default_factory=dict)
    time_format: str | None = None


AS_THEY_ARE = TimesRead()


class Refusal(Exception):
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


def _text(value: str, field: str, limit: int = TEXT_LENGTH_LIMIT) -> str:
    if problem := text_problem(value, limit):
        raise Refusal(field, problem)
    return value


def _name(value: str, field: str) -> str:
    if problem := name_problem(value):
        raise Refusal(field, problem)
    return value


def version_of(value: str | float | None) -> str:
    """Return a version as text; none is an empty one."""
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    text = "" if absent else _name(class_name(value), "version")
    if text == ALL_VERSIONS:
        raise Refusal("version", f"came {text!r}, which stands for all versions together; give it another name")
    return text


def identifier(value: str | float) -> str:
    """Return an id as it is stored; raises `ValueError` that says what is wrong with it.

    >>> identifier(17), identifier("17.0"), identifier("a")
    ('17', '17', 'a')
    """
    try:
        return identifier_of(value)
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None


def identifier_of(value: str | float) -> str:
    """An id as text: 17, 17.0 and "17.0" are "17"."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal("id", f"came {value!r}; send a unique text or number, or leave it out to have one made")
    text = _name(class_name(value), "id")
    if "." in text:
        text = _WHOLE_REAL.sub(r"\1", text)
    if not text:
        raise Refusal("id", "is empty; send a unique text, or leave it out to have one made")
    return text


def time_of(value: str | float | None, arrived: datetime, schema: Schema, times: TimesRead) -> datetime:
    """Return the moment of a time, aware UTC; ``arrived`` where it is missing."""
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
        raise Refusal("time", reason) from None
    if time.tzinfo is None:
        raise Refusal("time", f"came {value!r} without a time zone; add one, such as 'Z' for UTC")
    if moment > arrived + FUTURE_TOLERANCE:
        raise Refusal(
            "time", f"{value} lies more than a day after its arrival ({arrived.isoformat()}); check the clock"
        )
    if moment < EARLIEST:
        raise Refusal("time", f"came {value!r}; times before 1900 are not taken")
    return moment


def target_of(value: str | float | bool | None, name: Literal["prediction", "label"], schema: Schema) -> str | float:
    """Return a prediction or label: the name of a class, or a finite number."""
    if value is None or is_missing(value, schema.missing):
        came = "null" if value is None else repr(value)
        allowed = "a finite number" if schema.task is Task.REGRESSION else "the name of a class"
        when = ", once it is known" if name == "label" else ""
        raise Refusal(name, f"came {came}, which stands for a missing value; allowed is {allowed}{when}")
    if schema.task is Task.REGRESSION:
        if isinstance(value, (str, bool)):
            raise Refusal(name, f"came {value!r}; a regression model takes a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Refusal(name, f"came {value!r}; allowed is a finite number")
        return number
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal(name, f"came {value!r}; allowed is the name of a class")
    text = class_name(value)
    if text in schema.classes:
        return text
    if schema.task is Task.BINARY and classes_known(schema):
        raise Refusal(name, f"came {quoted(text)}; the classes of this binary model are {', '.join(schema.classes)}")
    return _name(text, name)


def classes_known(schema: Schema) -> bool:
    """Whether the reference showed all classes: a binary model has two."""
    return len(schema.classes) >= (2 if schema.task is Task.BINARY else 1)


def scores_of(value: Mapping[str, float | str | None] | float | str | None, schema: Schema) -> dict[str, float]:
    """Return the probabilities by class; those that are missing are left out."""
    if value is None or (not isinstance(value, Mapping) and is_missing(value, schema.missing)):
        return {}
    if schema.task is Task.REGRESSION:
        raise Refusal("score", "came for a regression model, which has none; leave it out")
    if not isinstance(value, Mapping):
        if schema.task is not Task.BINARY:
            raise Refusal("score", "came as one number; a multiclass model takes an object of class and probability")
        if schema.positive is None:
            raise Refusal("score", "came as one number, but the positive class is not known; configure `positive`")
        value = {schema.positive: value}
    _check_scored(value, schema)
    scores: dict[str, float] = {}
    for name, probability in value.items():
        if is_missing(probability, schema.missing):
            continue
        if not isinstance(probability, (int, float)) or not 0.0 <= probability <= 1.0:
            raise Refusal(f"score.{name}", f"came {probability!r}; allowed is a probability from 0 to 1")
        scores[name] = float(probability)
    return scores


def _check_scored(scored: Collection[str], schema: Schema) -> None:
    """Let only classes through that can be columns: those that are known; where none are, a few well-formed names."""
    if classes_known(schema):
        unknown = next((name for name in scored if name not in schema.classes), None)
        if unknown is not None:
            reason = f"is not a class of this model; known: {_few(schema.classes)}."
            raise Refusal(f"score.{unknown}", reason, unknown, schema.classes)
        return
    most = 2 if schema.task is Task.BINARY else UNKNOWN_CLASSES_LIMIT
    if len(scored) > most:
        raise Refusal("score", f"names {len(scored)} classes; allowed are at most {most}")
    for name in scored:
        if not name:
            raise Refusal("score", "has a class without a name; name it")
        _name(name, f"score.{name}")
    if (pair := alike(scored)) is not None:
        first, second = pair
        reason = f"differs from {quoted(first)} by case only, which columns do not; keep one spelling"
        raise Refusal(f"score.{second}", reason)


def features_of(raw: Mapping[str, Any], schema: Schema) -> dict[str, float | str | None]:
    """Return a value for each feature of the schema, None where it is missing."""
    unknown = next((name for name in raw if name not in schema.features), None)
    if unknown is not None:
        reason = f"is not a feature of this model; known: {_few(schema.features)}."
        raise Refusal(f"features.{unknown}", reason, unknown, schema.features)
    return {name: feature_of(raw.get(name), name, kind, schema) for name, kind in schema.features.items()}


def feature_of(value: Any, name: str, kind: Kind, schema: Schema) -> float | str | None:
    """Return one feature as its kind is kept."""
    if value is None or is_missing(value, schema.missing):
        return None
    if type(value) is float and kind is Kind.NUMERIC and not schema.single:
        return value
    if kind is Kind.NUMERIC:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Refusal(f"features.{name}", f"came {shortened(value)}; this feature is numeric: a number or null")
        return number_of(value, single=name in schema.single)
    if kind is Kind.DATETIME and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _moment(value, name)
    if kind is Kind.UNSUPPORTED:  # not profiled, but kept in the log
        return _text(msgspec.json.encode(value).decode(), f"features.{name}", NESTED_LENGTH_LIMIT)
    if kind is Kind.EMBEDDING:
        return _vector(value, f"features.{name}")
    if isinstance(value, (dict, list)):
        raise Refusal(
            f"features.{name}", f"came {shortened(value)}; this feature is categorical: a text, number or null"
        )
    limit = NESTED_LENGTH_LIMIT if kind is Kind.TEXT else TEXT_LENGTH_LIMIT
    return _text(class_name(value), f"features.{name}", limit)


def _vector(value: object, field: str) -> str:
    """A list of numbers as the JSON that the log keeps of it."""
    if not isinstance(value, list) or any(type(member) not in (float, int, type(None)) for member in value):
        raise Refusal(field, f"came {shortened(value)}; this feature is an embedding: a list of numbers, or null")
    return _text(msgspec.json.encode(value).decode(), field, NESTED_LENGTH_LIMIT)


def number_of(value: float, *, single: bool) -> float:
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
        raise Refusal(f"features.{name}", f"came {value!r}, which is no time; send ISO 8601") from None


def _few(names: Collection[str]) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - _KNOWN_SHOWN} more" if len(names) > _KNOWN_SHOWN else ""
    return ", ".join(list(names)[:_KNOWN_SHOWN]) + more


def shortened(value: object) -> str:
    """Return a value as it is shown in a reason."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
