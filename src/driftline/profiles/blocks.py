"""Sum up labelled rows by block, because the rows of one hour, or of one customer, may not be independent.

How far the sums of blocks vary shows how dependent they are; see `driftline.statistics.between`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import UsageError
from driftline.sketches.hashing import hash_texts
from driftline.sketches.scratch import CHUNK, scratch

MOST_BLOCKS = 128
DAY = 24
MANY_CLASSES = "many"
"""The name of the sum that marks more than `MOST_CLASSES` classes; there are then no sums by class."""
MOST_CLASSES = 24
_SPANS = (1, 3, 6, 12, DAY)
_MIXED = -1
_FAR = 1 << 32  # hours: further than any time
_NOWHERE = -1 << 40
_ALLOWED = {_MIXED, 0, *_SPANS, *(DAY << doubled for doubled in range(36))}
_HOUR_US = 3_600_000_000
_EXACT_ROWS, _EXACT_SIZE = 1 << 16, 1 << 37
_DENSE, _FEW_RUNS, _LONG_RUN = 4096, 256, 8
_UNIT, _FARTHEST = 2.0**24, 64.0

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

Rows = _Ints | _Floats | npt.NDArray[np.bool_]
"""Values of rows that are added up, shape (n,): whole numbers or flags."""


class Keys(NamedTuple):
    """The block of each row, shape (n,): its hour since 1970 (``span`` 1), or a hash of its cluster (``span`` 0);
    `_NOWHERE` where neither is known.
    """

    span: int
    numbers: _Ints

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether each row has a block, shape (n,)."""
        return np.not_equal(self.numbers, _NOWHERE)

    def where(self, there: npt.NDArray[np.bool_]) -> Keys:
        """Return the blocks of the rows of a mask, shape (n,)."""
        return self if there.all() else Keys(self.span, self.numbers[there])


def keys_of(clusters: pl.Series | None, times: pl.Series | None) -> Keys | None:
    """Return the blocks of rows by their clusters, texts of shape (n,), if given, else by their times, in UTC.

    None without either. Rows without a cluster or a time are in no block, because nothing shows what they share.
    """
    if clusters is not None:
        hashed = (hash_texts(clusters.fill_null("")) % np.uint64(MOST_BLOCKS)).astype(np.int64)
        return Keys(0, _known(hashed, clusters))
    if times is None:
        return None
    numbers = times.to_physical()
    return Keys(1, _known((numbers.fill_null(0) if numbers.null_count() else numbers).to_numpy() // _HOUR_US, times))


def _known(numbers: _Ints, of: pl.Series) -> _Ints:
    return np.where(of.is_null().to_numpy(), _NOWHERE, numbers) if of.null_count() else numbers


def in_units(values: _Floats, unit: float = 1.0) -> _Floats:
    """Return numbers as whole multiples of 2**-24 units, capped at 64 units: their sums are the same in any order."""
    with np.errstate(over="ignore"):
        shares: _Floats = values * (_UNIT / unit)
    np.clip(shares, -_FARTHEST * _UNIT, _FARTHEST * _UNIT, out=shares)
    return np.rint(shares, out=shares)


def near_in_units(values: _Floats, name: str) -> _Floats:
    """Return the same as `in_units` with a unit of 1, for numbers known to be smaller than 64 in size; 0 for NaN.

    For up to `CHUNK` numbers the result is the scratch array of this name.
    """
    place = scratch(name, len(values), np.float64) if len(values) <= CHUNK else np.empty(len(values))
    shares = np.multiply(values, _UNIT, out=place)
    np.rint(shares, out=shares)
    if len(shares) and math.isnan(float(shares.sum())):
        np.nan_to_num(shares, copy=False)
    return shares


def squared(values: _Floats) -> _Floats:
    """Return the squares of numbers in units, in square units."""
    squares: _Floats = values * values
    squares *= 1 / _UNIT
    return np.rint(squares, out=squares)


def _none() -> _Ints:
    return np.empty(0, np.int64)


class Blocks(msgspec.Struct, frozen=True, eq=False):
    """Sums by block, of at most `MOST_BLOCKS` blocks.

    ``numbers`` ascend, shape (k,), and ``sums``, shape (k * names,), has the sums of one block after another, in the
    order of ``names``. ``span`` is the length of a block in hours; it grows where there are too many blocks. A block's
    number is the hours since 1970 divided by it, rounded down. A span of 0 marks blocks of clusters, and -1 that rows
    of both kinds, or of different units, were merged, so that nothing is known. Sums that are not counts are in 2**-24
    ``unit``, and each value is capped at 64 units.
    """

    span: int = 0
    unit: float = 1.0
    names: tuple[str, ...] = ()
    numbers: _Ints = msgspec.field(default_factory=_none)
    sums: _Ints = msgspec.field(default_factory=_none)

    def __post_init__(self) -> None:
        if len(self.sums) != len(self.names) * len(self.numbers) or len(self.numbers) > MOST_BLOCKS:
            raise UsageError(f"{len(self.sums)} sums came for {len(self.names)} names of {len(self.numbers)} blocks")
        if list(self.names) != sorted({*self.names}) or bool((np.diff(self.numbers) <= 0).any()):
            raise UsageError("names and blocks must be ascending")
        if self.span not in _ALLOWED:
            raise UsageError(f"blocks of {self.span} hours came; allowed are 1, 3, 6, 12, 24 and its doubles")
        if len(self.numbers) and max(-int(self.numbers[0]), int(self.numbers[-1])) > _FAR:
            raise UsageError(f"blocks {self.numbers[0]} to {self.numbers[-1]} came, which no time lies in")
        if not (0 < self.unit < np.inf):
            raise UsageError(f"a unit of {self.unit} came; it must be finite and above 0")

    @classmethod
    def of(
        cls,
        keys: Keys,
        sums: Mapping[str, Rows],
        unit: float = 1.0,
        made_of: Callable[[Mapping[str, _Ints]], dict[str, _Ints]] = dict,
    ) -> Blocks:
        """Add up whole numbers up to 2**37, or flags, by block, each of shape (n,); the sum ``n`` counts the rows.

        Rows without a block are left out. ``made_of`` turns the sums over sets of rows into those to keep.
        """
        if not len(keys.numbers):
            return cls()
        parts = [
            _runs(keys.numbers[start : start + _EXACT_ROWS], sums, start)
            for start in range(0, len(keys.numbers), _EXACT_ROWS)
        ]
        numbers = np.concatenate([part for part, _ in parts])
        added = {name: np.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
        if not (known := numbers != _NOWHERE).all():
            numbers, added = numbers[known], {name: values[known] for name, values in added.items()}
        if not len(numbers):
            return cls()
        by_name = made_of(added)
        return _bounded(keys.span, unit, *_added(numbers, by_name))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Blocks):
            return NotImplemented
        return (
            (self.span, self.unit, self.names) == (other.span, other.unit, other.names)
            and np.array_equal(self.numbers, other.numbers)
            and np.array_equal(self.sums, other.sums)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside: equal by value, not hashable

    def merge(self, other: Blocks) -> Blocks:
        """Return the sums of both."""
        if _NOTHING in (self, other):
            return other if self == _NOTHING else self
        if (self.span > 0) != (other.span > 0) or self.unit != other.unit or _MIXED in (self.span, other.span):
            return Blocks(_MIXED)
        span = max(self.span, other.span)
        one, two = self.of_span(span), other.of_span(span)
        names = sorted({*one.names, *two.names})
        stacked = {name: np.concatenate([one.sum_of(name), two.sum_of(name)]) for name in names}
        return _bounded(span, self.unit, *_added(np.concatenate([one.numbers, two.numbers]), stacked))

    def of_span(self, span: int) -> Blocks:
        """Return the same sums by longer blocks; ``span`` is a later one of 1, 3, 6, 12, 24, 48 and so on."""
        if span == self.span or self.span <= 0:
            return self
        by_name = {name: self.sum_of(name) for name in self.names}
        return _blocks(span, self.unit, *_added(self.numbers // (span // self.span), by_name))

    @property
    def longer(self) -> Blocks:
        """The same sums by the next longer blocks."""
        return self.of_span(_after(self.span))

    def sum_of(self, name: str) -> _Ints:
        """Return the sum of that name for each block, shape (k,); 0 where nothing was added."""
        if name not in self.names:
            return np.zeros(len(self.numbers), np.int64)
        return self.sums[self.names.index(name) :: len(self.names)]

    def in_units(self, name: str) -> _Floats:
        """Return the sum of that name, one that is not a count, for each block, shape (k,), in ``unit``."""
        return self.sum_of(name) / _UNIT


_NOTHING = Blocks()


def _after(span: int) -> int:
    return next((longer for longer in _SPANS if longer > span), 2 * span)


def _runs(numbers: _Ints, sums: Mapping[str, Rows], start: int) -> tuple[_Ints, dict[str, _Ints]]:
    """The block and the sums of each run of rows that share a block, from row ``start`` on; up to `_EXACT_ROWS` rows.

    Times mostly come in order, and a run is then a whole hour. So many numbers below 2**37 add up without rounding.
    Where runs are short, as those of customers are, all rows of a block are added up at once, to save memory.
    """
    begins = np.append(0, np.flatnonzero(numbers[1:] != numbers[:-1]) + 1)
    if len(begins) > max(_FEW_RUNS, len(numbers) // _LONG_RUN):
        parts: dict[str, Rows] = {name: values[start : start + len(numbers)] for name, values in sums.items()}
        return _added(numbers, {"n": np.ones(len(numbers), np.bool_), **parts})
    ends = np.append(begins[1:], len(numbers))
    found = {"n": ends - begins}
    long = len(begins) <= _FEW_RUNS
    spans = list(zip(begins.tolist(), ends.tolist(), strict=True)) if long else []
    for name, values in sums.items():
        part = values[start : start + len(numbers)]
        if part.dtype == np.bool_ and long:
            found[name] = np.array([np.count_nonzero(part[first:last]) for first, last in spans], np.int64)
        else:
            whole = part.astype(np.int64) if part.dtype == np.bool_ else part
            found[name] = np.add.reduceat(whole, begins).astype(np.int64)
    return numbers[begins], found


def _added(numbers: _Ints, sums: Mapping[str, Rows]) -> tuple[_Ints, dict[str, _Ints]]:
    """The distinct numbers, ascending, and the exact sums of each."""
    first = int(numbers.min())
    if int(numbers.max()) - first < _DENSE:
        known, places = np.arange(first, int(numbers.max()) + 1), numbers - first
    else:
        known, places = np.unique(numbers, return_inverse=True)
    counts = np.bincount(places, minlength=len(known)) > 0
    return known[counts], {name: _grouped(places, values, len(known))[counts] for name, values in sums.items()}


def _grouped(places: _Ints, values: Rows, groups: int) -> _Ints:
    if values.dtype == np.bool_:
        return np.bincount(places[values.view(np.bool_)], minlength=groups)
    total = np.zeros(groups, np.int64)
    if len(values) <= _DENSE or max(int(values.max()), -int(values.min())) > _EXACT_SIZE:
        np.add.at(total, places, values.astype(np.int64))
        return total
    for start in range(0, len(values), _EXACT_ROWS):  # as in `_runs`: twice as fast
        part = slice(start, start + _EXACT_ROWS)
        total += np.bincount(places[part], values[part], groups).astype(np.int64)
    return total


def _bounded(span: int, unit: float, numbers: _Ints, sums: Mapping[str, _Ints]) -> Blocks:
    classes = {name[2:] for name in sums if name[1:2] == " "}
    if len(classes) > MOST_CLASSES or MANY_CLASSES in sums:
        sums = {name: values for name, values in sums.items() if name[1:2] != " "} | {MANY_CLASSES: sums["n"]}
    while len(numbers) > MOST_BLOCKS:
        longer = _after(span)
        numbers, sums = _added(numbers // (longer // span), sums)
        span = longer
    return _blocks(span, unit, numbers, sums)


def _blocks(span: int, unit: float, numbers: _Ints, sums: Mapping[str, _Ints]) -> Blocks:
    names = tuple(sorted(name for name, values in sums.items() if values.any()))
    table = np.stack([sums[name] for name in names], axis=1) if names else np.empty((len(numbers), 0), np.int64)
    return Blocks(span, unit, names, numbers, table.ravel())
