"""Decode bodies into rows: JSON arrays, NDJSON, Arrow IPC streams and Parquet files.

Limits hold before memory is allocated.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import polars as pl

from driftline.errors import DataError, DriftlineError, UsageError
from driftline.net.limits import Limits, TooLargeError
from driftline.text import short
from driftline.web.arrow_rows import rows_of_frame, text_bytes
from driftline.web.arrow_stream import CELL_BYTES, Outline, outline
from driftline.web.parquet_outline import parquet_outline, without_arrow_types

JSON, NDJSON = "application/json", "application/x-ndjson"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
_KINDS = {
    JSON: JSON,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonlines": NDJSON,
    ARROW: ARROW,
    PARQUET: PARQUET,
    "application/x-parquet": PARQUET,
}
FRAMES = (ARROW, PARQUET)
"""The formats that hold columns."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"\S[^\r\n]*")  # skips blank lines fast
_OBJECT_BYTES, _LIST_BYTES = 64, 56
_ABSENT_BYTES = 8
"""The bytes that a value takes which a row leaves out, at least."""


class UnsupportedTypeError(UsageError):
    """A body with an unsupported content type."""


def format_of(content_type: str) -> str:
    """Return the format of a body; raise `UnsupportedTypeError` for one that is not taken."""
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        came = short(content_type) or "no Content-Type"
        raise UnsupportedTypeError(
            f"{came} came; allowed are {JSON}, {NDJSON}, {ARROW} and {PARQUET}; set the Content-Type header"
        )
    return kind


def rows_of(
    body: bytes, content_type: str, limits: Limits, name: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame
) -> list[Any]:
    """Decode a body into rows, which are not checked yet.

    Raises `DataError` for a body that cannot be decoded, and `TooLargeError` for one that would exceed a limit.
    """
    kind = format_of(content_type)
    if kind in FRAMES:
        return frame_rows(frame_of(body, kind, limits, name), kind)
    return text_rows(text_of(body, limits), kind, limits)


def text_of(body: bytes, limits: Limits) -> bytes:
    """Return the JSON of a body; raise `TooLargeError` where it would take too much memory once it is decoded."""
    text = body.removeprefix(_BYTE_ORDER_MARK)
    _hold_unpacked(_json_bytes(text), limits)
    return text


def text_rows(text: bytes, kind: str, limits: Limits) -> list[Any]:
    """Decode what `text_of` has returned into rows."""
    rows = _lines(text, limits) if kind == NDJSON else _array(text)
    hold_rows(len(rows), limits)
    return rows


def hold_rows(rows: int, limits: Limits) -> None:
    """Raise `TooLargeError` for too many rows."""
    if rows > limits.rows:
        raise TooLargeError(f"the batch has {rows:,} rows", limits.rows, "rows")


def hold_features(rows: int, features: int, limits: Limits) -> None:
    """Raise `TooLargeError` where rows would take too much memory with all the features of their model: those that
    they leave out are nothing in the body, but are something from then on.
    """
    size = _ABSENT_BYTES * rows * features
    if size > limits.unpacked_bytes:
        what = f"the batch of {rows:,} rows takes about {size:,} bytes with all {features:,} features of its model"
        raise TooLargeError(what, limits.unpacked_bytes, "unpacked")


def _hold_unpacked(size: int, limits: Limits) -> None:
    if size > limits.unpacked_bytes:
        raise TooLargeError(f"the batch takes about {size:,} bytes unpacked", limits.unpacked_bytes, "unpacked")


# ---- JSON -----------------------------------------------------------------------------------------------------------


def _json_bytes(body: bytes) -> int:
    """Estimate how much memory JSON takes once it is decoded: each value and container takes more than its text."""
    lists, objects = body.count(b"["), body.count(b"{")
    return len(body) + CELL_BYTES * body.count(b",") + _LIST_BYTES * lists + _OBJECT_BYTES * objects


def _array(body: bytes) -> list[Any]:
    try:
        rows = _decoded(body)
    except RecursionError as error:
        raise DataError("the JSON is nested too deeply; rows are flat objects") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        said = short(str(error), 300)
        raise DataError(f"the body is not JSON: {said}; send an array of objects") from error
    if not isinstance(rows, list):
        raise DataError(f"the body is a JSON {type(rows).__name__}; send an array of objects, even for one row")
    return rows


def _decoded(text: bytes) -> Any:
    """Decode JSON, also with NaN and Infinity, which Python's `json` writes for floats."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        return json.loads(text)


def _lines(body: bytes, limits: Limits) -> list[Any]:
    rows: list[Any] = []
    for found in _LINE.finditer(body):
        rows.append(_line(found[0].rstrip()))
        if len(rows) > limits.rows:
            break
    return rows


def _line(line: bytes) -> Any:
    """Decode one line; one that is not JSON stays a text, which is refused with its index like any bad row."""
    try:
        return _decoded(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return line.decode(errors="replace")


# ---- Arrow ----------------------------------------------------------------------------------------------------------


def frame_of(
    body: bytes, kind: str, limits: Limits, name: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame
) -> pl.DataFrame:
    """Decode a body of columns; its headers are compared with the limits before it is unpacked.

    So is the size of its texts, one by one: dictionaries and views store one text for many rows.
    """
    seen = outline(body) if kind == ARROW else parquet_outline(body)
    hold_rows(seen.rows, limits)
    _hold_unpacked(seen.unpacked, limits)
    with _readable(kind):
        if isinstance(seen, Outline):
            frame = pl.read_ipc_stream(io.BytesIO(seen.body))
        else:
            if any(map(_has_vectors, pl.read_parquet_schema(io.BytesIO(body)).values())):
                body = without_arrow_types(body)
            frame = pl.read_parquet(io.BytesIO(body), use_statistics=False, hive_partitioning=False)
            hold_rows(frame.height, limits)
        shared = not isinstance(seen, Outline) or seen.shared
        if shared or 2 * seen.unpacked > limits.unpacked_bytes:  # else there is room for texts as long as they can be
            _hold_unpacked(seen.unpacked + sum(text_bytes(column) for column in frame), limits)
        return name(frame)


def _has_vectors(kind: pl.DataType) -> bool:
    """Return whether values hold lists of a fixed length, or may."""
    if isinstance(kind, pl.List):
        return _has_vectors(kind.inner)  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return any(_has_vectors(one.dtype) for one in kind.fields)  # type: ignore[arg-type]
    return isinstance(kind, (pl.Array, pl.BaseExtension))


def frame_rows(frame: pl.DataFrame, kind: str) -> list[Any]:
    """Return the rows of what `frame_of` has returned."""
    with _readable(kind):
        return rows_of_frame(frame)


@contextmanager
def _readable(kind: str) -> Iterator[None]:
    try:
        yield
    except DriftlineError:
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, OverflowError) as error:
        said = short(str(error), 200)
        what = "a Parquet file" if kind == PARQUET else "an Arrow IPC stream"
        raise DataError(f"the body is not {what} that can be read: {said}") from error
