"""The values that `driftline.profiles.reading` works with: the sides to compare, the conversions of their columns and
the user's options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import polars as pl

from driftline.events import MISSING_TEXTS
from driftline.profiles.times import TimeStyle

NAMED = (pl.String, pl.Categorical, pl.Enum)
"""The Polars types of texts."""


class Table(msgspec.Struct, frozen=True):
    """One side of a comparison.

    ``sample`` has some of its rows. ``typed`` says whether its types were stored, rather than guessed from texts.
    ``column`` reads a whole column, in parts, where the sample leaves something open; None: it cannot be read again.
    """

    sample: pl.DataFrame
    typed: bool = True
    column: Callable[[str], Iterable[pl.Series]] | None = None
    names: frozenset[str] = frozenset()
    """The columns of the sample, listed once because Polars would list them at every lookup."""

    def __post_init__(self) -> None:
        """List the names."""
        msgspec.structs.force_setattr(self, "names", frozenset(self.sample.columns))


class Conversion(msgspec.Struct, frozen=True):
    """How to read the values of one column. ``convert`` gives null for a value that cannot be read that way."""

    convert: Callable[[pl.Series], pl.Series]

    def __call__(self, values: pl.Series) -> pl.Series:
        """Return the values in the form in which they are compared, shape (n,)."""
        return self.convert(values).alias(values.name)


class Alike(msgspec.Struct):
    """How to read the columns of some tables.

    ``conversions`` has one mapping for each table, by column. ``notes`` say what was assumed about columns; ``changed``
    has the types that differ where both were stored, and ``doubts`` the columns that are not compared, with the reason.
    """

    conversions: list[dict[str, Conversion]]
    notes: dict[str, str] = {}
    changed: dict[str, str] = {}
    doubts: dict[str, str] = {}

    @property
    def words(self) -> list[str]:
        """Sentences for people: which columns changed their type, and what was assumed."""
        types = [f"{name} has another type: {words}" for name, words in self.changed.items()]
        return [*types, *self.notes.values()]


class HowRead(msgspec.Struct, frozen=True):
    """The user's options for reading: the texts that stand for missing values, and how times are written.

    ``time_format`` is a format of strptime, or the unit of numbers (s, ms, us, ns); None: it is inferred.
    """

    missing: tuple[str, ...] = MISSING_TEXTS
    time_format: str | None = None

    def style(self) -> TimeStyle | None:
        """Return the style of times that the user asked for; None without one."""
        return TimeStyle("format", self.time_format) if self.time_format else None
