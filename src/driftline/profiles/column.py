"""Profiles of single columns: numeric, categorical, or composed of such parts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import MergeError
from driftline.events import MISSING_TEXTS, Kind, class_name, is_missing
from driftline.profiles.missing import without_missing
from driftline.profiles.parts import Anchor, datetime_parts, text_parts, vector_parts
from driftline.sketches import CategoryCounts, Grid, GridSketch, Moments, compiled
from driftline.sketches.categories import BUCKETS, EXACT_LIMIT, buckets_of
from driftline.sketches.compiled import Kernel
from driftline.sketches.grid import GridTally
from driftline.sketches.hashing import hash_texts
from driftline.sketches.moments import LARGEST, RoundedMomentsTally
from driftline.sketches.scratch import CHUNK, scratch

_WORTH_COMPILED = 2048
"""Fewer numbers than this are counted without a table of all cells."""
_COMPOSITE_ROWS = 8_192
"""The parts of so many rows of a composite column are made at once: the words of a text need ten times its memory."""


class NumericColumn(msgspec.Struct, frozen=True):
    """The profile of a numeric column: counts of missing and non-finite values, and the finite values' distribution.

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
    sketch: GridSketch = msgspec.field(default_factory=GridSketch)
    moments: Moments = msgspec.field(default_factory=Moments)

    @classmethod
    def of(cls, values: pl.Series, grid: Grid | None = None) -> NumericColumn:
        """Profile a numeric series, shape (n,), on a grid (the reference's, or the plain one)."""
        tally = NumericTally(grid or Grid())
        tally.add(values)
        return tally.column()

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
        """The number of rows without a finite number: null, NaN or infinite."""
        return self.rows - self.sketch.count

    @property
    def mean(self) -> float | None:
        """The mean of the finite values; None without any."""
        mean = self.moments.mean
        return None if mean is None else mean + self.sketch.grid.centre

    @property
    def sd(self) -> float | None:
        """The standard deviation of the finite values; None below two."""
        return self.moments.sd


class CategoricalColumn(msgspec.Struct, frozen=True):
    """The profile of a column of categories. ``rows == missing + categories.count``."""

    rows: int = 0
    missing: int = 0
    categories: CategoryCounts = msgspec.field(default_factory=CategoryCounts)

    @classmethod
    def of(cls, values: pl.Series) -> CategoricalColumn:
        """Profile a series of texts, booleans or numbers as categories, shape (n,)."""
        tally = CategoricalTally()
        tally.add(values)
        return tally.column()

    def merge(self, other: CategoricalColumn) -> CategoricalColumn:
        """Return the profile of both sets of rows."""
        return CategoricalColumn(
            self.rows + other.rows, self.missing + other.missing, self.categories.merge(other.categories)
        )

    @property
    def absent(self) -> int:
        """The number of rows without a category."""
        return self.missing


class CompositeColumn(msgspec.Struct, frozen=True):
    """The profile of a datetime, text or embedding column by its parts: a text's length, a date's weekday and so on.

    See `driftline.profiles.parts`. ``kind``, ``rows`` and ``missing`` are those of the column itself.
    """

    kind: str = ""
    rows: int = 0
    missing: int = 0
    parts: Mapping[str, NumericColumn | CategoricalColumn] = {}

    def merge(self, other: CompositeColumn) -> CompositeColumn:
        """Return the profile of both sets of rows; raises `MergeError` for different kinds."""
        if self.kind and other.kind and self.kind != other.kind:
            raise MergeError(f"a {self.kind} and a {other.kind} column are not profiles of one column")
        parts: dict[str, NumericColumn | CategoricalColumn] = {}
        for name in sorted(self.parts.keys() | other.parts.keys()):
            there = [side.parts[name] for side in (self, other) if name in side.parts]
            merged = there[0] if len(there) == 1 else merge_columns(there[0], there[1])
            assert not isinstance(merged, CompositeColumn)
            parts[name] = merged
        return CompositeColumn(self.kind or other.kind, self.rows + other.rows, self.missing + other.missing, parts)

    @property
    def absent(self) -> int:
        """The number of rows without a value."""
        return self.missing


Column = NumericColumn | CategoricalColumn | CompositeColumn


def merge_columns(a: Column, b: Column) -> Column:
    """Merge two profiles of one column; raises `MergeError` for different kinds."""
    if isinstance(a, NumericColumn) and isinstance(b, NumericColumn):
        return a.merge(b)
    if isinstance(a, CategoricalColumn) and isinstance(b, CategoricalColumn):
        return a.merge(b)
    if isinstance(a, CompositeColumn) and isinstance(b, CompositeColumn):
        return a.merge(b)
    raise MergeError(f"a {type(a).__name__} and a {type(b).__name__} are not profiles of one column")


class NumericTally:
    """Profiles a numeric column batch by batch, in constant memory."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._rows = self._missing = self._nan = self._positive = self._negative = 0
        self._smallest, self._largest = math.inf, -math.inf
        self._sketch = GridTally(grid)
        self._moments = RoundedMomentsTally(grid.scale)

    def add(self, values: pl.Series) -> None:
        """Add a numeric series, shape (n,)."""
        self._rows += len(values)
        self._missing += values.null_count()
        values = values if values.dtype == pl.Float64 else values.cast(pl.Float64)
        if self._moments.rounding and len(values) >= _WORTH_COMPILED and (loops := compiled.kernel()) is not None:
            self._add_compiled(values, loops)
            return
        there = values.drop_nulls().to_numpy()
        for start in range(0, len(there), CHUNK):
            self._add(there[start : start + CHUNK])

    def _add_compiled(self, values: pl.Series, loops: Kernel) -> None:
        numbers, far = loops.tally_series(values, self._grid.centre, self._grid.scale, self._sketch.counts())
        self._nan += numbers.nan
        self._positive += numbers.positive_infinite
        self._negative += numbers.negative_infinite
        self._smallest, self._largest = min(self._smallest, numbers.low), max(self._largest, numbers.high)
        self._moments.add_rounded(numbers.near, numbers.coarse, numbers.fine, numbers.squares, numbers.crosses)
        self._moments.add_far(far)

    def _add(self, chunk: npt.NDArray[np.float64]) -> None:
        low, high = float(chunk.min()), float(chunk.max())  # NaN if there is one
        if not (math.isfinite(low) and math.isfinite(high)):
            self._nan += int(np.isnan(chunk).sum())
            self._positive += int(np.isposinf(chunk).sum())
            self._negative += int(np.isneginf(chunk).sum())
            chunk = chunk[np.isfinite(chunk)]
            if not len(chunk):
                return
            low, high = float(chunk.min()), float(chunk.max())
        self._smallest, self._largest = min(self._smallest, low), max(self._largest, high)
        centre, scale = self._grid.centre, self._grid.scale
        with np.errstate(over="ignore", under="ignore"):  # the sketch and the moments cap what is too far out
            from_centre = np.subtract(chunk, centre, out=scratch("from_centre", len(chunk), np.float64))
            scaled = np.divide(from_centre, scale, out=scratch("scaled", len(chunk), np.float64))
        largest = max(abs(low - centre), abs(high - centre))
        self._sketch.add(scaled, largest / scale if scale >= 1 or largest < LARGEST else math.inf)
        self._moments.add(from_centre, scaled, largest)

    def column(self) -> NumericColumn:
        """Return the profile of all that was added."""
        seen = self._smallest <= self._largest
        return NumericColumn(
            rows=self._rows,
            missing=self._missing,
            nan=self._nan,
            positive_infinite=self._positive,
            negative_infinite=self._negative,
            smallest=self._smallest + 0.0 if seen else None,
            largest=self._largest + 0.0 if seen else None,
            sketch=self._sketch.sketch(),
            moments=self._moments.moments(),
        )


class CategoricalTally:
    """Profiles a column of categories batch by batch; of very many categories only a sample is kept by name.

    ``missing`` are the texts that stand for a missing value.
    """

    def __init__(self, missing: tuple[str, ...] = MISSING_TEXTS) -> None:
        self._texts = missing
        self._rows = self._missing = 0
        self._counts: list[pl.DataFrame] = []
        self._few: Counter[str] | None = Counter()
        self._waiting = 0
        self._categories = CategoryCounts()

    def add(self, values: pl.Series) -> None:
        """Add a series of texts, booleans or numbers, shape (n,)."""
        self._rows += len(values)
        self._missing += values.null_count()
        if self._few is not None and values.dtype == pl.String and (loops := compiled.kernel()) is not None:
            few = loops.count_texts(values)
            if few is not None:
                for name in [name for name in few if is_missing(name, self._texts)]:
                    self._missing += few.pop(name)
                self._few.update(few)
                return
            self._settle_few()
        named = _named(values.drop_nulls()).alias("name")
        there = without_missing(named, self._texts).drop_nulls()
        self._missing += len(named) - len(there)
        if not self._categories.exact:
            self._sample(there)
            return
        counted = there.value_counts(name="count")
        self._counts.append(counted)
        self._waiting += len(counted)
        if self._waiting > EXACT_LIMIT:
            self._settle()

    def _settle(self) -> None:
        if self._counts:
            counted = self._counts[0]
            if len(self._counts) > 1:
                counted = pl.concat(self._counts).group_by("name").agg(pl.col("count").sum())
            there = CategoryCounts.of(zip(counted["name"].to_list(), counted["count"].to_list(), strict=True))
            self._categories = self._categories.merge(there)
            self._counts, self._waiting = [], 0

    def _settle_few(self) -> None:
        if self._few is not None:
            self._categories = self._categories.merge(CategoryCounts.of(self._few.items()))
            self._few = None

    def _sample(self, names: pl.Series) -> None:
        """Count too many categories to keep: all of them by bucket, and by name only those that can be kept."""
        hashes = hash_texts(names)
        kept = names.filter(pl.Series(hashes <= np.uint64(self._categories.threshold))).value_counts(name="count")
        buckets = np.bincount(buckets_of(hashes).astype(np.int64), minlength=BUCKETS).astype(np.int64)
        known = dict(sorted(zip(kept["name"].to_list(), kept["count"].to_list(), strict=True)))
        self._categories = self._categories.merge(CategoryCounts(known, buckets))

    def column(self) -> CategoricalColumn:
        """Return the profile of all that was added."""
        self._settle_few()
        self._settle()
        return CategoricalColumn(self._rows, self._missing, self._categories)


class CompositeTally:
    """Profiles a column by its parts, batch by batch.

    ``column`` is its canonical name: the grid of its part p is that of ``column/p``.
    """

    def __init__(self, kind: Kind, column: str, grids: Mapping[str, Grid], anchor: Anchor | None) -> None:
        self._kind, self._column, self._grids, self._anchor = kind, column, grids, anchor
        self._rows = self._missing = 0
        self._parts: dict[str, NumericTally | CategoricalTally] = {}

    def add(self, values: pl.Series) -> None:
        """Add a series of the column's kind, shape (n,)."""
        self._rows += len(values)
        self._missing += values.null_count()
        for some in values.to_frame().iter_slices(_COMPOSITE_ROWS):
            self._add(some.to_series())

    def _add(self, values: pl.Series) -> None:
        for name, part in parts_of(values, self._kind, self._anchor).items():
            if name not in self._parts:
                grid = self._grids.get(f"{self._column}/{name}", Grid())
                self._parts[name] = CategoricalTally() if part.dtype == pl.String else NumericTally(grid)
            self._parts[name].add(part)

    def column(self) -> CompositeColumn:
        """Return the profile of all that was added."""
        parts = {name: self._parts[name].column() for name in sorted(self._parts)}
        return CompositeColumn(self._kind.value, self._rows, self._missing, parts)


def parts_of(values: pl.Series, kind: Kind, anchor: Anchor | None) -> dict[str, pl.Series]:
    """Return the parts of a datetime, text or embedding column, by name; none for an embedding without an anchor."""
    if kind is Kind.DATETIME:
        return datetime_parts(values)
    if kind is Kind.TEXT:
        return text_parts(values)
    return vector_parts(values, anchor) if anchor is not None else {}


def _named(values: pl.Series) -> pl.Series:
    """Categories as texts, spelled as `class_name` does."""
    if values.dtype == pl.String:
        return values
    if values.dtype in (pl.Categorical, pl.Enum) or values.dtype.is_integer():
        return values.cast(pl.String)
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String)
    names = {value: class_name(value) for value in values.unique().to_list()}
    return values.replace_strict(list(names), list(names.values()), return_dtype=pl.String)
