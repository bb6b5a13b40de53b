"""The first page: all models, and what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from driftline.alerts.message import AlertView
from driftline.monitoring.options import ModelConfig
from driftline.views.reader import ModelView, WindowView
from driftline.web.ui.rendering import Render
from driftline.web.ui.state import Headline, headline

_RECENT = 3  # windows from which the state of a model is derived


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def models(self) -> list[ModelView]:
        """Return all models."""

    def windows(
        self, model: str, /, *, newest: int | None = None, version: str | None = None, segment: str | None = None
    ) -> list[WindowView]:
        """Return the newest windows, or all of them, in order of time."""

    def alerts(
        self, model: str | None = None, /, *, status: str | None = None, limit: int | None = None
    ) -> list[AlertView]:
        """Return the newest alerts, or all of them, the newest first."""


def fleet_page(request: Request, views: Views, render: Render) -> Response:
    """Show all models."""
    firing = views.alerts(status="firing")
    return render(request, "index.html", rows=[_row(views, one, firing) for one in views.models()])


def _row(views: Views, view: ModelView, firing: Sequence[AlertView]) -> tuple[ModelView, ZoneInfo, Headline]:
    config = views.model_config(view.name)
    recent = views.windows(view.name, newest=_RECENT) if view.predictions else []
    mine = [one for one in firing if one.model == view.name]
    return view, ZoneInfo(config.window.timezone), headline(view, config.rules, recent, mine)
