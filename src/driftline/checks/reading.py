"""Open the two sides of a comparison and read their columns with the same types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from driftline.errors import DataError
from driftline.profiles import Columns
from driftline.profiles.alike import Alike, Conversion, HowRead, Table
from driftline.profiles.frame import names_of
from driftline.profiles.missing import without_missing
from driftline.profiles.reading import as_booleans, as_written, read_alike
from driftline.sources.rows import Rows, StreamedRows, readable


class Input:
    """One side of a comparison: its rows, a sample of them, and the conversions of its columns."""

    def __init__(self, rows: Rows, sample: pl.DataFrame, missing: tuple[str, ...]) -> None:
        self.rows, self.name, self.sample, self._missing = rows, rows.name, sample, missing
        for name in rows.schema:
            if name == "*" or (name.startswith("^") and name.endswith("$")):  # Polars would take many columns for it
                raise DataError(f"{rows.name}: the column {name!r} has a pattern for a name; give it another name")
        if not self.sample.width or not self.sample.height:
            what = "rows" if self.sample.width else "columns"
            raise DataError(f"{self.name} has no {what}; there is nothing to compare")
        self._conversions: Mapping[str, Conversion] = {}
        self._types: dict[str, pl.DataType] = {}
        self._truths = [name for name, dtype in self.sample.schema.items() if dtype == pl.Boolean]

    def table(self) -> Table:
        """Return what the conversions of the columns are inferred from."""
        return Table(self.sample, self.rows.typed, None if isinstance(self.rows, StreamedRows) else self._column)

    def _column(self, name: str) -> Iterator[pl.Series]:
        """Yield all values of a column as they are written, batch by batch."""
        for batch in self.rows.batches([name]):
            yield without_missing(batch[name], self._missing)

    def as_written(self, texts: set[str]) -> Input:
        """The same side with some columns read as texts, as they are written."""
        if not texts:
            return self
        rows = self.rows.retyped(texts)
        with readable(rows.name):
            return Input(rows, rows.sample(), self._missing)

    def convert(self, conversions: Mapping[str, Conversion]) -> None:
        """Apply these conversions to the sample, where missing values become null, and to all batches from now on."""
        self._conversions = conversions
        converted, _ = self.typed(self.sample)
        self.sample = converted.with_columns(
            without_missing(converted[name], self._missing) for name in self.sample.columns
        )

    def type_like(self, other: Input) -> None:
        """Give columns without any value the type of the other side, or text."""
        for name, dtype in self.sample.schema.items():
            if dtype == pl.Null:
                there = other.sample.schema.get(name, pl.Null())
                self._types[name] = pl.String() if there == pl.Null else there
        self.sample, _ = self.typed(self.sample)

    @property
    def types(self) -> dict[str, pl.DataType]:
        """The types of the columns as they are compared."""
        return dict(self.sample.schema)

    def typed(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        """Return a converted batch, and how many values of each column could not be converted."""
        changed = [_named_alike(batch[name]) for name in self._truths if batch.schema.get(name) == pl.String]
        batch = batch.with_columns(changed) if changed else batch
        changed, lost, there = [], {}, set(batch.columns)
        for name, dtype in self._types.items():
            if name in there:
                changed.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, batch.height))
        for name, conversion in self._conversions.items():
            if name in there and name not in self._types:
                before = without_missing(batch[name], self._missing)
                after = conversion(before)
                changed.append(after)
                if left := after.null_count() - before.null_count():
                    lost[name] = left
        return (batch.with_columns(changed) if changed else batch), lost


def _named_alike(texts: pl.Series) -> pl.Series:
    """Write the booleans of a column whose later batches are texts as its first ones: true or false."""
    return texts.zip_with(as_booleans(texts).is_null(), names_of(as_booleans(texts)))


def read_sides_alike(before: Input, now: Input, columns: Columns) -> tuple[Input, Input, Alike]:
    """Infer how the columns of both sides are read; return the sides that read them so, and notes on it."""
    sides = [before, now]
    sides = [side.as_written(texts) for side, texts in zip(sides, as_written(_tables(sides), columns), strict=True)]
    alike = read_alike(_tables(sides), columns, HowRead(columns.missing, columns.time_format))
    for side, conversions in zip(sides, alike.conversions, strict=True):
        side.convert(conversions)
    before, now = sides
    before.type_like(now)
    now.type_like(before)
    return before, now, alike


def _tables(sides: Sequence[Input]) -> list[Table]:
    return [side.table() for side in sides]
