"""Read the columns of two sides alike, so that equal values compare as equal whatever their type and spelling.

A reference in Parquet and today's rows in CSV have different types for the same values: 32-bit floats and decimal
texts, ``02139`` and 2139, times and texts. `read_alike` looks at samples of all sides and decides how to convert their
columns. It says in words what it assumed, and which columns it could not decide on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl
from msgspec.structs import replace

from driftline.profiles.alike import NAMED, Alike, Conversion, HowRead, Table
from driftline.profiles.columns import Columns
from driftline.profiles.frame import names_of
from driftline.profiles.missing import without_missing, without_missing_in
from driftline.profiles.numbers import NumberStyle, number_style, read_numbers
from driftline.profiles.parts import are_dates
from driftline.profiles.reading_times import LEAST_READ, read_dates, read_time
from driftline.profiles.rounding import Rounding, rounding_of

_IDENTIFIERS = 0.5
_LEAST_NUMBERS = 30
_DIGITS_OF_IDENTIFIERS = 9
_SIDES = 2
_BOOLEANS = {"true": True, "t": True, "yes": True, "y": True, "1": True}
_BOOLEANS |= {"false": False, "f": False, "no": False, "n": False, "0": False}


def as_written(tables: Sequence[Table], columns: Columns) -> list[set[str]]:
    """Return the columns that each table has to read again as texts, because in another table they are not numbers.

    A reader of CSV takes postcodes such as ``02139`` for numbers; a column of texts in the reference stays one.
    """
    wanted: list[set[str]] = [set() for _ in tables]
    for name in _names(tables):
        if columns.roles.get(name) in ("time", "score"):
            continue
        there = {place: one.sample[name] for place, one in enumerate(tables) if name in one.names}
        texts = [values for place, values in there.items() if values.dtype == pl.String and tables[place].typed]
        guessed = [place for place, values in there.items() if values.dtype.is_numeric() and not tables[place].typed]
        if not texts or not guessed:
            continue
        style = number_style(texts)
        if style is None or not are_numbers(style, texts):
            for place in guessed:
                wanted[place].add(name)
    return wanted


def read_alike(tables: Sequence[Table], columns: Columns, how: HowRead) -> Alike:
    """Decide from their samples how to read the columns of all tables; the first table is the reference.

    Raises `DataError` for a time column that cannot be read, because the user named it.
    """
    clean = [replace(one, sample=without_missing_in(one.sample, how.missing)) for one in tables]
    found = Alike([{} for _ in tables])
    for name in _names(clean):
        part = columns.roles.get(name, "segment" if name in columns.segments else "feature")
        if part == "time":
            read_time(found, clean, name, how)
        elif part not in ("id", "version", "segment"):
            _read_values(found, clean, name, part, how)
    return found


def read_alone(rows: pl.DataFrame, columns: Columns) -> tuple[pl.DataFrame, Alike]:
    """Return a single table with its columns converted, and what was assumed about them."""
    alike = read_alike([Table(rows)], columns, HowRead(columns.missing, columns.time_format))
    return converted(rows, alike.conversions[0], columns.missing), alike


def read_as_served(rows: pl.DataFrame, columns: Columns, *, typed: bool) -> pl.DataFrame:
    """Return the rows of a file so that they are like the events; ``typed`` is whether the file states its types.

    Inputs that are given as texts are texts in events, too; times that are written otherwise than these are names.
    """
    read, _ = read_alone(rows, columns)
    kept = [
        name
        for name, dtype in read.schema.items()
        if name not in columns.roles
        and rows[name].dtype == pl.String
        and ((dtype.is_numeric() and typed) or (dtype.is_temporal() and not are_dates(rows[name])))
    ]
    return read.with_columns(rows[name] for name in kept)


def converted(rows: pl.DataFrame, conversions: Mapping[str, Conversion], missing: tuple[str, ...]) -> pl.DataFrame:
    """Return rows with some columns converted, and their missing values as null."""
    there = set(rows.columns)
    return rows.with_columns(
        conversion(without_missing(rows[name], missing)) for name, conversion in conversions.items() if name in there
    )


def _names(tables: Sequence[Table]) -> dict[str, None]:
    return {name: None for one in tables for name in one.sample.columns}


# ---- features and targets ----------------------------------------------------------------------------------


def _read_values(found: Alike, tables: Sequence[Table], name: str, part: str, how: HowRead) -> None:
    there = {place: one.sample[name] for place, one in enumerate(tables) if name in one.names}
    texts = {place: values.cast(pl.String) for place, values in there.items() if values.dtype in NAMED}
    if part != "score":
        _note_changed_type(found, tables, there, name)
    if texts and any(values.dtype == pl.Boolean for values in there.values()):
        _read_booleans(found, texts)
        return
    if texts and part == "feature" and read_dates(found, tables, there, texts, how):
        return
    if texts and not any(values.dtype.is_temporal() for values in there.values()):
        _read_texts(found, there, texts, name, part)
    if part == "feature":
        _round(found, there, name)


def _note_changed_type(found: Alike, tables: Sequence[Table], there: Mapping[int, pl.Series], name: str) -> None:
    """Note a type that differs, if both were stored: whatever writes the rows has changed."""
    families = {place: _family(values) for place, values in there.items() if values.count()}
    if len(set(families.values())) < _SIDES or not all(tables[place].typed for place in families):
        return
    was, became = (families[place] for place in sorted(families)[:_SIDES])
    if not {was, became} <= {"truth values", "whole numbers", "numbers"}:  # a gap makes floats of these
        found.changed[name] = f"{was} in the reference, {became} now"


def _family(values: pl.Series) -> str:
    dtype = values.dtype
    if dtype in NAMED:
        return "texts"
    if dtype == pl.Boolean:
        return "truth values"
    if dtype.is_numeric():
        return "whole numbers" if dtype.is_integer() else "numbers"
    if dtype == pl.Duration:
        return "durations"
    return "times" if dtype.is_temporal() else "values of another type"


def _read_booleans(found: Alike, texts: Mapping[int, pl.Series]) -> None:
    """Read texts such as True and no as booleans, as the column has booleans on the other side."""
    for place, values in texts.items():
        if values.drop_nulls().str.strip_chars().str.to_lowercase().is_in(list(_BOOLEANS)).all():
            found.conversions[place][values.name] = Conversion(as_booleans)


def as_booleans(values: pl.Series) -> pl.Series:
    """Return texts such as True and no as booleans; null for other texts."""
    names = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    return names.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)


def _read_texts(
    found: Alike, there: Mapping[int, pl.Series], texts: Mapping[int, pl.Series], name: str, part: str
) -> None:
    """Read texts as numbers if they are, and numbers as texts if the reference has texts that are not numbers."""
    beside = [place for place, values in there.items() if place not in texts and values.count()]
    forced = part == "score" or (bool(beside) and there[min(there)].dtype.is_numeric())
    numbers = [there[place] for place in beside if there[place].dtype.is_numeric()]
    styles = _styles(list(texts.values()), numbers[0] if numbers else None, forced=forced)
    if _all_numbers(list(texts.values()), styles, forced=forced):
        for place, style in zip(texts, styles, strict=True):
            found.conversions[place][name] = Conversion(partial(_as_numbers, style=style or NumberStyle()))
        words = sorted({style.words for style in styles if style is not None and style.words})
        if words:
            found.notes[name] = f"{name} is read as numbers, with {' and '.join(words)}"
        elif not beside and part != "score":
            found.notes[name] = f"{name} is read as numbers, though its type is text"
        return
    if min(there) in texts:  # what is text in the reference is text
        for place in beside:
            if there[place].dtype.is_numeric():
                found.conversions[place][name] = Conversion(_as_names)


def _styles(samples: Sequence[pl.Series], beside: pl.Series | None, *, forced: bool) -> list[NumberStyle | None]:
    """The style of the numbers in each sample: the same one for all, if it fits all."""
    if forced:
        return [number_style([values], LEAST_READ, beside) for values in samples]
    together = number_style(samples, beside=beside)
    return [together or number_style([values], beside=beside) for values in samples]


def _all_numbers(samples: Sequence[pl.Series], styles: Sequence[NumberStyle | None], *, forced: bool) -> bool:
    """Whether there is a sample with values, and every such sample has numbers."""
    given = [(values, style) for values, style in zip(samples, styles, strict=True) if values.count()]
    return bool(given) and all(
        style is not None and (forced or are_numbers(style, [values])) for values, style in given
    )


def are_numbers(style: NumberStyle, samples: Sequence[pl.Series]) -> bool:
    """Return whether texts that can be read as numbers are quantities, and not codes (02139) or a few whole numbers.

    Whole numbers that hardly repeat are quantities, because they could not be compared as categories; with many digits
    they are identifiers.
    """
    if style.code or not style.whole:
        return not style.code
    there = pl.concat([values.drop_nulls() for values in samples])
    if len(there) < _LEAST_NUMBERS or there.n_unique() <= _IDENTIFIERS * len(there):
        return False
    digits = there.str.count_matches(r"\d").median()
    return bool(style.unit) or not isinstance(digits, float) or digits < _DIGITS_OF_IDENTIFIERS


def _as_numbers(values: pl.Series, style: NumberStyle) -> pl.Series:
    return read_numbers(values.cast(pl.String), style)


def _as_names(values: pl.Series) -> pl.Series:
    return names_of(values)


def _round(found: Alike, there: Mapping[int, pl.Series], name: str) -> None:
    """Round the values of both sides if they differ only by rounding noise."""
    read = {}
    for place, values in there.items():
        conversion = found.conversions[place].get(name)
        read[place] = conversion(values) if conversion is not None else values
    if len(read) != _SIDES or not all(values.dtype.is_numeric() for values in read.values()):
        return
    rounding = rounding_of(list(read.values()))
    if rounding is None:
        return
    for place in read:
        first = found.conversions[place].get(name)
        found.conversions[place][name] = Conversion(partial(_rounded, first=first, rounding=rounding))
    if not rounding.single:
        found.notes[name] = f"{name} is compared to {rounding.words}: beyond them the sides differ by rounding"


def _rounded(values: pl.Series, first: Conversion | None, rounding: Rounding) -> pl.Series:
    return rounding(first(values) if first is not None else values)
