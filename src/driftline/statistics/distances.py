"""Distances between two profiles of one column, on bins that only the reference decides.

Both columns become counts on common *cells*: those of the grid with one more at each end for infinities, or the
categories. PSI, Jensen-Shannon, Hellinger and total variation use at most 64 *bins* of cells: between the reference's
quantiles, with a bin of its own for an atom (a value with over 4 % of the reference), for the range beyond each end,
for missing values and for categories that the reference never had. No bin moves with the current data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from driftline.errors import MergeError
from driftline.profiles import CategoricalColumn, Column, NumericColumn
from driftline.sketches import Grid, GridSketch
from driftline.sketches.categories import buckets_of
from driftline.sketches.grid import CELLS, union_of_cells
from driftline.sketches.hashing import hash_names

BINS_LIMIT = 64
ATOM_SHARE = 0.04
CAP_SPREADS = 100.0
"""The Wasserstein distance caps values at this many spreads from the reference's median."""

_QUANTILE_BINS = 56  # with at most 24 atoms, 2 outside ranges, missing and unseen this stays within BINS_LIMIT
_ROWS_A_BIN = 20
_PSEUDO_COUNT = 0.5
_SURGE_SHARE, _SURGE_TIMES = 0.01, 10.0
_MILLION = math.log(1e6)
_LOWEST, _HIGHEST = 0x0080, 0xFF7F  # the cells of the smallest and the largest finite float32

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


class Pair(msgspec.Struct, frozen=True, eq=False):
    """Counts of the reference and the current rows on common bins, shape (k,), and on cells, shape (c,).

    The last bin holds the rows without a value; no cell does. ``ordered`` is True where cells are ranges of numbers;
    cells of categories are in no order. ``positions`` are the cells' distances from the reference's median in its
    spreads, capped, shape (c,); empty for categories and for a reference without spread. ``capped`` says that some
    value lies further out than `CAP_SPREADS`. ``unseen`` is the share of the current rows, 0 to 1, in categories that
    the reference never had, beyond what its rare categories let expect. ``together``, 1 or more, is how many values
    come from one row; they are not independent, so tests count them as fewer.
    """

    reference: _Floats
    current: _Floats
    reference_cells: _Floats
    current_cells: _Floats
    positions: _Floats
    ordered: bool = True
    capped: bool = False
    unseen: float = 0.0
    together: float = 1.0


def without_missing(pair: Pair) -> Pair:
    """Return the pair with the bin of missing values emptied."""
    before, now = pair.reference.copy(), pair.current.copy()
    before[-1:] = now[-1:] = 0.0
    return replace(pair, reference=before, current=now)


def pair(reference: Column, current: Column) -> Pair:
    """Put two profiles of one column on common bins; raises `MergeError` for different kinds or grids."""
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn):
        return _numeric_pair(reference, current)
    if isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        return _categorical_pair(reference, current)
    raise MergeError(f"a {type(reference).__name__} and a {type(current).__name__} are not profiles of one column")


def _numeric_pair(reference: NumericColumn, current: NumericColumn) -> Pair:
    if reference.sketch.count and current.sketch.count and reference.sketch.grid != current.sketch.grid:
        raise MergeError("the two columns are on different grids; profile the current rows on the reference's")
    # cell numbers move up by one, to make room for minus infinity at 0 and plus infinity at the end
    cells = union_of_cells(reference.sketch.cells, current.sketch.cells).astype(np.int64) + 1
    p, q = _on_cells(reference, cells), _on_cells(current, cells)
    cells = np.concatenate([[0], cells, [CELLS + 1]])
    there = (p + q) > 0
    cells, p, q = cells[there], p[there], q[there]
    bins = _bins(p)
    size = int(bins.max()) + 1 if len(bins) else 0
    positions, capped = _positions(reference, cells)
    return Pair(
        np.append(np.bincount(bins, p, size), reference.missing + reference.nan),
        np.append(np.bincount(bins, q, size), current.missing + current.nan),
        p,
        q,
        positions,
        capped=capped,
    )


def _on_cells(column: NumericColumn, cells: _Ints) -> _Floats:
    dense = np.zeros(len(cells) + 2)
    dense[np.searchsorted(cells, column.sketch.cells.astype(np.int64) + 1) + 1] = column.sketch.counts
    dense[0], dense[-1] = column.negative_infinite, column.positive_infinite
    return dense


def _bins(p: _Floats) -> _Ints:
    """The bin of each cell, ascending from 0, from the reference's counts on ordered cells alone."""
    total = p.sum()
    if not total:
        return np.zeros(len(p), np.int64)
    wanted = int(np.clip(total // _ROWS_A_BIN, 4, _QUANTILE_BINS))
    seen = np.flatnonzero(p)
    inside = (np.arange(len(p)) >= seen[0]) & (np.arange(len(p)) <= seen[-1])
    atom = p > ATOM_SHARE * total
    # stretches of neighbouring cells, each split into one or more bins: below, between atoms, above; an atom is one
    starts = np.ones(len(p), bool)
    starts[1:] = atom[1:] | atom[:-1] | (inside[1:] != inside[:-1])
    stretch = np.cumsum(starts) - 1
    mass = np.bincount(stretch, p)
    pieces = np.maximum(np.round(mass * wanted / total), 1)
    pieces[stretch[atom]] = 1
    before = np.cumsum(p) - p
    first = np.minimum.reduceat(before, np.flatnonzero(starts))
    share = (before + p / 2 - first[stretch]) / np.maximum(mass, 1)[stretch]
    piece = np.minimum(np.floor(share * pieces[stretch]), pieces[stretch] - 1)
    return np.unique(stretch * (_QUANTILE_BINS + 1) + piece, return_inverse=True)[1].astype(np.int64)


def _positions(reference: NumericColumn, cells: _Ints) -> tuple[_Floats, bool]:
    spread = spread_of(reference)
    sketch = reference.sketch
    if not spread:
        return np.empty(0), False
    plain = Grid()  # in units of the grid nothing overflows
    median = float(plain.centres(sketch.cells[at_ranks(sketch, 0.5)])[0])
    infinite = np.where(cells == 0, -np.inf, np.where(cells == CELLS + 1, np.inf, 0.0))
    centres = np.where(infinite == 0, plain.centres(np.clip(cells - 1, _LOWEST, _HIGHEST)), infinite)
    with np.errstate(over="ignore"):
        positions = (centres - median) / (spread / sketch.grid.scale)
    return np.clip(positions, -CAP_SPREADS, CAP_SPREADS), bool((np.abs(positions) > CAP_SPREADS).any())


def at_ranks(sketch: GridSketch, *shares: float) -> _Ints:
    """Return the places among the sketch's cells, shape (shares,), in which these quantiles (0 to 1) lie."""
    upto = np.cumsum(sketch.counts)
    return np.minimum(np.searchsorted(upto, np.array(shares) * int(upto[-1])), len(upto) - 1)


def spread_of(column: NumericColumn) -> float:
    """Return half the 16-84 % range, or the standard deviation where that is 0; 0 for a constant or empty column."""
    if not column.sketch.count or column.smallest == column.largest:
        return 0.0
    spread = _half_range(column)
    return spread if spread is not None else column.sd or 0.0


def spreads_of(one: NumericColumn, other: NumericColumn) -> tuple[float, float]:
    """Return the spreads of two non-empty columns, computed alike: standard deviations if either 16-84 % range is 0."""
    first, second = _half_range(one), _half_range(other)
    return (one.sd or 0.0, other.sd or 0.0) if first is None or second is None else (first, second)


def _half_range(column: NumericColumn) -> float | None:
    """Half the 16-84 % range; None where that lies within one cell."""
    sketch = column.sketch
    places = at_ranks(sketch, 0.16, 0.84)
    if places[0] == places[1]:
        return None
    ends = Grid().centres(sketch.cells[places])
    with np.errstate(over="ignore"):
        spread = float((ends[1] - ends[0]) / 2 * sketch.grid.scale)
    return spread if np.isfinite(spread) else 0.0


def _categorical_pair(reference: CategoricalColumn, current: CategoricalColumn) -> Pair:
    """Make bins for the reference's most common categories, for its others, for new ones and for missing values.

    Where there are too many categories to keep, the cells are the buckets that they are hashed to. Distances between
    buckets are never larger than those between the categories.
    """
    known, theirs = reference.categories, current.categories
    unseen = _surprising(reference, current)
    if known.exact and theirs.exact:
        names = _by_hash(known.counts.keys() | theirs.counts.keys())
        p = np.array([known.counts.get(name, 0) for name in names], float)
        q = np.array([theirs.counts.get(name, 0) for name in names], float)
    else:
        p, q = known.by_bucket().astype(float), theirs.by_bucket().astype(float)
    order = np.argsort(-p, kind="stable")
    own = order[: min(BINS_LIMIT - 3, int((p > 0).sum()))]
    rest = p.sum() - p[own].sum()
    return Pair(
        np.array([*p[own], rest, 0, reference.missing]),
        np.array([*q[own], max(current.categories.count - q[own].sum() - unseen, 0), unseen, current.missing]),
        p,
        q,
        np.empty(0),
        ordered=False,
        unseen=unseen / current.rows if current.rows else 0.0,
    )


def _by_hash(names: Set[str]) -> list[str]:
    """The names in a pseudo-random order: rare ones are pooled with their neighbours, and names that count up with time
    would otherwise be pooled with names of the same side.
    """
    ordered = sorted(names)
    order: list[int] = np.argsort(hash_names(ordered), kind="stable").tolist()
    return [ordered[at] for at in order]


def _surprising(reference: CategoricalColumn, current: CategoricalColumn) -> float:
    """How many current rows have a category that the reference never had, beyond what its rare ones let expect.

    If f1 of the reference's n rows are the only ones of their category, a share of f1/n of fresh rows is expected to
    have a new one (Good 1953); what lies within three standard errors of that counts as rare, not as new. A new
    category with so many rows that the reference would have had it, too, with all but a chance of one in a million
    always counts as new. Where not all categories are kept, those of `_surges` count as new, and the share of the
    others is estimated from the categories that both sides would have kept: a fair sample, chosen by hash.
    """
    if reference.categories.exact and current.categories.exact:
        return _surprising_in(reference.categories.counts, current.categories.counts)
    threshold = min(reference.categories.threshold, current.categories.threshold)
    surges, more = _surges(reference.categories.by_bucket(), current.categories.by_bucket())
    sampled = [
        {name: side.counts[name] for name, bucket in _buckets(side.up_to(threshold)).items() if bucket not in surges}
        for side in (reference.categories, current.categories)
    ]
    others = current.categories.count - int(current.categories.by_bucket()[sorted(surges)].sum())
    return more + _surprising_in(*sampled) * others / max(sum(sampled[1].values()), 1)


def _buckets(names: Iterable[str]) -> dict[str, int]:
    listed = list(names)
    return dict(zip(listed, buckets_of(hash_names(listed)).tolist(), strict=True))


def _surges(reference: _Ints, current: _Ints) -> tuple[set[int], float]:
    """The buckets of categories with a surge, and how many rows more than expected these have.

    Such a bucket has at least 1 % of the current rows and at least ten times its share in the reference, with a chance
    below one in a million: one of its categories is new, or was at most a tenth as frequent. A sample of names would
    mostly miss it.
    """
    n, m = max(int(reference.sum()), 1), int(current.sum())
    expected = reference * (m / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        unlikely = np.where(expected > 0, current * np.log(current / expected) - (current - expected), np.inf)
    surges = (current >= _SURGE_SHARE * m) & (current >= _SURGE_TIMES * expected) & (unlikely > _MILLION)
    surges &= current * math.log1p(n / max(m, 1)) > _MILLION
    return set(np.flatnonzero(surges).tolist()), float((current - expected)[surges].sum())


def _surprising_in(mine: Mapping[str, int], theirs: Mapping[str, int]) -> float:
    """How many rows of ``theirs`` have a surprising category (`_surprising`), where all counts are known."""
    new = [count for name, count in theirs.items() if name not in mine]
    n, m = sum(mine.values()), sum(theirs.values())
    if not m:
        return 0.0
    if not n or not new:
        surprising = float(sum(new))
    else:
        loud = sum(count for count in new if count * math.log1p(n / m) > _MILLION)
        expected = m * sum(1 for count in mine.values() if count == 1) / n
        surprising = loud + max(sum(new) - loud - expected - 3 * math.sqrt(expected * (1 + m / n)), 0.0)
    return surprising


# ---- shares ------------------------------------------------------------------------------------------------


def _used(pair: Pair) -> tuple[_Floats, _Floats] | None:
    """The counts of both sides in the bins that are not empty; None unless both sides have rows."""
    used = (pair.reference + pair.current) > 0
    p, q = pair.reference[used], pair.current[used]
    return (p, q) if p.sum() and q.sum() else None


def psi_raw(pair: Pair) -> float | None:
    """Return the population stability index Σ(p - q) ln(p / q), in nats, 0 or more; None if either side has no rows.

    Both sides get Jeffreys' ½ row more in each bin.
    """
    if (counts := _used(pair)) is None:
        return None
    p, q = (side + _PSEUDO_COUNT for side in counts)
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def psi(pair: Pair) -> float | None:
    """Return `psi_raw` less its expectation without drift, (K - 1)(1/n + 1/m); at least 0."""
    if (counts := _used(pair)) is None or (raw := psi_raw(pair)) is None:
        return None
    p, q = counts
    return max(raw - (len(p) - 1) * float(1 / p.sum() + 1 / q.sum()), 0.0)


def jensen_shannon(pair: Pair) -> float | None:
    """Return the Jensen-Shannon distance (Lin 1991; Endres & Schindelin 2003), in [0, 1].

    It is the square root of the divergence in bits, less the divergence's bias without drift,
    (K - 1)(1/n + 1/m) / (8 ln 2). None if either side has no rows.
    """
    if (counts := _used(pair)) is None:
        return None
    p, q = counts
    divergence = jensen_shannon_divergence(p, q)
    bias = (len(p) - 1) / (8 * np.log(2)) * (1 / p.sum() + 1 / q.sum())
    return float(np.sqrt(max(divergence - bias, 0.0)))


def jensen_shannon_divergence(reference: _Floats, current: _Floats) -> float:
    """Return the Jensen-Shannon divergence in bits, in [0, 1], of two arrays of counts, shape (cells,), not all 0.

    >>> jensen_shannon_divergence(np.array([1.0, 0.0]), np.array([0.0, 5.0]))
    1.0
    """
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    return min(max(float(terms.sum()) / 2, 0.0), 1.0)


def class_distance(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the Jensen-Shannon distance, base 2, in [0, 1], between the shares of the names in two arrays.

    Each has the shape (n,) with n above 0. The distance is not corrected for the number of rows.

    >>> class_distance(np.array(["a", "b"]), np.array(["b", "a"])), class_distance(np.array(["a"]), np.array(["b"]))
    (0.0, 1.0)
    """
    names = np.unique(np.concatenate([one, other]))
    counts = (np.array([float((side == name).sum()) for name in names]) for side in (one, other))
    return math.sqrt(jensen_shannon_divergence(*counts))


def hellinger(pair: Pair) -> float | None:
    """Return the Hellinger distance √(½ Σ(√p - √q)²), in [0, 1]; not corrected for the number of rows."""
    if (counts := _used(pair)) is None:
        return None
    p, q = (side / side.sum() for side in counts)
    return min(float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2)), 1.0)


def total_variation(pair: Pair) -> float | None:
    """Return the total variation ½ Σ|p - q|, in [0, 1]: the share of rows that would have to move to another bin.

    It is not corrected for the number of rows.
    """
    if (counts := _used(pair)) is None:
        return None
    p, q = (side / side.sum() for side in counts)
    return min(float(np.abs(p - q).sum() / 2), 1.0)


# ---- order -------------------------------------------------------------------------------------------------


def _cumulated(pair: Pair) -> tuple[_Floats, _Floats] | None:
    p, q = pair.reference_cells, pair.current_cells
    if not (pair.ordered and p.sum() and q.sum()):
        return None
    return np.cumsum(p) / p.sum(), np.cumsum(q) / q.sum()


def kolmogorov_smirnov(pair: Pair) -> float | None:
    """Return the largest gap between the two distribution functions at the cells' edges, in [0, 1], with infinities.

    The gap between the values themselves may be larger, by at most the share of the largest cell. None for categories,
    or if either side has no values.
    """
    if (cumulated := _cumulated(pair)) is None:
        return None
    return min(float(np.abs(cumulated[0] - cumulated[1]).max()), 1.0)


def wasserstein(pair: Pair) -> float | None:
    """Return the Wasserstein-1 distance in spreads of the reference: how far a value moves on average; 0 or more.

    Infinities, like all values far out, count as `CAP_SPREADS` spreads from the median. None for categories, for a
    reference without spread, or if either side has no values.
    """
    if not len(pair.positions) or (cumulated := _cumulated(pair)) is None:
        return None
    return float((np.abs(cumulated[0] - cumulated[1])[:-1] * np.diff(pair.positions)).sum())


DISTANCES: Mapping[str, Callable[[Pair], float | None]] = {
    "js": jensen_shannon,
    "psi": psi,
    "psi_raw": psi_raw,
    "hellinger": hellinger,
    "tv": total_variation,
    "ks": kolmogorov_smirnov,
    "wasserstein": wasserstein,
}
"""Every distance by name; its value is None where it has no meaning for a column."""
