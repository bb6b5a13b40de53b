"""Encode rows as JSON: quickly if all values are plain, else field by field, with the same rules for missing values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

_MISSING_TYPES = ("NAType", "NaTType", "MaskedConstant")
"""The types of missing values in pandas and NumPy, by name, as the SDK imports neither."""
_WIDE_FLOAT_BYTES = 8


class CannotSendError(Exception):
    """A field that the row needs cannot be sent."""

    def __init__(self, field: str, value: object) -> None:
        kind = type(value)
        allowed = "allowed is a datetime" if field == "time" else "JSON has no word for it"
        super().__init__(f"{field} came as {kind.__module__}.{kind.__qualname__}; {allowed}")


class MissingLabelError(Exception):
    """A label is missing, so there is nothing to send."""


# ---- values ---------------------------------------------------------------------------------------------------------


def is_missing(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN of any type, NaT, ``pd.NA``, a masked value.

    >>> [is_missing(one) for one in (None, float("nan"), Decimal("NaN"), 0, "", float("inf"))]
    [True, True, True, False, False, False]
    """
    return value is None or plain(value) is None


def plain(value: Any) -> Any:
    """Return a value in a form that JSON can express; None for a missing one. Raises `NotImplementedError` for others.

    Scalars and arrays of NumPy, pandas, Polars, PyArrow and similar libraries become numbers, texts and lists; members
    of an Enum become their value.
    """
    kind = type(value)
    if kind in (str, int, bool) or value is None:
        return value
    if kind is float:
        return value if value == value else None  # noqa: PLR0124 - NaN is not itself
    if kind.__name__ in _MISSING_TYPES:
        return None
    for of, convert in _CONVERSIONS:
        if isinstance(value, of):
            return convert(value)
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return value
    return _of_library(value)


def _of_decimal(value: Decimal) -> Decimal | None:
    return value if value.is_finite() else None


def _of_moment(value: datetime) -> str:
    return datetime.isoformat(value)  # also for subclasses: pandas' would add nanoseconds, which the server cannot read


def _of_span(value: timedelta) -> timedelta:
    return timedelta(value.days, value.seconds, value.microseconds)


_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: plain(value.value)),
    (str, str.__str__),
    (datetime, _of_moment),
    (date, date.isoformat),
    (timedelta, _of_span),
    (Decimal, _of_decimal),
)


def _of_library(value: Any) -> Any:
    """Return the plain form of a scalar or array of another library; an array of one element becomes that element."""
    dtype = getattr(value, "dtype", None)
    kind = getattr(dtype, "kind", "")
    if kind in ("M", "m"):  # times and durations, whose `item` in nanoseconds would be a plain number
        value = value.astype(f"{kind}8[us]")
    narrow = kind == "f" and getattr(dtype, "itemsize", _WIDE_FLOAT_BYTES) < _WIDE_FLOAT_BYTES
    if narrow and getattr(value, "ndim", None) == 0:
        return plain(float(str(value)))  # 0.1, not 0.10000000149011612: the same number as elsewhere
    if not hasattr(value, "mask"):  # the item of a masked array is what lies below the mask
        with suppress(ValueError, RuntimeError):
            if hasattr(value, "item"):
                return plain(value.item())
    for method in ("as_py", "tolist", "to_list"):
        if hasattr(value, method):
            found = getattr(value, method)()
            return plain(found[0] if isinstance(found, list) and len(found) == 1 else found)
    for dunder, convert in (("__index__", int), ("__float__", float)):
        if hasattr(type(value), dunder):
            return plain(convert(value))
    raise NotImplementedError(f"{type(value).__name__} cannot be sent")


def key_of(value: Any) -> str:
    """Return the name of a feature or class, written as the server does: True is 1, and 1.0 is 1.

    Raises `NotImplementedError` for a value that cannot be a name.


    >>> [key_of(one) for one in ("rain", True, 1.0, 2.5, 7)]
    ['rain', '1', '1', '2.5', '7']
    """
    found = plain(value)
    if isinstance(found, str):
        return found
    if isinstance(found, (bool, int)):
        return str(int(found))
    if isinstance(found, float) and math.isfinite(found):
        return str(int(found)) if found.is_integer() else repr(found)
    raise NotImplementedError(f"{type(value).__name__} is no name")


# ---- rows -----------------------------------------------------------------------------------------------------------

_NUMBERS = (float, int)  # of which those are finite whose difference from themselves is 0, and NaN is true
_encode = msgspec.json.Encoder(enc_hook=plain, decimal_format="number").encode
_encode_plain = msgspec.json.Encoder(decimal_format="number").encode
"""An encoder that calls no code of the user's; values that it does not know are left to the shipping thread."""


def quickly(row: dict[str, Any]) -> bytes | None:
    """Encode a row of plain values, with scores that are finite numbers; None for one that takes the careful way.

    Numbers that JSON cannot express become null: that is a missing value for a feature, but not allowed for a score, a
    label or a latency.
    """
    score = row.get("score")
    if type(score) is dict:
        for name, value in score.items():
            if type(name) is not str or type(value) not in _NUMBERS or value - value:
                return None
    elif score is not None and (type(score) not in _NUMBERS or score - score):
        return None
    if type(row["id"]) in (float, bool) or type(row["time"]) is not datetime:
        return None
    try:
        line = _encode_plain(row)
    except Exception:  # noqa: BLE001 - strange values: the careful way says which
        return None
    if ("latency_seconds" in row or "label" in row) and b"null" in line:
        return None
    return None if b"NaN" in line or b"Infinity" in line else line  # of a Decimal, if it is no text


def carefully(row: Mapping[str, Any]) -> tuple[bytes, list[str]]:
    """Encode a row field by field; return it with the names of the fields that had to be left out.

    Missing values are sent as null (features, the prediction) or left out (other fields). Raises `CannotSendError` if a
    field that the row needs cannot be sent, and `MissingLabelError` for a missing label.
    """
    out: dict[str, Any] = {}
    left_out: list[str] = []
    out["id"] = _identifier(row["id"])
    for field in ("prediction", "label"):
        if field in row:
            out[field] = _needed(field, row[field])
    if out.get("label") == _NULL:
        raise MissingLabelError
    if "features" in row:
        out["features"] = _named("features", row["features"], left_out)
    for field in ("version", "latency_seconds", "role"):
        _put(out, field, row.get(field), left_out, field)
    score = row.get("score")
    if isinstance(score, Mapping):
        known = {name: value for name, value in _named("score", score, left_out).items() if value != _NULL}
        if known:
            out["score"] = known
    else:
        _put(out, "score", score, left_out, "score")
    if not isinstance(row["time"], datetime):
        raise CannotSendError("time", row["time"])
    out["time"] = row["time"]
    return _encode_plain(out), left_out


_NULL = msgspec.Raw(b"null")


def _raw(value: Any) -> msgspec.Raw:
    found = plain(value)
    line = _encode(found)
    if b"NaN" in line or b"Infinity" in line:  # of a Decimal within, if it is no text
        line = _encode(_plain_within(found))
    return msgspec.Raw(line)


def _plain_within(value: Any) -> Any:
    found = plain(value)
    if isinstance(found, Mapping):
        return {key_of(key): _plain_within(part) for key, part in found.items()}
    if isinstance(found, (list, tuple, set, frozenset)):
        return [_plain_within(part) for part in found]
    return found


def _needed(field: str, value: Any) -> msgspec.Raw:
    try:
        return _raw(value)
    except Exception as error:
        raise CannotSendError(field, value) from error


def _identifier(value: Any) -> Any:
    """Encode an id as text, so that 17, 17.0 and "17" are the same id."""
    try:
        return _needed("id", key_of(value))
    except NotImplementedError:  # a UUID, for example
        return _needed("id", value)


def _put(out: dict[str, Any], field: str, value: Any, left_out: list[str], name: str) -> None:
    if value is None:
        return
    try:
        found = _raw(value)
    except Exception:  # noqa: BLE001 - the user's objects: the row goes without
        left_out.append(name)
    else:
        if found != _NULL:
            out[field] = found


def _named(part: str, values: Mapping[Any, Any], left_out: list[str]) -> dict[str, msgspec.Raw]:
    found: dict[str, msgspec.Raw] = {}
    for key, value in values.items():
        name = type(key).__name__
        try:
            name = key_of(key)
            name.encode()
            found[name] = _raw(value)
        except Exception:  # noqa: BLE001 - the user's objects: the row goes without
            left_out.append(f"{part}.{name}")
    return found


def in_utc(time: Any) -> Any:
    """Return a time in UTC, as which a naive one counts; a value that is no time is returned as it is.

    Times in JSON cannot have offsets with seconds, such as those of local mean time.
    """
    with suppress(Exception):
        if type(time).__module__ == "numpy":
            time = time.astype("M8[us]").item()
        if isinstance(time, datetime):
            aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
            return datetime.fromisoformat(datetime.isoformat(aware.astimezone(UTC)))  # also pandas', to microseconds
        if isinstance(time, date):
            return datetime(time.year, time.month, time.day, tzinfo=UTC)
    return time
