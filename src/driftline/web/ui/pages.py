"""Route the pages. They are rendered on the server; the browser only fetches the same page again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

import jinja2
from fastapi import APIRouter, Query, Request, Response

from driftline.alerts.message import AlertView, StepView
from driftline.errors import UnknownNameError
from driftline.events import WHOLE, Slice
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import WindowSummary
from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView, decode_contest
from driftline.store.audit import AuditRow
from driftline.templating import environment
from driftline.views.reader import ModelView, WindowView
from driftline.web.access import base_of
from driftline.web.ui import shown
from driftline.web.ui.reference import operations
from driftline.web.ui.state import Headline, headline

REFRESH_SECONDS = 5.0
WINDOWS_SHOWN = 120
"""The number of newest windows on a page, unless it is asked for all of them."""

ALERTS_SHOWN = 100
"""The page shows all firing alerts, and the ended ones among this many of the newest."""

CHANGES_SHOWN = 100
"""The page of changes shows so many at once."""

BEFORE_CHANGE = Query(None, ge=1, lt=2**63, description="The number of a change: those before it.")

_RECENT = 3  # windows from which the index derives the state of a model

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

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
_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def models(self) -> list[ModelView]:
        """Return all models."""

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

    def changes(self, *, limit: int, before: int | None = None, model: str | None = None) -> list[AuditRow]:
        """Return what people and programs have changed, the newest first."""


def pages(views: Views, *, refresh_seconds: float = REFRESH_SECONDS) -> APIRouter:
    """Return the routes of the pages (models, alerts, changes, the API) and of their files."""
    router = APIRouter(include_in_schema=False)
    render = _renderer(refresh_seconds)
    files = {file.name: file.read_bytes() for file in sorted((_HERE / "static").iterdir()) if file.suffix in _TYPES}

    @router.get("/", name="page_index")
    def index(request: Request) -> Response:
        firing = views.alerts(status="firing")
        rows = [_index_row(views, one, firing) for one in views.models()]
        return _html(request, render(request, "index.html", rows=rows))

    @router.get("/models/{model:path}", name="page_model")
    def model(request: Request, model: str) -> Response:
        try:
            config = views.model_config(model)
        except UnknownNameError as error:
            text = render(request, "missing.html", came=model, known=error.known)
            return _html(request, text, status=404)
        view = views.model(model)
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
        text = render(
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
        return _html(request, text)

    @router.get("/alerts/{alert}", name="page_alert")
    def alert(request: Request, alert: str) -> Response:
        try:
            one = views.alert(alert)
            views.model_config(one.model)
        except UnknownNameError:
            return _html(request, render(request, "missing_alert.html", came=alert), status=404)
        base, model, id = (
            quote(text, safe=safe) for text, safe in ((base_of(request), "/"), (one.model, ""), (one.id, ""))
        )
        where = f"{base}/models/{model}?alert={id}#alert-{id}"
        return Response(status_code=303, headers={**HEADERS, "Location": where})

    @router.get("/audit", name="page_audit")
    def audit(request: Request, before: int | None = BEFORE_CHANGE) -> Response:
        changes = views.changes(limit=CHANGES_SHOWN, before=before)
        more = len(changes) == CHANGES_SHOWN
        return _html(request, render(request, "audit.html", changes=changes, more=more, zone=ZoneInfo("UTC")))

    @router.get("/api/docs", name="page_api")
    def api(request: Request) -> Response:
        return _html(request, render(request, "api.html", groups=operations(request.app.openapi())))

    @router.get("/static/{path:path}", name="page_static")
    def static(request: Request, path: str) -> Response:
        if path not in files:
            return Response("there is no such file\n", 404, media_type="text/plain", headers=HEADERS)
        return _answer(request, files[path], _TYPES[Path(path).suffix])

    return router


def sign_in_page(request: Request, *, next: str, problem: str, status: int) -> Response:
    """Return the page that asks for a token; ``next`` is where it leads, ``problem`` why the last one was no good."""
    return _html(request, _renderer(0)(request, "sign_in.html", next=next, problem=problem), status=status)


def _index_row(views: Views, view: ModelView, firing: Sequence[AlertView]) -> tuple[ModelView, ZoneInfo, Headline]:
    config = views.model_config(view.name)
    recent = views.windows(view.name, newest=_RECENT) if view.predictions else []
    mine = [one for one in firing if one.model == view.name]
    return view, ZoneInfo(config.window.timezone), headline(view, config.rules, recent, mine)


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


# ---- rendering ------------------------------------------------------------------------------------------------------


class _Render(Protocol):
    def __call__(self, request: Request, template: str, /, **context: Any) -> str: ...


def _renderer(refresh_seconds: float) -> _Render:
    made = _templates()

    def render(request: Request, template: str, /, **context: Any) -> str:
        base = quote(base_of(request))
        caller, csrf = getattr(request.state, "caller", None), getattr(request.state, "csrf", "")
        return made.get_template(template).render(
            base=base, refresh_seconds=refresh_seconds, caller=caller, csrf=csrf, **context
        )

    return render


@functools.cache
def _templates() -> jinja2.Environment:
    return environment("driftline.web.ui")


def _html(request: Request, text: str, *, status: int = 200) -> Response:
    return _answer(request, text.encode(), "text/html; charset=utf-8", status=status)


def _answer(request: Request, body: bytes, media_type: str, *, status: int = 200) -> Response:
    """Answer with the body, or with 304 if the browser already has it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": tag}
    if status == 200 and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers={**headers, "Content-Type": media_type})
