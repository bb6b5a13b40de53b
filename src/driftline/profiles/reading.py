"""Reads columns alike: what is the same value on two sides is the same, whatever its type and its spelling there.

A reference in Parquet and today's rows in CSV have other types for the same things: 32-bit floats and decimal texts,
``02139`` and 2139, times and texts. `read_alike` looks at samples of all sides and says how the columns of each are
converted. What it takes for granted it says in words, and what it cannot know it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from driftline.errors import DataError
from driftline.events import MISSING_TEXTS
from driftline.profiles.frame import Columns, names_of
from driftline.profiles.missing import without_missing, without_missing_in
from driftline.profiles.numbers import NumberStyle, number_style, read_numbers
from driftline.profiles.rounding import Rounding, rounding_of
from driftline.profiles.times import UNITS, Doubt, TimeStyle, epoch_style, read_times, time_style, unit_of

_LEAST_READ = 0.5
"""A time column of which less than this share can be read is refused."""

_IDENTIFIERS = 0.5
_LEAST_NUMBERS = 30
_SIDES = 2
_BOOLEANS = {"true": True, "t": True, "yes": True, "y": True, "1": True}
_BOOLEANS |= {"false": False, "f": False, "no": False, "n": False, "0": False}
_NAMED = (pl.String, pl.Categorical, pl.Enum)


@dataclass(frozen=True, slots=True)
class Table:
    """One side: ``sample`` are some of its rows; ``typed`` whether its types were given, not guessed from texts.

    ``column`` reads all of a column, in parts, where the sample leaves something open; None: it cannot be read again.
    """

    sample: pl.DataFrame
    typed: bool = True
    column: Callable[[str], Iterable[pl.Series]] | None = None
    names: frozenset[str] = field(init=False)
    """The columns: asked for each of them, Polars would list them all."""

    def __post_init__(self) -> None:
        """Look the names up once."""
        object.__setattr__(self, "names", frozenset(self.sample.columns))


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the values of one column are read. ``convert`` gives null for what cannot be read so."""

    convert: Callable[[pl.Series], pl.Series]

    def __call__(self, values: pl.Series) -> pl.Series:
        """The values as they are compared, shape (n,)."""
        return self.convert(values).alias(values.name)


@dataclass(slots=True)
class Alike:
    """How the columns of some tables are read.

    ``conversions`` has one mapping a table. ``notes`` say what was taken for granted, by column; ``changed`` are the
    types that differ where both were given, and ``doubts`` the columns that are not compared, with the reason.
    """

    conversions: list[dict[str, Conversion]]
    notes: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What was taken for granted and what has another type, for people."""
        types = [f"{name} has another type: {words}" for name, words in self.changed.items()]
        return [*types, *self.notes.values()]


@dataclass(frozen=True, slots=True)
class HowRead:
    """What people say about the reading: the texts that stand for missing values, and how times are written.

    ``time_format`` is one of strptime's, or the unit of numbers (s, ms, us, ns); None: found out.
    """

    missing: tuple[str, ...] = MISSING_TEXTS
    time_format: str | None = None

    def style(self) -> TimeStyle | None:
        """The style of times that was asked for; None without."""
        return TimeStyle("format", self.time_format) if self.time_format else None


def as_written(tables: Sequence[Table], columns: Columns) -> list[set[str]]:
    """The columns that each table should be read again of, as texts: others have texts there that are no numbers.

    Postcodes such as ``02139`` are numbers to a reader of CSV, and what is text in the reference stays text.
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
    """How the columns of all tables are read, by what their samples show; the first table is the reference.

    Raises `DataError` for a time column that cannot be read: it was asked for.
    """
    clean = [replace(one, sample=without_missing_in(one.sample, how.missing)) for one in tables]
    found = Alike([{} for _ in tables])
    for name in _names(clean):
        part = columns.roles.get(name, "segment" if name in columns.segments else "feature")
        if part == "time":
            _read_time(found, clean, name, how)
        elif part not in ("id", "version", "segment"):
            _read_values(found, clean, name, part, how)
    return found


def read_alone(rows: pl.DataFrame, columns: Columns) -> tuple[pl.DataFrame, Alike]:
    """A whole table as its columns show themselves to be written, and what there is to say of it."""
    alike = read_alike([Table(rows)], columns, HowRead(columns.missing, columns.time_format))
    return converted(rows, alike.conversions[0], columns.missing), alike


def converted(rows: pl.DataFrame, conversions: Mapping[str, Conversion], missing: tuple[str, ...]) -> pl.DataFrame:
    """Rows with some columns converted, and null where these have a missing value."""
    there = set(rows.columns)
    return rows.with_columns(
        conversion(without_missing(rows[name], missing)) for name, conversion in conversions.items() if name in there
    )


def _names(tables: Sequence[Table]) -> dict[str, None]:
    return {name: None for one in tables for name in one.sample.columns}


# ---- times -------------------------------------------------------------------------------------------------


def _read_time(found: Alike, tables: Sequence[Table], name: str, how: HowRead) -> None:
    samples = {place: _plain(one.sample[name]) for place, one in enumerate(tables) if name in one.names}
    style, words = _style_of_time(tables, list(samples.values()), name, how)
    conversion = Conversion(partial(_time_of, style=style))
    for place, values in samples.items():
        read = conversion(values)
        if values.count() and read.count() < _LEAST_READ * values.count():
            raise DataError(_unreadable(name, values, read, how))
        found.conversions[place][name] = conversion
    if words:
        found.notes[name] = words


def _time_of(values: pl.Series, style: TimeStyle) -> pl.Series:
    return read_times(_plain(values), style)


def _plain(values: pl.Series) -> pl.Series:
    """Categories, and columns without any value, as texts; decimals as floats; others as they are."""
    if values.dtype in (pl.Categorical, pl.Enum, pl.Null):
        return values.cast(pl.String)
    return values.cast(pl.Float64) if values.dtype.is_decimal() else values


def _style_of_time(
    tables: Sequence[Table], samples: Sequence[pl.Series], name: str, how: HowRead
) -> tuple[TimeStyle, str]:
    """How the times of all samples are written, and what there is to say of it."""
    if (asked := how.style()) is not None:
        return asked, ""
    texts = [values for values in samples if values.dtype == pl.String and values.count()]
    digits = [values for values in texts if _are_digits(values)]
    if len(digits) < len(texts):
        style = _in_order(tables, name, time_style(texts))
        if style is Doubt.ORDER:
            raise DataError(_in_doubt(name, texts[0].drop_nulls()[0]))
        if isinstance(style, TimeStyle):
            return style, f"{name} is read as times, {style.words}" if style.words else ""
        return TimeStyle("year"), ""
    numbers = [values for values in samples if values.dtype.is_numeric() and values.count()]
    numbers += [values.str.strip_chars().cast(pl.Float64, strict=False) for values in digits]
    if not numbers:
        return TimeStyle("year"), ""
    style = epoch_style(numbers)
    return style, f"{name} is read as times, {style.words or f'{unit_of(numbers)} since 1970'}"


def _in_order(tables: Sequence[Table], name: str, style: TimeStyle | Doubt) -> TimeStyle | Doubt:
    """The style by all rows, where those of the samples leave the order of day and month open."""
    if style is not Doubt.ORDER:
        return style
    for table in tables:
        if table.column is None or name not in table.names or table.sample[name].dtype not in _NAMED:
            continue
        for values in table.column(name):
            seen = time_style([values.cast(pl.String)])
            if isinstance(seen, TimeStyle):
                return seen
    return style


def _are_digits(texts: pl.Series) -> bool:
    return bool(texts.drop_nulls().str.contains(r"^\s*-?\d+(\.\d+)?\s*$").all())


def _in_doubt(name: str, example: str) -> str:
    return (
        f"the times in {name!r}, such as {example!r}, can be day first or month first, and no value tells which; "
        "say it: --time-format '%d/%m/%Y' or '%m/%d/%Y', or time_format under columns in driftline.yaml"
    )


def _unreadable(name: str, values: pl.Series, read: pl.Series, how: HowRead) -> str:
    left = values.filter(values.is_not_null() & read.is_null())
    example = repr(left[0]) if left.dtype == pl.String else f"{left[0]} ({left.dtype})"
    allowed = f"those that {how.time_format!r} describes" if how.time_format else "ISO 8601, epochs and date keys"
    return (
        f"{len(left)} of {values.count()} values of the time column {name!r} that were looked at are no times, such as "
        f"{example}; allowed are {allowed}; say how they are written: --time-format '%d.%m.%Y %H:%M', or "
        "time_format under columns in driftline.yaml"
    )


# ---- features and targets ----------------------------------------------------------------------------------


def _read_values(found: Alike, tables: Sequence[Table], name: str, part: str, how: HowRead) -> None:
    there = {place: one.sample[name] for place, one in enumerate(tables) if name in one.names}
    texts = {place: values.cast(pl.String) for place, values in there.items() if values.dtype in _NAMED}
    if part != "score":
        _note_changed_type(found, tables, there, name)
    if texts and any(values.dtype == pl.Boolean for values in there.values()):
        _read_booleans(found, texts)
        return
    if texts and part == "feature" and _read_dates(found, tables, there, texts, how):
        return
    if texts and not any(values.dtype.is_temporal() for values in there.values()):
        _read_texts(found, there, texts, name, part)
    if part == "feature":
        _round(found, there, name)


def _note_changed_type(found: Alike, tables: Sequence[Table], there: Mapping[int, pl.Series], name: str) -> None:
    """A type that differs, where both were given, is a change of whatever writes the rows."""
    families = {place: _family(values) for place, values in there.items() if values.count()}
    if len(set(families.values())) < _SIDES or not all(tables[place].typed for place in families):
        return
    was, became = (families[place] for place in sorted(families)[:_SIDES])
    if not {was, became} <= {"truth values", "whole numbers", "numbers"}:  # a gap makes floats of these
        found.changed[name] = f"{was} in the reference, {became} now"


def _family(values: pl.Series) -> str:
    dtype = values.dtype
    if dtype in _NAMED:
        return "texts"
    if dtype == pl.Boolean:
        return "truth values"
    if dtype.is_numeric():
        return "whole numbers" if dtype.is_integer() else "numbers"
    if dtype == pl.Duration:
        return "durations"
    return "times" if dtype.is_temporal() else "values of another type"


def _read_booleans(found: Alike, texts: Mapping[int, pl.Series]) -> None:
    """Texts such as True and no, beside a side of truth values."""
    for place, values in texts.items():
        if values.drop_nulls().str.strip_chars().str.to_lowercase().is_in(list(_BOOLEANS)).all():
            found.conversions[place][values.name] = Conversion(_as_booleans)


def _as_booleans(values: pl.Series) -> pl.Series:
    names = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    return names.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)


def _read_dates(
    found: Alike,
    tables: Sequence[Table],
    there: Mapping[int, pl.Series],
    texts: Mapping[int, pl.Series],
    how: HowRead,
) -> bool:
    """Read texts as times where all of them are, and the other sides' values are times too; else False."""
    others = [values.dtype for place, values in there.items() if place not in texts]
    given = [values for values in texts.values() if values.count()]
    if not given or not all(dtype.is_temporal() for dtype in others):
        return False
    name = given[0].name
    style = _in_order(tables, name, time_style(given, plain=True))
    if (asked := how.style()) is not None and how.time_format not in UNITS and _reads(asked, given):
        style = asked
    if style is Doubt.ORDER:
        found.doubts[name] = (
            f"has dates such as {given[0].drop_nulls()[0]}, which can be day first or month first; "
            "say --time-format '%d/%m/%Y' or '%m/%d/%Y'"
        )
        return True
    if not isinstance(style, TimeStyle):
        return False
    as_dates = not style.clock and all(dtype == pl.Date for dtype in others)
    for place in texts:
        found.conversions[place][name] = Conversion(partial(_as_times, style=style, dates=as_dates))
    if style.words:
        found.notes[name] = f"{name} is read as times, {style.words}"
    return True


def _reads(style: TimeStyle, samples: Sequence[pl.Series]) -> bool:
    return all(read_times(values, style).count() >= _LEAST_READ * values.count() for values in samples)


def _as_times(values: pl.Series, style: TimeStyle, dates: bool) -> pl.Series:
    times = read_times(values.cast(pl.String), style).dt.replace_time_zone(None)
    return times.dt.date() if dates else times


def _read_texts(
    found: Alike, there: Mapping[int, pl.Series], texts: Mapping[int, pl.Series], name: str, part: str
) -> None:
    """Read texts as numbers where they are, and numbers as texts where the reference has texts that are none."""
    beside = [place for place, values in there.items() if place not in texts and values.count()]
    forced = part == "score" or (bool(beside) and there[min(there)].dtype.is_numeric())
    styles = _styles(list(texts.values()), forced=forced)
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


def _styles(samples: Sequence[pl.Series], *, forced: bool) -> list[NumberStyle | None]:
    """The style of numbers of each sample: one for all where one fits all."""
    if forced:
        return [number_style([values], _LEAST_READ) for values in samples]
    together = number_style(samples)
    return [together or number_style([values]) for values in samples]


def _all_numbers(samples: Sequence[pl.Series], styles: Sequence[NumberStyle | None], *, forced: bool) -> bool:
    """Whether every sample with any value has numbers, and there is one."""
    given = [(values, style) for values, style in zip(samples, styles, strict=True) if values.count()]
    return bool(given) and all(
        style is not None and (forced or are_numbers(style, [values])) for values, style in given
    )


def are_numbers(style: NumberStyle, samples: Sequence[pl.Series]) -> bool:
    """Whether texts that can be read as numbers are meant as such: codes such as 02139, and a few whole ones, are not.

    Whole numbers that hardly come again are: as categories they could not be compared at all.
    """
    if style.code or not style.whole:
        return not style.code
    there = pl.concat([values.drop_nulls() for values in samples])
    return len(there) >= _LEAST_NUMBERS and there.n_unique() > _IDENTIFIERS * len(there)


def _as_numbers(values: pl.Series, style: NumberStyle) -> pl.Series:
    return read_numbers(values.cast(pl.String), style)


def _as_names(values: pl.Series) -> pl.Series:
    return names_of(values)


def _round(found: Alike, there: Mapping[int, pl.Series], name: str) -> None:
    """Round away what differs by noise only."""
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
