"""The page of one model: its state, its measures over time, its columns, its alerts and challengers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from driftline.alerts.message import AlertView, StepView
from driftline.errors import UnknownNameError, UsageError
from driftline.events import WHOLE, Schema, Slice
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import WindowSummary
from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView, decode_contest
from driftline.templating import url_segment
from driftline.text.moments import page_span
from driftline.views.lines import VersionLine
from driftline.views.values import ModelDetail, WindowView
from driftline.web.access import base_of
from driftline.web.ui import shown
from driftline.web.ui.asked import LAST, MOST_WINDOWS, Asked, asked_of, below_a_day, feature_query, field_of
from driftline.web.ui.first_events import first_events, first_labels, first_rule
from driftline.web.ui.heat import heat_map
from driftline.web.ui.promotions import champion_of, promotions
from driftline.web.ui.rendering import Render, refused
from driftline.web.ui.series import Beside
from driftline.web.ui.state import NO_LABELS, NO_RULES

ALERTS_SHOWN = 100
"""The page shows all firing alerts, and the ended ones among this many of the newest."""

_TONES = {
    **dict.fromkeys(Stage, "pending"),
    Stage.WAITING: "warning",
    Stage.BAKING: "ok",
    Stage.PROMOTED: "ok",
    Stage.HELD: "info",
    Stage.REFUSED: "info",
    Stage.FAILED: "page",
    Stage.ROLLED_BACK: "page",
}


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def model(self, model: str, /) -> ModelDetail:
        """Return one model."""

    def slice(self, model: str, /, *, version: str | None = None, segment: str | None = None) -> Slice:
        """Return the slice of a version or segment; raises `UsageError` or `UnknownNameError` if there is none."""

    def segments(self, model: str, /) -> list[WindowSummary]:
        """Return the segments of the newest judged window."""

    def windows(
        self,
        model: str,
        /,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        newest: int | None = None,
        version: str | None = None,
        segment: str | None = None,
    ) -> list[WindowView]:
        """Return the windows that start in [start, end), or the newest of them, in order of time."""

    def newest_judged(self, model: str, /) -> list[WindowView]:
        """Return the newest window that was judged, if there is one."""

    def as_known_then(self, model: str, windows: Sequence[WindowView], slice: Slice, /) -> list[WindowView]:
        """Return windows of a slice as rules could judge them for the first time."""

    def version_lines(self, model: str, start: datetime, end: datetime, /, *, most_windows: int) -> list[VersionLine]:
        """Return a line a version, where several have answered in [start, end)."""

    def reference_measures(self, model: str, /) -> Mapping[str, float]:
        """Return the measures of the reference that have a value."""

    def alerts(
        self, model: str | None = None, /, *, status: str | None = None, limit: int | None = None
    ) -> list[AlertView]:
        """Return the newest alerts, or all of them, the newest first."""

    def alert(self, id: str, /) -> AlertView:
        """Return one alert; raises `UnknownNameError` for an unknown one."""

    def schema(self, model: str, /) -> Schema | None:
        """Return the shape of a model's events; None where that is not known yet."""

    def requests(self, model: str, /) -> list[RequestView]:
        """Return the requests for challengers, the newest first."""


def model_page(request: Request, views: Views, render: Render, model: str) -> Response:
    """Show one model that is known; for an address that asks for what cannot be, say so."""
    config = views.model_config(model)
    zone = ZoneInfo(config.window.timezone)
    try:
        asked = asked_of(request.query_params, zone)
        slice = views.slice(model, version=asked.version, segment=asked.segment)
    except (UsageError, UnknownNameError) as error:
        return refused(request, render, model, error)
    view, opened = views.model(model), request.query_params.get("alert", "")
    windows = views.windows(
        model,
        start=asked.start,
        end=asked.end,
        newest=asked.newest,
        version=asked.version,
        segment=asked.segment,
    )
    if asked.then:
        windows = views.as_known_then(model, windows, slice)
    alerts, more = _alerts(views, model, opened)
    challengers = [(one, decode_contest(one.contest)) for one in views.requests(model)]
    requests = [one for one, _ in challengers]
    lines = _lines(views, view, windows) if slice == WHOLE and not asked.then else []
    page = shown.model_page(
        view,
        config,
        windows,
        alerts,
        slice=slice,
        looked_at=view.windows if asked.newest is None else asked.newest,
        newest=() if _tells_state(asked, slice, windows) else views.newest_judged(model),
        segments=views.segments(model) if view.segments else (),
        beside=Beside(
            views.reference_measures(model) if slice.segment is None else {},
            lines,
            promotions(requests, lines, zone) if windows else (),
        ),
        alone=asked.span,
    )
    schema = views.schema(model) if page.missing else None
    address = f"{quote(base_of(request))}/models/{url_segment(model)}"
    every = request.query_params.get("features") == "all"
    return render(
        request,
        "model.html",
        page=page,
        zone=page.zone,
        asked=asked,
        last=LAST,
        most=MOST_WINDOWS,
        span=_span(asked, windows, zone),
        times=below_a_day(config),
        heat=heat_map(windows, zone, address, every=every) if slice.segment is None and not asked.then else None,
        every=every,
        feature_query=feature_query(segment=slice.segment),
        lines={NO_LABELS: first_labels(request, config, schema), NO_RULES: (first_rule(config, schema),)},
        starting=None if view.predictions else first_events(request, config, schema, view.waiting_events),
        champion=champion_of(requests),
        challengers=challengers,
        steps={one.id: [StepView(step.at, step.stage, step.note) for step in one.steps] for one in requests},
        tones=_TONES,
        opened=opened,
        more_alerts=more,
    )


def _tells_state(asked: Asked, slice: Slice, windows: Sequence[WindowView]) -> bool:
    """Return whether the state of the model can be told by these windows: the newest of all rows, as known now."""
    of_now = slice == WHOLE and not asked.span and not asked.then
    return of_now and any(one.summary.stage == "judged" for one in windows)


def _lines(views: Views, view: ModelDetail, windows: Sequence[WindowView]) -> list[VersionLine]:
    """Return a line a version where several have answered in these windows."""
    if len(view.versions) < 2 or not windows:
        return []
    first, last = windows[0].summary.start, windows[-1].summary.end
    return views.version_lines(view.name, first, last, most_windows=MOST_WINDOWS)


class Span(NamedTuple):
    """The span of a page in words, and its ends as the fields of its form have them."""

    words: str
    start: str
    end: str


def _span(asked: Asked, windows: Sequence[WindowView], zone: ZoneInfo) -> Span:
    if not windows:
        return Span("", asked.query.get("start", ""), asked.query.get("end", ""))
    first, last = windows[0].summary.start, windows[-1].summary.end
    return Span(page_span(first, last, zone), field_of(first, zone), field_of(last, zone))


def _alerts(views: Views, model: str, opened: str) -> tuple[list[AlertView], bool]:
    """Return the alerts to show, ``opened`` among them, the newest first, and whether there may be more."""
    newest = views.alerts(model, limit=ALERTS_SHOWN)
    known = {one.id for one in newest}
    older = [one for one in views.alerts(model, status="firing") if one.id not in known]
    if opened and opened not in known.union(one.id for one in older):
        older += _asked_for(views, model, opened)
    return [*newest, *sorted(older, key=lambda one: one.window.start, reverse=True)], len(newest) == ALERTS_SHOWN


def _asked_for(views: Views, model: str, id: str) -> list[AlertView]:
    try:
        one = views.alert(id)
    except UnknownNameError:
        return []
    return [one] if one.model == model else []
