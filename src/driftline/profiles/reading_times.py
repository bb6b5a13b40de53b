"""Read the times of several sides: in one style if it fits all, otherwise each side in its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl

from driftline.errors import DataError
from driftline.profiles.alike import NAMED, Alike, Conversion, HowRead, Table
from driftline.profiles.times import UNITS, Doubt, TimeStyle, epoch_style, numbers_of, read_times, time_style, unit_of

LEAST_READ = 0.5
"""A time column is refused if less than this share of its values can be read."""

_FIT = 0.9  # of the texts of each side; the others may be broken
_SIDES = ("the reference", "the current rows")
_SAY = "--time-format '%d/%m/%Y' or '%m/%d/%Y'"


def read_time(found: Alike, tables: Sequence[Table], name: str, how: HowRead) -> None:
    """Decide how to read the times of a column that the user named; raises `DataError` if they cannot be read."""
    samples = {place: _plain(one.sample[name]) for place, one in enumerate(tables) if name in one.names}
    styles = _styles_of_time(tables, samples, name, how)
    for place, values in samples.items():
        conversion = Conversion(partial(_time_of, style=styles[place]))
        read = conversion(values)
        if values.count() and read.count() < LEAST_READ * values.count():
            raise DataError(_unreadable(name, values, read, how))
        found.conversions[place][name] = conversion
    if words := _words(name, styles, samples):
        found.notes[name] = words


def _time_of(values: pl.Series, style: TimeStyle) -> pl.Series:
    return read_times(_plain(values), style)


def _plain(values: pl.Series) -> pl.Series:
    """Categories, and columns without any value, as texts; decimals as floats; others as they are."""
    if values.dtype in (pl.Categorical, pl.Enum, pl.Null):
        return values.cast(pl.String)
    return values.cast(pl.Float64) if values.dtype.is_decimal() else values


def _styles_of_time(
    tables: Sequence[Table], samples: Mapping[int, pl.Series], name: str, how: HowRead
) -> dict[int, TimeStyle]:
    """The style of each side's times; raises `DataError` if the order of day and month is open."""
    texts, styles = {}, {}
    for place, values in samples.items():
        numbers = numbers_of(values) if values.count() else None
        styles[place] = epoch_style([numbers]) if numbers is not None else TimeStyle("year")
        if numbers is None and values.dtype == pl.String and values.count():
            texts[place] = values
    asked = how.style()
    if asked is not None and (
        fit := [place for place, values in samples.items() if values.count() and _reads(asked, values)]
    ):
        styles |= dict.fromkeys(fit, asked)
        texts = {place: values for place, values in texts.items() if place not in fit}
    elif asked is not None:
        return dict.fromkeys(samples, asked)
    for place, style in styles_of_texts(tables, texts, name).items():
        if style in (Doubt.ORDER, Doubt.BOTH):
            more = ", or time_format under columns in driftline.yaml" if style is Doubt.ORDER else ""
            raise DataError(f"the times in {name!r} {in_doubt(style, texts[place])}{more}")
        if isinstance(style, TimeStyle):
            styles[place] = style
    return styles


def styles_of_texts(
    tables: Sequence[Table], texts: Mapping[int, pl.Series], name: str, *, plain: bool = False
) -> dict[int, TimeStyle | Doubt]:
    """Return the style of the times in each side's texts: one for all if it fits, else one for each, or the doubt."""
    together = _in_order(tables, name, time_style(list(texts.values()), plain=plain), plain)
    if isinstance(together, TimeStyle) and all(_reads(together, values, _FIT) for values in texts.values()):
        return dict.fromkeys(texts, together)
    if len(texts) == 1 or together is Doubt.ORDER:
        return dict.fromkeys(texts, together)
    alone = {
        place: _in_order([tables[place]], name, time_style([values], plain=plain), plain)
        for place, values in texts.items()
    }
    if isinstance(together, TimeStyle) and not all(isinstance(style, TimeStyle) for style in alone.values()):
        fits = all(_reads(together, values) for values in texts.values())
        return dict.fromkeys(texts, together) if fits else alone
    return alone


def _in_order(tables: Sequence[Table], name: str, style: TimeStyle | Doubt, plain: bool) -> TimeStyle | Doubt:
    """The style, looked up in all rows if the sample leaves the order of day and month open."""
    if style is not Doubt.ORDER:
        return style
    for table in tables:
        if table.column is None or name not in table.names or table.sample[name].dtype not in NAMED:
            continue
        for values in table.column(name):
            seen = time_style([values.cast(pl.String)], plain=plain)
            if isinstance(seen, TimeStyle):
                return seen
    return style


def _reads(style: TimeStyle, values: pl.Series, least: float = LEAST_READ) -> bool:
    return read_times(values, style).count() >= least * values.count()


def _words(name: str, styles: Mapping[int, TimeStyle], samples: Mapping[int, pl.Series]) -> str:
    """Say how the times are read, for each side if that differs; empty if it is the usual way."""
    told = {}
    for place, style in styles.items():
        numbers = numbers_of(samples[place])
        unit = style.name == "numbers" and numbers is not None and numbers.count()
        told[place] = f"{unit_of([numbers])} since 1970" if unit and numbers is not None else style.words
    if len(set(told.values())) > 1 and set(told) == {0, 1}:
        sides = " and ".join(f"{words or 'as they are'} in {_SIDES[place]}" for place, words in sorted(told.items()))
        return f"{name} is read as times, {sides}"
    words = " and ".join(dict.fromkeys(filter(None, told.values())))
    return f"{name} is read as times, {words}" if words else ""


def in_doubt(doubt: TimeStyle | Doubt, texts: pl.Series) -> str:
    """Say what is open about dates, to follow the name of the column or "has dates that"."""
    if doubt is Doubt.BOTH:
        return "are day first in some rows and month first in others, which no format reads; write them alike"
    return (
        f"can be day first or month first, such as {texts.drop_nulls()[0]!r}, and no value tells which; say it: {_SAY}"
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


# ---- inputs that are dates ---------------------------------------------------------------------------------


def read_dates(
    found: Alike,
    tables: Sequence[Table],
    there: Mapping[int, pl.Series],
    texts: Mapping[int, pl.Series],
    how: HowRead,
) -> bool:
    """Read texts as times if all of them are, and the other sides have times too; return whether that is so."""
    others = [values.dtype for place, values in there.items() if place not in texts]
    given = {place: values for place, values in texts.items() if values.count()}
    if not given or not all(dtype.is_temporal() for dtype in others):
        return False
    name = next(iter(given.values())).name
    if others and all(dtype == pl.Time for dtype in others):
        return _read_clock(found, given)
    asked = how.style()
    if asked is not None and how.time_format not in UNITS and all(_reads(asked, values) for values in given.values()):
        styles: dict[int, TimeStyle | Doubt] = dict.fromkeys(given, asked)
    else:
        styles = styles_of_texts(tables, given, name, plain=True)
    doubts = {place: style for place, style in styles.items() if style in (Doubt.ORDER, Doubt.BOTH)}
    for place, doubt in doubts.items():
        found.doubts[name] = f"has dates that {in_doubt(doubt, given[place])}"
        return True
    known = {place: style for place, style in styles.items() if isinstance(style, TimeStyle)}
    if len(known) < len(given):
        return False
    as_dates = not any(style.clock for style in known.values()) and all(dtype == pl.Date for dtype in others)
    first = next(iter(known.values()))
    for place in texts:
        style = known.get(place, first)
        found.conversions[place][name] = Conversion(partial(_as_times, style=style, dates=as_dates))
    if words := _words(name, known, given):
        found.notes[name] = words
    return True


def _as_times(values: pl.Series, style: TimeStyle, dates: bool) -> pl.Series:
    times = read_times(values.cast(pl.String), style).dt.replace_time_zone(None)
    return times.dt.date() if dates else times


def _read_clock(found: Alike, texts: Mapping[int, pl.Series]) -> bool:
    """Read texts such as 07:30:00 as times of day, which the other side has; return whether they are."""
    if not all(_as_clock(values).count() >= _FIT * values.count() for values in texts.values()):
        return False
    for place, values in texts.items():
        found.conversions[place][values.name] = Conversion(_as_clock)
    return True


def _as_clock(values: pl.Series) -> pl.Series:
    clock = values.cast(pl.String).str.strip_chars()
    with_seconds = clock.str.contains(r"^\d{1,2}:\d{2}:").fill_null(False)
    whole = clock.zip_with(with_seconds, clock + ":00")
    return whole.str.to_time("%H:%M:%S%.f", strict=False)
