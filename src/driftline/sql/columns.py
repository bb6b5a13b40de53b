"""Profile single columns inside a database: numbers by cell, and what has no cell by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.events import Kind, Task, missing_numbers
from driftline.profiles import CategoricalColumn, Columns, NumericColumn
from driftline.profiles.column import CategoricalTally, Column, NumericTally, merge_columns
from driftline.profiles.frame import FEATURE, SCORE, score_columns
from driftline.profiles.layout import Layout, read_rows
from driftline.profiles.table import Key
from driftline.sketches import Grid
from driftline.sql.counted import profile_counted
from driftline.sql.dialects import Numbers, cells, number
from driftline.sql.given import NUMBERS, Given
from driftline.sql.near import SUMS, column_of_cells, near_of


class Part(NamedTuple):
    """A column of a profile: its ``name`` there, the ``column`` of the rows that it is made of, and its kind.

    ``role`` is *feature*, *output*, *score* or *label*.
    """

    name: str
    column: str
    kind: Kind
    role: str

    @property
    def canonical(self) -> str:
        """Its name in canonical rows."""
        return FEATURE + self.name if self.role == "feature" else self.name


def parts_of(layout: Layout) -> list[Part]:
    """Return the columns of a profile by a layout."""
    columns, schema = layout.columns, layout.schema
    target = Kind.NUMERIC if schema.task is Task.REGRESSION else Kind.CATEGORICAL
    parts = [Part(name, name, kind, "feature") for name, kind in schema.inputs.items() if kind is not Kind.UNSUPPORTED]
    if columns.prediction is not None:
        parts.append(Part("prediction", columns.prediction, target, "output"))
    scores = score_columns(columns, schema).items()
    parts += [Part(SCORE + name, column, Kind.NUMERIC, "score") for name, column in scores]
    if columns.label is not None:
        parts.append(Part("label", columns.label, target, "label"))
    return parts


def problem_of(part: Part, given: Given) -> str | None:
    """Return why SQL cannot count a column as rows are counted, in words; None if it can."""
    if part.kind not in (Kind.NUMERIC, Kind.CATEGORICAL):
        return f"the parts of a {part.kind} column are made of each row; SQL has no words for them"
    if part.column in given.layout.hashed:
        return "it is profiled by its keyed hashes, and the key stays here"
    if part.kind is Kind.NUMERIC and part.column in given.types and given.kind(part.column) == "decimal":
        return None
    return given.problem(part.column)


def profile_column(part: Part, given: Given, rows: Mapping[Key, int]) -> dict[Key, Column]:
    """Return the profile of a column by window and version; ``rows`` are their numbers of rows."""
    found: dict[Key, Column] = {}
    grid = given.layout.grids.get(part.canonical, Grid())
    for key, counted in _counted(part, given, grid, rows):
        near = NumericColumn()
        others = counted
        if "cell" in counted.columns:
            there = counted.filter(pl.col("cell").is_not_null())
            near = column_of_cells(there.with_columns(pl.col(name).cast(pl.Int128) for name in SUMS), grid)
            others = counted.filter(pl.col("cell").is_null())
        column = _by_value(part, given, grid, others)
        column = merge_columns(near, column) if part.kind is Kind.NUMERIC else column
        if column.rows:
            found[key] = merge_columns(found[key], column) if key in found else column
    return found


def _counted(part: Part, given: Given, grid: Grid, rows: Mapping[Key, int]) -> Iterator[tuple[Key, pl.DataFrame]]:
    """Ask for a column's sums by ``cell``, if it has some, and for the number of ``rows`` by ``value``."""
    if part.column not in given.types:
        for key, count in rows.items():
            yield key, pl.DataFrame({"value": [None], "rows": [count]}, schema={"value": pl.String, "rows": pl.Int64})
        return
    numbers = _numbers(part, given, grid)
    if numbers is not None:
        yield from given.by_key(cells(given.source, given.keys, given.column(part.column), numbers, given.dialect))
        return
    value = given.value(part.column)
    if given.kind(part.column) == "decimal":
        value = f"CAST({value} AS {given.dialect.real})"
    for key, counted in given.counts([value]):
        yield key, counted.rename({"x0": "value"})


def _numbers(part: Part, given: Given, grid: Grid) -> Numbers | None:
    """How the numbers of a column are counted by cell; None if all are counted by value."""
    kind, schema, dialect = given.kind(part.column), given.layout.schema, given.dialect
    rounded = part.role == "feature" and part.column in schema.single and kind != "single"
    near = near_of(grid)
    if part.kind is not Kind.NUMERIC or kind not in NUMBERS or rounded or near is None:
        return None
    among = [f"x <> {number(one, dialect)}" for one in sorted(missing_numbers(schema.missing))]
    if part.role == "score":
        among.append(f"x >= {number(0.0, dialect)} AND x <= {number(1.0, dialect)}")
    return Numbers(grid, near, "".join(f" AND {one}" for one in among))


def _by_value(part: Part, given: Given, grid: Grid, counted: pl.DataFrame) -> Column:
    """The profile of values, each read as the layout says, from how often they occur."""
    read = _read(part, given, counted["value"])
    counts = counted["rows"].cast(pl.Int64).to_numpy()
    if part.role in ("label", "score"):  # only rows that have one count
        there = read.is_not_null()
        read, counts = read.filter(there), counts[there.to_numpy()]

    def categories(those: npt.NDArray[np.bool_]) -> CategoricalColumn:
        tally = CategoricalTally(given.layout.schema.missing)
        tally.add(read.filter(pl.Series(those)))
        return tally.column()

    def numbers(those: npt.NDArray[np.bool_]) -> NumericColumn:
        tally = NumericTally(grid)
        tally.add(read.filter(pl.Series(those)))
        return tally.column()

    if part.kind is Kind.CATEGORICAL:
        return profile_counted(categories, CategoricalColumn(), counts)
    return profile_counted(numbers, NumericColumn(), counts)


def _read(part: Part, given: Given, raw: pl.Series) -> pl.Series:
    if part.role == "feature":
        only = given.reading(Columns(), [part.name])
    elif part.role == "score":
        only = given.reading(Columns(score={part.name.removeprefix(SCORE): part.column}), [])
    elif part.role == "label":
        only = given.reading(Columns(label=part.column), [])
    else:
        only = given.reading(Columns(prediction=part.column), [])
    return read_rows(pl.DataFrame({part.column: raw}), only)[part.canonical]
