"""Decode bodies into rows: JSON arrays, NDJSON and Arrow IPC streams. Limits hold before memory is allocated."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from driftline.errors import DataError, DriftlineError, UsageError
from driftline.net.limits import Limits, TooLargeError
from driftline.text import short
from driftline.web.arrow_rows import rows_of_frame, text_bytes
from driftline.web.arrow_stream import CELL_BYTES, outline

JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"
_KINDS = {
    JSON: JSON,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonlines": NDJSON,
    ARROW: ARROW,
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"\S[^\r\n]*")  # skips blank lines fast
_OBJECT_BYTES, _LIST_BYTES = 64, 56


class UnsupportedTypeError(UsageError):
    """A body with an unsupported content type."""


def rows_of(
    body: bytes, content_type: str, limits: Limits, name: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame
) -> list[Any]:
    """Decode a body into rows, which are not checked yet.

    Raises `DataError` for a body that cannot be decoded, and `TooLargeError` for one that would exceed a limit.
    """
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        came = short(content_type) or "no Content-Type"
        raise UnsupportedTypeError(
            f"{came} came; allowed are {JSON}, {NDJSON} and {ARROW}; set the Content-Type header"
        )
    if kind == ARROW:
        return _arrow_rows(body, limits, name)
    body = body.removeprefix(_BYTE_ORDER_MARK)
    _hold_unpacked(_json_bytes(body), limits)
    rows = _lines(body, limits) if kind == NDJSON else _array(body)
    _hold_rows(len(rows), limits)
    return rows


def _hold_rows(rows: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise TooLargeError(f"the batch has {rows:,} rows", limits.rows, "rows")


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


def _arrow_rows(body: bytes, limits: Limits, name: Callable[[pl.DataFrame], pl.DataFrame]) -> list[Any]:
    """Decode a stream; its headers are compared with the limits before it is unpacked.

    So is the size of its texts, one by one: dictionaries and views store one text for many rows.
    """
    seen = outline(body)
    _hold_rows(seen.rows, limits)
    _hold_unpacked(seen.unpacked, limits)
    try:
        frame = pl.read_ipc_stream(io.BytesIO(seen.body))
        _hold_unpacked(seen.unpacked + sum(text_bytes(column) for column in frame), limits)
        return rows_of_frame(name(frame))
    except DriftlineError:
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, OverflowError) as error:
        said = short(str(error), 200)
        raise DataError(f"the body is not an Arrow IPC stream that can be read: {said}") from error
