"""Bodies of requests to rows: JSON arrays, NDJSON and Arrow IPC streams."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from driftline.errors import DataError, UsageError

JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"
_KINDS = {
    JSON: JSON,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonlines": NDJSON,
    ARROW: ARROW,
}


class UnsupportedTypeError(UsageError):
    """A body of a type that is not taken."""


def rows_of(body: bytes, content_type: str) -> list[Any]:
    """Decode a body into rows, which are checked later; raise `DataError` for a body that is broken as a whole."""
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        came = content_type or "no Content-Type"
        raise UnsupportedTypeError(
            f"{came} came; allowed are {JSON}, {NDJSON} and {ARROW}; set the Content-Type header"
        )
    if kind == ARROW:
        return _arrow_rows(body)
    try:
        if kind == NDJSON:
            return _lines(body)
        rows = msgspec.json.decode(body)
    except RecursionError as error:
        raise DataError("the JSON is nested too deeply; rows are flat objects") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the body is not JSON: {error}; send an array of objects") from error
    if not isinstance(rows, list):
        raise DataError(f"the body is a JSON {type(rows).__name__}; send an array of objects, even for one row")
    return rows


def _lines(body: bytes) -> list[Any]:
    return [_line(line) for line in body.splitlines() if line.strip()]


def _line(line: bytes) -> Any:
    """One row; a line that is not JSON stays the text that it is, which is refused with its index like any bad row."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line.decode(errors="replace")


def _arrow_rows(body: bytes) -> list[Any]:
    try:
        frame = pl.read_ipc_stream(io.BytesIO(body))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"the body is not an Arrow IPC stream: {error}") from error
    return [_nested(row) for row in frame.iter_rows(named=True)]


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Columns to the fields of a JSON row: ``feature.<name>`` and ``score.<class>`` go into their objects; nulls go."""
    nested: dict[str, Any] = {}
    for name, value in row.items():
        part, _, rest = name.partition(".")
        if rest and part in ("feature", "score"):
            nested.setdefault("features" if part == "feature" else "score", {})[rest] = value
        elif value is not None:
            nested[name] = value.isoformat() if isinstance(value, datetime) else value
    return nested
