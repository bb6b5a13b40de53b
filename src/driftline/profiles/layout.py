"""How rows are read and profiled, as one value: what a second machine needs to come to the same profile.

Whatever had to be decided by looking at data (kinds, classes, grids, how times are written) stands in the `Layout`. So
how a row is read depends on the row and on the layout alone, and on nothing else in its batch, file or partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import msgspec
import polars as pl
from msgspec.structs import replace

from driftline.errors import DataError, UsageError
from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles.alike import NAMED
from driftline.profiles.by_window import in_calendar
from driftline.profiles.columns import Columns
from driftline.profiles.frame import canonical, names_of, score_columns, typed_values
from driftline.profiles.missing import without_missing
from driftline.profiles.numbers import NumberStyle, number_style, read_numbers
from driftline.profiles.parts import Anchor
from driftline.profiles.reading import as_booleans
from driftline.profiles.reading_times import in_doubt
from driftline.profiles.times import (
    STYLES,
    Doubt,
    TimeStyle,
    checked_time_format,
    epoch_style,
    numbers_of,
    read_texts,
    read_times,
    time_style,
)
from driftline.sketches import Grid, encode

_SPANS = {"date": pl.Date(), "datetime": pl.Datetime("us"), "duration": pl.Duration("us"), "clock": pl.Time()}
_CODES = ("names", "numbers", "truths")
_UNIT_LENGTH = 32
_REAL, _ENDING_ZEROS = r"^[+-]?\d+\.\d*$", r"\.0*$|(\.\d*[1-9])0+$"
_ISO, _EPOCHS = TimeStyle("year"), TimeStyle("numbers")
_DIGEST = 32


class Reading(msgspec.Struct, frozen=True):
    """How the values of one column are read, where their type leaves it open.

    ``numbers`` is how numbers are written as texts, ``times`` how times are, and ``epochs`` what numbers mean as times.
    ``codes`` says what the texts of categories were in the reference: numbers, truth values (``truths``), or names.
    ``span`` is what a feature of the kind datetime is, with the parts that come of it: a date, a datetime, a duration
    or a time of day (``clock``).
    """

    numbers: NumberStyle = NumberStyle()
    times: TimeStyle = _ISO
    epochs: TimeStyle = _EPOCHS
    span: str = "datetime"
    codes: str = "names"

    def __post_init__(self) -> None:
        if self.span not in _SPANS:
            raise UsageError(f"the span {self.span!r} came; allowed is one of {', '.join(_SPANS)}")
        if self.codes not in _CODES:
            raise UsageError(f"the codes {self.codes!r} came; allowed is one of {', '.join(_CODES)}")
        if self.numbers.decimal not in (".", ",") or self.numbers.grouping not in ("", ".", ",", " "):
            signs = f"{self.numbers.decimal!r} and {self.numbers.grouping!r}"
            raise UsageError(f"the signs {signs} came; numbers have a point or a comma, and groups also a space")
        if len(self.numbers.unit) > _UNIT_LENGTH:
            raise UsageError(f"a unit of {len(self.numbers.unit)} signs came; it has at most {_UNIT_LENGTH}")
        for style in (self.times, self.epochs):
            if style.name not in STYLES:
                raise UsageError(f"the style of times {style.name!r} came; allowed is one of {', '.join(STYLES)}")
            if style.name in ("format", "key"):
                checked_time_format(style.format)


class Layout(msgspec.Struct, frozen=True, dict=True):
    """How rows are read and profiled: by their columns' roles, the schema, the grids of numbers and anchors of vectors.

    ``windows`` cuts the rows by their time; None: they are one set. ``readings`` are by column, and only of those for
    which the usual one will not do. ``hashed`` columns have to arrive as the keyed hashes of their values, since the
    key is no part of a layout. `driftline.sketches.encode` makes bytes of it, and `decode` refuses other bytes.
    """

    columns: Columns
    schema: Schema
    grids: Mapping[str, Grid]
    anchors: Mapping[str, Anchor]
    windows: WindowSpec | None = None
    readings: Mapping[str, Reading] = {}
    hashed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.windows is not None and self.columns.time is None:
            raise UsageError(
                f"windows of {self.windows.length} came without a column of times; name the one that tells when each "
                "row was predicted, as columns.time"
            )

    @cached_property
    def digest(self) -> str:
        """What profiles have to share to be merged or compared: schema, grids, anchors and windows, as 32 hex digits.

        Which columns the rows have, and how they are written, may differ.
        """
        same = replace(
            self,
            columns=Columns(time=self.columns.time and "time"),
            schema=replace(self.schema, features=dict(sorted(self.schema.features.items()))),
            grids=dict(sorted(self.grids.items())),
            anchors=dict(sorted(self.anchors.items())),
            readings={},
            hashed=(),
        )
        return hashlib.sha256(encode(same)).hexdigest()[:_DIGEST]

    def differences(self, other: Layout) -> list[str]:
        """Return in words where another layout differs, of that which has to be equal."""
        pairs = {
            "task": (self.schema.task, other.schema.task),
            "windows": (self.windows, other.windows),
            "features": (self.schema.features, other.schema.features),
            "classes": (self.schema.classes, other.schema.classes),
            "segments": (self.schema.segments, other.schema.segments),
            "grids of numbers": (self.grids, other.grids),
            "anchors of embeddings": (self.anchors, other.anchors),
        }
        rest = (
            replace(self.schema, features={}, classes=(), segments={}),
            replace(other.schema, features={}, classes=(), segments={}),
        )
        found = [name for name, (one, two) in pairs.items() if one != two]
        if found or self.digest == other.digest:
            return found
        return ["schemas"] if rest[0] != rest[1] else ["grids"]

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The columns of a table of rows that are read, each once: the features and those that have a role."""
        roles = self.columns
        wanted = (roles.time, roles.version, roles.prediction, roles.label, roles.cluster)
        scores = score_columns(roles, self.schema).values()
        profiled = (name for name, kind in self.schema.features.items() if kind is not Kind.UNSUPPORTED)
        return tuple(dict.fromkeys([*profiled, *(name for name in wanted if name is not None), *scores]))


def read_rows(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return the canonical rows, shape (n, columns), of rows as they came: each by itself, as the layout says.

    A column that a batch lacks is missing in all its rows. Times outside the years 1000 to 8999 are none.
    """
    schema, there, height = layout.schema, set(rows.columns), rows.height
    nothing = pl.Series([None], dtype=pl.String)
    found = []
    for name in layout.reads:
        values = _in_one_unit(rows[name]) if name in there else nothing.new_from_index(0, height)
        found.append(_read(values.alias(name), layout, layout.readings.get(name, Reading())))
    frame = pl.DataFrame(found) if found else pl.DataFrame(height=height)
    return canonical(frame, replace(layout.columns, id=None, segments=()), schema)


def _in_one_unit(values: pl.Series) -> pl.Series:
    """Times and durations in microseconds, so that what they are as texts or numbers depends on no type."""
    if isinstance(values.dtype, (pl.Datetime, pl.Duration)) and values.dtype.time_unit != "us":
        return values.dt.cast_time_unit("us")
    return values


def _read(values: pl.Series, layout: Layout, reading: Reading) -> pl.Series:
    name, schema = values.name, layout.schema
    role = layout.columns.roles.get(name, "feature")
    kind = schema.features.get(name, Kind.UNSUPPORTED)
    if role == "time":
        return _times(values, schema.missing, reading)
    number = kind is Kind.NUMERIC or role == "score"
    if number or (role in ("prediction", "label") and schema.task is Task.REGRESSION):
        return _numbers(values, schema.missing, reading)
    if kind is Kind.DATETIME:
        return _spans(values, schema.missing, reading)
    return _codes(values, reading) if values.dtype in NAMED else values


def _times(values: pl.Series, missing: tuple[str, ...], reading: Reading) -> pl.Series:
    plain = _plain(without_missing(values, missing))
    return in_calendar(read_times(plain, reading.times if plain.dtype == pl.String else reading.epochs))


def _plain(values: pl.Series) -> pl.Series:
    if values.dtype in (*NAMED, pl.Null):
        return values.cast(pl.String)
    return values.cast(pl.Float64) if values.dtype.is_decimal() else values


def _numbers(values: pl.Series, missing: tuple[str, ...], reading: Reading) -> pl.Series:
    if values.dtype.is_numeric():
        return values
    if values.dtype in (*NAMED, pl.Null):
        return read_numbers(without_missing(values.cast(pl.String), missing), reading.numbers).alias(values.name)
    return typed_values(values, Kind.NUMERIC)


def _codes(values: pl.Series, reading: Reading) -> pl.Series:
    """Categories as texts, spelled as the reference's: "1.0" and "True" are "1", where these were no texts."""
    if reading.codes == "names":
        return values
    texts = values.cast(pl.String)
    if reading.codes == "truths":
        truths = as_booleans(texts)
        return names_of(truths).zip_with(truths.is_not_null(), texts)
    bare = texts.str.strip_chars()
    return bare.str.replace(_ENDING_ZEROS, "${1}").zip_with(bare.str.contains(_REAL).fill_null(False), texts)


def _spans(values: pl.Series, missing: tuple[str, ...], reading: Reading) -> pl.Series:
    wanted = _SPANS[reading.span]
    if values.dtype in (*NAMED, pl.Null):
        texts = without_missing(values.cast(pl.String), missing)
        values = read_texts(texts, reading.times).dt.replace_time_zone(None)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    known = values.dtype == wanted or (values.dtype.is_temporal() and {values.dtype, wanted} <= _DAYS)
    if not known:
        return pl.Series(values.name, [None], dtype=wanted).new_from_index(0, len(values))
    return values.cast(wanted, strict=False)


_DAYS = {_SPANS["date"], _SPANS["datetime"]}


def readings_of(samples: Sequence[pl.DataFrame], columns: Columns, schema: Schema) -> dict[str, Reading]:
    """Decide how the columns are read, by rows as they came: some of what is to be profiled, and of the reference.

    The first sample that has texts in a column decides how these are read, and the first that has numbers, what these
    mean. Only readings that are not the usual one are returned.
    """
    found: dict[str, Reading] = {}
    roles = columns.roles
    scores = score_columns(columns, schema).values()
    targets = [name for name in (columns.prediction, columns.label) if name and schema.task is Task.REGRESSION]
    numeric = [name for name, kind in schema.features.items() if kind is Kind.NUMERIC and name not in roles]
    for name in dict.fromkeys([*numeric, *scores, *targets]):
        texts = next(_texts(samples, name, schema.missing), None)
        style = None if texts is None else number_style([texts])
        if style is not None:
            found[name] = Reading(numbers=style)
    classes = [name for name in (columns.prediction, columns.label) if name and name not in targets]
    for name in (*classes, *(one for one, kind in schema.features.items() if kind is Kind.CATEGORICAL)):
        found[name] = Reading(codes=_codes_of(samples, name))
    for name, kind in schema.features.items():
        if kind is Kind.DATETIME:
            found[name] = _reading_of_spans(samples, name, schema.missing)
    if columns.time is not None:
        found[columns.time] = _reading_of_times(samples, columns.time, columns.time_format, schema.missing)
    return {name: reading for name, reading in sorted(found.items()) if reading != Reading()}


def rows_like(layout: Layout, sample: pl.DataFrame) -> Layout:
    """Return the layout for other rows, whose first ones show how their numbers and times are written."""
    own = readings_of([sample], layout.columns, layout.schema)
    readings = {}
    for name in sorted(layout.readings.keys() | own.keys()):
        was, now = layout.readings.get(name, Reading()), own.get(name, Reading())
        readings[name] = replace(now, span=was.span, codes=was.codes)
    return replace(layout, readings=readings)


def _texts(samples: Iterable[pl.DataFrame], name: str, missing: tuple[str, ...]) -> Iterator[pl.Series]:
    """The samples of a column that have texts, without what is missing."""
    for sample in samples:
        if name in sample.columns and sample[name].dtype in NAMED:
            texts = without_missing(sample[name].cast(pl.String), missing).drop_nulls()
            if len(texts):
                yield texts


def _reading_of_times(
    samples: Sequence[pl.DataFrame], name: str, time_format: str | None, missing: tuple[str, ...]
) -> Reading:
    if time_format is not None:
        asked = TimeStyle("format", time_format)
        return Reading(times=asked, epochs=asked)
    times, epochs = _ISO, _EPOCHS
    for texts in _texts(samples, name, missing):
        numbers = numbers_of(texts)
        style = time_style([texts]) if numbers is None else epoch_style([numbers])
        if style in (Doubt.ORDER, Doubt.BOTH):
            raise DataError(f"the times in {name!r} {in_doubt(style, texts)}, or time_format under columns")
        times = style if isinstance(style, TimeStyle) else times
        break
    for sample in samples:
        if name in sample.columns and sample[name].dtype.is_numeric() and sample[name].count():
            epochs = epoch_style([_plain(without_missing(sample[name], missing))])
            break
    return Reading(times=times, epochs=epochs)


def _codes_of(samples: Sequence[pl.DataFrame], name: str) -> str:
    dtype = _of_reference(samples, name)
    return "truths" if dtype == pl.Boolean else "numbers" if dtype.is_numeric() else "names"


def _of_reference(samples: Sequence[pl.DataFrame], name: str) -> pl.DataType:
    """The type of a column of the reference, the last sample; that of texts if it has none."""
    reference = samples[-1] if samples else pl.DataFrame()
    return reference[name].dtype if name in reference.columns else pl.String()


def _reading_of_spans(samples: Sequence[pl.DataFrame], name: str, missing: tuple[str, ...]) -> Reading:
    """The span is the reference's, the last sample's: its parts are what all others are compared with."""
    times = _ISO
    for texts in _texts(samples, name, missing):
        style = time_style([texts], plain=True)
        times = style if isinstance(style, TimeStyle) else times
        break
    dtype = _of_reference(samples, name).base_type()
    span = {pl.Date: "date", pl.Duration: "duration", pl.Time: "clock"}.get(dtype, "datetime")
    return Reading(times=times, span=span)
