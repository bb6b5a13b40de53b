"""Simulated production: a year of daily windows of 25 columns, with all that is no drift, and a change if one is asked.

What is no drift is part of the scenario: days that differ (their scale, correlation and tails), weekly profiles of
locations, mixes and traffic, a factor that columns have in common, holidays, an annual cycle. A stream is a function
of scenario, seed and change. Columns are counts of fixed cells, the last one of missing values; `windows` makes
Driftline's own profiles of them, on a grid chosen as a reference's is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from driftline.detection import HistoryWindow, Observed
from driftline.events import Window
from driftline.profiles import (
    CategoricalColumn,
    Classification,
    Column,
    NumericColumn,
    Profile,
    Regression,
    WindowProfile,
)
from driftline.profiles.performance import merge_performance
from driftline.profiles.reference import grid_for
from driftline.profiles.segments import SegmentProfile, SegmentProfiles
from driftline.sketches import CategoryCounts, GridSketch

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
_NOWHERE = 10**9


@dataclass(frozen=True)
class Scenario:
    """What is no drift. Ranges are (low, high); sizes are in standard deviations of a column.

    ``rows`` a window in the mean; ``day_scale`` (log-uniform), ``day_correlation`` and ``day_tails`` (degrees of
    freedom of Student's t, 0 for normal) of what days differ by; ``weekly`` amplitude; ``rows_spread`` the sd of the
    logarithm of rows; ``quiet_weekends`` how much less traffic; ``common`` factor; ``annual`` amplitude; ``holidays``
    their share; ``paydays`` the last days of each month that are displaced as a holiday is.
    """

    name: str
    rows: int = 1000
    columns: int = 25
    reference: int = 28
    windows: int = 365
    day_scale: tuple[float, float] = (0.0, 0.0)
    day_correlation: tuple[float, float] = (0.0, 0.0)
    day_tails: float = 0.0
    weekly: tuple[float, float] = (0.0, 0.0)
    rows_spread: float = 0.0
    quiet_weekends: float = 0.0
    common: float = 0.0
    annual: float = 0.0
    holidays: float = 0.0
    paydays: int = 0


IID = Scenario("iid")
DAY_EFFECTS = Scenario("day-effects", day_scale=(0.01, 0.12))
REALISTIC = Scenario(
    "realistic",
    day_scale=(0.01, 0.12),
    day_correlation=(0.0, 0.7),
    day_tails=6,
    weekly=(0.0, 0.3),
    rows_spread=0.35,
    quiet_weekends=0.4,
    common=0.03,
)


@dataclass(frozen=True)
class Change:
    """A change: which, how large, and whether it comes at once (step), over days (ramp30) or for days (pulse1)."""

    kind: str = "none"
    size: float = 0.0
    profile: str = "step"

    @property
    def label(self) -> str:
        """As tables have it.

        >>> Change("missing", 0.1, "pulse1").label
        'missing 0.1 pulse1'
        """
        return f"{self.kind} {self.size:g}" + ("" if self.profile == "step" else f" {self.profile}")

    def course(self, since: npt.NDArray[np.int64]) -> Floats:
        """How much of it is there, 0 to 1, so many windows since it began, any shape."""
        begun = (since >= 0).astype(np.float64)
        if self.profile.startswith("ramp"):
            return np.asarray(np.clip((since + 1) / float(self.profile[4:]), 0, 1) * begun)
        return begun * (since < int(self.profile[5:])) if self.profile.startswith("pulse") else begun


NO_CHANGE = Change()
CHANGES = (
    *(Change("mean", size) for size in (0.1, 0.25, 0.5, 1.0)),
    *(Change("scale", size) for size in (1.25, 1.5)),
    Change("cat_swap", 1.0),
    *(Change("cat_move", size) for size in (0.05, 0.15)),
    Change("new_cat", 0.02),
    *(Change("missing", size) for size in (0.02, 0.1)),
    Change("missing", 0.1, "pulse1"),
    Change("unit", 0.02),
    Change("shape", 0.6),
    Change("mean", 0.5, "ramp30"),
    Change("mean", 0.5, "pulse1"),
    Change("mean_many", 0.1),
)


@dataclass(frozen=True, eq=False)
class Cells:
    """A column as counts: ``values`` of its cells, ascending numbers or None for categories, and ``counts``, shape
    (windows, cells + 1), the last of missing values.
    """

    values: Floats | None
    counts: Counts


@dataclass(frozen=True, eq=False)
class Stream:
    """Windows in order, the first ``reference`` of which are the reference; ``changed`` the columns that change from
    window ``at`` on. ``slots`` are days of the week, shape (windows,).
    """

    columns: dict[str, Cells]
    slots: Counts
    reference: int
    at: int | None = None
    changed: frozenset[str] = field(default_factory=frozenset)


# ---- simulation --------------------------------------------------------------------------------------------

_FAR = np.array([1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 2e-3])
_SHARES = np.unique(np.concatenate([_FAR, np.arange(1, 256) / 256, 1 - _FAR]))
_EDGES = ndtri(_SHARES)
_MIDDLES = ndtri(np.concatenate([[2e-7], (_SHARES[1:] + _SHARES[:-1]) / 2, [1 - 2e-7]]))
_U = ndtr(_MIDDLES)
_SKEWING = (20 * _U**3 - 30 * _U**2 + 12 * _U - 1) * np.sqrt(7)
_FLATTENING = (70 * _U**4 - 140 * _U**3 + 90 * _U**2 - 20 * _U + 1) * 3.0
_BURN_IN = 50


@dataclass
class _Making:
    """What the columns of a stream share while it is made."""

    scenario: Scenario
    seed: int
    change: Change
    windows: int
    slots: Counts
    rows: Counts
    factor: Floats
    holiday: Floats
    payday: Floats
    course: Floats
    number: str
    category: str
    many: frozenset[str]
    changed: set[str] = field(default_factory=set)

    def effects(self, rng: np.random.Generator, correlation: float) -> Floats:
        """Day effects of scale 1."""
        return _autocorrelated(rng, self.windows, correlation, self.scenario.day_tails)


def make_stream(
    scenario: Scenario, seed: int, change: Change = NO_CHANGE, *, after: int | None = None, windows: int | None = None
) -> Stream:
    """Simulate a reference and ``windows`` more (the scenario's if None), with a change from ``after`` of them on."""
    total = scenario.reference + (windows or scenario.windows)
    at = None if after is None else scenario.reference + after
    rng = np.random.default_rng([seed, 7919])
    slots = (np.arange(total) + int(rng.integers(7))) % 7
    traffic = np.where(slots >= 5, 1 - scenario.quiet_weekends, 1.0)
    noise = np.exp(scenario.rows_spread * rng.standard_normal(total) - scenario.rows_spread**2 / 2)
    rows = np.maximum(20, np.round(scenario.rows * traffic / traffic.mean() * noise)).astype(np.int64)
    holiday = (rng.random(total) < scenario.holidays) * 1.0
    factor = _autocorrelated(rng, total, 0.5, scenario.day_tails)
    categories = max(1, round(scenario.columns * 0.32))
    numbers = scenario.columns - categories
    making = _Making(
        scenario,
        seed,
        change,
        total,
        slots,
        rows,
        factor,
        holiday,
        np.array(
            [_is_payday(_start(slots) + timedelta(days=day), scenario.paydays) for day in range(total)], np.float64
        ),
        change.course(np.arange(total) - (_NOWHERE if at is None else at)),
        f"x{int(rng.integers(numbers)):02d}",
        f"k{int(rng.integers(categories)):02d}",
        frozenset(f"x{i:02d}" for i in rng.permutation(numbers)[:10]),
    )
    columns = {}
    for i in range(scenario.columns):
        name = f"x{i:02d}" if i < numbers else f"k{i - numbers:02d}"
        columns[name] = _column(making, name, i, numeric=i < numbers)
    return Stream(columns, slots, scenario.reference, at, frozenset(making.changed))


def _start(slots: Counts) -> datetime:
    """The first day of a stream: one with the slot of its first window."""
    return MONDAY + timedelta(days=int(slots[0]))


def _is_payday(day: datetime, last: int) -> bool:
    """Whether it is one of the last days of its month."""
    return (day + timedelta(days=last)).month != day.month


def _column(making: _Making, name: str, place: int, *, numeric: bool) -> Cells:
    scenario, change, days = making.scenario, making.change, making.windows
    rng = np.random.default_rng([making.seed, 104729, place])  # what the column is like, whatever changes
    scale = _log_uniform(rng, *scenario.day_scale)
    correlation = _log_uniform(rng, *scenario.day_correlation)
    weekly = _log_uniform(rng, *scenario.weekly)
    week = rng.standard_normal(7)
    week = (week - week.mean()) / (week - week.mean()).std()
    if rng.random() < 0.6:  # weekends differ
        week = (np.arange(7) >= 5) - 2 / 7
        week = week / week.std() * rng.choice([-1, 1])
    load = scenario.common * rng.standard_normal()
    location = scale * making.effects(rng, correlation) + weekly * week[making.slots] + load * making.factor
    location = location + weekly * 3 * making.holiday * rng.choice([-1, 1])
    location = location + weekly * 3 * making.payday * (1 if place % 2 else -1)
    annual = rng.uniform(-1, 1)
    location = location + scenario.annual * annual * np.sin(2 * np.pi * (np.arange(days) / 365.25 + rng.random()))
    log_scale = 0.5 * scale * making.effects(rng, correlation) + 0.2 * weekly * np.roll(week, 2)[making.slots]
    skew = 0.7 * scale * making.effects(rng, correlation)
    flat = 0.5 * scale * making.effects(rng, correlation)
    usually_missing = rng.choice([0, 0, 0, 0.002, 0.03, 0.2])
    of_missing, of_zeros = making.effects(rng, correlation), making.effects(rng, correlation)
    missing = _shifted(usually_missing, 2 * scale * of_missing) if usually_missing > 0 else np.zeros(days)
    if numeric:
        values, p = _numbers(making, name, rng, location, log_scale, skew, flat, scale * of_zeros)
    else:
        values, p = None, _categories(making, name, rng, scale, correlation, weekly, week, load)
    if change.kind == "missing" and name == (making.number if making.seed % 2 else making.category):
        missing = missing + (1 - missing) * change.size * making.course
        making.changed.add(name)
    p = np.maximum(np.concatenate([p * (1 - missing[:, None]), missing[:, None]], 1), 0)
    drawn = np.random.default_rng([making.seed, 15485863, place])
    return Cells(values, drawn.multinomial(making.rows, p / p.sum(1, keepdims=True)))


def _numbers(
    making: _Making,
    name: str,
    rng: np.random.Generator,
    location: Floats,
    log_scale: Floats,
    skew: Floats,
    flat: Floats,
    of_zeros: Floats,
) -> tuple[Floats, Floats]:
    """Values of the cells, ascending, and the probability of each in each window."""
    change, course = making.change, making.course
    chosen = name == making.number
    kind = rng.choice(["normal", "lognormal", "bimodal", "zeros"], p=[0.35, 0.3, 0.2, 0.15])
    if (change.kind == "mean" and chosen) or (change.kind == "mean_many" and name in making.many):
        location = location + change.size * course
        making.changed.add(name)
    if change.kind == "scale" and chosen:
        log_scale = log_scale + np.log(change.size) * course
        making.changed.add(name)
    if change.kind == "shape" and chosen:
        skew = skew + change.size * course
        making.changed.add(name)
    if kind == "bimodal":
        share = _shifted(rng.uniform(0.3, 0.7), 2 * location)[:, None]
        width = 0.6 * np.exp(log_scale)
        high, low = _normal_cells(location * 0.5 + 0.8, width), _normal_cells(location * 0.5 - 0.8, width)
        p = share * high + (1 - share) * low
    else:
        p = _normal_cells(location, np.exp(log_scale))
    p = p * np.exp(np.clip(skew[:, None] * _SKEWING + flat[:, None] * _FLATTENING, -3, 3))
    p /= p.sum(1, keepdims=True)
    values = (_MIDDLES if kind in ("normal", "bimodal") else np.exp(0.8 * _MIDDLES)) * 10 ** rng.uniform(-1, 3)
    if kind == "zeros":
        zeros = _shifted(rng.uniform(0.1, 0.6), 2 * of_zeros)[:, None]
        values, p = np.concatenate([[0.0], values]), np.concatenate([zeros, (1 - zeros) * p], 1)
    if change.kind == "unit" and chosen:  # recorded in another unit: beyond the largest
        share = change.size * course[:, None]
        p = p * (1 - share)
        p[:, -1] += share[:, 0]
        making.changed.add(name)
    return values, p


def _categories(
    making: _Making,
    name: str,
    rng: np.random.Generator,
    scale: float,
    correlation: float,
    weekly: float,
    week: Floats,
    load: float,
) -> Floats:
    """The probability of each category in each window; the last is one that the reference never has."""
    change, course = making.change, making.course
    chosen = name == making.category
    count = int(rng.choice([2, 4, 8, 15, 40]))
    base = 1 / (np.arange(count) + 1.0) ** rng.uniform(0.5, 1.3)
    base /= base.sum()
    effects = np.stack([making.effects(rng, correlation) for _ in range(count)], 1)
    logits = np.log(base) + 1.5 * scale * effects
    logits = logits + weekly * rng.standard_normal(count) * week[making.slots][:, None]
    logits = logits + load * making.factor[:, None] * rng.standard_normal(count)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    if chosen and change.kind == "cat_swap":
        share, swapped = course[:, None] * change.size, p.copy()
        swapped[:, [0, 1]] = p[:, [1, 0]]
        p = (1 - share) * p + share * swapped
        making.changed.add(name)
    if chosen and change.kind == "cat_move":
        moved = np.minimum(change.size * course, 0.9 * p[:, 0])
        p[:, 0] -= moved
        p[:, count - 1] += moved
        making.changed.add(name)
    new = (change.size * course if chosen and change.kind == "new_cat" else 0 * course)[:, None]
    if new.any():
        making.changed.add(name)
    return np.concatenate([p * (1 - new), new], 1)


def _autocorrelated(rng: np.random.Generator, count: int, correlation: float, tails: float) -> Floats:
    """AR(1) values of variance 1, shape (count,)."""
    steps = count + _BURN_IN
    drawn = rng.standard_t(tails, steps) / np.sqrt(tails / (tails - 2)) if tails > 2 else rng.standard_normal(steps)
    return np.asarray(lfilter([1], [1, -correlation], drawn * np.sqrt(1 - correlation**2)))[_BURN_IN:]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    if low == high:
        return low
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if low > 0 else float(rng.uniform(low, high))


def _shifted(share: float, by: Floats) -> Floats:
    """A share with its log odds shifted."""
    return np.asarray(1 / (1 + np.exp(-(np.log(share / (1 - share)) + by))))


def _normal_cells(mean: Floats, sd: Floats) -> Floats:
    """The probability of each cell in each window."""
    below = ndtr((_EDGES - mean[:, None]) / sd[:, None])
    return np.asarray(np.diff(below, axis=1, prepend=0, append=1))


# ---- Driftline's profiles ----------------------------------------------------------------------------------


def windows(stream: Stream) -> list[HistoryWindow]:
    """The windows of a stream as Driftline stores them, a day each, from a day with the first one's slot on."""
    total = len(stream.slots)
    profiles = {name: _profiled(cells, stream.reference) for name, cells in sorted(stream.columns.items())}
    rows = next(iter(stream.columns.values())).counts.sum(axis=1)
    start = _start(stream.slots)
    found = []
    for at in range(total):
        day = start + timedelta(days=at)
        features = Profile(int(rows[at]), {name: columns[at] for name, columns in profiles.items()})
        found.append(HistoryWindow(Window(day, day + timedelta(days=1)), Observed(WindowProfile(features=features))))
    return found


def _profiled(cells: Cells, reference: int) -> Sequence[Column]:
    rows, missing = cells.counts.sum(axis=1).tolist(), cells.counts[:, -1].tolist()
    seen = cells.counts[:, :-1]
    if cells.values is None:
        names = [f"c{place:03d}" for place in range(seen.shape[1])]
        return [
            CategoricalColumn(rows[at], missing[at], CategoryCounts({names[i]: int(own[i]) for i in own.nonzero()[0]}))
            for at, own in enumerate(seen)
        ]
    grid = grid_for(pl.Series(np.repeat(cells.values, seen[:reference].sum(axis=0))))
    of_value = grid.cells_of(cells.values)
    unique, place = np.unique(of_value, return_inverse=True)
    merged = np.zeros((len(seen), len(unique)), np.int64)
    np.add.at(merged.T, place, seen.T)
    return [
        NumericColumn(rows[at], missing[at], sketch=GridSketch(grid, unique[own > 0], own[own > 0]))
        for at, own in enumerate(merged)
    ]


# ---- a model with labels and segments ----------------------------------------------------------------------

_REGIONS = {"north": 0.5, "south": 0.3, "east": 0.2}
_ACCURACY, _POSITIVE, _COVERAGE = 0.85, 0.3, 0.8


def model_windows(
    stream: Stream, scenario: Scenario, seed: int, *, late: float = 0.1, worse: float = 0.0
) -> list[HistoryWindow]:
    """The windows of a stream with predictions, labels, performance and three segments, whose days differ as columns
    do.

    ``late`` is the share of windows whose labels are not in, 0 to 1; accuracy falls by ``worse`` from the stream's
    change on.
    """
    rng, days = np.random.default_rng([seed, 32452843]), len(stream.slots)

    def moved(share: float) -> Floats:
        scale, correlation = _log_uniform(rng, *scenario.day_scale), _log_uniform(rng, *scenario.day_correlation)
        return _shifted(share, 2 * scale * _autocorrelated(rng, days, correlation, scenario.day_tails))

    accuracy = {region: moved(_ACCURACY) for region in _REGIONS}
    if stream.at is not None:
        for one in accuracy.values():
            one[stream.at :] -= worse
    positive, coverage = moved(_POSITIVE), moved(_COVERAGE)
    sizes = np.stack([moved(share) for share in _REGIONS.values()])
    sizes /= sizes.sum(axis=0)
    found = []
    for day, window in enumerate(windows(stream)):
        rows = window.observed.profile.features.rows
        segments, given, truly = dict[str, SegmentProfile](), [0, 0], [0, 0]
        for region, count in zip(_REGIONS, rng.multinomial(rows, sizes[:, day]).tolist(), strict=True):
            ones = int(rng.binomial(count, positive[day]))
            given[0], given[1] = given[0] + count - ones, given[1] + ones
            confusion = {}
            for answer, own in ((0, count - ones), (1, ones)):
                known = int(rng.binomial(own, coverage[day]))
                right = int(rng.binomial(known, accuracy[region][day]))
                confusion |= {(str(answer), str(answer)): right, (str(1 - answer), str(answer)): known - right}
                truly[answer] += right
                truly[1 - answer] += known - right
            labelled = Classification({pair: own for pair, own in confusion.items() if own})
            segments[region] = SegmentProfile(count, labelled.count, labelled if labelled.count else None)
        whole = _together(one.performance for one in segments.values())
        profile = WindowProfile(
            window.observed.profile.features,
            Profile(sum(given), {"prediction": _classes(given)}),
            Profile(sum(truly), {"label": _classes(truly)}),
            whole,
        )
        observed = Observed(profile, SegmentProfiles({"region": segments}))
        found.append(replace(window, observed=observed, labelled=day < stream.reference or rng.random() >= late))
    return found


def accuracies(history: Sequence[HistoryWindow]) -> list[tuple[int, int] | None]:
    """How many of the labelled rows are right, of how many; None of a window whose labels are not in."""
    found: list[tuple[int, int] | None] = []
    for one in history:
        known = one.observed.profile.performance if one.labelled else None
        assert known is None or isinstance(known, Classification)
        right = sum(rows for (given, truly), rows in known.confusion.items() if given == truly) if known else 0
        found.append((right, known.count) if known else None)
    return found


def _together(parts: Iterable[Classification | Regression | None]) -> Classification | Regression | None:
    """What is known of all parts together; None where nothing is labelled."""
    return reduce(merge_performance, parts, None)


def _classes(counts: Sequence[int]) -> CategoricalColumn:
    return CategoricalColumn(sum(counts), 0, CategoryCounts({str(at): count for at, count in enumerate(counts)}))
