"""Route the requests of retraining: request, list, approve, refuse, roll back, and which version is champion."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from driftline import clock
from driftline.alerts.attention import SOMEBODY
from driftline.errors import UnknownNameError
from driftline.reports.contest_html import contest_html
from driftline.reports.model_card import html
from driftline.retrain.cards import model_card
from driftline.retrain.request import Stage
from driftline.retrain.requests import (
    AskBody,
    ShadowBody,
    ask_by_person,
    ask_for_shadow,
    cancel_by_person,
    decide_by_person,
)
from driftline.retrain.runners.runner import Report
from driftline.retrain.views import champion_view, decode_contest, request_view, requests_view
from driftline.web.access import name_of, said
from driftline.web.decode import json_answer, json_of, json_schema_of

if TYPE_CHECKING:
    from driftline.service.runtime import Service

_PAGE_LIMIT = 1000


def retraining_routes(service: Service) -> APIRouter:
    """Return the routes on a service."""
    router = APIRouter(prefix="/api/v1", tags=["retraining"])
    _add_answers(router, service)
    asked = json_schema_of(AskBody)

    @router.post("/models/{model}/retrain", status_code=202, summary="Request a challenger.", openapi_extra=asked)
    async def retrain(model: str, request: Request) -> Response:
        service.views.model_config(model)
        # Without a body it is "somebody asks": but no page of another site may do so, and those name their origin.
        nothing = request.headers.get("content-length", "0") == "0" and "origin" not in request.headers
        body = AskBody(name_of(request, SOMEBODY), "asked over HTTP") if nothing else await said(request, AskBody)
        row = await run_in_threadpool(
            ask_by_person, service.state, service.models[model], service.config.retrain.get(model), body, clock.now()
        )
        return json_answer(await run_in_threadpool(request_view, service.state, row.id), 202)

    @router.post(
        "/models/{model}/shadow-contest",
        status_code=202,
        summary="Request the contest of a version that has run as a shadow beside the champion.",
        openapi_extra=json_schema_of(ShadowBody),
    )
    async def shadow_contest(model: str, request: Request) -> Response:
        service.views.model_config(model)
        body = await said(request, ShadowBody)
        row = await run_in_threadpool(
            ask_for_shadow, service.state, service.models[model], service.config.retrain.get(model), body, clock.now()
        )
        return json_answer(await run_in_threadpool(request_view, service.state, row.id), 202)

    def decide(stage: Stage, summary: str, name: str) -> None:
        @router.post(f"/retraining/{{id}}/{name}", summary=summary, name=name, openapi_extra=asked)
        async def post(id: str, request: Request) -> Response:
            body = await said(request, AskBody)
            await run_in_threadpool(
                decide_by_person, service.config.retrain, service.state, id, stage, body, clock.now()
            )
            return json_answer(await run_in_threadpool(request_view, service.state, id))

    decide(Stage.PROMOTING, "Approve a challenger that has won: it becomes champion.", "approve")
    decide(Stage.REFUSED, "Refuse a challenger that has won.", "refuse")

    @router.post(
        "/retraining/{id}/cancel",
        summary="Cancel a request before its contest: it counts as failed, and its run here is ended.",
        openapi_extra=asked,
    )
    async def cancel(id: str, request: Request) -> Response:
        body = await said(request, AskBody)
        await run_in_threadpool(cancel_by_person, service.state, service.loop.folder, id, body, clock.now())
        return json_answer(await run_in_threadpool(request_view, service.state, id))

    @router.post(
        "/retraining/{id}/result",
        status_code=202,
        summary="Report the result of an external run: its challenger and the evidence, or why there is none.",
        openapi_extra=json_schema_of(Report),
    )
    async def result(id: str, request: Request) -> Response:
        body = await json_of(request, most_bytes=None)
        await run_in_threadpool(service.loop.take_report, id, body, request.headers, clock.now())
        return json_answer(await run_in_threadpool(request_view, service.state, id), 202)

    @router.post(
        "/models/{model}/rollback",
        summary="Roll back to the previous champion while the current one is on probation.",
        openapi_extra=asked,
    )
    async def rollback(model: str, request: Request) -> Response:
        service.views.model_config(model)
        body = await said(request, AskBody)
        row = await run_in_threadpool(service.loop.roll_back, model, body.by, body.reason, clock.now())
        return json_answer(await run_in_threadpool(request_view, service.state, row.id))

    return router


def _add_answers(router: APIRouter, service: Service) -> None:
    @router.get("/models/{model}/retraining", summary="The requests for challengers of a model, the newest first.")
    def requests(model: str, limit: int = Query(100, ge=1, le=_PAGE_LIMIT)) -> Response:
        service.views.model_config(model)
        return json_answer(
            requests_view(service.state, service.models[model], service.config.retrain.get(model), most=limit)
        )

    @router.get("/retraining/{id}", summary="A request for a challenger: its steps, its contest, its outcome.")
    def one(id: str) -> Response:
        return json_answer(request_view(service.state, id))

    @router.get("/retraining/{id}/report", summary="The contest of a request, as a page.", response_class=HTMLResponse)
    def report(id: str) -> Response:
        found = decode_contest(request_view(service.state, id).contest)
        if found is None:
            raise UnknownNameError("contest of request", id, ())
        return Response(contest_html(found), media_type="text/html; charset=utf-8")

    @router.get(
        "/models/{model}/card",
        summary="The model card of a version, by default of the champion, as a page.",
        response_class=HTMLResponse,
    )
    def card(model: str, version: str | None = None) -> Response:
        service.views.model_config(model)
        found = model_card(
            model,
            version,
            service.tasks[model],
            service.state,
            service.loop.registry,
            service.config.models[model].window.timezone,
        )
        return Response(html(found), media_type="text/html; charset=utf-8")

    @router.get(
        "/models/{model}/champion",
        summary="The version that is champion. With its ETag as If-None-Match: 304 until it changes.",
    )
    def champion(model: str, request: Request) -> Response:
        service.views.model_config(model)
        found = champion_view(service.loop, model)
        tag = f'"{hashlib.sha256(msgspec.json.encode(found)).hexdigest()[:16]}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"ETag": tag})
        return json_answer(found, headers={"ETag": tag, "Cache-Control": "no-cache"})
