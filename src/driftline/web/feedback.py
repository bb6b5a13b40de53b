"""Route the feedback of people on a model's windows and alarms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from driftline import clock
from driftline.alerts.feedback import AcceptBody, FeedbackBody, accept, say
from driftline.web.access import said
from driftline.web.decode import json_answer, json_schema_of

if TYPE_CHECKING:
    from driftline.service.runtime import Service

_Body = TypeVar("_Body", bound=msgspec.Struct)


def feedback_routes(service: Service) -> APIRouter:
    """Return the routes on a service."""
    router = APIRouter(prefix="/api/v1", tags=["attention"])

    async def posted(model: str, request: Request, kind: type[_Body], act: Callable[..., object]) -> Response:
        config = service.views.model_config(model)
        body = await said(request, kind)
        found = await run_in_threadpool(act, service.state, config, body, clock.now())
        service.wake()
        return json_answer(found, 201)

    @router.post(
        "/models/{model}/accept",
        status_code=201,
        summary="Accept all windows since a moment as the new normal; the detector's alert ends.",
        openapi_extra=json_schema_of(AcceptBody),
    )
    async def post_accept(model: str, request: Request) -> Response:
        return await posted(model, request, AcceptBody, accept)

    @router.post(
        "/models/{model}/feedback",
        status_code=201,
        summary="Say that an alert was expected or missed, leave an incident out, or ignore a column.",
        openapi_extra=json_schema_of(FeedbackBody),
    )
    async def post_feedback(model: str, request: Request) -> Response:
        return await posted(model, request, FeedbackBody, say)

    @router.get("/models/{model}/feedback", summary="The feedback of people on a model, the oldest first.")
    def feedback(model: str) -> Response:
        service.views.model_config(model)
        with service.state.read() as read:
            return json_answer({"feedback": read.feedback.of(model)})

    return router
