"""Read the headers of an Arrow IPC stream before it is unpacked: its columns, rows, and unpacked size.

Only the headers of messages are read, and the eight bytes in which a compressed buffer states its length. The format:
https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format, its tables: Schema.fbs and Message.fbs there.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from driftline.errors import DataError
from driftline.text import quoted

CELL_BYTES = 32
"""The bytes that one value takes as a number or text of a row, an estimate."""

PART_BYTES = 1024
"""The bytes that one column of one batch takes at least, an estimate."""

_DEEPEST, _MOST_FIELDS, _MOST_VECTOR = 16, 20_000, 2**24
_CONTINUES, _SCHEMA, _DICTIONARY, _RECORDS = 0xFFFFFFFF, 1, 2, 3
_VIEWS = (23, 24)
_TIMESTAMP, _DECIMAL, _WIDE_DECIMAL_BITS = 10, 7, 256
_NOT_TAKEN = {
    11: "an interval",
    14: "a union",
    17: "a map",
    22: "a run-end-encoded column",
    25: "a list view",
    26: "a large list view",
}
_REPEATED = {
    **dict.fromkeys((4, 15, 19, 23), "binary values"),
    **dict.fromkeys((12, 13, 16, 21), "nested values"),
}
"""Types that a dictionary must not hold: they would be written out for each row before they could be measured."""

_END = b"\xff\xff\xff\xff\0\0\0\0"
_REMEMBERED, _REMEMBERED_BYTES = 64, 2**14
"""How many descriptions of columns are known again, and how long they may be: each sender repeats its own."""

_OFFSET = re.compile(rb"[+-]\d\d:?\d\d|[Zz]")
_INSTANTS = b"UTC\0"


@dataclass(frozen=True, slots=True)
class Outline:
    """The columns and rows of a stream, and the bytes that it takes once it is unpacked.

    ``shared`` says that a text may be stored once for many rows; else the texts are no longer than ``unpacked``.
    ``body`` is the stream up to its end; time zones that are fixed offsets are replaced by UTC: the instants are the
    same.
    """

    columns: tuple[str, ...]
    rows: int
    unpacked: int
    shared: bool
    body: bytes


def outline(body: bytes) -> Outline:
    """Read the headers of a stream; raise `DataError` for a broken stream, and for a column of an unsupported type."""
    try:
        return _outline(body)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise DataError("the body is not an Arrow IPC stream: its headers are broken or cut off") from error


def _outline(body: bytes) -> Outline:
    columns: tuple[str, ...] | None = None
    rows = unpacked = at = 0
    patches, shared = list[int](), False
    while (message := _message_at(body, at)) is not None:
        header, kind, start, end = message
        if kind == _SCHEMA and columns is None:
            read = _columns_again if len(header.data) <= _REMEMBERED_BYTES else _columns
            columns, zones, shared = read(header.data)
            patches = [start - len(header.data) + one for one in zones]
        elif kind in (_DICTIONARY, _RECORDS) and columns is not None:
            batch = header if kind == _RECORDS else header.table(1)
            if batch is None:
                raise DataError("the body is not an Arrow IPC stream: a dictionary without values")
            rows += batch.integer(0, "<q") if kind == _RECORDS else 0
            unpacked += _unpacked(batch, memoryview(body)[start:end]) + PART_BYTES * len(columns)
        else:
            raise DataError("the body is not an Arrow IPC stream: it does not begin with one schema")
        at = end
    if columns is None:
        raise DataError("the body is not an Arrow IPC stream: it has no schema")
    whole = body if body[at:] == _END else body[:at] + _END
    return Outline(columns, rows, unpacked, shared, _with_instants(whole, patches))


class _Message(NamedTuple):
    header: _Table
    kind: int
    start: int
    end: int


def _message_at(body: bytes, at: int) -> _Message | None:
    """Return the message at this position and the position of its body; None at the end of the stream."""
    if at == len(body):
        return None
    if _read("<I", body, at) != _CONTINUES:
        raise DataError("the body is not an Arrow IPC stream; send the streaming format of Arrow 0.15 or later")
    length = _read("<i", body, at + 4)
    if length == 0:
        return None
    start = at + 8 + length
    if length < 0 or start > len(body):
        raise DataError("the body is not an Arrow IPC stream: it is cut off within a header")
    data = body[at + 8 : start]
    message = _Table(data, _read("<I", data, 0))
    header, size = message.table(2), message.integer(3, "<q")
    if header is None or size < 0 or start + size > len(body):
        raise DataError("the body is not an Arrow IPC stream: it is cut off within a batch")
    return _Message(header, message.integer(1, "<B"), start, start + size)


def _unpacked(batch: _Table, body: memoryview) -> int:
    """Return how many bytes a batch takes once it is unpacked."""
    compressed = batch.table(3) is not None
    if batch.integer(0, "<q") < 0:
        raise DataError("the body is not an Arrow IPC stream: a batch of less than no rows")
    total = 0
    for length, _ in batch.pairs(1):
        if length < 0:
            raise DataError("the body is not an Arrow IPC stream: a column of less than no values")
        total += CELL_BYTES * length
    for offset, length in batch.pairs(2):
        if offset < 0 or length < 0 or offset + length > len(body):
            raise DataError("the body is not an Arrow IPC stream: a column lies outside of its batch")
        stated = _read("<q", body, offset) if compressed and length else -1
        if stated < -1:
            raise DataError("the body is not an Arrow IPC stream: a compressed column of less than no bytes")
        total += length if stated == -1 else stated
    return total


# ---- columns --------------------------------------------------------------------------------------------------------


def _columns(message: bytes) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """Return the names of the columns of a schema, the places in its message of time zones that are offsets, and
    whether columns store a text once for many rows.
    """
    schema = _Table(message, _read("<I", message, 0)).table(2)
    if schema is None or schema.integer(0, "<h"):
        raise DataError("the Arrow stream is big-endian, which is not taken; write it on another machine")
    seen, shared = 0, False
    names, zones = list[str](), list[int]()
    for column in schema.tables(1):
        name = column.text(0).decode()
        names.append(name)
        for field, depth in _with_children(column):
            seen += 1
            if depth > _DEEPEST or seen > _MOST_FIELDS:
                raise DataError(f"column {quoted(name)} is nested more than {_DEEPEST} deep, or too wide; flatten it")
            if (zone := _check_type(field, name)) is not None:
                zones.append(zone)
            shared = shared or field.table(4) is not None or field.integer(2, "<B") in _VIEWS
    return tuple(names), tuple(zones), shared


_columns_again = functools.lru_cache(_REMEMBERED)(_columns)


def _with_children(field: _Table) -> Iterator[tuple[_Table, int]]:
    """Yield a field and its nested fields, with their depth; the caller limits how many it takes."""
    waiting = [(field, 0)]
    while waiting:
        one, depth = waiting.pop()
        yield one, depth
        if depth <= _DEEPEST:
            waiting += [(child, depth + 1) for child in one.tables(5)]


def _check_type(field: _Table, column: str) -> int | None:
    """Refuse an unsupported type; return the position of a time zone that is a fixed offset, if there is one."""
    kind, details = field.integer(2, "<B"), field.table(3)
    if kind in _NOT_TAKEN:
        raise DataError(
            f"column {quoted(column)} is {_NOT_TAKEN[kind]}, which is not taken; cast it to a plain type first"
        )
    if field.table(4) is not None and kind in _REPEATED:
        raise DataError(f"column {quoted(column)} is a dictionary of {_REPEATED[kind]}; write them out before sending")
    if kind == _DECIMAL and details is not None and details.integer(2, "<i", 128) == _WIDE_DECIMAL_BITS:
        raise DataError(f"column {quoted(column)} is a 256-bit decimal, which is not taken; cast it to decimal128")
    if kind == _TIMESTAMP and details is not None and (zone := details.text(1)):
        if _OFFSET.fullmatch(zone):
            return details.place(1)
        _require_zone(zone.decode(), column)
    return None


def _require_zone(zone: str, column: str) -> None:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise DataError(f"column {quoted(column)} has the time zone {quoted(zone)}, which is not known") from None


def _with_instants(body: bytes, patches: list[int]) -> bytes:
    """Replace fixed offsets by UTC: instants are stored, and the offset only said how to show them."""
    if not patches:
        return body
    patched = bytearray(body)
    for at in patches:
        patched[at : at + 8] = struct.pack("<I", len(_INSTANTS) - 1) + _INSTANTS
    return bytes(patched)


# ---- FlatBuffers ----------------------------------------------------------------------------------------------------


def _read(layout: str, data: bytes | memoryview, at: int) -> int:
    if at < 0:
        raise IndexError(at)
    value: int = struct.unpack_from(layout, data, at)[0]
    return value


class _Table:
    """A table of a FlatBuffer; see https://flatbuffers.dev/internals. Reading outside of the buffer raises."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self._at = data, at
        self._fields = at - _read("<i", data, at)
        self._size = _read("<H", data, self._fields)

    def _slot(self, number: int) -> int | None:
        """Return the position of a field in the table; None if it is left out."""
        entry = 4 + 2 * number
        offset = _read("<H", self.data, self._fields + entry) if entry + 2 <= self._size else 0
        return self._at + offset if offset else None

    def integer(self, number: int, layout: str, default: int = 0) -> int:
        """Return a field that is a number."""
        slot = self._slot(number)
        return default if slot is None else _read(layout, self.data, slot)

    def place(self, number: int) -> int | None:
        """Return the position that a field refers to."""
        slot = self._slot(number)
        return None if slot is None else slot + _read("<I", self.data, slot)

    def table(self, number: int) -> _Table | None:
        """Return a field that is a table."""
        place = self.place(number)
        return None if place is None else _Table(self.data, place)

    def text(self, number: int) -> bytes:
        """Return a field that is a text, as bytes."""
        start, length = self._vector(number, 1)
        return self.data[start : start + length]

    def tables(self, number: int) -> Iterator[_Table]:
        """Return a field that is a vector of tables."""
        start, length = self._vector(number, 4)
        for at in range(start, start + 4 * length, 4):
            yield _Table(self.data, at + _read("<I", self.data, at))

    def pairs(self, number: int) -> Iterator[tuple[int, int]]:
        """Return a field that is a vector of structs, each two whole numbers."""
        start, length = self._vector(number, 16)
        return struct.iter_unpack("<qq", self.data[start : start + 16 * length])

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        place = self.place(number)
        if place is None:
            return 0, 0
        length = _read("<I", self.data, place)
        if length > _MOST_VECTOR or place + 4 + size * length > len(self.data):
            raise IndexError(place)
        return place + 4, length
