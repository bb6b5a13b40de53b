"""What other tools say of the same windows: their default rules, stated again over counts, and their alarms.

Each rule gives a score of each column in each window, larger where more has drifted, and alarms at its default
threshold. `equal_threshold` raises it until the rule, too, keeps to a budget. `benchmarks.detection.packages` holds the
scores to those of the packages themselves, where they are installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr
from scipy.stats import chi2_contingency, kstwo

from benchmarks.detection.evaluate import A_YEAR, Said, episodes
from benchmarks.detection.streams import Cells, Stream

Floats = npt.NDArray[np.float64]

_LEAST_P = 1e-300
_MOST_SINGLE = 87.0
"""-log p of the smallest p-value in single precision, in which Alibi Detect has them."""
_LEAST_SD = 0.001
_PSI_BINS, _LEAST_SHARE = 10, 1e-4


@dataclass(frozen=True)
class Peer:
    """A rule: the ``score`` of a column's windows, the first ``reference`` of which are the reference, shape (windows
    behind it,); its ``threshold``; and the share of columns that have to reach it, 0 for any.

    ``package`` is what has this rule as its default, None where it is only a custom; ``shown`` writes a threshold;
    ``most`` is the largest score that the package itself can tell.
    """

    name: str
    package: str | None
    score: Callable[[Cells, int], Floats]
    threshold: float
    share: float = 0.0
    shown: Callable[[float], str] = "{:.2g}".format
    most: float = math.inf


class Scored(NamedTuple):
    """The columns' scores in each window, shape (windows, columns), their names, and that which decides, (windows,)."""

    scores: Floats
    names: tuple[str, ...]
    decides: Floats

    def said(self, threshold: float) -> Said:
        """What is said at a threshold: each window that reaches it is an alarm."""
        alarm = self.decides >= threshold
        order = np.argsort(-self.scores, axis=1, kind="stable")
        named = [
            [self.names[place] for place in own if row[place] >= threshold]
            for row, own in zip(self.scores, order, strict=True)
        ]
        return Said(alarm, alarm & ~np.roll(alarm, 1), named)


def scored(peer: Peer, stream: Stream) -> Scored:
    """The scores of the windows behind a stream's reference; a column without values in a window has none."""
    names = tuple(sorted(stream.columns))
    scores = np.stack([peer.score(stream.columns[name], stream.reference) for name in names], axis=1)
    scores = np.where(np.isnan(scores), -np.inf, scores)
    needed = max(math.ceil(peer.share * len(names)), 1)
    return Scored(scores, names, np.sort(scores, axis=1)[:, -needed])


def equal_threshold(calm: Sequence[Scored], alarms_a_year: float) -> float:
    """The lowest threshold at which streams without a change have at most so many alarms a year in the mean, and at all
    higher ones, too.
    """
    decides = np.concatenate([one.decides for one in calm])
    tried = np.unique(np.quantile(decides, np.linspace(0, 1, 801)))
    rates = [
        float(np.mean([A_YEAR / len(one.decides) * episodes(one.decides >= threshold) for one in calm]))
        for threshold in tried
    ]
    # Where it alarms in every window there is one alarm, which is none that people could bear.
    rates[0] = math.inf
    over = [place for place, rate in enumerate(rates) if rate > alarms_a_year]
    return float(tried[over[-1] + 1]) if over[-1] + 1 < len(tried) else float(np.nextafter(tried[-1], math.inf))


# ---- the rules ---------------------------------------------------------------------------------------------


def _counts(cells: Cells, reference: int) -> tuple[Floats, Floats]:
    """Of present values: those of the reference together, shape (cells,), and those of each later window."""
    seen = cells.counts[:, :-1].astype(np.float64)
    return seen[:reference].sum(axis=0), seen[reference:]


def _shares(counts: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        shares: Floats = counts / counts.sum(axis=-1, keepdims=True)
    return shares


def _jensen_shannon(usual: Floats, windows: Floats, *, base: float = math.e) -> Floats:
    """The distance of the shares of the reference to those of each window; the divergence's square root."""
    middle = (usual + windows) / 2
    divergence = (rel_entr(usual, middle) + rel_entr(windows, middle)).sum(axis=-1) / 2 / math.log(base)
    distance: Floats = np.sqrt(np.maximum(divergence, 0))
    return distance


def _evidently(cells: Cells, reference: int) -> Floats:
    """Wasserstein distance over the reference's standard deviation of numbers, Jensen-Shannon distance of categories:
    what Evidently takes for more than 1,000 reference rows.
    """
    usual, windows = _counts(cells, reference)
    usual, windows = _shares(usual), _shares(windows)
    if cells.values is None or (cells.counts[:, :-1].sum(axis=0) > 0).sum() <= 5:
        return _jensen_shannon(usual, windows)
    mean = usual @ cells.values
    sd = math.sqrt(float(usual @ (cells.values - mean) ** 2))
    between = np.abs(np.cumsum(usual - windows, axis=1))[:, :-1] @ np.diff(cells.values)
    distance: Floats = between / max(sd, _LEAST_SD)
    return distance


def _nannyml(cells: Cells, reference: int) -> Floats:
    """How many standard deviations of the reference windows' own distances a Jensen-Shannon distance is from their
    mean. Numbers are in Doane's bins, and what is in none of them together.
    """
    seen = cells.counts[:, :-1].astype(np.float64)
    if cells.values is not None:
        usual = seen[:reference].sum(axis=0).astype(np.int64)
        edges = np.histogram_bin_edges(np.repeat(cells.values, usual), "doane")
        within = np.array([np.histogram([value], edges)[0] for value in cells.values], np.float64)
        seen = seen @ np.hstack([within, 1 - within.sum(axis=1, keepdims=True)])
    distance = _jensen_shannon(_shares(seen[:reference].sum(axis=0)), _shares(seen), base=2)
    mean, sd = np.nanmean(distance[:reference]), np.nanstd(distance[:reference])
    away: Floats = np.abs(distance[reference:] - mean) / max(float(sd), 1e-12)
    return away


def _alibi(cells: Cells, reference: int) -> Floats:
    """-log p of a test of Kolmogorov and Smirnov for numbers, of chi² for categories."""
    usual, windows = _counts(cells, reference)
    if cells.values is None:
        p = np.array([_chi_squared(usual, one) for one in windows])
    else:
        before, now = usual.sum(), windows.sum(axis=1)
        with np.errstate(invalid="ignore"):
            distance = np.abs(np.cumsum(_shares(usual) - _shares(windows), axis=1)).max(axis=1)
        p = kstwo.sf(distance, np.maximum(np.round(before * now / (before + now)), 1))
    surprise: Floats = -np.log(np.maximum(p, _LEAST_P))
    return surprise


def _chi_squared(usual: Floats, window: Floats) -> float:
    there = usual + window > 0
    if not window.sum() or there.sum() < 2:
        return 1.0
    return float(chi2_contingency(np.stack([usual[there], window[there]])).pvalue)


def _psi(cells: Cells, reference: int) -> Floats:
    """The population stability index, over tenths of a number's reference or over categories."""
    usual, windows = _counts(cells, reference)
    if cells.values is not None:
        below = np.cumsum(usual) / max(usual.sum(), 1)
        tenth = np.minimum((below - 1e-12) * _PSI_BINS, _PSI_BINS - 1).astype(int)
        of_tenth = (tenth[:, None] == np.arange(_PSI_BINS)).astype(np.float64)
        usual, windows = usual @ of_tenth, windows @ of_tenth
    p, q = np.maximum(_shares(usual), _LEAST_SHARE), np.maximum(_shares(windows), _LEAST_SHARE)
    index: Floats = ((p - q) * np.log(p / q)).sum(axis=1)
    return index


def _shown_p(surprise: float) -> str:
    return f"p = 1e{-surprise / math.log(10):.0f}" if surprise > 9 else f"p = {math.exp(-surprise):.2g}"


def peers(columns: int) -> tuple[Peer, ...]:
    """The rules for a model of so many columns."""
    return (
        Peer("Evidently, any column", "evidently", _evidently, 0.1),
        Peer("Evidently, half the columns", "evidently", _evidently, 0.1, share=0.5),
        Peer("NannyML", "nannyml", _nannyml, 3.0, shown="{:.1f} sd".format),
        Peer("Alibi Detect", "alibi-detect", _alibi, -math.log(0.05 / columns), shown=_shown_p, most=_MOST_SINGLE),
        Peer("PSI, any column", None, _psi, 0.2),
    )
