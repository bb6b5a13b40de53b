"""Quantiles of values counted on a grid (errors, latencies), with exact intervals."""

from __future__ import annotations

from driftline.profiles import NumericColumn, WindowProfile
from driftline.sketches import GridSketch
from driftline.sketches.moments import LARGEST
from driftline.statistics.intervals import Interval, least_for_quantile, quantile_ranks
from driftline.statistics.measure import Measure
from driftline.statistics.request import NO_LABELS, TOO_LARGE, MeasureRequest

_SMALLEST = 2.0**-126
"""Numbers nearer to 0 are returned as 0: they share its cell, or lie in one that is wider than 2^-7 of themselves."""


def quantile_of(
    sketch: GridSketch, q: float, ask: MeasureRequest, *, rows: str = "labelled rows", none: str = NO_LABELS
) -> Measure:
    """Return the q-quantile, q in (0, 1), to within a cell (2^-7 of itself), with the interval of order statistics.

    The interval holds for any distribution (`quantile_ranks`) and reaches to the edges of its cells. It needs enough
    rows: at 95 %, 6 for the median, 36 for the 10 % and 90 % quantiles, 72 for the 95 % quantile; with fewer there is a
    problem instead of a value. ``rows`` names what is counted, and ``none`` is the problem where nothing is.
    """
    n = sketch.count
    if not n:
        return ask.no(none)
    ranks = quantile_ranks(n, q, ask.confidence)
    if ranks is None:
        return ask.no(f"{n} of the {least_for_quantile(q, ask.confidence)} {rows} that an interval needs", n)
    value = sketch.quantile(q)
    low, high = (sketch.quantile_bounds((rank - 0.5) / n) for rank in ranks)  # between ranks, safe from rounding
    assert value is not None
    assert low is not None
    assert high is not None
    if max(abs(value), abs(low[0]), abs(high[1])) >= LARGEST:
        return ask.no(TOO_LARGE, n)
    return ask.yes(_plain(value), Interval(_plain(low[0]), _plain(high[1])), n)


def _plain(number: float) -> float:
    return 0.0 if abs(number) < _SMALLEST else number


def latency_p95(profile: WindowProfile, *, confidence: float = 0.95) -> Measure:
    """Return the 95th percentile of the latencies of a window's predictions, in seconds, 0 or more; see `quantile_of`.

    Predictions without a latency are left out.
    """
    seconds = profile.outputs.columns.get("latency_seconds")
    sketch = seconds.sketch if isinstance(seconds, NumericColumn) else GridSketch()
    ask, none = MeasureRequest("latency_p95", confidence, None), "no row says how long the model took (latency_seconds)"
    return quantile_of(sketch, 0.95, ask, rows="rows with a latency", none=none)
