"""The profile of one column: numeric or categorical."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import MergeError
from driftline.events import class_name
from driftline.sketches import CategoryCounts, Grid, GridSketch, Moments


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Numbers: how many rows, what was missing or not finite, and the distribution of the finite values.

    ``rows == missing + nan + positive_infinite + negative_infinite + sketch.count``. ``moments`` are those of
    ``x - sketch.grid.centre``. ``smallest`` and ``largest`` are None without finite values.
    """

    rows: int = 0
    missing: int = 0
    nan: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0
    smallest: float | None = None
    largest: float | None = None
    sketch: GridSketch = field(default_factory=GridSketch)
    moments: Moments = field(default_factory=Moments)

    @classmethod
    def of(cls, values: pl.Series, grid: Grid | None = None) -> NumericColumn:
        """Profile a numeric series, shape (n,), on a grid (the reference's, or 0 and 1)."""
        grid = grid or Grid()
        there = values.cast(pl.Float64).drop_nulls().to_numpy()
        finite: npt.NDArray[np.float64] = there[np.isfinite(there)]
        with np.errstate(over="ignore"):  # the moments cap what is too far out
            from_centre = finite - grid.centre
        return cls(
            rows=len(values),
            missing=len(values) - len(there),
            nan=int(np.isnan(there).sum()),
            positive_infinite=int(np.isposinf(there).sum()),
            negative_infinite=int(np.isneginf(there).sum()),
            smallest=float(finite.min()) + 0.0 if len(finite) else None,
            largest=float(finite.max()) + 0.0 if len(finite) else None,
            sketch=GridSketch.of(finite, grid),
            moments=Moments.of(from_centre),
        )

    def merge(self, other: NumericColumn) -> NumericColumn:
        """Return the profile of both sets of rows."""
        return NumericColumn(
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            nan=self.nan + other.nan,
            positive_infinite=self.positive_infinite + other.positive_infinite,
            negative_infinite=self.negative_infinite + other.negative_infinite,
            smallest=min((v for v in (self.smallest, other.smallest) if v is not None), default=None),
            largest=max((v for v in (self.largest, other.largest) if v is not None), default=None),
            sketch=self.sketch.merge(other.sketch),
            moments=self.moments.merge(other.moments),
        )

    @property
    def absent(self) -> int:
        """Rows without a usable number: null, NaN or infinite."""
        return self.rows - self.sketch.count

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; None without any."""
        mean = self.moments.mean
        return None if mean is None else mean + self.sketch.grid.centre

    @property
    def sd(self) -> float | None:
        """Standard deviation of the finite values; None below two."""
        return self.moments.sd


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """Categories: how many rows, how many missing, and the counts of the others. ``rows == missing + counts.count``."""

    rows: int = 0
    missing: int = 0
    categories: CategoryCounts = field(default_factory=CategoryCounts)

    @classmethod
    def of(cls, values: pl.Series) -> CategoricalColumn:
        """Profile a series of texts, booleans or numbers as categories, shape (n,)."""
        if values.dtype in (pl.Categorical, pl.Enum):
            values = values.cast(pl.String)
        counted = values.drop_nulls().value_counts(name="count")
        pairs = zip(counted[:, 0].to_list(), counted["count"].to_list(), strict=True)
        return cls(
            rows=len(values),
            missing=values.null_count(),
            categories=CategoryCounts.of((class_name(value), count) for value, count in pairs),
        )

    def merge(self, other: CategoricalColumn) -> CategoricalColumn:
        """Return the profile of both sets of rows."""
        return CategoricalColumn(
            self.rows + other.rows, self.missing + other.missing, self.categories.merge(other.categories)
        )

    @property
    def absent(self) -> int:
        """Rows without a category."""
        return self.missing


Column = NumericColumn | CategoricalColumn


def merge_columns(a: Column, b: Column) -> Column:
    """Merge two profiles of the same column."""
    if isinstance(a, NumericColumn) and isinstance(b, NumericColumn):
        return a.merge(b)
    if isinstance(a, CategoricalColumn) and isinstance(b, CategoricalColumn):
        return a.merge(b)
    raise MergeError(f"a {type(a).__name__} and a {type(b).__name__} are not profiles of one column")
