"""Prepare the heat map of a model's page: how far each feature was from the reference in each window, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup

from driftline.charts.strip import Cell, strip
from driftline.monitoring.summary import DriftView
from driftline.templating import url_segment
from driftline.text.moments import page_span
from driftline.text.numbers import count, exact, number
from driftline.views.values import WindowView
from driftline.web.ui.asked import feature_query

MOST_ROWS = 30
"""So many of the features that drifted are drawn, the worst; the page of all draws up to `MOST_OF_ALL`."""

MOST_OF_ALL = 300
_SHOWN = 80  # characters of a name, which is written in each cell


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One feature: in how many windows it drifted, and its strip."""

    name: str
    href: str
    drifted: int
    drawing: Markup


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The map: ``rows`` that are drawn, ``folded`` features, each with its address, that are not.

    ``stable`` says that no feature that drifted is folded. ``first`` and ``last`` are the ends of time.
    """

    rows: tuple[HeatRow, ...]
    folded: tuple[tuple[str, str], ...]
    stable: bool
    windows: int
    first: str
    last: str
    summary: str


def heat_map(windows: Sequence[WindowView], zone: ZoneInfo, address: str, *, every: bool) -> HeatMap | None:
    """Return the map of the windows that were compared, in order of time; None where none was.

    ``address`` is that of the model's page. Features that drifted in no window are folded, unless ``every`` one is to
    be drawn.
    """
    summaries = [one.summary for one in windows if one.summary.drift]
    if not summaries:
        return None
    features: dict[str, list[DriftView | None]] = {
        name: [one.drift.get(name) for one in summaries]
        for name in dict.fromkeys(name for one in summaries for name in one.drift)
    }
    ranked = sorted(features, key=lambda name: _rank(name, features[name]))
    loud = sum(any(_drifted(one) for one in views) for views in features.values())
    shown = ranked[: MOST_OF_ALL if every else min(loud, MOST_ROWS)]
    spans = [page_span(one.start, one.end, zone) for one in summaries]
    starts = [one.start for one in summaries]

    def leads_to(name: str) -> str:
        return f"{address}/features/{url_segment(name)}"

    rows = tuple(_row(name, leads_to(name), features[name], spans, starts) for name in shown)
    what = f"{loud} of {len(features)} feature{'s' if len(features) > 1 else ''}"
    return HeatMap(
        rows=rows,
        folded=tuple((name, leads_to(name)) for name in ranked[len(shown) :]),
        stable=loud <= len(shown),
        windows=len(summaries),
        first=spans[0],
        last=spans[-1],
        summary=f"{what} drifted in at least one of {count(len(summaries))} windows.",
    )


def _drifted(view: DriftView | None) -> bool:
    return view is not None and view.drifted


def _rank(name: str, views: Sequence[DriftView | None]) -> tuple[int, float, str]:
    return -sum(map(_drifted, views)), -max((one.severity for one in views if one is not None), default=0.0), name


def _row(
    name: str,
    href: str,
    views: Sequence[DriftView | None],
    spans: Sequence[str],
    starts: Sequence[datetime],
) -> HeatRow:
    drifted = sum(map(_drifted, views))
    cells = [
        Cell(
            None if view is None else _ratio(view),
            _drifted(view),
            _words(name, view, span),
            f"{href}{feature_query(start)}" if _drifted(view) else "",
        )
        for view, span, start in zip(views, spans, starts, strict=True)
    ]
    return HeatRow(name, href, drifted, strip(cells, label=f"{name}: drifted in {drifted} of {len(views)} windows"))


def _ratio(view: DriftView) -> float | None:
    return view.value / view.threshold if view.value is not None and view.threshold else None


def _words(name: str, view: DriftView | None, span: str) -> str:
    if view is None or not view.drifted:
        return span if view is not None and view.value is not None else f"{span}, not judged"
    size = "drifted"
    if view.value is not None and view.threshold is not None:
        size = f"{view.measure} {number(view.value)}, threshold {exact(view.threshold)}"
    return " · ".join([name[:_SHOWN], span, size, *(one[:_SHOWN] for one in view.changes[:1])])
