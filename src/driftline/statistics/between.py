"""Intervals that hold where rows of one block of time, or of one customer, share luck.

n rows that share it say less than n independent ones. How much less shows in how far blocks differ: the standard
error of a measure comes from leaving out one block after another (the jackknife: Tukey 1958; Efron & Stein 1981), and
Student's t has as many degrees of freedom as there are blocks that count, less one. An interval is never narrower than
that of independent rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.profiles import Classification, Performance, Regression
from driftline.profiles.blocks import DAY, MANY_CLASSES, Blocks
from driftline.statistics.intervals import Interval, fisher_delta, log_delta, logit_delta
from driftline.statistics.measure import Measure
from driftline.statistics.special import normal_quantile, t_quantile

ENOUGH_BLOCKS, LEAST_DAYS, LEAST_SHORT = 40, 2.5, 12
_FEW_BLOCKS = 5.5
_LEAST_CLUSTERS = 2

_Floats = npt.NDArray[np.float64]
_Sums = Mapping[str, _Floats]


class Between(NamedTuple):
    """How far a measure varies between blocks: its standard error, the degrees of freedom of that, 1 or more, and the
    skewness of the measure itself (that of blocks over √k of them).
    """

    error: float
    dof: int
    skewness: float = 0.0

    def reach(self, confidence: float) -> float:
        """How far the two-sided interval reaches to either side."""
        return t_quantile(confidence, self.dof) * self.error

    def beyond(self, confidence: float) -> tuple[float, float]:
        """How much further it reaches below and above: on the side of the longer tail, as rows (`statistics.tails`)."""
        t = t_quantile(confidence, self.dof)
        more = (1 + 2 * t * t) / 6 * self.error
        return max(-self.skewness, 0.0) * more, max(self.skewness, 0.0) * more


def blocks_for(blocks: Blocks) -> Blocks | None:
    """The blocks that rows are compared by; None where there are too few to tell how far they vary.

    Days, where rows are spread over three or more, and longer ones as long as there are 40: the next day is often like
    the one before. Below three days the longest ones of hours of which there are twelve.

    >>> import numpy as np
    >>> from driftline.profiles.blocks import Keys
    >>> hours = Blocks.of(Keys(1, np.arange(24 * 10)), {})
    >>> blocks_for(hours).span, blocks_for(Blocks.of(Keys(1, np.arange(3)), {}))
    (24, None)
    """
    if blocks.span <= 0:
        return blocks if blocks.span == 0 and len(blocks.numbers) >= _LEAST_CLUSTERS else None
    found = None
    while len(blocks.numbers) > LEAST_DAYS:  # down to two, before and after 1970
        least = LEAST_SHORT if blocks.span < DAY else LEAST_DAYS if blocks.span == DAY else ENOUGH_BLOCKS
        if found is None and blocks.span > DAY:
            least = LEAST_DAYS
        if _effective(blocks) >= least:
            found = blocks
        blocks = blocks.longer
    return found


def _effective(blocks: Blocks) -> float:
    """How many blocks of one size say as much (Kish 1965); 1 or more, without rows 0."""
    rows = blocks.sum_of("n").astype(np.float64)
    return float(rows.sum()) ** 2 / float(rows @ rows) if len(rows) else 0.0


def few_blocks(performance: Performance) -> int | None:
    """As how many blocks of one size the rows say how far blocks differ, if these are 5 or fewer; else None.

    Intervals are then more than 1.4 times as wide at 95 %, and 1.7 times at 99 %, as those of many blocks.
    """
    blocks = blocks_for(performance.blocks)
    effective = math.inf if blocks is None else _effective(blocks)
    return round(effective) if effective < _FEW_BLOCKS else None


class BetweenBlocks:
    """How far the measures of one performance vary between its blocks."""

    def __init__(self, performance: Performance, positive: str | None) -> None:
        self._positive = positive
        self._blocks = blocks_for(performance.blocks)
        self._performance = performance
        self._largest: float | None = None

    def widened(self, measure: Measure) -> Measure:
        """The measure with an interval that is no narrower than its blocks let it be."""
        value, low, high = measure.value, measure.low, measure.high
        if self._blocks is None or value is None or low is None or high is None:
            return measure
        between = self.of(measure.name)
        if between is None:
            stretch = self._stretch(measure.confidence)
            bounds = Interval(value - stretch * (value - low), value + stretch * (high - value))
        else:
            bounds = _interval(measure.name, value, between, measure.confidence)
            below, above = between.beyond(measure.confidence)
            bounds = Interval(bounds.low - below, bounds.high + above)
        least, most = _RANGES.get(measure.name, (-math.inf, math.inf))
        low, high = min(low, max(bounds.low, least)), max(high, min(bounds.high, most))
        if not (math.isfinite(low) and math.isfinite(high)):
            return measure
        return Measure(measure.name, value, low, high, measure.n, measure.confidence)

    def of(self, name: str) -> Between | None:
        """How far a measure varies; None where its sums are not kept, and where a block alone has what it rests on."""
        if self._blocks is None or (make := self._values_of(name)) is None:
            return None
        dof = max(round(_effective(self._blocks)) - 1, 1)
        with np.errstate(all="ignore"):
            without = make(_left_out(self._blocks))
        if not np.isfinite(without).all():
            return None
        k = len(without)
        moved = without.mean() - without  # by each block, but for a factor
        error = math.sqrt((k - 1) / k * float(moved @ moved))
        spread = math.sqrt(float(moved @ moved) / k)
        skewness = float(np.mean((moved / spread) ** 3)) / math.sqrt(k) if spread > 0 else 0.0
        unit = self._blocks.unit if name in _IN_UNITS else 1.0
        rows = float(
            self._blocks.sum_of("n").sum()
        )  # fewer where some have no block: the others' luck is taken to be theirs
        covered = min(rows / max(self._performance.count, 1), 1.0)
        return Between(error * unit * math.sqrt(covered), dof, skewness)

    def _values_of(self, name: str) -> Callable[[_Sums], _Floats] | None:
        if isinstance(self._performance, Regression):
            return _REGRESSION.get(name)
        if name in _OF_ROWS:
            return _OF_ROWS[name]
        make = _BY_CLASS.get(name)
        if make is None or self._blocks is None or MANY_CLASSES in self._blocks.names:
            return None
        positive = self._positive
        return lambda sums: make(sums, positive)

    def _stretch(self, confidence: float) -> float:
        """How many times as far as by independent rows the measures reach whose errors are known both ways, at most."""
        if self._largest is None:
            self._largest = 0.0
            for name, independent in _independent(self._performance).items():
                between = self.of(name)
                if between is not None and independent > 0:
                    self._largest = max(self._largest, between.reach(confidence) / independent)
        return max(self._largest / normal_quantile(confidence), 1.0)


def _left_out(blocks: Blocks) -> dict[str, _Floats]:
    """The sums of all blocks but one, by name, each shape (k,)."""
    found: dict[str, _Floats] = {}
    for name in blocks.names:
        values = blocks.in_units(name) if name in _SCALED else blocks.sum_of(name).astype(np.float64)
        found[name] = float(values.sum()) - values
    return found


def _interval(name: str, value: float, between: Between, confidence: float) -> Interval:
    """The interval of a measure on the scale on which its bounds stay where values can be."""
    scale = _SCALES.get(name)
    error = between.reach(confidence) / normal_quantile(confidence)
    if scale == "share" and 0 < value < 1 and error > 0:
        return logit_delta(value, error, confidence)
    if scale == "correlation" and abs(value) < 1:
        return fisher_delta(value, error, confidence)
    if scale == "size" and value > 0:
        return log_delta(value, between.error, between.dof + 1, confidence)
    if scale == "explained" and value < 1:
        bounds = log_delta(1 - value, between.error, between.dof + 1, confidence)
        return Interval(1 - bounds.high, 1 - bounds.low)
    if scale is None:
        return Interval(value - between.reach(confidence), value + between.reach(confidence))
    return Interval(value, value)


# ---- measures from sums ------------------------------------------------------------------------------------


def _of(sums: _Sums, name: str) -> _Floats:
    found = sums.get(name)
    return np.zeros_like(next(iter(sums.values()))) if found is None else found


def _ratio(of: str, to: str) -> Callable[[_Sums], _Floats]:
    return lambda sums: _of(sums, of) / _of(sums, to)


def _classes(sums: _Sums) -> tuple[_Floats, _Floats, _Floats]:
    """Of each class that occurs its hits, labelled and predicted rows, each shape (classes, k)."""
    names = sorted({name[2:] for name in sums if name[1:2] == " "})
    hits, labelled, predicted = (np.array([_of(sums, f"{part} {name}") for name in names]) for part in "hlp")
    return hits, labelled, predicted


def _mean_share(hits: _Floats, sizes: _Floats) -> _Floats:
    """The mean over the classes with rows in all; a share of none is 0, as it is in the measure."""
    return np.asarray((hits / np.maximum(sizes, 1.0)).mean(axis=0))


def _precision(sums: _Sums, positive: str | None) -> _Floats:
    if positive is not None:
        return _of(sums, f"h {positive}") / _of(sums, f"p {positive}")
    hits, _, predicted = _classes(sums)
    return _mean_share(hits, predicted)


def _recall(sums: _Sums, positive: str | None) -> _Floats:
    if positive is not None:
        return _of(sums, f"h {positive}") / _of(sums, f"l {positive}")
    hits, labelled, _ = _classes(sums)
    return _mean_share(hits, labelled)


def _f1(sums: _Sums, positive: str | None) -> _Floats:
    if positive is not None:
        return 2 * _of(sums, f"h {positive}") / (_of(sums, f"l {positive}") + _of(sums, f"p {positive}"))
    hits, labelled, predicted = _classes(sums)
    return _mean_share(2 * hits, labelled + predicted)


def _specificity(sums: _Sums, positive: str | None) -> _Floats:
    n, labelled = _of(sums, "n"), _of(sums, f"l {positive}")
    return (n - labelled - _of(sums, f"p {positive}") + _of(sums, f"h {positive}")) / (n - labelled)


def _balanced_accuracy(sums: _Sums, positive: str | None) -> _Floats:
    del positive
    hits, labelled, _ = _classes(sums)
    there = (labelled > 0).any(axis=1)
    return np.asarray((hits[there] / labelled[there]).mean(axis=0))


def _mcc(sums: _Sums, positive: str | None) -> _Floats:
    del positive
    hits, labelled, predicted = _classes(sums)
    n = _of(sums, "n")
    covariance = n * hits.sum(axis=0) - (labelled * predicted).sum(axis=0)
    of_predictions, of_labels = (n**2 - (side**2).sum(axis=0) for side in (predicted, labelled))
    return np.asarray(covariance / np.sqrt(of_predictions * of_labels))


def _rmse(sums: _Sums) -> _Floats:
    return np.sqrt(_of(sums, "ee") / _of(sums, "n"))


def _r2(sums: _Sums) -> _Floats:
    return 1 - _of(sums, "ee") / (_of(sums, "tt") - _of(sums, "t") ** 2 / _of(sums, "n"))


_OF_ROWS: Mapping[str, Callable[[_Sums], _Floats]] = {
    "accuracy": _ratio("right", "n"),
    "log_loss": _ratio("log_loss", "losses"),
    "brier": _ratio("brier", "losses"),
}
_BY_CLASS: Mapping[str, Callable[[_Sums, str | None], _Floats]] = {
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "specificity": _specificity,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
}
_REGRESSION: Mapping[str, Callable[[_Sums], _Floats]] = {
    "mae": _ratio("a", "n"),
    "bias": _ratio("e", "n"),
    "rmse": _rmse,
    "r2": _r2,
    "mape": _ratio("relative", "relatives"),
}
_SCALED = frozenset({"log_loss", "brier", "e", "a", "ee", "t", "tt", "relative"})
_OF_SIZE = ("mae", "rmse", "mape", "log_loss", "brier")
_IN_UNITS = frozenset({"mae", "bias", "rmse"})
_SCALES: Mapping[str, str] = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1", "specificity", "balanced_accuracy"), "share"),
    "mcc": "correlation",
    **dict.fromkeys(_OF_SIZE, "size"),
    "r2": "explained",
}
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("roc_auc", "average_precision", "calibration_error", "gain_10"), (0.0, 1.0)),
    "mcc": (-1.0, 1.0),
    "lift_10": (0.0, 10.0),
    **dict.fromkeys(("accuracy", "precision", "recall", "f1", "specificity", "balanced_accuracy"), (0.0, 1.0)),
    **dict.fromkeys(("median_absolute_error", "absolute_error_p90", *_OF_SIZE), (0.0, math.inf)),
    "r2": (-math.inf, 1.0),
}


def _independent(performance: Performance) -> dict[str, float]:
    """The standard errors of independent rows of the measures that the others are stretched by, by name."""
    n = performance.count
    if isinstance(performance, Classification):
        right = sum(count for (label, prediction), count in performance.confusion.items() if label == prediction)
        found = {"accuracy": math.sqrt(right * (n - right) / n**3) if n else 0.0}
        sums = {"log_loss": performance.log_loss, "brier": performance.brier}
        return found | {name: (one.sd or 0.0) / math.sqrt(max(one.count, 1)) for name, one in sums.items()}
    errors, absolute = performance.errors, float(performance.absolute.fraction / n) if n else 0.0
    if errors.sd is None:
        return {}
    spread = math.sqrt(max(float(errors.squares.fraction / n) - absolute**2, 0.0))
    return {"bias": errors.sd / math.sqrt(n), "mae": spread / math.sqrt(n)}
