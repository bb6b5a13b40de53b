"""The page of one feature of a model: two distributions of it, how its distance grew, and what else is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from markupsafe import Markup

from driftline.charts.distributions import over_categories, over_numbers
from driftline.errors import UnknownNameError, UsageError
from driftline.events import Kind
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import DriftView
from driftline.reports.bars import Bars
from driftline.statistics.drift import ColumnDrift
from driftline.text.moments import page_span, read_moment
from driftline.text.numbers import (
    NOTHING,
    count,
    exact,
    fixed,
    number_or_nothing,
    p_words,
    percent,
    percent_or_nothing,
    percents,
)
from driftline.views.feature_document import QUANTILES, Facts, bars_between, facts_of, verdict_window
from driftline.views.features import FeatureView, FeatureWindow, OfSegment, OfVersion, Side
from driftline.web.ui.asked import moment_key, segment_key
from driftline.web.ui.rendering import Render, refused
from driftline.web.ui.series import Chart, distance_chart, missing_chart, unseen_chart

REFERENCE = "reference"
_DISTANCES = {
    "js": "Jensen-Shannon distance",
    "psi": "population stability index, less what chance makes of it",
    "psi_raw": "population stability index, as other tools print it",
    "hellinger": "Hellinger distance",
    "tv": "total variation",
    "ks": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance, in standard deviations of the reference",
}
"""What the distances are, for people who do not know them by the names that they have in rules and in JSON."""


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def feature(
        self,
        model: str,
        feature: str,
        /,
        *,
        window: datetime | None = None,
        against: datetime | None = None,
        segment: str | None = None,
    ) -> FeatureView:
        """Return a feature; raises `UnknownNameError` for one, or a window or a segment, that there is not."""


@dataclass(frozen=True, slots=True)
class Category:
    """One category on both sides."""

    name: str
    shares: str
    bar: Markup


@dataclass(frozen=True, slots=True)
class Drawn:
    """The two distributions: a drawing of numbers, or categories."""

    drawing: Markup
    categories: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A window that can be chosen, as the address has it and as people read it."""

    key: str
    words: str
    drifted: bool


def feature_page(request: Request, views: Views, render: Render, model: str, feature: str) -> Response:
    """Show a feature of a model that is known; for an address that asks for what cannot be, say so."""
    config = views.model_config(model)
    zone = ZoneInfo(config.window.timezone)
    asked = {name: request.query_params.get(name, "").strip() for name in ("window", "against")}
    if asked["against"] == REFERENCE:
        asked["against"] = ""
    segment = request.query_params.get("segment", "")  # not stripped: it is a name of others
    try:
        window, against = (read_moment(name, text, zone) if text else None for name, text in asked.items())
        found = views.feature(
            model, feature, window=window, against=against, segment=segment if segment.strip() else None
        )
    except (UsageError, UnknownNameError) as error:
        return refused(request, render, model, error)
    shown = found.now.window.start if found.now is not None and found.now.window is not None else None
    at = verdict_window(found)
    judged = None if at is None else at.drift.get(feature)
    sides = [("window", moment_key(shown)), ("against", moment_key(against))]

    def query(segment: str) -> str:
        """Return the query of the same page for another segment."""
        return "?" + urlencode([(name, text) for name, text in (*sides, ("segment", segment)) if text])

    return render(
        request,
        "feature.html",
        model=model,
        found=found,
        choices=[_choice(one, feature, zone) for one in reversed(found.history)],
        shown=moment_key(shown),
        against=moment_key(against) or REFERENCE,
        reference=REFERENCE,
        names=_names(found, zone),
        drawn=drawn_over(found),
        judged=judged,
        state=_state(judged, found.compared),
        facts=[*_facts(found)],
        distances=_distances(found.compared),
        distance_words=_DISTANCES,
        versions=[_version(one) for one in found.versions],
        charts=[*_charts(found, config, zone)],
        tells_apart=feature in config.columns.segments,
        offered=[
            (column, [(f"{column}:{value}", value) for value in values]) for column, values in found.segments.items()
        ],
        segment=segment_key(found.segment),
        by_segment=[_of_segment(one, query, found) for one in found.by_segment],
        query=query(segment_key(found.segment)),
        whole=query(""),
    )


def _choice(one: FeatureWindow, feature: str, zone: ZoneInfo) -> Choice:
    drift = one.drift.get(feature)
    return Choice(moment_key(one.start), page_span(one.start, one.end, zone), drift is not None and drift.drifted)


def _names(found: FeatureView, zone: ZoneInfo) -> tuple[str, str]:
    def name(side: Side | None) -> str:
        if side is None:
            return ""
        return "reference" if side.window is None else page_span(side.window.start, side.window.end, zone)

    return name(found.before), name(found.now)


def _state(judged: DriftView | None, compared: ColumnDrift | None) -> str:
    one = judged or compared
    if one is None:
        return "not judged"
    return "drifted" if one.drifted else "stable" if one.value is not None else "not judged"


# ---- the two distributions ------------------------------------------------------------------------------------------


def drawn_over(found: FeatureView) -> Drawn | None:
    """Draw both distributions of a feature over each other; None where there is nothing to draw."""
    bars = bars_between(found)
    if bars is None:
        return None
    if bars.ends is None:
        return Drawn(Markup(""), tuple(_categories(bars)))
    titles = [
        f"{name}: {' → '.join(percents(was, now))}"
        for name, was, now in zip(bars.names, bars.reference, bars.current, strict=True)
    ]
    label = f"{found.feature}: {_most('before', bars.names, bars.reference)}; {_most('now', bars.names, bars.current)}"
    return Drawn(over_numbers(bars.reference, bars.current, titles, bars.ends, label=label), ())


def _most(side: str, names: Sequence[str], shares: Sequence[float]) -> str:
    """Say where most rows of a side are."""
    share = max(shares, default=0.0)
    return f"{side} most often {names[shares.index(share)]} ({percent(share)})" if share > 0 else f"{side} no values"


def _categories(bars: Bars) -> Iterator[Category]:
    for name, was, now in zip(bars.names, bars.reference, bars.current, strict=True):
        shares = " → ".join(percents(was, now))
        yield Category(name, shares, over_categories(was, now, bars.tallest, label=f"{name}: {shares}"))


# ---- what is known of both ------------------------------------------------------------------------------------------


def _facts(found: FeatureView) -> Iterator[tuple[str, str, str]]:
    """Yield what is known of both sides, each with its name."""
    was, became = (facts_of(None if side is None else side.column) for side in (found.before, found.now))
    yield "rows", _rows(was), _rows(became)
    yield "missing", percent_or_nothing(was.missing), percent_or_nothing(became.missing)
    if was.quantiles or became.quantiles:
        for name in ("mean", "sd", "smallest", "largest"):
            told = "standard deviation" if name == "sd" else name
            yield told, number_or_nothing(getattr(was, name)), number_or_nothing(getattr(became, name))
        for share in QUANTILES:
            told = "median" if share == 0.5 else f"{fixed(100 * share, 0)} % quantile"
            before, now = (number_or_nothing(one.quantiles.get(str(share))) for one in (was, became))
            yield told, before, now


def _rows(one: Facts) -> str:
    return NOTHING if one.rows is None else count(one.rows)


def _distances(compared: ColumnDrift | None) -> list[tuple[str, str]]:
    """Return every distance between the two, and shares of rows that are outside of what came before."""
    if compared is None:
        return []
    found = [(name, number_or_nothing(value)) for name, value in compared.distances.items() if value is not None]
    if compared.value is not None:
        if compared.out_of_range is None:
            found.append(("rows of categories that did not come before", percent(compared.unseen)))
        else:
            found.append(("rows outside the range before", percent(compared.out_of_range)))
    return found


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One segment of the column that was asked for; ``query`` shows it, empty for the one that is shown."""

    value: str
    query: str
    rows: int
    state: str
    distance: str
    missing: str


def _of_segment(one: OfSegment, query: Callable[[str], str], found: FeatureView) -> SegmentLine:
    assert found.segment is not None  # there are some where one was asked for
    to = "" if one.value == found.segment.value else query(f"{found.segment.column}:{one.value}")
    if one.drift is None:
        return SegmentLine(one.value, to, one.rows, "no rows", NOTHING, NOTHING)
    return SegmentLine(one.value, to, one.rows, *_compared(one.drift))


def _version(one: OfVersion) -> tuple[str, int, str, str, str]:
    return one.version or "no version", one.rows, *_compared(one.drift)


def _compared(drift: ColumnDrift) -> tuple[str, str, str]:
    """Return the state, the distance and the share of missing values of a comparison."""
    distance = drift.problem or NOTHING
    if drift.value is not None and drift.threshold is not None:
        distance = f"{drift.measure} {number_or_nothing(drift.value)}, threshold {exact(drift.threshold)}"
        distance += "" if drift.p_value is None else f", {p_words(drift.p_value)}"
    return _state(None, drift), distance, percent_or_nothing(drift.missing_current)


# ---- over time ------------------------------------------------------------------------------------------------------


def _charts(found: FeatureView, config: ModelConfig, zone: ZoneInfo) -> Iterator[Chart]:
    history = [(one, one.drift[found.feature]) for one in found.history if found.feature in one.drift]
    if history:
        yield distance_chart(history, zone)
        yield missing_chart(history, zone)
        categories = found.kind == Kind.CATEGORICAL.value
        if (unseen := unseen_chart(history, zone, categories=categories, least=config.floors.unseen)) is not None:
            yield unseen
