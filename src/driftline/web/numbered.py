"""Give each request an id, which stands in its answer and in every line of the log that is about it."""

from __future__ import annotations

import logging
import random

from driftline import clock
from driftline.logs import FACTS, REQUESTS, begin_request, request_id
from driftline.net.hosts import App, Receive, Scope, Send

HEADER = b"x-request-id"
_OF_ROBOTS = frozenset({"/health", "/ready", "/metrics"})
_LOG = logging.getLogger(REQUESTS)


def numbered(app: App) -> App:
    """Return an ASGI application whose requests have ids, and a line of the log each.

    The line is of level *info*, and of *debug* where a robot asks every few seconds and all is well.
    """
    bits = random.Random().getrandbits  # without asking the system each time

    async def ask(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == HEADER]
        id, began, status = request_id(given, bits), clock.monotonic_seconds(), 500
        begin_request(id)
        state = scope.setdefault("state", {})

        async def answer(message: Scope) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, id.encode())]
            await send(message)

        try:
            await app(scope, receive, answer)
        finally:
            level = logging.DEBUG if scope["path"] in _OF_ROBOTS and status < 400 else logging.INFO
            if _LOG.isEnabledFor(level):
                caller = state.get("caller")
                facts = {
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "milliseconds": round(1000 * (clock.monotonic_seconds() - began), 1),
                    "by": "" if caller is None else caller.name,
                }
                _LOG.log(level, "%s %s %d", scope["method"], scope["path"], status, extra={FACTS: facts})

    return ask
