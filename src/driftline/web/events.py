"""Route predictions and labels into the inbox. Bodies are read raw and checked by `driftline.events`."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from driftline import clock
from driftline.errors import EventError, UsageError
from driftline.events import event_schemas
from driftline.events.names import name_problem
from driftline.monitoring.accept import Kind, refusal, require_room
from driftline.net.limits import TooLargeError
from driftline.service.runtime import Service
from driftline.store.deliveries import Delivery
from driftline.store.sealed import KINDS
from driftline.web.access import charge
from driftline.web.decode import Bodies, json_answer
from driftline.web.desk import Desk, Incoming
from driftline.web.doors import Doors, Size
from driftline.web.intake import Intake
from driftline.web.packed import IDENTITY, coding_of
from driftline.web.requests import ARROW, FRAMES, JSON, NDJSON, PARQUET, format_of

OnError = Literal["refuse", "quarantine"]

_PATH = re.compile(r"/api/v1/models/(?P<model>[^/]+)/(?P<kind>predictions|labels)")
_ON_ERROR: dict[bytes, OnError] = {
    b"": "refuse",
    b"on_error=refuse": "refuse",
    b"on_error=quarantine": "quarantine",
}


class _Counter:
    """Takes requests of all models: checks them, and has them stored."""

    def __init__(self, service: Service) -> None:
        self._limits = service.config.limits
        self._doors, self._intake = Doors(), Intake(service.inbox)
        self._desks = {name: Desk(service, name) for name in service.models}

    async def take(self, model: str, came: Incoming) -> tuple[int, int]:
        """Return how many rows were accepted, once they are on the disk, and how many set aside.

        Raises `EventError` with every bad row, which is counted.
        """
        require_room(model, await self._intake.waiting_events(model))
        try:
            return await self._taken(self._desks[model], came)
        except EventError as error:
            await self._intake.put(refusal(model, came.kind, clock.now(), error))
            raise

    async def _taken(self, desk: Desk, came: Incoming) -> tuple[int, int]:
        tried = came.coding == IDENTITY and len(came.body) <= self._doors.small_bytes and came.format not in FRAMES
        if tried and (delivery := desk.quickly(came)) is not None:  # at once: it takes less than to wait for a thread
            return await self._stored(delivery)
        for door in self._doors.for_body(len(came.body)):
            async with door.open():
                delivery = await self._doors.run(functools.partial(_fitting, desk, came, door.size, tried=tried))
                if delivery is not None:
                    return await self._stored(delivery)
        raise AssertionError("the last door takes whatever is allowed")

    async def _stored(self, delivery: Delivery) -> tuple[int, int]:
        return await self._intake.put(delivery), len(delivery.refused)


def _fitting(desk: Desk, came: Incoming, size: Size | None, *, tried: bool) -> Delivery | None:
    """Check a batch; None where it is larger than what fits through its door."""
    try:
        return desk.check(came, size, by_row=tried)
    except TooLargeError:
        if size is None:
            raise
        return None


class EventDoor:
    """The two routes on a service: as routes of the application, and as the short way to them."""

    def __init__(self, service: Service) -> None:
        self._service, self._counter = service, _Counter(service)

    async def post(self, kind: Kind, model: str, request: Request, on_error: OnError) -> Response:
        """Answer a request for a model: 202 once its events are on the disk."""
        self._service.views.model_config(model)
        key = _key(request)
        bodies: Bodies = request.app.state.bodies
        format = format_of(request.headers.get("content-type", ""))
        coding = coding_of(request.headers.get("content-encoding", ""))
        async with bodies.hold(request, packed=True) as body:
            came = Incoming(kind, body, format, key, on_error == "quarantine", coding)
            try:
                with self._service.senders.one():
                    accepted, set_aside = await self._counter.take(model, came)
            except EventError as error:
                charge(request, len(error.rows))
                raise
        charge(request, accepted + set_aside)
        self._service.wake()
        return json_answer({"accepted": accepted} | ({"quarantined": set_aside} if set_aside else {}), 202)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/v1/models/{model}", tags=["events"])
        schemas = event_schemas()

        def route(kind: Kind) -> Callable[..., Awaitable[Response]]:
            async def post(model: str, request: Request, on_error: OnError = "refuse") -> Response:
                return await self.post(kind, model, request, on_error)

            return post

        for kind in KINDS:
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


class _Route(NamedTuple):
    """What is asked about a route: its name, and its tags."""

    name: str
    tags: Sequence[str] = ("events",)


class ShortWay:
    """Takes events before the application looks for a route: that costs more than to take one event.

    What is asked in any other way than senders do it goes the usual way. Who asks is known by ``ask``, and errors of
    the types ``known`` are answered by ``answer``, as on the usual way.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: EventDoor,
        ask: Callable[[Request, object], Awaitable[None]],
        answer: Callable[[Request, Exception], Awaitable[Response]],
        known: tuple[type[Exception], ...],
    ) -> None:
        self._app, self._door, self._ask, self._answer, self._known = app, door, ask, answer, known
        self._routes = {kind: _Route(f"post_{kind}") for kind in KINDS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        on_error = _ON_ERROR.get(scope.get("query_string", b""))
        if found is None or on_error is None or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        kind: Kind = "labels" if found["kind"] == "labels" else "predictions"
        scope["route"], scope["path_params"] = self._routes[kind], {"model": found["model"]}
        request = Request(scope, receive)
        try:
            await self._ask(request, None)
            answer = await self._door.post(kind, found["model"], request, on_error)
        except self._known as error:
            answer = await self._answer(request, error)
        await answer(scope, receive, send)


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
    rows, binary = {"type": "array", "items": row}, {"schema": {"type": "string", "format": "binary"}}
    content = {JSON: {"schema": rows}, NDJSON: {"schema": row}, ARROW: binary, PARQUET: binary}
    return {"requestBody": {"required": True, "content": content}}
