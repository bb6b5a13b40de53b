"""The page of one alert."""

from __future__ import annotations

from typing import Protocol

from fastapi import Request, Response

from driftline.alerts.message import AlertView
from driftline.errors import UnknownNameError
from driftline.monitoring.options import ModelConfig
from driftline.templating import url_segment
from driftline.web.ui.rendering import Render, redirect


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def alert(self, id: str, /) -> AlertView:
        """Return one alert; raises `UnknownNameError` for an unknown one."""


def alert_page(request: Request, views: Views, render: Render, alert: str) -> Response:
    """Lead to the alert on its model's page."""
    try:
        one = views.alert(alert)
        views.model_config(one.model)
    except UnknownNameError:
        return render(request, "missing_alert.html", status=404, came=alert)
    id = url_segment(one.id)
    return redirect(request, f"/models/{url_segment(one.model)}?alert={id}#alert-{id}")
