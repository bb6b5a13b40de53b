"""The page of one feature of a model: two distributions of it, how its distance grew, and what else is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from markupsafe import Markup

from driftline.charts.distributions import over_categories, over_numbers
from driftline.errors import UnknownNameError, UsageError
from driftline.events import Kind
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import DriftView
from driftline.profiles import Column, NumericColumn
from driftline.reports.bars import Bars
from driftline.reports.drawn import bars_of_part
from driftline.statistics.drift import ColumnDrift
from driftline.text.moments import page_span, read_moment
from driftline.text.numbers import (
    NOTHING,
    count,
    exact,
    fixed,
    number_or_nothing,
    percent,
    percent_or_nothing,
    percents,
)
from driftline.views.features import FeatureView, FeatureWindow, OfVersion, Side
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

_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def feature(
        self, model: str, feature: str, /, *, window: datetime | None = None, against: datetime | None = None
    ) -> FeatureView:
        """Return a feature; raises `UnknownNameError` for one, or a window, that there is not."""


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
    try:
        window, against = (read_moment(name, text, zone) if text else None for name, text in asked.items())
        found = views.feature(model, feature, window=window, against=against)
    except (UsageError, UnknownNameError) as error:
        return refused(request, render, model, error)
    shown = found.now.window.start if found.now is not None and found.now.window is not None else None
    at = next((one for one in found.history if one.start == shown), None)
    judged = at.drift.get(feature) if at is not None and against is None else None
    return render(
        request,
        "feature.html",
        model=model,
        found=found,
        choices=[_choice(one, feature, zone) for one in reversed(found.history)],
        shown=_key(shown),
        against=_key(against) or REFERENCE,
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
    )


def _key(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _choice(one: FeatureWindow, feature: str, zone: ZoneInfo) -> Choice:
    drift = one.drift.get(feature)
    return Choice(_key(one.start), page_span(one.start, one.end, zone), drift is not None and drift.drifted)


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
    if found.before is None or found.now is None:
        return None
    part = found.compared.part if found.compared is not None else None
    bars = bars_of_part(found.before.column, found.now.column, part)
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
    before, now = (None if side is None else side.column for side in (found.before, found.now))
    yield "rows", _rows(before), _rows(now)
    yield "missing", _missing(before), _missing(now)
    if isinstance(before, NumericColumn) or isinstance(now, NumericColumn):
        was, became = (one if isinstance(one, NumericColumn) else NumericColumn() for one in (before, now))
        for name in ("mean", "sd", "smallest", "largest"):
            told = "standard deviation" if name == "sd" else name
            yield told, number_or_nothing(getattr(was, name)), number_or_nothing(getattr(became, name))
        for share in _QUANTILES:
            told = "median" if share == 0.5 else f"{fixed(100 * share, 0)} % quantile"
            yield told, _quantile(was, share), _quantile(became, share)


def _quantile(one: NumericColumn, share: float) -> str:
    """Write a quantile: no number that is beyond all that came, for it is known only to within a cell of the grid."""
    found = one.sketch.quantile(share)
    if found is None or one.smallest is None or one.largest is None:
        return NOTHING
    return number_or_nothing(min(max(found, one.smallest), one.largest))


def _rows(one: Column | None) -> str:
    return NOTHING if one is None else count(one.rows)


def _missing(one: Column | None) -> str:
    return NOTHING if one is None or not one.rows else percent(one.absent / one.rows)


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


def _version(one: OfVersion) -> tuple[str, int, str, str, str]:
    drift = one.drift
    distance = NOTHING
    if drift.value is not None and drift.threshold is not None:
        distance = f"{drift.measure} {number_or_nothing(drift.value)}, threshold {exact(drift.threshold)}"
    missing = percent_or_nothing(drift.missing_current)
    return one.version or "no version", one.rows, _state(None, drift), distance, missing


# ---- over time ------------------------------------------------------------------------------------------------------


def _charts(found: FeatureView, config: ModelConfig, zone: ZoneInfo) -> Iterator[Chart]:
    history = [(one, one.drift[found.feature]) for one in found.history if found.feature in one.drift]
    if history:
        yield distance_chart(history, zone)
        yield missing_chart(history, zone)
        categories = found.kind == Kind.CATEGORICAL.value
        if (unseen := unseen_chart(history, zone, categories=categories, least=config.floors.unseen)) is not None:
            yield unseen
