"""Say in words what changed in a column, for people who do not read distances."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Set

import numpy as np
import numpy.typing as npt

from driftline.lookalikes import differences, differs_by, pairs, shown_all, twins
from driftline.profiles import CategoricalColumn, Column, NumericColumn
from driftline.sketches import Grid
from driftline.sketches.grid import union_of_cells
from driftline.sketches.moments import LARGEST
from driftline.statistics.distances import CAP_SPREADS, Pair, at_ranks, spread_of, spreads_of
from driftline.text.numbers import number, number_with, numbers, percent, percents

FAR_WORDS = "values from"
"""The first words of the change that reports values very far out."""

_CHANGES_SHOWN = 4
_TWINS_SHOWN = 2
_CHANGE_LEAST = 0.01
_SPREAD_RATIO = 1.1
_MEAN_ERRORS = 2.0


def changes_of(reference: Column, current: Column, both: Pair, out_of_range: float | None) -> tuple[str, ...]:
    """Return the changes of a column, a few words each; empty where nothing changed.

    ``both`` has the two profiles on common cells. ``out_of_range`` is the share of current numbers beyond the
    reference's range, 0 to 1; None for columns that are not numeric.
    """
    words: list[str] = []
    before, after = ((side.absent - _infinite(side)) / max(side.rows, 1) for side in (reference, current))
    if abs(after - before) >= _CHANGE_LEAST:
        words.append(f"missing {_shares(before, after)}")
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn):
        words += _number_changes(reference, current, both)
        outside = out_of_range or 0.0
        if outside >= _CHANGE_LEAST and not words:
            ends = " to ".join(numbers(reference.smallest or 0.0, reference.largest or 0.0))
            words.append(f"{percent(outside)} outside {ends}")
        words = words or _stretch_changes(reference, current)
    elif isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        words += _category_changes(reference, current, both.unseen)
    return tuple(words)


def _infinite(column: Column) -> int:
    return column.positive_infinite + column.negative_infinite if isinstance(column, NumericColumn) else 0


def _stretch_changes(reference: NumericColumn, current: NumericColumn) -> list[str]:
    """The range between two of the reference's deciles whose share changed most, with its shares."""
    if not (reference.sketch.count and current.sketch.count):
        return []
    places = sorted({*at_ranks(reference.sketch, *(tenth / 10 for tenth in range(1, 10))).tolist()})
    ends = reference.sketch.cells[places]
    was, became = (np.diff(side.sketch.share_up_to(ends), append=1.0) for side in (reference, current))
    at = int(np.argmax(np.abs(became - was)))
    if abs(became[at] - was[at]) < _CHANGE_LEAST:
        return []
    return [f"{_stretch(reference, current, ends, at)}: {_shares(float(was[at]), float(became[at]))}"]


def _stretch(reference: NumericColumn, current: NumericColumn, ends: npt.NDArray[np.uint16], at: int) -> str:
    """Name one of the ranges that end with these cells, by its values; the last one has no end."""
    cells = union_of_cells(reference.sketch.cells, current.sketch.cells)
    first = cells[np.searchsorted(cells, ends[at - 1 : at], side="right")]
    edges = _inner_edges(reference.sketch.grid, np.append(first, ends)).tolist()
    spread = spread_of(reference)
    if at == 0:
        return f"up to {number_with(edges[0], spread)}"
    if at == len(ends):
        return f"above {number_with(edges[-1], spread)}"
    if first[0] == ends[at]:
        return f"at {number_with(edges[0], spread)}"
    low, high = (number_with(edge, spread) for edge in (edges[0], edges[1 + at]))
    return " to ".join((low, high) if low != high else numbers(edges[0], edges[1 + at]))


def _category_changes(reference: CategoricalColumn, current: CategoricalColumn, unseen: float) -> list[str]:
    """The categories whose shares changed most; alike ones are written so that they differ, renamed ones as pairs."""
    if not (reference.categories.count and current.categories.count):
        return []
    mine, theirs = reference.categories, current.categories
    before, now = (
        theirs.known(mine.counts),
        mine.known(theirs.counts),
    )  # whether other categories are new or gone is not known
    was_of, became_of = (defaultdict(float, side.shares()) for side in (mine, theirs))  # 0 if not there
    names = sorted(before | now)
    renamed = pairs(before - theirs.counts.keys(), now - mine.counts.keys())
    if sum(max(was_of[old], became_of[new]) for old, new in renamed.items()) < _CHANGE_LEAST:
        renamed = {}
    renamed = dict(sorted(renamed.items(), key=lambda both: (-was_of[both[0]], both[0])))
    told = shown_all(sorted(mine.counts.keys() | theirs.counts.keys()))
    turned = {old: (was_of[old], became_of[new], f"{told[old]} as {told[new]}") for old, new in renamed.items()}
    again = set(renamed.values())
    shares = [
        turned[name] if name in turned else (was_of[name], became_of[name], told[name])
        for name in names
        if name not in again
    ]
    shown = sorted(shares, key=lambda share: -abs(share[1] - share[0]))[:_CHANGES_SHOWN]
    words = [_renamed_words(renamed, told, len(mine.counts))] if renamed else []
    for was, became, name in shown:
        if abs(became - was) >= _CHANGE_LEAST:
            mark = " (new)" if not was else " (gone)" if not became else ""
            words.append(f"{_apart(name)} {_shares(was, became)}{mark}")
    told_new = sum(became for was, became, _ in shown if not was and became >= _CHANGE_LEAST)
    if unseen - told_new - sum(became_of[name] for name in again) >= _CHANGE_LEAST:
        new = "new categories" if mine.exact and theirs.exact else "categories that are new or were a tenth as frequent"
        words.append(f"{percent(unseen)} in {new}")
    spread = {name for name in now - again if became_of[name] >= _CHANGE_LEAST}
    return words + _twin_words(mine.counts.keys(), spread, told)


def _apart(name: str) -> str:
    """Return a name so that the share behind it is not read as a part of it.

    >>> _apart("rain"), _apart("0"), _apart("1.5")
    ('rain', "'0'", "'1.5'")
    """
    return f"'{name}'" if name.lstrip("+-.")[:1].isdigit() else name


def _renamed_words(renamed: Mapping[str, str], told: Mapping[str, str], count: int) -> str:
    """Say how many categories were renamed and what their names differ by, with examples."""
    some = list(renamed.items())[:_TWINS_SHOWN]
    examples = ", ".join(f"{told[old]} → {told[new]}" for old, new in some)
    more = f" and {len(renamed) - len(some)} more" if len(renamed) > len(some) else ""
    which = f"all {count} categories" if len(renamed) == count > 1 else f"{len(renamed)} of {count} categories"
    verb = "differs" if len(renamed) == 1 else "differ"
    return f"{which} {verb} by {differences(renamed)} only: {examples}{more}"


def _twin_words(before: Set[str], now: Set[str], told: Mapping[str, str]) -> list[str]:
    """New categories that look like an old one that is still there, and what they differ by."""
    by_plain = twins(now - before, before)
    words = [f"{told[new]} differs from {told[old]} by {differs_by(new, old)} only" for new, old in by_plain.items()]
    return words[:_TWINS_SHOWN] + ([f"and {len(words) - _TWINS_SHOWN} more such"] if len(words) > _TWINS_SHOWN else [])


def _number_changes(reference: NumericColumn, current: NumericColumn, both: Pair) -> list[str]:
    words: list[str] = []
    infinite = [_infinite(column) / max(column.rows, 1) for column in (reference, current)]
    if abs(infinite[1] - infinite[0]) >= _CHANGE_LEAST / 10:
        words.append(f"infinite {_shares(*infinite)}")
    if not (reference.sketch.count and current.sketch.count):
        return words
    spread, wide = spread_of(reference), spread_of(current)
    before, after = _median(reference), _median(current)
    moved = abs(after - before) > 0.05 * spread if spread else after != before
    was, became = reference.mean or 0.0, current.mean or 0.0
    if moved and before != after:
        words.append(f"median {_pair(before, after)}")
    elif spread and abs(became - was) > 0.05 * spread and _is_mean(became - was, reference, current):
        words.append(f"mean {_pair(was, became)}")
    one, other = spreads_of(reference, current)
    if spread and wide and one and other and not 1 / _SPREAD_RATIO <= other / one <= _SPREAD_RATIO:
        words.append(f"spread {_pair(one, other)}")
    elif bool(spread) != bool(wide):
        words.append(f"now constant at {number(after)}" if spread else f"was constant at {number(before)}")
    if both.capped and _far(current, reference, spread) and current.largest is not None:
        ends = (current.smallest, current.largest, reference.smallest, reference.largest)
        words.append(FAR_WORDS + " {} to {}, before {} to {}".format(*numbers(*(end or 0.0 for end in ends))))
    return words


def _pair(before: float, after: float) -> str:
    return " → ".join(numbers(before, after))


def _shares(before: float, after: float) -> str:
    return " → ".join(percents(before, after))


def _is_mean(change: float, reference: NumericColumn, current: NumericColumn) -> bool:
    """Whether the mean moved by more than its error, and not because of a few extreme or capped values."""
    return abs(change) > _MEAN_ERRORS * _error(reference, current) and _has_mean(reference) and _has_mean(current)


def _has_mean(column: NumericColumn) -> bool:
    """Whether the mean is exact: no value is so far out that it was capped in the sums."""
    assert column.smallest is not None
    assert column.largest is not None
    centre = column.sketch.grid.centre
    return max(abs(column.smallest / 2 - centre / 2), abs(column.largest / 2 - centre / 2)) < LARGEST / 2


def _error(one: NumericColumn, other: NumericColumn) -> float:
    """The standard error of the difference of the means; a few values far out make it large."""
    return math.hypot(*((side.sd or 0.0) / math.sqrt(max(side.sketch.count, 1)) for side in (one, other)))


def _far(current: NumericColumn, reference: NumericColumn, spread: float) -> bool:
    """Whether a current value lies beyond the cap (`CAP_SPREADS`) and beyond every value of the reference."""
    assert current.smallest is not None
    assert current.largest is not None
    assert reference.smallest is not None
    assert reference.largest is not None
    middle = _median(reference)
    high = max(reference.largest, middle + CAP_SPREADS * spread)
    low = min(reference.smallest, middle - CAP_SPREADS * spread)
    return current.largest > high or current.smallest < low


def _median(column: NumericColumn) -> float:
    """The median, to within its cell: the edge that is nearer to the grid's centre."""
    sketch = column.sketch
    assert column.smallest is not None
    assert column.largest is not None
    edge = float(_inner_edges(sketch.grid, sketch.cells[at_ranks(sketch, 0.5)])[0])
    return min(max(edge, column.smallest), column.largest)


def _inner_edges(grid: Grid, cells: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """The edge of each cell nearer to the grid's centre: exact for whole numbers on the plain grid."""
    plain = Grid()
    edges = np.maximum(plain.lower_edges(cells), 0.0) + np.minimum(plain.upper_edges(cells), 0.0)
    with np.errstate(over="ignore"):
        return np.nan_to_num(edges * grid.scale + grid.centre)  # the largest float in place of infinity
