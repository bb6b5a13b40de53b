"""Route predictions and labels into the log. Bodies are read raw and checked by `driftline.events`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import anyio
from fastapi import APIRouter, Request, Response

from driftline import clock
from driftline.client.ids import new_id
from driftline.errors import EventError, UsageError
from driftline.events import event_schemas
from driftline.events.names import name_problem
from driftline.monitoring.accept import Batch, Kind, accept, count_refused, require_room
from driftline.monitoring.admission import Admission
from driftline.net.limits import QueueFullError
from driftline.profiles.frame import SCORE
from driftline.service.runtime import Service
from driftline.web.access import charge
from driftline.web.arrow_rows import as_events
from driftline.web.decode import Bodies, json_answer
from driftline.web.requests import ARROW, JSON, NDJSON, rows_of

_LARGE_BODY_BYTES = 64 * 1024
_SMALL_AT_A_TIME, _LARGE_AT_A_TIME, _MOST_WAITING = 8, 1, 64


class _Doors:
    """Limits how many batches are decoded at a time: small ones do not wait behind a large one, and memory is bounded.

    Batches have threads of their own, so that reading never waits behind a database that cannot be written.
    """

    def __init__(self) -> None:
        self._small, self._large = anyio.CapacityLimiter(_SMALL_AT_A_TIME), anyio.CapacityLimiter(_LARGE_AT_A_TIME)

    async def through(self, size: int, work: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """Run the work in a thread; raises `QueueFullError` if too many requests wait for one."""
        door = self._large if size > _LARGE_BODY_BYTES else self._small
        if door.statistics().tasks_waiting >= _MOST_WAITING:
            raise QueueFullError(f"{_MOST_WAITING} requests wait to be taken; try again later")
        return await anyio.to_thread.run_sync(work, limiter=door)


def event_routes(service: Service) -> APIRouter:
    """Return the routes on a service."""
    router = APIRouter(prefix="/api/v1/models/{model}", tags=["events"])
    doors = _Doors()
    admissions = {name: _admission(service, name) for name in service.models}

    def route(kind: Kind) -> Callable[..., Awaitable[Response]]:
        async def post(model: str, request: Request, on_error: Literal["refuse", "quarantine"] = "refuse") -> Response:
            service.views.model_config(model)
            content_type, key = request.headers.get("content-type", ""), _key(request)
            bodies: Bodies = request.app.state.bodies

            async with bodies.hold(request) as body:
                came = _Request(kind, body, content_type, key, quarantine=on_error == "quarantine")
                take = functools.partial(_accept, service, admissions[model], model, came)
                accepted, set_aside = await doors.through(len(body), take)
            charge(request, accepted + set_aside)
            service.wake()
            return json_answer({"accepted": accepted} | ({"quarantined": set_aside} if set_aside else {}), 202)

        return post

    schemas = event_schemas()
    for kind in ("predictions", "labels"):
        router.add_api_route(
            f"/{kind}",
            route(kind),
            methods=["POST"],
            status_code=202,
            summary=f"Take {kind}; 202 only after they are durable.",
            name=f"post_{kind}",
            openapi_extra=_request_body(schemas[kind]),
        )
    return router


@dataclass(frozen=True, slots=True)
class _Request:
    """One request as it was received."""

    kind: Kind
    body: bytes
    content_type: str
    key: str | None
    quarantine: bool


def _admission(service: Service, model: str) -> Admission:
    one = service.models[model]
    scored = [name.removeprefix(SCORE) for name in one.log.prediction_columns() if name.startswith(SCORE)]
    with service.state.read() as read:
        versions = read.counters.versions(model)
    return Admission(one.schema, scored, versions)


def _key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    problem = "came more than once" if len(keys) > 1 else "is empty" if not keys[0] else name_problem(keys[0])
    if problem:
        raise UsageError(f"Idempotency-Key {problem}")
    return keys[0]


def _request_body(row: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of a body: it is read raw, so that FastAPI does not know it."""
    rows = {"type": "array", "items": row}
    content = {
        JSON: {"schema": rows},
        NDJSON: {"schema": row},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
    }
    return {"requestBody": {"required": True, "content": content}}


def _accept(service: Service, admission: Admission, model: str, request: _Request) -> tuple[int, int]:
    """Decode a body, check its rows and store them; return how many were accepted and how many set aside."""
    require_room(service.inbox, model)
    arrived = clock.now()
    try:
        columns = service.config.models[model].columns
        name = functools.partial(as_events, kind=request.kind, columns=columns)
        rows = rows_of(request.body, request.content_type, service.config.limits, name)
    except EventError as error:
        count_refused(service.inbox, model, request.kind, error)
        raise
    batch = Batch(request.kind, rows, request.body, request.key, request.quarantine)
    return accept(service.models[model], service.inbox, admission, batch, arrived, _id_of(arrived))


def _id_of(arrived: datetime) -> Callable[[], str]:
    moment_ns = int(arrived.timestamp() * 1e6) * 1000
    return lambda: new_id(moment_ns)
