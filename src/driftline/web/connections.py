"""Limit how long a connection may take to send its head and body, and to receive its answer.

uvicorn waits forever for a request that has begun, and for a client that does not read. `BoundedProtocol` records for
each connection what it waits for and since when; `BoundedServer` checks all connections a few times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

import msgspec
import uvicorn

from driftline.access.options import TlsFiles
from driftline.net.limits import Limits
from driftline.text.durations import length
from driftline.web.http1 import BadRequestError, Http1Protocol

GRACE_SECONDS = 5
"""How long requests that are being answered have after SIGTERM; those that are still being sent have less."""

HALF_SENT_GRACE_SECONDS = 1.0
_BACKLOG = 128
_LOOK_EVERY_TICKS = 3  # a tick is a tenth of a second
_RETRY_AFTER_SECONDS = 1

Phase = Literal["head", "body", "answering", "taking", "resting"]
"""What a connection waits for: a request, its body, our answer, the client to receive it, or the next request."""


class BoundedProtocol(Http1Protocol):
    """The HTTP/1.1 protocol, which records what it waits for. ``limits`` are set by `bounded`."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; where there are too many, end the one that has waited longest for its client."""
        super().connection_made(transport)
        self.phase: Phase = "head"
        self.since = self.loop.time()
        if len(self.connections) > self.limits.connections:
            others = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
            slow = [one for one in others if one.may_be_ended(self.since)]
            if slow:
                min(slow, key=lambda one: (one.phase == "body", one.since)).drop()
            else:
                most = self.limits.connections
                self.answer_at_once(503, f"{most} connections are open, which is the most")

    def may_be_ended(self, now: float) -> bool:
        """Tell whether there is no request to answer yet; a body is not cut off within the time for a head."""
        if self.transport.is_closing():
            return False
        late = now - self.since > self.limits.header_time.total_seconds()
        return self.phase in ("head", "resting") or (self.phase == "body" and late)

    def data_received(self, data: bytes) -> None:
        """Receive bytes, and record what is waited for now."""
        super().data_received(data)
        self.look()

    def on_response_complete(self) -> None:
        """Record what is waited for now."""
        super().on_response_complete()
        self.look()

    def look(self) -> None:
        """Record what is waited for, and since when."""
        phase = self._phase()
        if phase != self.phase:
            self.phase, self.since = phase, self.loop.time()

    def _phase(self) -> Phase:
        answered = self.answered
        if self.transport.is_closing() or (answered and self.transport.get_write_buffer_size()):
            return "taking"
        if self.coming == "body" and not self.pipeline:
            return "body"
        if answered:
            return "resting" if self.resting else "head"
        return "answering" if not self.transport.get_write_buffer_size() else "taking"

    def end_if_overdue(self, now: float) -> None:
        """End the connection if it has waited longer than its limit."""
        self.look()
        waited = now - self.since
        if self.phase == "head" and waited > self.limits.header_time.total_seconds():
            self.answer_at_once(408, f"no request came within {length(self.limits.header_time)}")
        elif self.phase == "body" and waited > self.limits.body_time.total_seconds():
            self.answer_at_once(408, f"the body did not come within {length(self.limits.body_time)}")
        elif self.phase == "taking" and waited > self.limits.body_time.total_seconds():
            self.transport.abort()
        elif self.phase == "resting" and waited > self.timeout_keep_alive:
            self.drop()

    def answer_at_once(self, status: int, message: str) -> None:
        """Answer with the reason, unless an answer has begun, and end the connection."""
        if self.unspoken:
            self.transport.write(_plain_answer(status, message))
        self.phase, self.since = "taking", self.loop.time()
        self.drop()

    def drop(self) -> None:
        """Close the connection; what was written is still sent."""
        self.transport.close()
        self.look()

    def refuse(self, why: BadRequestError) -> None:
        """Answer that what came is not a request that is taken."""
        self.answer_at_once(why.status, str(why))

    def shutdown(self) -> None:
        """Close if no request is in progress; one still being sent gets a moment more, and is never acknowledged."""
        super().shutdown()
        if self.phase in ("head", "body"):
            self.loop.call_later(HALF_SENT_GRACE_SECONDS, self._end_half_sent)

    def _end_half_sent(self) -> None:
        self.look()
        if self.phase in ("head", "body"):
            self.answer_at_once(503, "the server is being stopped")


def _plain_answer(status: int, message: str) -> bytes:
    """Return a whole answer as bytes, for a connection that is ended without the application."""
    kind = {408: "RequestTimeoutError", 503: "UnavailableError"}.get(status, "BadRequestError")
    body = msgspec.json.encode({"error": {"type": kind, "message": message}})
    later = f"Retry-After: {_RETRY_AFTER_SECONDS}\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{later}Connection: close\r\n\r\n"
    )
    return head.encode() + body


class BoundedServer(uvicorn.Server):
    """uvicorn's server, which ends overdue connections, and leaves signals to its owner."""

    def __init__(self, app: Any, limits: Limits, tls: TlsFiles | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded(limits),
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                backlog=_BACKLOG,
                timeout_graceful_shutdown=GRACE_SECONDS,
                server_header=False,
                proxy_headers=False,  # who asks is who has connected: `auth.proxy` counts from its address only
                ssl_certfile=None if tls is None else tls.certificate,
                ssl_keyfile=None if tls is None else str(tls.key),
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Check all connections a few times a second."""
        if counter % _LOOK_EVERY_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for one in list(self.server_state.connections):
                if isinstance(one, BoundedProtocol):
                    one.end_if_overdue(now)
        return await super().on_tick(counter)


def bounded(limits: Limits) -> type[BoundedProtocol]:
    """Return the protocol with these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
