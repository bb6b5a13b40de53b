"""The page of one model: its state, its measures over time, its columns, its alerts and challengers."""

from __future__ import annotations

from typing import Protocol

from fastapi import Request, Response

from driftline.alerts.message import AlertView, StepView
from driftline.errors import UnknownNameError
from driftline.events import WHOLE, Slice
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import WindowSummary
from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView, decode_contest
from driftline.views.reader import ModelView, WindowView
from driftline.web.ui import shown
from driftline.web.ui.rendering import Render

WINDOWS_SHOWN = 120
"""The number of newest windows on the page, unless it is asked for all of them."""

ALERTS_SHOWN = 100
"""The page shows all firing alerts, and the ended ones among this many of the newest."""

_RECENT = 3  # windows from which the state is derived where the page shows those of a slice

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

    def model(self, model: str, /) -> ModelView:
        """Return one model."""

    def slice(self, model: str, /, *, version: str | None = None, segment: str | None = None) -> Slice:
        """Return the slice of a version or segment; raises `UsageError` or `UnknownNameError` if there is none."""

    def segments(self, model: str, /) -> list[WindowSummary]:
        """Return the segments of the newest judged window."""

    def windows(
        self, model: str, /, *, newest: int | None = None, version: str | None = None, segment: str | None = None
    ) -> list[WindowView]:
        """Return the newest windows, or all of them, in order of time."""

    def alerts(
        self, model: str | None = None, /, *, status: str | None = None, limit: int | None = None
    ) -> list[AlertView]:
        """Return the newest alerts, or all of them, the newest first."""

    def alert(self, id: str, /) -> AlertView:
        """Return one alert; raises `UnknownNameError` for an unknown one."""

    def requests(self, model: str, /) -> list[RequestView]:
        """Return the requests for challengers, the newest first."""


def model_page(request: Request, views: Views, render: Render, model: str) -> Response:
    """Show one model that is known."""
    config, view = views.model_config(model), views.model(model)
    version, segment = (request.query_params.get(name) for name in ("version", "segment"))
    slice = views.slice(model, version=version, segment=segment)
    everything, opened = request.query_params.get("windows") == "all", request.query_params.get("alert", "")
    windows = views.windows(model, newest=None if everything else WINDOWS_SHOWN, version=version, segment=segment)
    alerts, more = _alerts(views, model, opened)
    page = shown.model_page(
        view,
        config,
        windows,
        alerts,
        slice=slice,
        looked_at=view.windows if everything else WINDOWS_SHOWN,
        newest=windows if slice == WHOLE else views.windows(model, newest=_RECENT),
        segments=views.segments(model) if view.segments else (),
    )
    challengers = [(one, decode_contest(one.contest)) for one in views.requests(model)]
    steps = {one.id: [StepView(step.at, step.stage, step.note) for step in one.steps] for one, _ in challengers}
    return render(
        request,
        "model.html",
        page=page,
        zone=page.zone,
        challengers=challengers,
        steps=steps,
        tones=_TONES,
        opened=opened,
        more_alerts=more,
    )


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
