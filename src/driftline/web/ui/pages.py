"""Route the pages, one file each. They are rendered on the server; the browser only fetches the same page again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from driftline import clock
from driftline.errors import ConflictError, DriftlineError, UnknownNameError
from driftline.templating import url_segment
from driftline.web.access import form_of, name_of
from driftline.web.ui import alert, audit, feature, fleet, model, quarantine, rules, segments
from driftline.web.ui.alert import DONE, Acts, Said, alert_page
from driftline.web.ui.audit import BEFORE_CHANGE, audit_page
from driftline.web.ui.feature import feature_page
from driftline.web.ui.fleet import fleet_page
from driftline.web.ui.model import model_page
from driftline.web.ui.quarantine import BEFORE_ROW, quarantine_page
from driftline.web.ui.reference import operations
from driftline.web.ui.rendering import HEADERS, Render, answer, as_marked, redirect, renderer
from driftline.web.ui.rules import rules_page
from driftline.web.ui.segments import segments_page
from driftline.web.ui.system import SystemView, system_page

REFRESH_SECONDS = 5.0

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Views(
    alert.Views,
    audit.Views,
    feature.Views,
    fleet.Views,
    model.Views,
    quarantine.Views,
    rules.Views,
    segments.Views,
    Protocol,
):
    """What all pages read; `driftline.views.reader.Views` is one."""

    def model_mark(self, model: str, /) -> tuple[Any, ...]:
        """Return what is another whenever the pages of a model may say something else."""

    def alert_mark(self, id: str, /) -> tuple[Any, ...]:
        """Return what is another whenever the page of an alert may say something else."""


def pages(
    views: Views,
    acts: Acts | None = None,
    *,
    refresh_seconds: float = REFRESH_SECONDS,
    now: Callable[[], datetime] = clock.now,
    system: Callable[[], SystemView] | None = None,
) -> APIRouter:
    """Return the routes of the pages and of their files.

    ``acts`` does what people decide there; ``system`` tells how the service itself is.
    """
    router = APIRouter(include_in_schema=False)
    render = renderer(refresh_seconds)

    @router.get("/", name="page_index")
    def of_fleet(request: Request) -> Response:
        return fleet_page(request, views, render, now())

    _add_pages_of_a_model(router, views, render)

    @router.get("/alerts/{alert}", name="page_alert")
    def of_alert(request: Request, alert: str) -> Response:
        return as_marked(request, views.alert_mark(alert), lambda: alert_page(request, views, render, alert))

    if acts is not None:
        _add_form(router, views, render, acts)

    _of_service(router, views, render, now, system)
    _files(router)
    return router


def _of_service(
    router: APIRouter,
    views: Views,
    render: Render,
    now: Callable[[], datetime],
    system: Callable[[], SystemView] | None,
) -> None:
    """Add the pages that are of no model."""

    @router.get("/audit", name="page_audit")
    def of_changes(request: Request, before: int | None = BEFORE_CHANGE) -> Response:
        return audit_page(request, views, render, before)

    if system is not None:

        @router.get("/system", name="page_system")
        def of_system(request: Request) -> Response:
            return system_page(request, system(), render, now())

    @router.get("/api/docs", name="page_api")
    def of_api(request: Request) -> Response:
        return render(request, "api.html", groups=operations(request.app.openapi()))


def _files(router: APIRouter) -> None:
    """Add the files of the pages."""
    files = {file.name: file.read_bytes() for file in sorted((_HERE / "static").iterdir()) if file.suffix in _TYPES}

    @router.get("/static/{path:path}", name="page_static")
    def static(request: Request, path: str) -> Response:
        if path not in files:
            return Response("there is no such file\n", 404, media_type="text/plain", headers=HEADERS)
        return answer(request, files[path], _TYPES[Path(path).suffix])


def _add_form(router: APIRouter, views: Views, render: Render, acts: Acts) -> None:
    """Route the forms on the page of an alert: what was done leads back to it, what was not is said there."""

    @router.post("/alerts/{alert}", name="act_on_alert")
    async def act(request: Request, alert: str) -> Response:
        form = await form_of(request)
        return await run_in_threadpool(answer_form, request, alert, form)

    def answer_form(request: Request, alert: str, form: Mapping[str, str]) -> Response:
        action = form.get("action", "")
        try:
            acts.do(action, views.alert(alert), {**form, "by": name_of(request, form.get("by", ""))})
        except DriftlineError as error:  # where the alert is the unknown name, its page says so
            said = Said(problem=str(error), action=action if action in DONE else "acknowledge", fields=form)
            status = 409 if isinstance(error, ConflictError) else 400
            return alert_page(request, views, render, alert, said, status=status)
        return redirect(request, f"/alerts/{url_segment(alert)}?done={action}#state")


def _add_pages_of_a_model(router: APIRouter, views: Views, render: Render) -> None:
    """Route the pages of one model; the shortest address comes last, for it takes any."""

    def unknown(request: Request, model: str) -> Response | None:
        """Return the page that says that there is no such model; None if there is."""
        try:
            views.model_config(model)
        except UnknownNameError as error:
            return render(request, "missing.html", status=404, came=model, known=error.known)
        return None

    def known(request: Request, model: str, page: Callable[[], Response]) -> Response:
        """Answer with a page of a model that is as its mark says."""
        return unknown(request, model) or as_marked(request, views.model_mark(model), page)

    @router.get("/models/{model:path}/features/{feature:path}", name="page_feature")
    def of_feature(request: Request, model: str, feature: str) -> Response:
        return known(request, model, lambda: feature_page(request, views, render, model, feature))

    @router.get("/models/{model:path}/segments", name="page_segments")
    def of_segments(request: Request, model: str) -> Response:
        return known(request, model, lambda: segments_page(request, views, render, model))

    @router.get("/models/{model:path}/quarantine", name="page_quarantine")
    def of_quarantine(request: Request, model: str, before: int | None = BEFORE_ROW) -> Response:
        return unknown(request, model) or quarantine_page(request, views, render, model, before)

    @router.get("/models/{model:path}/rules", name="page_rules")
    def of_rules(request: Request, model: str) -> Response:
        return known(request, model, lambda: rules_page(request, views, render, model))

    @router.get("/models/{model:path}", name="page_model")
    def of_model(request: Request, model: str) -> Response:
        return known(request, model, lambda: model_page(request, views, render, model))


def sign_in_page(request: Request, *, next: str, problem: str, status: int) -> Response:
    """Return the page that asks for a token; ``next`` is where it leads, ``problem`` why the last one was no good."""
    return renderer(0)(request, "sign_in.html", next=next, problem=problem, status=status)


_HEADINGS = {
    401: "Sign in first",
    403: "This is not allowed",
    404: "There is no such page",
    429: "Too much at once",
    500: "Something went wrong",
    503: "Not now",
}


def error_page(request: Request, *, status: int, reason: str) -> Response:
    """Return the page that says why there is no other."""
    heading = _HEADINGS.get(status, "This cannot be shown")
    return renderer(0)(request, "error.html", heading=heading, number=status, reason=reason, status=status)
