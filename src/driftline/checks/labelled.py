"""Read the rows of a gate, the labelled ones and each model's predictions, with the same types on all sides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from driftline.errors import DataError, lacks_column
from driftline.events import MISSING_TEXTS
from driftline.lookalikes import shown
from driftline.profiles import Columns
from driftline.profiles.alike import NAMED, HowRead, Table
from driftline.profiles.frame import identifiers
from driftline.profiles.missing import without_missing
from driftline.profiles.reading import as_written, converted, read_alike
from driftline.sources.files import open_rows, whole
from driftline.sources.rows import FrameRows, Rows
from driftline.text.numbers import percent

MISSING_TOLD = 0.01
"""From this share of classes without a value, a note says that one may be a class called None or NA."""

_EXACT_BELOW = 2**53
"""Below this, different whole numbers are different 64-bit floats."""


class GateColumns(msgspec.Struct, frozen=True):
    """The role of each column, in the labelled rows and in the files of predictions.

    ``score`` is the column of the positive class, or a mapping of class to column. Without ``id`` the rows of a file of
    predictions are in the order of the labelled rows. ``missing`` and ``time_format`` are those of `Columns`.
    """

    label: str
    id: str | None = None
    time: str | None = None
    prediction: str = "prediction"
    score: str | Mapping[str, str] | None = None
    segments: Sequence[str] = ()
    missing: tuple[str, ...] = MISSING_TEXTS
    time_format: str | None = None

    def parts(self, *names: str) -> Columns:
        """Return the columns of some roles, as `canonical` takes them."""
        known = {name: getattr(self, name) for name in names}
        return Columns(**known, features=(), missing=self.missing, time_format=self.time_format)


def read_tables(sources: Sequence[str | Path | pl.DataFrame], columns: GateColumns) -> list[pl.DataFrame]:
    """Read the labelled rows, which come first, and the predictions of models; only columns with a role are converted.

    The ids 17, 17.0 and "17" are equal; where one table has leading zeros, text files keep theirs, too.
    """
    opened: list[Rows] = [
        FrameRows(one, "the data") if isinstance(one, pl.DataFrame) else open_rows(one, columns.missing)
        for one in sources
    ]
    parts = columns.parts("id", "time", "label", "prediction", "score", "segments")
    tables = [Table(rows.sample(), rows.typed) for rows in opened]
    named: set[str] = {*parts.roles, *parts.segments}
    texts = [wanted & named for wanted in as_written(tables, parts)]
    frames = [whole(rows.retyped(names) if names else rows) for rows, names in zip(opened, texts, strict=True)]
    of_data = {name for name in (columns.time, columns.label, *columns.segments) if name is not None}
    of_models = named - of_data
    alike = read_alike([Table(frame) for frame in frames], parts, HowRead(columns.missing, columns.time_format))
    kept = [of_data, *(of_models for _ in frames[1:])]
    read = [
        converted(frame, {name: one for name, one in found.items() if name in mine}, columns.missing)
        for frame, found, mine in zip(frames, alike.conversions, kept, strict=True)
    ]
    for name, what, words in (
        (columns.time, "times", "say how they are written: --time-format '%d.%m.%Y %H:%M'"),
        (columns.label, "numbers", "name what stands for no label: --missing"),
    ):
        if name is not None and name in read[0].columns:
            _require_readable(without_missing(frames[0][name], columns.missing), read[0][name], what, words)
    return read


def _require_readable(before: pl.Series, read: pl.Series, what: str, words: str) -> None:
    """Refuse times and labels that cannot be read: intervals, leakage and the measure depend on each of them."""
    unreadable = before.filter(before.is_not_null() & read.is_null())
    if len(unreadable):
        part = "time column" if what == "times" else "labels"
        raise DataError(
            f"{len(unreadable)} of {len(before)} values of the {part} {before.name!r} are no {what}, such as "
            f"{unreadable[0]!r}; correct them, or {words}"
        )


def ids_of(rows: pl.DataFrame, name: str, named: str, missing: tuple[str, ...]) -> pl.Series:
    """Return the ids of rows as texts, null where there is none; raise `DataError` for ids that are not unique."""
    ids = without_missing(rows[name], missing)
    if ids.dtype.is_float() and len(large := ids.filter(ids.abs() >= _EXACT_BELOW)):
        raise DataError(
            f"the ids of {named} in {name!r} are floats such as {large[0]!r}; from {_EXACT_BELOW:,} on a float stands "
            "for several whole numbers: write ids as whole numbers or as texts"
        )
    ids = identifiers(ids)
    there = ids.drop_nulls()
    if there.is_duplicated().any():
        raise DataError(f"{named} have the id {there.filter(there.is_duplicated())[0]!r} twice")
    return ids


def require_probabilities(rows: pl.DataFrame, named: str, columns: GateColumns) -> None:
    """Refuse columns of scores without a single probability: they would be ignored silently."""
    for name, part in columns.parts("score").roles.items():
        if part != "score" or name not in rows.columns:
            continue
        there = without_missing(rows[name], columns.missing).drop_nulls()
        if len(there) and not (there.dtype.is_numeric() and there.is_between(0, 1).any()):
            raise DataError(
                f"the scores of {named} in {name!r} are such as {there[0]!r}; probabilities from 0 to 1 are allowed: "
                "divide percents by 100"
            )


def require_common(ids: pl.Series, known: pl.Series, named: str) -> None:
    """Refuse predictions whose ids match no labelled row: they are written in another way."""
    if len(known) and len(there := ids.drop_nulls()) and not there.is_in(known.implode()).any():
        raise DataError(
            f"none of the {len(there)} ids of {named}, such as {there[0]!r}, is the id of a labelled row, such as "
            f"{known[0]!r}; write them alike"
        )


def require_times(times: pl.Series, name: str) -> None:
    """Refuse rows without a time in the time column."""
    if gone := times.null_count():
        raise DataError(
            f"{gone} of {len(times)} rows have no time in {name!r}, so that nobody can tell which rows share a time, "
            "or whether the challenger has learned from them; give each row a time, or leave these rows out"
        )


def taken_as_missing(tables: Iterable[tuple[str, pl.DataFrame]], columns: GateColumns) -> tuple[str, ...]:
    """Warn of labels and predictions without a value, which may be a class called None or NA.

    ``tables`` are the labelled rows and those of each model, each with its name.
    """
    if columns.missing != MISSING_TEXTS:
        return ()
    found = []
    for named, rows in tables:
        for name, what in ((columns.label, "labels"), (columns.prediction, "predictions")):
            if name not in rows.columns or rows[name].dtype not in NAMED:
                continue
            gone = without_missing(rows[name], columns.missing).null_count() / max(len(rows), 1)
            if gone >= MISSING_TOLD:
                found.append(f"{percent(gone)} of the {what} {shown(name, [name])} of {named}")
    if not found:
        return ()
    return (f"{' and '.join(found)} have no value; a class called None, NA or null is one with --missing ''",)


def labelled(rows: pl.DataFrame, columns: GateColumns) -> pl.DataFrame:
    """Return the rows that have a label."""
    return rows.filter(without_missing(rows[columns.label], columns.missing).is_not_null())


def require_there(rows: pl.DataFrame, named: str, columns: Collection[str]) -> None:
    """Refuse rows that lack a column."""
    for name in columns:
        if name not in rows.columns:
            raise DataError(lacks_column(named, name, rows.columns))
