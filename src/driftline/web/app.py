"""Build the HTTP application: the routes, and how errors are answered."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from driftline import clock
from driftline.access.rates import RateLimitError
from driftline.alerts.attention import SOMEBODY, AcknowledgeBody, SilenceBody, acknowledge, add_silence, end_silence
from driftline.alerts.message import AlertView
from driftline.errors import (
    ConflictError,
    DamagedError,
    DataError,
    DriftlineError,
    EventError,
    ForbiddenError,
    StorageError,
    UnauthorizedError,
    UnknownNameError,
    UnsignedError,
    UsageError,
    panics_as_errors,
)
from driftline.exporters.prometheus import ServiceCollector
from driftline.logs import current_request
from driftline.net.limits import QueueFullError, TooLargeError
from driftline.service.runtime import Service
from driftline.service.trouble import in_words
from driftline.store.outbox import Outbox
from driftline.text import visible
from driftline.views.feature_document import feature_document
from driftline.views.metrics import MetricsReader
from driftline.views.segments import MOST_WINDOWS
from driftline.web.access import Gate, asked_at, base_of, name_of, said, sign_in_routes
from driftline.web.acting import ServiceActs
from driftline.web.compressed import Compressed
from driftline.web.decode import Bodies, json_answer, json_schema_of
from driftline.web.events import EventDoor, ShortWay
from driftline.web.feedback import feedback_routes
from driftline.web.forgetting import forgetting_routes
from driftline.web.head_requests import HeadAsGet
from driftline.web.operations import ProcessCollector, operations_routes, problems_of_all, system_routes
from driftline.web.requests import UnsupportedTypeError
from driftline.web.retraining import retraining_routes
from driftline.web.system import system_of
from driftline.web.ui.pages import error_page, pages, sign_in_page

_ROWS_SHOWN = 100
_PAGE_LIMIT = 1000
_ALERTS = Query(_PAGE_LIMIT, ge=1, le=_PAGE_LIMIT, description="How many at most; the header Link says where more are.")
_BEFORE = Query(None, description="The id of an alert: those that follow it in the list.")
_AlertStatus = Literal["firing", "resolved", "corrected"] | None

_ERROR = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["type", "message"],
                    "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
                }
            },
        }
    }
}


def create_app(service: Service, gate: Gate | None = None) -> FastAPI:
    """Build the application around a service; the caller starts and stops the service.

    ``gate`` is who knows the callers; without one they are asked as the configuration says.
    """
    gate = gate or Gate(service.state, service.config.auth, required=service.config.auth.required)
    app = _app(gate)
    registry = CollectorRegistry()
    reader = MetricsReader(service.config, service.tasks, service.state, service.inbox)
    collector = ServiceCollector(
        lambda: reader.snapshot(problems_of_all(service), service.started), service.config.prometheus.max_series
    )
    registry.register(collector)
    app.state.bodies = Bodies(service.config.limits.body_bytes)
    door = EventDoor(service)
    app.include_router(door.router())
    app.include_router(_answers(service))
    app.include_router(_answers_on_parts(service))
    app.include_router(_attention(service))
    app.include_router(feedback_routes(service))
    app.include_router(forgetting_routes(service))
    app.include_router(retraining_routes(service))
    app.include_router(system_routes(service))
    app.include_router(operations_routes(service, registry))
    app.include_router(pages(service.views, ServiceActs(service), system=lambda: system_of(service)))
    app.include_router(sign_in_routes(gate, sign_in_page))
    app.add_api_route("/api/openapi.json", lambda: json_answer(app.openapi()), name="openapi", include_in_schema=False)
    app.add_middleware(Compressed)
    app.add_middleware(ShortWay, door=door, ask=asked_at(gate), answer=_answer_error, known=_KNOWN)
    app.add_middleware(_PanicsAsErrors)
    app.add_middleware(HeadAsGet)
    return app


def create_small_app(service: Service, gate: Gate) -> FastAPI:
    """Build the application of a process that takes no requests but those of its operators."""
    app = _app(gate)
    registry = CollectorRegistry()
    registry.register(ProcessCollector(service))
    app.include_router(operations_routes(service, registry))
    app.add_middleware(_PanicsAsErrors)
    app.add_middleware(HeadAsGet)
    return app


def _app(gate: Gate) -> FastAPI:
    app = FastAPI(
        title="Driftline",
        version=importlib.metadata.version("driftline"),
        description="Monitoring of machine-learning models: events in, labels late, alerts out.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(asked_at(gate))],
        responses={"default": {"description": "What came, what is allowed and what to do.", "content": _ERROR}},
    )
    for kind in (*_KNOWN, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer_error)
    return app


# ---- answers --------------------------------------------------------------------------------------------------------


def _answers(service: Service) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["answers"])

    @router.get("/models", summary="The summaries of all models.")
    def models() -> Response:
        return json_answer({"models": service.views.models()})

    @router.get("/models/{model}", summary="The summary of one model.")
    def model(model: str) -> Response:
        return json_answer(service.views.model(model))

    @router.get("/models/{model}/windows", summary="Windows with measures, drift and verdicts, in order of time.")
    def windows(
        model: str,
        start: datetime | None = None,
        end: datetime | None = None,
        version: str | None = None,
        segment: str | None = None,
    ) -> Response:
        _require_zones(start=start, end=end)
        found = service.views.windows(model, start=start, end=end, version=version, segment=segment)
        return json_answer({"model": model, "windows": [_flat(one) for one in found]})

    @router.get("/models/{model}/alerts", summary="The alerts of a model, the newest window first.")
    def model_alerts(
        request: Request, model: str, status: _AlertStatus = None, limit: int = _ALERTS, before: str | None = _BEFORE
    ) -> Response:
        return _listed(request, service.views.alerts(model, status=status, limit=limit, before=before), limit)

    @router.get("/models/{model}/quarantine", summary="Rows that were set aside, newest first.")
    def quarantine(model: str, limit: int = Query(100, ge=1, le=_PAGE_LIMIT)) -> Response:
        service.views.model_config(model)
        return json_answer({"rows": service.inbox.quarantined(model, most=limit)})

    @router.get("/alerts", summary="The alerts of all models, the newest window first.")
    def alerts(
        request: Request, status: _AlertStatus = None, limit: int = _ALERTS, before: str | None = _BEFORE
    ) -> Response:
        return _listed(request, service.views.alerts(status=status, limit=limit, before=before), limit)

    @router.get("/alerts/{alert}", summary="One alert, as the list of alerts has it.")
    def alert(alert: str) -> Response:
        return json_answer(service.views.alert(alert))

    @router.get("/alerts/{alert}/explanation", summary="Where an alert's threshold came from, and its verdict again.")
    def explanation(alert: str) -> Response:
        return json_answer(service.views.explanation(alert))

    return router


def _answers_on_parts(service: Service) -> APIRouter:
    """Add the routes on the segments and on the features of a model."""
    router = APIRouter(prefix="/api/v1", tags=["answers"])

    @router.get(
        "/models/{model}/segments",
        summary="Which segments became worse than on the reference, and what each adds to the change of all rows.",
    )
    def segments(
        model: str,
        measure: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        windows: int = Query(1, ge=1, le=MOST_WINDOWS),
    ) -> Response:
        _require_zones(start=start, end=end)
        found = service.views.segments_changed(model, measure=measure, start=start, end=end, newest=windows)
        return json_answer(found)

    @router.get(
        "/models/{model}/features/{feature:path}",
        summary="A feature in a window against the reference, or another window; of all rows or of a segment.",
    )
    def feature(
        model: str,
        feature: str,
        window: datetime | None = None,
        against: datetime | None = None,
        segment: str | None = None,
    ) -> Response:
        _require_zones(window=window, against=against)
        found = service.views.feature(model, feature, window=window, against=against, segment=segment)
        return json_answer(feature_document(model, found))

    return router


def _require_zones(**moments: datetime | None) -> None:
    for name, moment in moments.items():
        if moment is not None and moment.tzinfo is None:
            raise UsageError(f"{name}={moment.isoformat()} came without a time zone; add one, such as 'Z' for UTC")


def _listed(request: Request, alerts: Sequence[AlertView], limit: int) -> Response:
    """Answer with a list of alerts; where there may be more, the header ``Link`` has the address of the next ones."""
    answer = json_answer({"alerts": alerts})
    if len(alerts) == limit:
        rest = [(name, value) for name, value in request.query_params.multi_items() if name != "before"]
        answer.headers["Link"] = f'<?{urlencode([*rest, ("before", alerts[-1].id)])}>; rel="next"'
    return answer


def _flat(window: Any) -> dict[str, Any]:
    said = {"verdicts": window.verdicts, "forgotten": window.forgotten, "events": window.events}
    return {**msgspec.to_builtins(window.summary), **said}


# ---- attention ------------------------------------------------------------------------------------------------------


def _attention(service: Service) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["attention"])

    @router.post(
        "/alerts/{alert}/ack",
        summary="Acknowledge a firing alert: it is not repeated any more.",
        openapi_extra=json_schema_of(AcknowledgeBody),
    )
    async def acknowledge_alert(alert: str, request: Request) -> Response:
        body = await said(request, AcknowledgeBody)
        await run_in_threadpool(acknowledge, service.state, alert, body, clock.now())
        return json_answer(await run_in_threadpool(service.views.alert, alert))

    @router.get("/silences", summary="The silences that have not ended; with all=true all of them, the newest first.")
    def silences(all: bool = False) -> Response:
        with service.state.read() as read:
            return json_answer({"silences": Outbox(read.connection).silences(after=None if all else clock.now())})

    @router.post(
        "/silences",
        status_code=201,
        summary="Silence some alerts for a while.",
        openapi_extra=json_schema_of(SilenceBody),
    )
    async def post_silence(request: Request) -> Response:
        body = await said(request, SilenceBody)
        row = await run_in_threadpool(add_silence, service.state, body, clock.now())
        service.wake()
        return json_answer(row, 201)

    @router.delete("/silences/{silence}", summary="End a silence now.")
    def delete_silence(silence: str, request: Request) -> Response:
        row = end_silence(service.state, silence, clock.now(), by=name_of(request, SOMEBODY))
        service.wake()
        return json_answer(row)

    return router


class _PanicsAsErrors:
    """Turns the panic of a library into an `Exception`: anything else is neither answered nor logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        with panics_as_errors():
            await self._app(scope, receive, send)


# ---- errors ---------------------------------------------------------------------------------------------------------

_STATUS: dict[type[Exception], int] = {
    EventError: 422,
    ClientDisconnect: 400,
    ConflictError: 409,
    UnauthorizedError: 401,
    UnsignedError: 403,
    ForbiddenError: 403,
    TooLargeError: 413,
    UnsupportedTypeError: 415,
    UnknownNameError: 404,
    DamagedError: 503,
    DataError: 400,
    RateLimitError: 429,
    UsageError: 400,
    QueueFullError: 429,
    StorageError: 503,
    sa.exc.SQLAlchemyError: 503,
}
_KNOWN = (*_STATUS, DriftlineError, HTTPException)


def _fault() -> str:
    request = f" at request {current_request()}" if current_request() else ""
    return f"this is a fault of Driftline's own; its log says more{request}. Please report it"


async def _answer_error(request: Request, error: Exception) -> Response:
    """Answer with what came, what is allowed and what to do: ``{"error": {"type", "message", "rows"}}``, or a page."""
    kind, message = type(error).__name__, str(error)
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        status, message = error.status_code, str(error.detail)
        headers |= error.headers or {}
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        status, message = 400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    else:
        status = next((status for known, status in _STATUS.items() if isinstance(error, known)), 500)
    if isinstance(error, sa.exc.SQLAlchemyError):
        kind, message = StorageError.__name__, f"{in_words(error)}; try again later"
    if status == 500:
        kind, message = "InternalError", _fault()
    body: dict[str, Any] = {"type": kind, "message": visible(message)}
    if isinstance(error, EventError):
        body["rows"] = error.rows[:_ROWS_SHOWN]
        body["refused"] = len(error.rows)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(error.wait_seconds if isinstance(error, RateLimitError) else 1)
    if status >= 400 and _is_of_a_page(request):
        reason = f"Nothing is at {request.url.path}" if kind == "HTTPException" and status == 404 else message
        page = error_page(request, status=status, reason=visible(reason))
        page.headers.update(headers)
        return page
    return Response(msgspec.json.encode({"error": body}), status, media_type="application/json", headers=headers)


def _is_of_a_page(request: Request) -> bool:
    """Return whether a browser asks for a page, or sends a form of one."""
    path = request.url.path.removeprefix(base_of(request))
    return "text/html" in request.headers.get("accept", "") and not path.startswith("/api/v1/")
