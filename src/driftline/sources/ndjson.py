"""Read newline-delimited JSON as people write it: with NaN, a byte order mark, fields of several kinds.

Polars reads correct files. Others are read by Python's json module and written anew; a line that is not JSON is an
error that names the line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from driftline.errors import DataError
from driftline.sources.texts import Spool, as_utf8, blocks, plain

_CONSTANTS = (b"NaN", b"Infinity")
_INFINITE, _NUMBER, _NUMBERS, _LIST, _OBJECT = "infinite", "number", "numbers", "list", "object"


class _Infinite(str):
    """Infinity as a text, since JSON has no number for it."""

    __slots__ = ()


class Kinds(msgspec.Struct):
    """The kinds of values that each field has."""

    seen: dict[str, set[str]] = {}

    def overrides(self, *, nested: bool) -> dict[str, pl.DataType]:
        """Return the fields that are read as texts: those of several kinds, and those with infinities.

        With ``nested``, also lists and objects.
        """
        return {
            name: pl.String()
            for name, kinds in self.seen.items()
            if len(kinds) > 1 or _INFINITE in kinds or (nested and kinds & {_LIST, _OBJECT, _NUMBERS})
        }

    @property
    def infinite(self) -> list[str]:
        """Return the fields that are numbers, some of them infinite."""
        return [name for name, kinds in self.seen.items() if _INFINITE in kinds and kinds <= {_INFINITE, _NUMBER}]


class JsonPart(NamedTuple):
    """A file that Polars can read; ``kinds`` are known if it was written anew."""

    path: Path
    name: str
    notes: tuple[str, ...] = ()
    kinds: Kinds | None = None


def part_of(path: Path, name: str, spool: Spool) -> JsonPart:
    """Check a whole file, and write it anew if it has constants that are not JSON."""
    text = as_utf8(plain(path, name, spool, keep_mark=False), name, spool)
    part = JsonPart(text.path, name, text.notes)
    if any(constant in block for block in blocks(text.path) for constant in _CONSTANTS):
        return mended(part, spool)
    return part


def scan_parts(parts: Sequence[JsonPart], rows: int | None, *, nested: bool = False) -> pl.LazyFrame:
    """Scan files as one table; the types are taken from the first ``rows`` (None: from all).

    ``nested`` reads lists and objects as texts. Fields that a file lacks are missing there.
    """
    scans = [_scan(part, rows, _together(parts), nested=nested) for part in parts]
    return scans[0] if len(scans) == 1 else pl.concat(scans, how="diagonal_relaxed")


def _together(parts: Sequence[JsonPart]) -> Kinds:
    whole = Kinds()
    for part in parts:
        for name, kinds in part.kinds.seen.items() if part.kinds is not None else ():
            whole.seen.setdefault(name, set()).update(kinds)
    return whole


def _scan(part: JsonPart, rows: int | None, kinds: Kinds, *, nested: bool) -> pl.LazyFrame:
    overrides = kinds.overrides(nested=nested)
    there = (
        part.kinds.seen if part.kinds is not None else pl.scan_ndjson(part.path).collect_schema() if overrides else ()
    )
    wanted: Mapping[str, pl.DataType] = {name: dtype for name, dtype in overrides.items() if name in there}
    scan = pl.scan_ndjson(part.path, infer_schema_length=rows, schema_overrides=wanted or None)
    numbers = [name for name in kinds.infinite if name in wanted]
    return scan.with_columns(pl.col(numbers).cast(pl.Float64)) if numbers else scan


def mended(part: JsonPart, spool: Spool) -> JsonPart:
    """Write a file anew as Polars reads it: NaN as null, without blank lines and commas between the lines.

    Raises `DataError` for a line that is not an object, and names the line.
    """
    target, kinds = spool.new(".ndjson"), Kinds()
    with part.path.open(encoding="utf-8") as source, target.open("w", encoding="utf-8") as file:
        for number, line in enumerate(source, 1):
            written = line.strip().removesuffix(",")
            if written:
                row = _row(written, f"{part.name}: line {number:,}", cut=not line.endswith("\n"))
                file.write(f"{json.dumps(_seen(row, kinds))}\n")
    return part._replace(path=target, kinds=kinds)


def _row(line: str, where: str, *, cut: bool) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_constant, parse_float=_float)
    except RecursionError:
        raise DataError(f"{where} is nested too deeply") from None
    except ValueError as error:
        if line.startswith("["):
            raise DataError(f"{where} begins an array; write one object a line") from None
        said = f"{error.msg} in column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{where} is {'cut off' if cut else 'no JSON'} ({said}); write one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is a {type(row).__name__}; write one object a line")
    return row


def _constant(name: str) -> _Infinite | None:
    return None if name == "NaN" else _Infinite(name)


def _float(text: str) -> float | _Infinite:
    number = float(text)
    return number if math.isfinite(number) else _Infinite("Infinity" if number > 0 else "-Infinity")


def _seen(row: dict[str, Any], kinds: Kinds) -> dict[str, Any]:
    """Return a row with infinities in nested values replaced by null; adds the kinds of its values to ``kinds``."""
    for name, value in row.items():
        if isinstance(value, (list, dict)):
            row[name] = _finite(value)
        seen = kinds.seen.setdefault(name, set())
        if value is not None:
            seen.add(_kind(row[name]))
    return row


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(member) for member in value]
    if isinstance(value, dict):
        return {name: _finite(member) for name, member in value.items()}
    return None if isinstance(value, _Infinite) else value


def _kind(value: Any) -> str:
    if isinstance(value, (bool, str, _Infinite)):
        return _INFINITE if isinstance(value, _Infinite) else type(value).__name__
    if isinstance(value, list):
        numbers = all(member is None or _kind(member) == _NUMBER for member in value)
        return _NUMBERS if numbers else _LIST
    return _OBJECT if isinstance(value, dict) else _NUMBER
