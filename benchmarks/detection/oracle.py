"""The detector once more, short and slow: dense counts, SciPy's functions, nothing shared with the product.

What the product is held to, value by value, on simulated streams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, log_ndtr, ndtr, ndtri, stdtr

from benchmarks.detection.streams import Cells, Stream

Floats = npt.NDArray[np.float64]

LOOKBACKS = (1, 2, 4, 7, 14, 28)
TAU = np.array([0, 0.005, 0.01, 0.015, 0.022, 0.033, 0.05, 0.075, 0.11, 0.17, 0.25, 0.4, 0.65, 1.1, 2.0, 4.0])
NU = np.array([np.inf, 12.0, 6.0, 1.5])
TAU_SQUARED, NUS = np.repeat(TAU**2, len(NU)), np.tile(NU, len(TAU))
PRIOR = np.tile([0.60, 0.30, 0.08, 0.02], len(TAU)) / len(TAU)
HEAVY = np.isfinite(NUS)
PERIOD, QUIET, MOST, BUDGET, RESERVE = 7, 7, 112, 90, 2.0


class OracleWindow(NamedTuple):
    """Whether a window is an alarm, its score (an alarm above 0), and (column, shift) of what is named."""

    alarm: bool
    score: float
    named: list[tuple[str, float]]


class Columns(NamedTuple):
    """Series of all columns: values and rows, shape (windows, J), kind, weight and unit of each, and its column."""

    y: Floats
    n: Floats
    kind: npt.NDArray[np.str_]
    weight: Floats
    unit: Floats
    column: list[str]


def series_of(stream: Stream) -> Columns:
    """All series of a stream; what is new in the reference is counted against windows further than the gap away."""
    y, n, kind, weight, unit, column = [], [], [], [], [], []
    for name, cells in stream.columns.items():
        for values, rows, of_kind, share, scale in _column(cells, stream.reference):
            y.append(values)
            n.append(rows)
            kind.append(of_kind)
            weight.append(share / len(stream.columns))
            unit.append(scale)
            column.append(name)
    scores, effective, kinds = np.array(y).T, np.array(n).T, np.array(kind)
    shares = ~np.isin(kinds, ("location", "shape"))
    scores[:, shares] = 2 * np.arcsin(
        np.sqrt(np.minimum((scores[:, shares] + 0.375) / (effective[:, shares] + 0.75), 1))
    )
    return Columns(scores, effective, kinds, np.array(weight), np.array(unit), column)


def _column(cells: Cells, reference: int) -> list[tuple[Floats, Floats, str, float, float]]:
    """(values or counts, rows, kind, weight in the column, unit) of each series."""
    counts = cells.counts.astype(np.float64)
    there, rows = counts[:, :-1], np.maximum(counts.sum(axis=1), 1e-3)
    seen = np.maximum(there.sum(axis=1), 1e-3)
    pooled = there[:reference].sum(axis=0)
    p = pooled / max(pooled.sum(), 1)
    found: list[tuple[Floats, Floats, str, float, float]] = []
    if cells.values is not None:
        middle = (np.cumsum(pooled) - pooled / 2) / max(pooled.sum(), 1)
        a = np.clip(ndtri(np.clip(middle, 1e-9, 1 - 1e-9)), -3.5, 3.5)
        q = there / np.maximum(seen, 1)[:, None]
        m1, second, third = q @ a, q @ a**2, q @ a**3
        within = np.sqrt(max(np.mean((second - m1**2)[:reference]), 1e-6))
        m2, m3 = np.maximum(second - m1**2, 1e-4), third - 3 * m1 * second + 2 * m1**3
        z = (a - p @ a) / np.sqrt(max(p @ a**2 - (p @ a) ** 2, 1e-9))
        g, k4 = p @ z**3, p @ z**4
        scale = np.sqrt(max((k4 - 1) / 4, 1e-6))
        skew = np.sqrt(max(p @ (z**3 - g - 3 * z - 1.5 * g * (z * z - 1)) ** 2, 1e-6))
        wide = (p > 0.002).sum()
        found.append((m1 / within, seen, "location", 0.35, 1.0))
        found.append((0.5 * np.log(m2) / scale, seen, "shape", 0.2, scale))
        found.append((m3 / m2**1.5 / skew, seen, "shape", 0.1, skew))
        del found[3 if wide >= 12 else 2 if wide >= 4 else 1 if wide >= 2 else 0 :]
        atoms = [i for i in np.argsort(-p, kind="stable")[:3] if p[i] > 0.04]
        found += [(there[:, i], seen, "share", 0.15 / len(atoms), 1.0) for i in atoms]
        known = np.flatnonzero(pooled)
        cell = np.arange(len(pooled))
        new = (cell < known[0]) | (cell > known[-1])
        of_new = 0.1
    else:
        top = [i for i in np.argsort(-p, kind="stable") if p[i] >= 0.005][:12]
        rest = np.setdiff1d(np.flatnonzero(pooled), top)
        if len(top) == 2 and not len(rest):
            top = top[:1]
        each = 0.7 / max(len(top) + (len(rest) > 0), 1)
        found += [(there[:, i], seen, "share", each, 1.0) for i in top]
        if len(rest):
            found.append((there[:, rest].sum(axis=1), seen, "share", each, 1.0))
        new, of_new = pooled == 0, 0.15
    novel = there[:, new].sum(axis=1)
    novel[:reference] = _novel(there[:reference] > 0, there[:reference], ordered=cells.values is not None)
    found.append((novel, seen, "novel", of_new, 1.0))
    found.append((counts[:, -1], rows, "missing", 0.15, 1.0))
    return found


def _novel(seen: npt.NDArray[np.bool_], counts: Floats, *, ordered: bool) -> Floats:
    """What is new in each reference window against those more than the gap away."""
    windows = len(seen)
    gap = 6 if windows >= 21 else windows // 4
    found = np.zeros(windows)
    for at in range(windows):
        others = seen[np.abs(np.arange(windows) - at) > gap].any(axis=0)
        if not len(seen[np.abs(np.arange(windows) - at) > gap]):
            continue
        known = np.flatnonzero(others)
        cell = np.arange(len(others))
        new = (cell < known[0]) | (cell > known[-1]) if ordered else ~others
        found[at] = counts[at, new].sum()
    return found


class Learnt(NamedTuple):
    """What is learnt from some windows."""

    level: Floats
    season: Floats
    season_variance: Floats
    tau2: Floats
    rho: Floats
    weights: Floats
    level_tau: Floats
    level_n: Floats
    windows: int


def inflation(rho: Floats, m: int) -> Floats:
    """Variance of a mean of m values with AR(1) correlation, times m."""
    return np.asarray((1 + rho) / (1 - rho) - 2 * rho * (1 - rho**m) / (m * (1 - rho) ** 2))


def learn(
    y: Floats, n: Floats, at: npt.NDArray[np.int64], slot: npt.NDArray[np.int64], kind: npt.NDArray[np.str_]
) -> Learnt:
    """Level, season, hypotheses on day effects and correlation of J series from M windows."""
    count, series = y.shape
    v, tau2, pulled = 1 / n, np.full(series, 0.02**2), y
    slots = (slot[:, None] == np.arange(PERIOD)) * 1.0
    for _ in range(2):
        w = 1 / (tau2 + v)
        level = (w * pulled).sum(0) / w.sum(0)
        r = pulled - level
        of_slot = np.maximum(slots.T @ w, 1e-9)
        mean = slots.T @ (w * r) / of_slot
        c, inside = np.zeros(series), np.ones(series)
        if count >= 2 * PERIOD:
            free = count - PERIOD
            inside = np.maximum((w * (r - mean[slot]) ** 2).sum(0) / free, 1e-9)
            ratio = (of_slot * mean**2).sum(0) / (PERIOD - 1) / inside
            c = np.clip(1 - (PERIOD - 3) / (PERIOD - 1) * free / (free + 2) / np.maximum(ratio, 1e-9), 0, 1)
        fit = level + (c * mean)[slot]
        u = 1 - np.clip(w / w.sum(0) + c * w / of_slot[slot], 0, 0.9)
        ll = np.array(
            [_log_likelihood((y - fit) ** 2 / u, u, t, nu, v) for t, nu in zip(TAU_SQUARED, NUS, strict=True)]
        )
        like = np.exp(ll - ll.max(0)).T
        varies = (y != np.median(y, 0)).mean(0) > 0.25
        weights = np.empty_like(like)
        for one in np.unique(kind):
            of_kind = kind == one
            teachers = of_kind & varies if (of_kind & varies).sum() >= 3 else of_kind
            prior = PRIOR
            for _ in range(30):
                x = prior * like[teachers]
                x /= x.sum(1, keepdims=True)
                prior = (x.sum(0) + 0.5 * PRIOR) / (teachers.sum() + 0.5)
            x = prior * like[of_kind]
            weights[of_kind] = x / x.sum(1, keepdims=True)
        tau2 = np.minimum(weights @ TAU_SQUARED, 4.0)
        sd = np.sqrt((tau2 + v) * u)
        z = (y - fit) / sd
        pulled = fit + np.clip(z, -4, 4) * sd
    cut, share, step = np.clip(z, -3, 3), (tau2 / (tau2 + v)).mean(0), np.diff(at) == 1
    r1 = (cut[1:] * cut[:-1])[step].sum(0) / np.maximum((cut**2).sum(0) * step.sum() / count, 1e-9)
    r1 = (r1 + (1 + c * (PERIOD - 1)) / count) / (1 - min(3 / count, 0.5))
    rho = np.empty(series)
    for one in np.unique(kind):
        k = kind == one
        pool = np.clip((r1[k] * share[k]).sum() / max((share[k] ** 2).sum(), 0.5), 0, 0.9)
        rho[k] = np.clip((pool * 20 + count * share[k] * r1[k]) / (20 + count * share[k] ** 2), 0, 0.9)
    variances = inflation(rho, count) / count, v.mean(0) / count
    return Learnt(level, c * mean, c / of_slot * inside, tau2, rho, weights, *variances, count)


def _log_likelihood(e2: Floats, u: Floats, tau2: float, nu: float, v: Floats) -> Floats:
    total = tau2 + v
    gauss = -(u * np.log(total)).sum(0) / 2
    if np.isinf(nu):
        return np.asarray(gauss - 0.5 * (u * e2 / total).sum(0))
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu / 2)
    return np.asarray(gauss - (nu + 1) / 2 * (u * np.log1p(e2 / total / nu)).sum(0) + u.sum(0) * constant)


def judge(stream: Stream) -> list[OracleWindow]:
    """What is said of each window behind the reference."""
    series = series_of(stream)
    at = np.arange(len(series.y))
    learnt = learn(*(one[: stream.reference] for one in (series.y, series.n, at, stream.slots)), series.kind)
    threshold = np.log(RESERVE * BUDGET * len(LOOKBACKS))
    said: list[OracleWindow] = []
    recent: list[tuple[Floats, ...]] = []
    for now in range(stream.reference, len(series.y)):
        slot = stream.slots[now]
        recent = [*recent, _scores(learnt, series.y[now], series.n[now], slot)][-max(LOOKBACKS) :]
        best, shift = _evidence(np.array(recent), learnt.rho, series.kind == "novel")
        excess = best + np.log(series.weight) - threshold
        named: dict[str, float] = {}
        for j in np.argsort(-excess, kind="stable"):
            if excess[j] <= 0:
                break
            moved = shift[j] * series.unit[j]
            if series.kind[j] in ("share", "novel", "missing"):
                usual = learnt.level[j] + learnt.season[slot, j]
                ends = np.sin(np.clip([usual, usual + shift[j]], 0, np.pi) / 2) ** 2
                moved = ends[1] - ends[0]
            named.setdefault(series.column[j], float(moved))
        said.append(OracleWindow(bool(named), float(excess.max()), list(named.items())))
        use = _learnable(said, stream.reference, learnt.windows)
        if use is not None:
            learnt = learn(*(one[use] for one in (series.y, series.n, at, stream.slots)), series.kind)
    return said


def _scores(learnt: Learnt, y: Floats, n: Floats, slot: int) -> tuple[Floats, ...]:
    certain = 1 / n + learnt.level_n + learnt.season_variance[slot]
    r = y - learnt.level - learnt.season[slot]
    sd2 = learnt.tau2 * (1 + learnt.level_tau) + certain
    u = np.abs(r) / np.sqrt(sd2)
    c = np.flatnonzero(u > 1)
    z = np.abs(r[c, None]) / np.sqrt(TAU_SQUARED * (1 + learnt.level_tau[c, None]) + certain[c, None])
    p = (learnt.weights[c] * np.where(HEAVY, stdtr(np.where(HEAVY, NUS, 1.0), -z), ndtr(-z))).sum(1)
    u[c] = np.minimum(-ndtri(np.clip(p, 1e-300, 0.5)), 30)
    return np.sign(r) * u, 1 / np.sqrt(sd2), learnt.tau2 / sd2, (sd2 - learnt.tau2 - 1 / n) / sd2, r


def _evidence(recent: Floats, rho: Floats, one_sided: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """-log p of the best lookback of each series, and the shift over it."""
    best, shift = np.full(recent.shape[2], -np.inf), np.zeros(recent.shape[2])
    for m in (m for m in LOOKBACKS if m <= len(recent)):
        u, w, s, h, r = recent[-m:].transpose(1, 0, 2)
        w2 = (w**2).sum(0)
        day, base = (w**2 * s).sum(0) / w2, (w**2 * h).sum(0) / w2
        variance = w2 * (1 + day * (inflation(rho, m) - 1)) + base * (w.sum(0) ** 2 - w2)
        z = u[-1] if m == 1 else (w * np.clip(u, -5, 5)).sum(0) / np.sqrt(variance)
        x = -np.where(one_sided, log_ndtr(-z), np.minimum(log_ndtr(-np.abs(z)) + np.log(2), 0))
        better = x > best
        best[better], shift[better] = x[better], ((w**2 * r).sum(0) / w2)[better]
    return best, shift


def _learnable(said: list[OracleWindow], reference: int, learnt: int) -> list[int] | None:
    """The windows to learn from again, where it is time to and there are more, or as many as there may be."""
    if len(said) % 28 and (len(said) % 14 or learnt >= 56):
        return None
    end = reference + len(said) - max(LOOKBACKS)
    hot = [place for place, one in enumerate(said) if one.alarm]
    if hot and len(said) - 1 - hot[-1] < QUIET:
        first = len(hot) - 1
        while first > 0 and hot[first] - hot[first - 1] <= QUIET + 1:
            first -= 1
        end = min(end, reference + hot[first] - QUIET)
    use = list(range(max(end, reference)))
    if len(use) > MOST:
        use = use[: MOST // 4] + use[MOST // 4 - MOST :]
    return use if len(use) > learnt or len(use) == MOST else None
