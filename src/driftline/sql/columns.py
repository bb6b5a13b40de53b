"""Profile single columns inside a database: numbers by cell, and what has no cell by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.events import Kind, Task, missing_numbers
from driftline.profiles import CategoricalColumn, Columns, NumericColumn
from driftline.profiles.column import Column, merge_columns
from driftline.profiles.frame import FEATURE, SCORE, score_columns
from driftline.profiles.layout import Layout, read_rows
from driftline.profiles.missing import without_missing
from driftline.profiles.table import Key
from driftline.sketches import CategoryCounts, Grid
from driftline.sql.counted import profile_counted
from driftline.sql.dialects import Numbers, cells, number, values
from driftline.sql.given import NUMBERS, Answer, Given
from driftline.sql.near import columns_of_cells, near_of

_A = {Kind.TEXT: "a text", Kind.DATETIME: "a time", Kind.EMBEDDING: "an embedding"}


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
        return f"the parts of {_A[part.kind]} are made of each row; SQL has no words for them"
    if part.column in given.layout.hashed:
        return "it is profiled by its keyed hashes, and the key stays here"
    if part.kind is Kind.NUMERIC and part.column in given.types and given.kind(part.column) == "decimal":
        return None
    return given.problem(part.column)


def profile_column(part: Part, given: Given, rows: Mapping[Key, int]) -> dict[Key, Column]:
    """Return the profile of a column by window and version; ``rows`` are their numbers of rows."""
    if part.column not in given.types:
        return {key: _absent(part, count) for key, count in rows.items() if part.role in ("feature", "output")}
    found: dict[Key, Column] = {}
    grid = given.layout.grids.get(part.canonical, Grid())
    for answer in _answers(part, given, grid):
        for key, column in _profiled(part, given, grid, answer):
            if column.rows:
                found[key] = merge_columns(found[key], column) if key in found else column
    return found


def _absent(part: Part, rows: int) -> Column:
    """The profile of a column that the rows lack."""
    column = NumericColumn if part.kind is Kind.NUMERIC else CategoricalColumn
    return column(rows=rows, missing=rows)


def _answers(part: Part, given: Given, grid: Grid) -> Iterator[Answer]:
    """Ask for a column's sums by ``cell``, if it has some, and for the number of ``rows`` by ``value``."""
    numbers = _numbers(part, given, grid)
    if numbers is not None:
        return given.answers(cells(given.source, given.keys, given.column(part.column), numbers, given.dialect))
    value = given.value(part.column)
    if given.kind(part.column) == "decimal":
        value = f"CAST({value} AS {given.dialect.real})"
    return given.answers(values(given.source, given.keys, [value]))


def _profiled(part: Part, given: Given, grid: Grid, answer: Answer) -> Iterator[tuple[Key, Column]]:
    """Yield the profiles of a column, or of parts of it, from what a statement returned."""
    frame = answer.frame.with_columns(_places(answer))
    if "cell" in frame.columns:
        near = frame.filter(pl.col("cell").is_not_null())
        if near.height:
            keys = near["key"].unique(maintain_order=True).to_list()
            yield from zip((answer.keys[key] for key in keys), columns_of_cells(near, grid), strict=True)
        frame = frame.filter(pl.col("cell").is_null())
    read = _read(part, given, frame["value" if "value" in frame.columns else "x0"])
    if part.kind is Kind.CATEGORICAL:  # there are also names for what is missing
        read = without_missing(read, given.layout.schema.missing)
    known = pl.DataFrame([frame["key"], read.alias("read"), frame["rows"]])
    if part.role in ("label", "score"):  # only rows that have one count
        known = known.filter(pl.col("read").is_not_null())
    for (key,), counted in known.partition_by("key", as_dict=True, include_key=False).items():
        yield answer.keys[key], _of_values(part, grid, counted["read"], counted["rows"])


def _places(answer: Answer) -> pl.Series:
    """The place of each row's key among the keys."""
    lengths = np.diff([*answer.begins, answer.frame.height])
    return pl.Series("key", np.repeat(np.arange(len(lengths)), lengths), dtype=pl.Int64)


def _of_values(part: Part, grid: Grid, read: pl.Series, rows: pl.Series) -> Column:
    """The profile of values, null for missing ones, that occur so many times."""
    there = read.is_not_null()
    absent = _absent(part, int(rows.filter(~there).sum()))
    read, rows = read.filter(there), rows.filter(there)
    if part.kind is Kind.CATEGORICAL:
        names = CategoryCounts.of(zip(read.to_list(), rows.to_list(), strict=True))
        return merge_columns(absent, CategoricalColumn(rows=int(rows.sum()), categories=names))

    def numbers(places: npt.NDArray[np.int64]) -> NumericColumn:
        return NumericColumn.of(read[places], grid)

    return merge_columns(absent, profile_counted(numbers, NumericColumn(), rows.to_numpy()))


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
