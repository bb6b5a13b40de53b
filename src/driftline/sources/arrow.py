"""Convert Arrow columns for Polars: a type that Polars lacks is cast, or its column holds only the type's name.

Polars refuses a whole table for one such column: decimals of 256 bits, unions, intervals, times at a fixed offset.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from arro3.core import DataType, RecordBatch, Schema, Table

_DECIMAL = re.compile(r"Decimal(\d+)\((\d+), (-?\d+)\)")
_NAME = re.compile(r"arro3\.core\.DataType<(.*)>\s*", re.DOTALL)
_WHOLLY_ODD = re.compile(r"(Union|Interval)\(")
_ODD = re.compile(  # within another type
    r"""(Union|Interval|RunEndEncoded|ListView|LargeListView|Decimal(32|64|256))\(|Decimal128\(\d+, -"""
    r"""|Timestamp\([^"()]+, "(?!UTC")"""
)
_DECIMAL_BITS, MOST_DIGITS = 128, 38  # of a decimal in Polars


def unread(words: str) -> pl.Struct:
    """Return the placeholder in Polars for a type that is not read; ``words`` are its name.

    >>> type_words(unread("Union")), type_words(pl.Int8())
    ('Union', 'Int8')
    """
    return pl.Struct({words: pl.Null()})


def type_words(dtype: pl.DataType) -> str:
    """Return the name of a type for messages."""
    if isinstance(dtype, pl.Struct) and len(dtype.fields) == 1 and dtype.fields[0].dtype == pl.Null:
        return dtype.fields[0].name
    name = getattr(dtype, "ext_name", None)  # an extension type has one
    return str(name()) if callable(name) else str(dtype)


def unread_series(name: str, words: str, rows: int, missing: int = 0) -> pl.Series:
    """Return ``rows`` placeholders for a column that is not read; the last ``missing`` ones are null."""
    there = pl.Series(name, [{words: None}], dtype=unread(words)).new_from_index(0, rows - missing)
    return pl.concat([there, pl.Series(name, [None], dtype=unread(words)).new_from_index(0, missing)])


INDEX = "__index_level_"
"""Prefix of the columns in which pandas keeps an unnamed index; they are left out."""


class Gate:
    """Converts batches and tables of one schema to Polars; the values of columns in ``ignore`` are not read."""

    def __init__(self, schema: Schema, ignore: Collection[str] = ()) -> None:
        self._names: list[str] = list(schema.names)
        self._left_out = [name for name in self._names if name.startswith(INDEX)]
        self._targets: dict[int, DataType | str] = {}
        for place, name in enumerate(self._names):
            dtype = schema.field(place).type
            target = _words(dtype) if name in ignore else taken(dtype)
            if isinstance(target, str) or not target.equals(dtype):
                self._targets[place] = target

    @property
    def is_open(self) -> bool:
        """Whether all columns are taken without a conversion."""
        return not self._targets

    def frame(self, rows: RecordBatch | Table) -> pl.DataFrame:
        """Return the rows in Polars."""
        if self.is_open:
            return pl.DataFrame(rows).drop(self._left_out)
        there = ((place, name) for place, name in enumerate(self._names) if name not in self._left_out)
        return pl.DataFrame([self._series(place, name, rows) for place, name in there])

    def _series(self, place: int, name: str, rows: RecordBatch | Table) -> pl.Series:
        target = self._targets.get(place)
        if target is None:
            return pl.DataFrame(rows.select([place])).to_series()
        column = rows.column(place)
        if isinstance(target, str):
            return unread_series(name, target, rows.num_rows, column.null_count)
        return pl.Series(column.cast(target)).alias(name)


def taken(dtype: DataType) -> DataType | str:
    """Return the type as which Polars can take a column; the name of its type if there is none.

    Times in any zone are instants and become times in UTC, since Polars has no offsets and not every zone. Lists and
    structs can be taken if everything in them can.
    """
    from arro3.core import DataType

    words = _words(dtype)
    if said := _DECIMAL.fullmatch(words):
        return _decimal(dtype, *map(int, said.groups()))
    unit = dtype.time_unit
    if unit is not None and words.startswith("Timestamp("):
        return dtype if dtype.tz in (None, "UTC") else DataType.timestamp(unit, tz="UTC")
    value = dtype.value_type
    if value is not None and words.startswith(("Dictionary(", "RunEndEncoded(")):
        target = taken(value)
        if isinstance(target, str):
            return words
        return dtype if words.startswith("Dictionary(") and target.equals(value) else target
    if _WHOLLY_ODD.match(words) or _ODD.search(words, 1):
        return words
    if words.startswith(("ListView(", "LargeListView(")) and (field := dtype.value_field) is not None:
        return DataType.large_list(field)
    return dtype


def _words(dtype: DataType) -> str:
    said = _NAME.fullmatch(repr(dtype))
    return said[1] if said is not None else str(dtype)


def _decimal(dtype: DataType, bits: int, digits: int, scale: int) -> DataType | str:
    from arro3.core import DataType

    if bits == _DECIMAL_BITS and scale >= 0:
        return dtype
    whole = digits - min(scale, 0)  # a negative scale means zeros at the end
    return DataType.decimal128(whole, max(scale, 0)) if whole <= MOST_DIGITS else _words(dtype)
