"""Test whether the relations between columns have changed, which no distance of single columns can see.

Every column is ranked on each side by itself, so any increasing transformation of it leaves the ranks as they were.
Categories become indicators of their most frequent values, gaps an indicator of their own. Spearman's correlations of
all pairs are one matrix product for each side; pairs whose correlation changed by at least the minimum effect size are
then tested, with a variance from the data, and their p-values are adjusted by Holm (1979) over all pairs.

A relation that has no monotone part (a parabola, XOR) has no correlation: for these there is
`driftline.statistics.domain_classifier`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.sketches.drawn import drawn_places
from driftline.statistics.significance import conclusion, holm
from driftline.text.numbers import effect

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MEASURE = "correlation"
LEAST_ROWS = 30
_LEAST_FLOOR = 0.01
_WORK = 4_000_000_000
"""Rows × variables² at most, a second or so."""
_ONE_THREAD = 4 * 65_536
"""Multiplications up to which OpenBLAS starts no threads."""
_MOST_VARIABLES = 1_500
_MOST_LEVELS = 8
_LEAST_SHARE = 0.05
_LEAST_SPREAD = 3 * _LEAST_SHARE * (1 - _LEAST_SHARE)
"""12 times the variance of the ranks, 1 without ties; this is the one of an indicator of 5 % of the rows."""
_LEAST_SPREAD_ROWS = 29.9
"""The same times rows: 30 rows without ties, 12 rows in an indicator of 100, 20 in one of 10,000."""
_PAIRS_SHOWN = 10
_PAIRS_TESTED = 100


class PairChange(msgspec.Struct, frozen=True):
    """Two columns whose relation changed.

    ``labels`` say what of each was correlated: its values (then it is the column's name), one category
    (``sky = rain``), or where it is missing (``gaps in sky``). ``reference`` and ``current`` are Spearman's rank
    correlations, in [-1, 1]. The reference's is carried over to the spread that the ranks have now (see
    `compare_dependence`), so that it may differ a little from the plain one where there are categories or ties.
    ``p_value`` is adjusted over all pairs.
    """

    columns: tuple[str, str]
    reference: float
    current: float
    p_value: float
    labels: tuple[str, str]


class Dependence(msgspec.Struct, frozen=True):
    """Whether the columns of two sets of rows depend on each other in the same way.

    ``measure`` is ``correlation`` or ``classifier``. ``value`` is the largest change of a correlation, 0 to 2 (for the
    classifier its ROC AUC, 0 to 1), and ``threshold`` the minimum effect size; ``value`` is None, with a ``problem`` in
    words, where nothing could be compared. ``p_value`` belongs to ``value`` and is adjusted for all that was tested.
    ``reason`` says which of the two conditions, effect size and significance, decided. ``pairs`` are those that meet
    both, worst first, at most ten; the classifier has none.
    """

    measure: str
    value: float | None = None
    threshold: float | None = None
    drifted: bool = False
    p_value: float | None = None
    problem: str = ""
    reason: str = ""
    pairs: tuple[PairChange, ...] = ()


def compare_dependence(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    floor: float = 0.1,
    chance: float = 0.01,
    largest: int = 1000,
) -> Dependence:
    """Compare the rank correlations of all pairs of columns that are on both sides; never raises, never gives NaN.

    Numbers are Float64, categories String; columns of other types are left out. ``floor`` is the smallest change of a
    correlation that counts, ``chance`` the significance level over all pairs together, and ``largest`` the number of
    columns that are compared, the first ones. At most 50 / floor² rows of each side (5,000 by default) are sampled
    (`drawn_places`): the standard error of a correlation is then a fifth of the floor, and more rows would change no
    verdict. With hundreds of columns fewer rows are sampled, but never less than 1,000.

    When a category becomes more frequent, its correlations change with it, although its relations do not. So the
    reference's correlation is first multiplied by the ratio of the spreads of the ranks (now over then) of both
    columns. For a category and a number this compares the probability of superiority, P(a row in the category has a
    larger number than one outside), on the scale of a correlation. Without ties the ratio is 1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> size = rng.normal(size=2000)
    >>> price = size + rng.normal(size=2000)
    >>> reference = pl.DataFrame({"size": size, "price": price})
    >>> found = compare_dependence(reference, pl.DataFrame({"size": size, "price": rng.permutation(price)}))
    >>> found.drifted, found.reason
    (True, 'the correlation of size and price went from 0.68 to 0.00; the change of 0.68 is at or above 0.10, ...')
    """
    mine, theirs = reference.schema, current.schema
    columns = [name for name, dtype in mine.items() if theirs.get(name) == dtype and dtype in (pl.Float64, pl.String)]
    taken = columns[:largest]
    fewest = min(reference.height, current.height)
    if fewest < LEAST_ROWS:
        side = "reference" if reference.height == fewest else "current"
        return _nothing(floor, f"{fewest} rows in the {side} data; at least {LEAST_ROWS} are needed to judge relations")
    if len(taken) < 2:
        return _nothing(floor, f"{len(taken)} columns that can be compared on both sides; a relation needs two")
    before, now = (_cleaned(_thinned(frame.select(taken), floor)) for frame in (reference, current))
    variables = _variables(before, now)
    tested = _tested(_scores(before, variables), _scores(now, variables), variables, floor)
    if not tested.count:
        return _nothing(floor, "no two columns vary enough, in enough rows on both sides, to have a relation")
    left = (
        f"; only the first {len(taken):,} of {len(columns):,} columns were taken" if len(taken) < len(columns) else ""
    )
    return _verdict(tested, variables, floor, chance, left)


def _nothing(floor: float, problem: str) -> Dependence:
    return Dependence(MEASURE, threshold=floor, problem=problem)


# ---- columns as ranks --------------------------------------------------------------------------------------


class _Variable(msgspec.Struct, frozen=True):
    """The part of a column that is correlated: its ``rank``, being of the category ``level``, or its ``gaps``."""

    column: str
    part: str
    level: str = ""

    @property
    def label(self) -> str:
        """The variable in words."""
        return {"rank": self.column, "level": f"{self.column} = {self.level}", "gaps": f"gaps in {self.column}"}[
            self.part
        ]


class _Scores(msgspec.Struct, frozen=True):
    """Ranks of one side, shape (rows, variables): the mid-rank as a share of the rows, less a half, in [-0.5, 0.5].

    Missing values have the mean, 0. ``there`` is True where a value is present; None if none is missing. ``spread`` is
    the standard deviation of each variable as a share of that without ties, 0 to 1.
    """

    ranks: Floats
    there: Flags | None
    spread: Floats


def _cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn NaN into gaps; an infinity stays, as the largest number."""
    return frame.with_columns(pl.selectors.float().fill_nan(None)) if frame.width else frame


def _thinned(frame: pl.DataFrame, floor: float) -> pl.DataFrame:
    """Sample as many rows as the floor needs and the limit on work allows."""
    needed = int(50 / max(floor, _LEAST_FLOOR) ** 2)
    most = sum(_MOST_LEVELS if dtype == pl.String else 1 for dtype in frame.dtypes)
    rows = max(min(needed, _WORK // min(most, _MOST_VARIABLES) ** 2), 1000)
    if frame.height <= rows:
        return frame
    places: list[int] = drawn_places(frame.height, rows).tolist()
    return frame[places]


def _variables(reference: pl.DataFrame, current: pl.DataFrame) -> list[_Variable]:
    """The variables to correlate: first one of each column, then the others, up to the limit."""
    first: list[_Variable] = []
    others: list[_Variable] = []
    for series in reference:
        name = series.name
        gaps = min(series.null_count(), current[name].null_count())
        if series.dtype == pl.String:
            found = [_Variable(name, "level", level) for level in _levels(series)]
        else:
            found = [_Variable(name, "rank")]
        if gaps:
            found.append(_Variable(name, "gaps"))
        first += found[:1]
        others += found[1:]
    return (first + others)[:_MOST_VARIABLES]


def _levels(series: pl.Series) -> list[str]:
    """The most frequent values; if there are only two, one of them is enough."""
    counts = dict(series.alias("level").drop_nulls().value_counts().iter_rows())
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:_MOST_LEVELS]
    enough = [value for value in frequent if counts[value] >= _LEAST_SHARE * len(series)]
    return enough[:1] if len(counts) == 2 and not series.null_count() else enough


def _scores(frame: pl.DataFrame, variables: Sequence[_Variable]) -> _Scores:
    rows = max(frame.height, 1)
    asked = [
        pl.col(variable.column).rank()
        if variable.part == "rank"
        else pl.col(variable.column).is_null().cast(pl.Float64)
        if variable.part == "gaps"
        else pl.col(variable.column).eq_missing(pl.lit(variable.level)).cast(pl.Float64)
        for variable in variables
    ]
    values = frame.select(expression.alias(str(at)) for at, expression in enumerate(asked)).to_numpy()
    values = np.asarray(values, np.float64)
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    is_rank = np.array([variable.part == "rank" for variable in variables], np.bool_)
    # The mid-rank of an indicator is half of it and a constant.
    ranks = np.where(is_rank, (values - 0.5) / count - 0.5, (values - np.nansum(values, axis=0) / rows) / 2)
    ranks[~there] = 0.0
    without_ties = np.maximum(1 - 1 / count**2, 0.5) / 12
    spread = np.sqrt((ranks * ranks).sum(axis=0) / count / without_ties)
    return _Scores(ranks, None if there.all() else there, spread)


# ---- correlations ------------------------------------------------------------------------------------------


class _Correlations(msgspec.Struct, frozen=True):
    """The correlations of one side, the rows they rest on, and whether both variables vary enough in these rows; each
    of shape (variables, variables).
    """

    r: Floats
    rows: Floats
    enough: Flags


def _correlations(scores: _Scores) -> _Correlations:
    ranks, there = scores.ranks, scores.there
    products = _product(ranks, ranks)
    if there is None:
        rows = np.full(products.shape, float(len(ranks)))
        covariance = products / np.maximum(rows, 1)
        variance = np.broadcast_to(np.diag(covariance), products.shape).T
    else:
        present = there.astype(np.float64)
        rows = _product(present, present)
        some = np.maximum(rows, 1)
        mean = _product(ranks, present) / some  # [i, j]: of i, in the rows that have j
        covariance = products / some - mean * mean.T
        variance = _product(ranks * ranks, present) / some - mean * mean
    least = np.minimum(variance, variance.T)
    scale = np.sqrt(np.maximum(variance, 0) * np.maximum(variance.T, 0))
    varies = least > 1e-12
    r = np.clip(np.divide(covariance, scale, out=np.zeros_like(covariance), where=varies), -1, 1)
    relative = 12 * least
    enough = varies & (relative >= _LEAST_SPREAD) & (rows >= LEAST_ROWS) & (relative * rows >= _LEAST_SPREAD_ROWS)
    return _Correlations(r, rows, enough)


def _product(left: Floats, right: Floats) -> Floats:
    """``left.T @ right``; with few columns, in pieces so small that BLAS starts no threads: on a busy machine, waiting
    for these can take a hundred times as long as the work itself.
    """
    piece = _ONE_THREAD // max(left.shape[1] * right.shape[1], 1)
    if piece < 16:
        return left.T @ right
    total = np.zeros((left.shape[1], right.shape[1]))
    for start in range(0, len(left), piece):
        total += left[start : start + piece].T @ right[start : start + piece]
    return total


class _Tested(msgspec.Struct, frozen=True):
    """The pairs that were tested, out of ``count`` possible ones; the first is the one that changed most.

    ``pairs`` are indices of variables, ``expected`` is the reference's correlation carried over to today's spreads, and
    ``p_values`` are adjusted by Holm over all possible pairs.
    """

    count: int
    pairs: list[tuple[int, int]]
    expected: Floats
    current: Floats
    p_values: Floats


def _tested(before: _Scores, now: _Scores, variables: Sequence[_Variable], floor: float) -> _Tested:
    """Test the pairs whose change reaches the floor, clearest first by a plain Fisher's z."""
    was, became = _correlations(before), _correlations(now)
    columns = {name: at for at, name in enumerate(dict.fromkeys(variable.column for variable in variables))}
    column = np.array([columns[variable.column] for variable in variables])
    first, second = np.nonzero(np.triu(was.enough & became.enough & (column[:, None] != column[None, :])))
    ratio = np.divide(now.spread, before.spread, out=np.ones_like(now.spread), where=before.spread > 0)
    carried = ratio[first] * ratio[second]
    r, current = was.r[first, second], became.r[first, second]
    expected = np.clip(r * carried, -1, 1)
    rows_was, rows_became = was.rows[first, second], became.rows[first, second]
    change = np.abs(current - expected)
    clear = np.abs(_fisher(current, rows_became) - _fisher(expected, rows_was)) / np.sqrt(
        1 / rows_was + 1 / rows_became
    )
    over = np.flatnonzero(change >= floor)
    chosen = over[np.argsort(-clear[over], kind="stable")][:_PAIRS_TESTED]
    if len(change):
        most = np.argmax(change)
        chosen = np.concatenate([[most], chosen[chosen != most]])
    p_values = np.ones(len(chosen))
    for at, k in enumerate(chosen):
        i, j, factor = first[k], second[k], carried[k] ** 2
        one = _Estimate(expected[k], rows_was[k], factor * _variance(before, i, j), factor * _plain_variance(r[k]))
        other = _Estimate(current[k], rows_became[k], _variance(now, i, j), _plain_variance(current[k]))
        p_values[at] = _p_value(one, other)
    pairs = [(int(i), int(j)) for i, j in zip(first[chosen], second[chosen], strict=True)]
    return _Tested(len(change), pairs, expected[chosen], current[chosen], holm(p_values, len(change)))


# ---- chance ------------------------------------------------------------------------------------------------


class _Estimate(NamedTuple):
    """A correlation from ``rows`` rows; ``variance`` from the data and ``plain`` for normal ones, both times rows."""

    r: float
    rows: float
    variance: float
    plain: float

    @property
    def fisher(self) -> Self:
        """The same on the scale of Fisher's z."""
        slope = 1 / max(1 - self.r * self.r, 1 / self.rows)
        z = math.atanh(max(min(self.r, 1 - 0.5 / self.rows), 0.5 / self.rows - 1))
        return self._replace(r=z, variance=slope * slope * self.variance, plain=slope * slope * self.plain)


def _p_value(one: _Estimate, other: _Estimate) -> float:
    """The two-sided p-value of equal correlations: the larger of those on the plain scale and on Fisher's z.

    A few rows that disagree lower a correlation near 1, and their number is skewed. Fisher's z, made for normal values,
    then takes 1 such row against 5 for a large difference; the plain scale does not.
    """
    t = min(_t(one, other), _t(one.fisher, other.fisher))
    dof = min(one.rows, other.rows) - 2
    # Student's t, as variances are estimates, by the bending of Wallace (1959) to a normal.
    z = (8 * dof + 1) / (8 * dof + 3) * math.sqrt(dof * math.log1p(t * t / dof))
    return math.erfc(z / math.sqrt(2))


def _t(one: _Estimate, other: _Estimate) -> float:
    """The difference in units of its standard error, the largest of three: from each side's own rows, from the rows of
    both sides together, and from normal values.

    Without drift all rows show the same relation, and a small side's own estimate of the error is poor. But where
    products are skewed, the error comes out too small or too large together with the correlation, and only one of the
    two estimates is on the safe side.
    """
    together = (one.rows * one.variance + other.rows * other.variance) / (one.rows + other.rows)
    error = max(
        one.variance / one.rows + other.variance / other.rows,
        together / one.rows + together / other.rows,
        one.plain / (one.rows - 3) + other.plain / (other.rows - 3),
    )
    return abs(other.r - one.r) / math.sqrt(max(error, 1e-12))


def _fisher(r: Floats, rows: Floats) -> Floats:
    """Fisher's z, kept finite: correlations are capped at 1 - 1 / (2 rows)."""
    most = 1 - 0.5 / rows
    return np.asarray(np.arctanh(np.clip(r, -most, most)))


def _plain_variance(r: float) -> float:
    """The variance of Spearman's r, times rows, for monotone functions of normal values (Bonett & Wright 2000)."""
    return (1 + r * r / 2) * (1 - r * r) ** 2


def _variance(scores: _Scores, i: int, j: int) -> float:
    """The variance of one correlation, times rows: the mean square of its influence function.

    Ranks are estimates too: a row moves the correlation by its own product and, through the ranks, by the products of
    all rows above it (Hoeffding 1948; with the delta method for the spreads, which vary where there are ties).
    """
    both = slice(None) if scores.there is None else scores.there[:, i] & scores.there[:, j]
    u, v = scores.ranks[both, i], scores.ranks[both, j]
    # Mid-ranks lie on a lattice of halves of a row, so counting sorts them.
    rows_i, rows_j = (len(scores.ranks) if scores.there is None else scores.there[:, at].sum() for at in (i, j))
    code_u, code_v = ((2 * rows * (ranks + 0.5)).round().astype(np.int64) for rows, ranks in ((rows_i, u), (rows_j, v)))
    u, v = u - u.mean(), v - v.mean()
    uu, vv, uv = (u * u).mean(), (v * v).mean(), (u * v).mean()
    move_uu = u * u - uu + 2 * _above(code_u, u)
    move_vv = v * v - vv + 2 * _above(code_v, v)
    move_uv = u * v - uv + _above(code_u, v) + _above(code_v, u)
    influence = (move_uv - uv * (move_uu / uu + move_vv / vv)) / math.sqrt(uu * vv)
    return float(influence.var())


def _above(code: npt.NDArray[np.int64], weight: Floats) -> Floats:
    """The mean weight of all rows with a greater code, for each row; ties count half. ``weight`` has mean 0."""
    sums = np.bincount(code, weight)
    return np.asarray((sums / 2 - np.cumsum(sums))[code] / len(code))


# ---- in words ----------------------------------------------------------------------------------------------


def _verdict(tested: _Tested, variables: Sequence[_Variable], floor: float, chance: float, left: str) -> Dependence:
    change = np.abs(tested.current - tested.expected)
    both = np.flatnonzero((change >= floor) & (tested.p_values < chance))
    both = both[np.argsort(-change[both], kind="stable")]
    speaks = int(both[0]) if len(both) else 0
    value, p_value = float(change[speaks]), float(tested.p_values[speaks])
    one, other = (variables[at] for at in tested.pairs[speaks])
    went = f"the correlation of {one.label} and {other.label} went from {effect(tested.expected[speaks])}"
    went += f" to {effect(tested.current[speaks])}"
    over = f"{tested.count:,} pairs" if tested.count > 1 else ""
    told = conclusion(effect(floor), p_value, below=value < floor, by_chance=p_value >= chance, over=over)
    pairs = _pairs(tested, variables, both)
    if pairs:
        reason = f"{went}; the change of {effect(value)} {told}{_others(pairs, complete=len(both) < _PAIRS_TESTED)}"
    else:
        reason = f"{went}, which changed most; {effect(value)} {told}"
    return Dependence(
        MEASURE,
        value=value,
        threshold=floor,
        drifted=bool(len(both)),
        p_value=p_value,
        reason=reason + left,
        pairs=tuple(pairs[:_PAIRS_SHOWN]),
    )


def _pairs(tested: _Tested, variables: Sequence[_Variable], worst_first: npt.NDArray[np.int64]) -> list[PairChange]:
    """The changed pairs of columns, each pair once, by its largest change."""
    found: dict[frozenset[str], PairChange] = {}
    for at in worst_first:
        one, other = (variables[k] for k in tested.pairs[at])
        columns, labels = (one.column, other.column), (one.label, other.label)
        was, became, p_value = (float(values[at]) for values in (tested.expected, tested.current, tested.p_values))
        found.setdefault(frozenset(columns), PairChange(columns, was, became, p_value, labels))
    return list(found.values())


def _others(pairs: Sequence[PairChange], *, complete: bool) -> str:
    """Say how many pairs changed, and which column most of them have in common."""
    if len(pairs) < 2:
        return ""
    name, times = Counter(name for pair in pairs for name in pair.columns).most_common(1)[0]
    many = "all" if times == len(pairs) else times
    common = f", {many} of them with {name}" if len(pairs) > 2 and 2 * times > len(pairs) else ""
    least = "" if complete else "at least "
    return f"; {least}{len(pairs)} pairs of columns changed{common}"
