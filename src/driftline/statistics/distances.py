"""Distances between two profiles of one column, on cells that the reference alone decides.

Both columns become counts on common *cells*: the cells of the grid with one more at each end for infinities,
or the categories. PSI, Jensen-Shannon, Hellinger and total variation use at most 64 *bins* of
cells: at the reference's quantiles, with an own bin for an atom (a value with over 4 % of the reference), for
each outside range, for what is missing and for what the reference never had. No bin moves with the current
data.
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
"""Values are taken as at most this many spreads from the reference's median in the Wasserstein distance."""

_QUANTILE_BINS = 56  # with at most 24 atoms, 2 outside ranges, missing and unseen this stays within BINS_LIMIT
_ROWS_A_BIN = 20
_PSEUDO_COUNT = 0.5
_SURGE_SHARE, _SURGE_TIMES = 0.01, 10.0
_MILLION = math.log(1e6)
_LOWEST, _HIGHEST = 0x0080, 0xFF7F  # the cells of the smallest and the largest finite float32

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


class Pair(msgspec.Struct, frozen=True, eq=False):
    """Counts of the reference and the current rows on common bins, shape (k,), and on the finest cells, shape
    (c,).

    The last bin holds the rows without a value; no cell does. ``ordered`` cells are numbers; others are
    categories. ``positions`` are the cells' centres in spreads of the reference from its median, capped,
    shape (c,); empty for categories and for a reference without spread. ``capped`` says that some value lies
    further out than `CAP_SPREADS`. ``unseen`` is the share of the current rows, 0 to 1, in categories that
    the reference never had, beyond what is to be expected of its rare ones. ``together``, 1 or more, is how many values
    come from one row; the others of a row then say little about chance. Cells of categories are in no order.
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
    """Return the same of the rows that have a value."""
    before, now = pair.reference.copy(), pair.current.copy()
    before[-1:] = now[-1:] = 0.0
    return replace(pair, reference=before, current=now)


def pair(reference: Column, current: Column) -> Pair:
    """Put two profiles of one column on common bins; raise `MergeError` when they cannot be."""
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
    # stretches of neighbouring cells that share a bin or more: below, between atoms, above; each atom is one
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
    """Return where among the cells these quantiles lie, shape (shares,)."""
    upto = np.cumsum(sketch.counts)
    return np.minimum(np.searchsorted(upto, np.array(shares) * int(upto[-1])), len(upto) - 1)


def spread_of(column: NumericColumn) -> float:
    """Return half the 16-84 % range, or the standard deviation where that is 0; 0 for a constant or empty column."""
    if not column.sketch.count or column.smallest == column.largest:
        return 0.0
    spread = _half_range(column)
    return spread if spread is not None else column.sd or 0.0


def spreads_of(one: NumericColumn, other: NumericColumn) -> tuple[float, float]:
    """Return the spreads of two columns with values, of one kind: standard deviations where either's 16-84 % range is
    0.
    """
    first, second = _half_range(one), _half_range(other)
    return (one.sd or 0.0, other.sd or 0.0) if first is None or second is None else (first, second)


def _half_range(column: NumericColumn) -> float | None:
    """Half the 16-84 % range; None where that is one cell."""
    sketch = column.sketch
    places = at_ranks(sketch, 0.16, 0.84)
    if places[0] == places[1]:
        return None
    ends = Grid().centres(sketch.cells[places])
    with np.errstate(over="ignore"):
        spread = float((ends[1] - ends[0]) / 2 * sketch.grid.scale)
    return spread if np.isfinite(spread) else 0.0


def _categorical_pair(reference: CategoricalColumn, current: CategoricalColumn) -> Pair:
    """A bin for each of the reference's most common categories, one for its others, one for new ones, one for
    missing.

    Where there are too many categories to be kept, the cells are the buckets that all are hashed to: distances are
    then those of the buckets, which are never larger than those of the categories.
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
    """The names in an order that says nothing of them: rare ones are pooled with their neighbours, and numbers that
    count up would all be of one side.
    """
    ordered = sorted(names)
    order: list[int] = np.argsort(hash_names(ordered), kind="stable").tolist()
    return [ordered[at] for at in order]


def _surprising(reference: CategoricalColumn, current: CategoricalColumn) -> float:
    """How many current rows are of a category that the reference never had, beyond what its rare ones let
    expect.

    A share f1/n of fresh rows is of a new category when f1 of the reference's n rows are alone in theirs
    (Good 1953); what is within three standard errors of that is counted with the rare ones. A new category
    with so many rows that the reference would have had some, but for a chance of about one in a million, is
    always a surprise. Where not all categories are kept, those of `_surges` count as new, and the share in others is
    that of the categories that both sides would have kept: a fair sample, chosen by their hash.
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
    """The buckets of categories with a surge, and how many rows these have more than is to be expected.

    Such a bucket has 1 % of the current rows, and ten times as many as in the reference, but for a chance of one in a
    million: one of its categories is new, or was at most a tenth as frequent. A sample of names would mostly miss it.
    """
    n, m = max(int(reference.sum()), 1), int(current.sum())
    expected = reference * (m / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        unlikely = np.where(expected > 0, current * np.log(current / expected) - (current - expected), np.inf)
    surges = (current >= _SURGE_SHARE * m) & (current >= _SURGE_TIMES * expected) & (unlikely > _MILLION)
    surges &= current * math.log1p(n / max(m, 1)) > _MILLION
    return set(np.flatnonzero(surges).tolist()), float((current - expected)[surges].sum())


def _surprising_in(mine: Mapping[str, int], theirs: Mapping[str, int]) -> float:
    """How many rows of ``theirs`` are of a surprising category, in categories whose counts are all known."""
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
    """The bins that hold anything; None unless both sides have rows."""
    used = (pair.reference + pair.current) > 0
    p, q = pair.reference[used], pair.current[used]
    return (p, q) if p.sum() and q.sum() else None


def psi_raw(pair: Pair) -> float | None:
    """Population stability index Σ(p - q) ln(p / q), in nats, with Jeffreys' ½ a bin in both; 0 or more.

    None when either side has no rows.
    """
    if (counts := _used(pair)) is None:
        return None
    p, q = (side + _PSEUDO_COUNT for side in counts)
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def psi(pair: Pair) -> float | None:
    """`psi_raw` less what it is expected to be without any drift, (K - 1)(1/n + 1/m), and 0 at least."""
    if (counts := _used(pair)) is None or (raw := psi_raw(pair)) is None:
        return None
    p, q = counts
    return max(raw - (len(p) - 1) * float(1 / p.sum() + 1 / q.sum()), 0.0)


def jensen_shannon(pair: Pair) -> float | None:
    """Return the Jensen-Shannon distance (Lin 1991; Endres & Schindelin 2003), the root of the divergence in bits,
    after the divergence's bias without drift, (K - 1)(1/n + 1/m) / (8 ln 2), is taken off; in [0, 1].
    """
    if (counts := _used(pair)) is None:
        return None
    p, q = counts
    divergence = jensen_shannon_divergence(p, q)
    bias = (len(p) - 1) / (8 * np.log(2)) * (1 / p.sum() + 1 / q.sum())
    return float(np.sqrt(max(divergence - bias, 0.0)))


def jensen_shannon_divergence(reference: _Floats, current: _Floats) -> float:
    """Return the divergence in bits, in [0, 1], of counts in the same cells, shape (cells,), neither of them all 0.

    >>> jensen_shannon_divergence(np.array([1.0, 0.0]), np.array([0.0, 5.0]))
    1.0
    """
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    return min(max(float(terms.sum()) / 2, 0.0), 1.0)


def class_distance(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the Jensen-Shannon distance, base 2, in [0, 1], of the shares of names in two arrays, each of shape (n,)
    with n above 0; not corrected for size.

    >>> class_distance(np.array(["a", "b"]), np.array(["b", "a"])), class_distance(np.array(["a"]), np.array(["b"]))
    (0.0, 1.0)
    """
    names = np.unique(np.concatenate([one, other]))
    counts = (np.array([float((side == name).sum()) for name in names]) for side in (one, other))
    return math.sqrt(jensen_shannon_divergence(*counts))


def hellinger(pair: Pair) -> float | None:
    """Hellinger distance √(½ Σ(√p - √q)²), in [0, 1]; not corrected for the size of the samples."""
    if (counts := _used(pair)) is None:
        return None
    p, q = (side / side.sum() for side in counts)
    return min(float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2)), 1.0)


def total_variation(pair: Pair) -> float | None:
    """Total variation ½ Σ|p - q|, in [0, 1]: the share of rows that would have to move; not corrected for
    size.
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
    """Largest gap between the two distribution functions at the cells' edges, in [0, 1]; infinities take
    part.

    At most the mass of the largest cell below the gap between the values themselves. None for categories, or
    when either side has no values.
    """
    if (cumulated := _cumulated(pair)) is None:
        return None
    return min(float(np.abs(cumulated[0] - cumulated[1]).max()), 1.0)


def wasserstein(pair: Pair) -> float | None:
    """Wasserstein-1 distance of the finite values in spreads of the reference: how far a value moves on
    average.

    Infinities count as `CAP_SPREADS`, the furthest that any value counts for. None for categories, for a
    reference without spread, or when either side has no values.
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
"""Every distance by name; None where it has no meaning for a column."""
