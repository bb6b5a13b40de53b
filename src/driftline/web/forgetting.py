"""Route requests to forget rows of a model, and holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from driftline import clock
from driftline.alerts.attention import SOMEBODY
from driftline.monitoring.forgetting import ForgetBody, HoldBody, ask_to_forget, hold, release, view_of
from driftline.web.access import name_of, said
from driftline.web.decode import json_answer, json_schema_of

if TYPE_CHECKING:
    from driftline.service.runtime import Service


def forgetting_routes(service: Service) -> APIRouter:
    """Return the routes on a service."""
    router = APIRouter(prefix="/api/v1/models/{model}", tags=["retention"])

    @router.post(
        "/forget",
        status_code=202,
        summary="Erase the rows with these ids; it is done within moments, and `forgettings` says when.",
        openapi_extra=json_schema_of(ForgetBody),
    )
    async def post_forget(model: str, request: Request) -> Response:
        config, body = service.views.model_config(model), await said(request, ForgetBody)
        found = await run_in_threadpool(ask_to_forget, service.state, config, body, clock.now())
        service.wake()
        return json_answer(found, 202)

    @router.get("/forgettings", summary="The newest requests to forget rows, newest first, without the ids.")
    def forgettings(model: str) -> Response:
        service.views.model_config(model)
        with service.state.read() as read:
            return json_answer({"forgettings": [view_of(one) for one in read.forgettings.of(model)]})

    @router.post(
        "/hold",
        status_code=201,
        summary="Have nothing of a model deleted: neither what is old, nor what is to be forgotten.",
        openapi_extra=json_schema_of(HoldBody),
    )
    async def post_hold(model: str, request: Request) -> Response:
        service.views.model_config(model)
        body = await said(request, HoldBody)
        return json_answer(await run_in_threadpool(hold, service.state, model, body, clock.now()), 201)

    @router.delete("/hold", summary="Release the hold on a model.")
    def delete_hold(model: str, request: Request) -> Response:
        service.views.model_config(model)
        return json_answer(release(service.state, model, name_of(request, SOMEBODY), clock.now()))

    return router
