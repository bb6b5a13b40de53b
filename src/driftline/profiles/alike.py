"""What a reading of columns alike is made of: the sides, how their columns are converted, what people said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import polars as pl

from driftline.events import MISSING_TEXTS
from driftline.profiles.times import TimeStyle

NAMED = (pl.String, pl.Categorical, pl.Enum)
"""Types of texts."""


class Table(msgspec.Struct, frozen=True):
    """One side: ``sample`` are some of its rows; ``typed`` whether its types were given, not guessed from texts.

    ``column`` reads all of a column, in parts, where the sample leaves something open; None: it cannot be read again.
    """

    sample: pl.DataFrame
    typed: bool = True
    column: Callable[[str], Iterable[pl.Series]] | None = None
    names: frozenset[str] = frozenset()
    """The columns of the sample: asked for each of them, Polars would list them all."""

    def __post_init__(self) -> None:
        """Look the names up once."""
        msgspec.structs.force_setattr(self, "names", frozenset(self.sample.columns))


class Conversion(msgspec.Struct, frozen=True):
    """How the values of one column are read. ``convert`` gives null for what cannot be read so."""

    convert: Callable[[pl.Series], pl.Series]

    def __call__(self, values: pl.Series) -> pl.Series:
        """The values as they are compared, shape (n,)."""
        return self.convert(values).alias(values.name)


class Alike(msgspec.Struct):
    """How the columns of some tables are read.

    ``conversions`` has one mapping a table. ``notes`` say what was taken for granted, by column; ``changed`` are the
    types that differ where both were given, and ``doubts`` the columns that are not compared, with the reason.
    """

    conversions: list[dict[str, Conversion]]
    notes: dict[str, str] = {}
    changed: dict[str, str] = {}
    doubts: dict[str, str] = {}

    @property
    def words(self) -> list[str]:
        """What was taken for granted and what has another type, for people."""
        types = [f"{name} has another type: {words}" for name, words in self.changed.items()]
        return [*types, *self.notes.values()]


class HowRead(msgspec.Struct, frozen=True):
    """What people say about the reading: the texts that stand for missing values, and how times are written.

    ``time_format`` is one of strptime's, or the unit of numbers (s, ms, us, ns); None: found out.
    """

    missing: tuple[str, ...] = MISSING_TEXTS
    time_format: str | None = None

    def style(self) -> TimeStyle | None:
        """Return the style of times that was asked for; None without."""
        return TimeStyle("format", self.time_format) if self.time_format else None
