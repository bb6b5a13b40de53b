"""Compute measures from sums over the rows of each block, as `driftline.profiles.blocks` keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

Sums = Mapping[str, _Floats]
"""Sums of k sets of rows by name, each shape (k,)."""
Scale = Literal["share", "correlation", "size", "explained"]


class OfBlocks(NamedTuple):
    """How to compute a measure from sums.

    ``value`` takes the sums of k sets of rows and the positive class, if any, and returns the measure of each set,
    shape (k,). ``scale`` is the one on which its interval is symmetric; None is the plain one. ``by_class``: it needs
    the sums of each class. ``in_units``: its value is in units of the label. ``proportional``: the sums give it up to a
    factor.
    """

    value: Callable[[Sums, str | None], _Floats]
    scale: Scale | None = None
    by_class: bool = False
    in_units: bool = False
    proportional: bool = False


def _of(sums: Sums, name: str) -> _Floats:
    found = sums.get(name)
    return np.zeros_like(next(iter(sums.values()))) if found is None else found


def _ratio(of: str, to: str) -> Callable[[Sums, str | None], _Floats]:
    return lambda sums, _: _of(sums, of) / _of(sums, to)


def _classes(sums: Sums) -> tuple[_Floats, _Floats, _Floats]:
    """The hits, labelled rows and predicted rows of each class that occurs, each of shape (classes, k)."""
    names = sorted({name[2:] for name in sums if name[1:2] == " "})
    hits, labelled, predicted = (np.array([_of(sums, f"{part} {name}") for name in names]) for part in "hlp")
    return hits, labelled, predicted


def _mean_share(hits: _Floats, sizes: _Floats) -> _Floats:
    """The mean share over all classes; one without rows counts as 0, as in the measure itself."""
    return np.asarray((hits / np.maximum(sizes, 1.0)).mean(axis=0))


def _precision(sums: Sums, positive: str | None) -> _Floats:
    if positive is not None:
        return _of(sums, f"h {positive}") / _of(sums, f"p {positive}")
    hits, _, predicted = _classes(sums)
    return _mean_share(hits, predicted)


def _recall(sums: Sums, positive: str | None) -> _Floats:
    if positive is not None:
        return _of(sums, f"h {positive}") / _of(sums, f"l {positive}")
    hits, labelled, _ = _classes(sums)
    return _mean_share(hits, labelled)


def _f1(sums: Sums, positive: str | None) -> _Floats:
    if positive is not None:
        return 2 * _of(sums, f"h {positive}") / (_of(sums, f"l {positive}") + _of(sums, f"p {positive}"))
    hits, labelled, predicted = _classes(sums)
    return _mean_share(2 * hits, labelled + predicted)


def _specificity(sums: Sums, positive: str | None) -> _Floats:
    n, labelled = _of(sums, "n"), _of(sums, f"l {positive}")
    return (n - labelled - _of(sums, f"p {positive}") + _of(sums, f"h {positive}")) / (n - labelled)


def _balanced_accuracy(sums: Sums, positive: str | None) -> _Floats:
    del positive
    hits, labelled, _ = _classes(sums)
    there = (labelled > 0).any(axis=1)
    return np.asarray((hits[there] / labelled[there]).mean(axis=0))


def _mcc(sums: Sums, positive: str | None) -> _Floats:
    del positive
    hits, labelled, predicted = _classes(sums)
    n = _of(sums, "n")
    covariance = n * hits.sum(axis=0) - (labelled * predicted).sum(axis=0)
    of_predictions, of_labels = (n**2 - (side**2).sum(axis=0) for side in (predicted, labelled))
    return np.asarray(covariance / np.sqrt(of_predictions * of_labels))


def _rmse(sums: Sums, positive: str | None) -> _Floats:
    del positive
    return np.sqrt(_of(sums, "ee") / _of(sums, "n"))


def _r2(sums: Sums, positive: str | None) -> _Floats:
    del positive
    return 1 - _of(sums, "ee") / (_of(sums, "tt") - _of(sums, "t") ** 2 / _of(sums, "n"))


ACCURACY = OfBlocks(_ratio("right", "n"), "share")
LOG_LOSS = OfBlocks(_ratio("log_loss", "losses"), "size")
BRIER = OfBlocks(_ratio("brier", "losses"), "size")
PRECISION = OfBlocks(_precision, "share", by_class=True)
RECALL = OfBlocks(_recall, "share", by_class=True)
F1 = OfBlocks(_f1, "share", by_class=True)
SPECIFICITY = OfBlocks(_specificity, "share", by_class=True)
BALANCED_ACCURACY = OfBlocks(_balanced_accuracy, "share", by_class=True)
MCC = OfBlocks(_mcc, "correlation", by_class=True)
MAE = OfBlocks(_ratio("a", "n"), "size", in_units=True)
BIAS = OfBlocks(_ratio("e", "n"), in_units=True)
RMSE = OfBlocks(_rmse, "size", in_units=True)
R2 = OfBlocks(_r2, "explained")
WAPE = OfBlocks(_ratio("a", "s"), "size", proportional=True)
MASE = OfBlocks(_ratio("a", "n"), "size", proportional=True)
MAPE = OfBlocks(_ratio("relative", "relatives"), "size")
