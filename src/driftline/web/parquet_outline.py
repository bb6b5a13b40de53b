"""Read the headers of a Parquet file before it is unpacked: its rows, and what its pages unpack to.

What a reader allocates for a page is what the page's own header states, so these are added up, not what the footer says
of them. The format: https://parquet.apache.org/docs/file-format/, and its structures in Thrift's compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from typing import Any, NamedTuple

from driftline.errors import DataError
from driftline.web.arrow_stream import CELL_BYTES, PART_BYTES

_MAGIC = b"PAR1"
_DEEPEST, _MOST_FIELDS, _MOST_VALUES, _DEEPEST_STRUCT = 16, 20_000, 2**21, 32
_LONGEST_NUMBER = 63
_TRUE, _FALSE, _BYTE, _SMALL, _MIDDLE, _WIDE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DATA, _INDEX, _DICTIONARY, _DATA_2 = range(4)
_OF_FIXED_LENGTH = 7
_ARROW_TYPES, _NO_ARROW_TYPES = b"ARROW:schema", b"ARROW-schema"
_ENCODINGS = {0, 2, 3, 8}
"""Plain, by dictionary, and by run lengths: what writers do unless they are told otherwise. Of the others the length of
what they unpack to is in the values, where it cannot be known before.
"""

_Fields = dict[int, Any]


class ParquetOutline(NamedTuple):
    """The rows of a file, and the bytes that it takes once it is unpacked, estimated from above."""

    rows: int
    unpacked: int


def parquet_outline(body: bytes) -> ParquetOutline:
    """Read the headers of a file; raise `DataError` for a broken file, or one that cannot be measured."""
    try:
        headers = _Compact(body)
        headers.at, headers.end = _footer(body), len(body) - 8
        footer = headers.struct()
        elements = footer.get(2, [])
        _require_flat(elements)
        value_bytes = CELL_BYTES + _longest(elements)
        rows = unpacked = packed = 0
        for group in footer.get(4, []):
            here = _not_negative(group.get(3))
            rows += here
            for chunk in group.get(1, []):
                about = chunk.get(3, {})
                packed += _not_negative(about.get(7))
                if packed > len(body):
                    raise ValueError(packed)  # chunks that share bytes are read again and again
                unpacked += _of_chunk(headers, about, value_bytes) + PART_BYTES + CELL_BYTES * here
    except DataError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DataError("the body is not a Parquet file that can be read: its headers are broken") from error
    return ParquetOutline(rows, unpacked)


def without_arrow_types(body: bytes) -> bytes:
    """Return the same file without the types that Arrow's writers add to those of Parquet: a vector is a list then.

    A vector that is null takes memory all the same, of whatever length is stated.
    """
    start = _footer(body)
    return body[:start] + body[start:].replace(_ARROW_TYPES, _NO_ARROW_TYPES)


def _footer(body: bytes) -> int:
    """Return where the footer begins."""
    size = int.from_bytes(body[-8:-4], "little")
    if len(body) < 12 or body[:4] != _MAGIC or body[-4:] != _MAGIC or size > len(body) - 12:
        raise DataError("the body is not a Parquet file: it does not begin and end as one; send all of it, unencrypted")
    return len(body) - 8 - size


def _longest(elements: list[_Fields]) -> int:
    """Return the most bytes of a value of a fixed length, which is written out for each row that refers to it."""
    return max((_not_negative(one.get(2)) for one in elements if one.get(1) == _OF_FIXED_LENGTH), default=0)


def _require_flat(elements: list[_Fields]) -> None:
    """Raise `DataError` for columns that are nested too deeply or are too many. They come each before its parts."""
    if len(elements) > _MOST_FIELDS:
        raise DataError(f"the Parquet file has more than {_MOST_FIELDS:,} columns and parts of columns; send fewer")
    open_parts: list[int] = []
    for element in elements:
        while open_parts and open_parts[-1] == 0:
            open_parts.pop()
        if open_parts:
            open_parts[-1] -= 1
        if len(open_parts) > _DEEPEST:
            raise DataError(f"a column of the Parquet file is nested more than {_DEEPEST} deep; flatten it")
        if parts := element.get(5):
            open_parts.append(_not_negative(parts))


def _of_chunk(headers: _Compact, about: _Fields, value_bytes: int) -> int:
    """Return what the pages of one column of one row group unpack to."""
    places = [_not_negative(about.get(field, 0)) for field in (9, 11)]  # of the data, and of their dictionary
    at = min((place for place in places if place), default=0)  # a column without values has no page of them
    headers.at, headers.end = at, at + _not_negative(about.get(7))
    if headers.end > headers.size:
        raise ValueError(headers.end)
    unpacked = 0
    while headers.at < headers.end:
        header = headers.struct()
        packed = _not_negative(header.get(3))
        if headers.at + packed > headers.end:
            raise ValueError(packed)
        unpacked += _not_negative(header.get(2)) + value_bytes * _values_of(header)
        headers.at += packed
    return unpacked


def _values_of(header: _Fields) -> int:
    """Return how many values a page holds; raise `DataError` for one in an encoding that cannot be measured."""
    kind = header.get(1)
    if kind == _INDEX:
        return 0
    place, encoding = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_2: (8, 4)}[_not_negative(kind)]
    page = header[place]
    if page.get(encoding) not in _ENCODINGS:
        raise DataError(
            f"a column of the Parquet file is in encoding {page.get(encoding)!r}, whose size is not known before it is "
            "read; write it plain or by dictionary, as is usual"
        )
    return _not_negative(page.get(1))


def _not_negative(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


class _Compact:
    """Reads structures of Thrift's compact protocol, from ``at`` on; reading past ``end`` raises `IndexError`.

    How many values it reads is bounded, whatever they are of: each costs time.
    """

    def __init__(self, body: bytes) -> None:
        self._body, self.size = body, len(body)
        self.at, self.end = 0, self.size
        self._values = 0

    def struct(self, depth: int = 0) -> _Fields:
        """Read a structure: its values by the numbers of their fields."""
        if depth > _DEEPEST_STRUCT:
            raise ValueError(depth)
        fields: _Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            kind, step = head & 15, head >> 4
            number = number + step if step else self._signed()
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _byte(self) -> int:
        if not 0 <= self.at < self.end:
            raise IndexError(self.at)
        self.at += 1
        return self._body[self.at - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > _LONGEST_NUMBER:
                raise ValueError(shift)

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, size: int) -> bytes:
        start = self.at
        if size > self.end - start:
            raise IndexError(size)
        self.at += size
        return self._body[start : self.at]

    def _value(self, kind: int, depth: int) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise ValueError(self._values)
        if kind in (_SMALL, _MIDDLE, _WIDE):
            return self._signed()
        if kind in (_TRUE, _FALSE, _BYTE):  # of a list: in a structure the type is the value
            return self._byte()
        if kind == _DOUBLE:
            return self._skip(8)
        if kind == _BINARY:
            return self._skip(self._unsigned())
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._value(head & 15, depth + 1) for _ in range(size)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _MAP:
            return self._map(depth)
        raise ValueError(kind)

    def _map(self, depth: int) -> list[tuple[Any, Any]]:
        if (size := self._unsigned()) == 0:
            return []
        kinds = self._byte()
        return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)]
