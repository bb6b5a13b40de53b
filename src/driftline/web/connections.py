"""Connections that cannot hold the service up: each has so long for its head, its body and for taking its answer.

uvicorn waits for ever for a request that has begun, and for a client that does not read. `BoundedProtocol` keeps, for
each connection, what it waits for and since when; `BoundedServer` looks at all of them a few times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from driftline.net.limits import Limits
from driftline.text.durations import length

GRACE_SECONDS = 5
"""How long requests that are being answered have after SIGTERM; those that are still being sent have less."""

HALF_SENT_GRACE_SECONDS = 1.0
_BACKLOG = 128
_LOOK_EVERY_TICKS = 3  # of a tenth of a second
_RETRY_AFTER_SECONDS = 1

Phase = Literal["head", "body", "answering", "taking", "resting"]
"""What a connection waits for: a request, its body, our answer, the client to take that, or the next request."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 by h11, as uvicorn has it, that knows what it waits for. ``limits`` are set by `bounded`."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are too many, end the one that has waited longest for its client."""
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
                self.answer_at_once(503, f"{most} connections are open, which is the most", self.since)

    def may_be_ended(self, now: float) -> bool:
        """Whether its client has sent nothing to answer yet; a body has the time of a head to come in peace."""
        if self.transport.is_closing():
            return False
        late = now - self.since > self.limits.header_time.total_seconds()
        return self.phase in ("head", "resting") or (self.phase == "body" and late)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see what is waited for now."""
        super().data_received(data)
        self.look()

    def on_response_complete(self) -> None:
        """See what is waited for now."""
        super().on_response_complete()
        self.look()

    def look(self) -> None:
        """See what is waited for, and since when."""
        phase = self._phase()
        if phase != self.phase:
            self.phase, self.since = phase, self.loop.time()

    def _phase(self) -> Phase:
        cycle = self._current()
        answered = cycle is None or cycle.response_complete
        if self.transport.is_closing() or (answered and self.transport.get_write_buffer_size()):
            return "taking"
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        if self.conn.their_state is h11.IDLE:
            return "head" if self.timeout_keep_alive_task is None else "resting"
        return "answering" if not self.transport.get_write_buffer_size() else "taking"

    def _current(self) -> RequestResponseCycle | None:
        """The request at hand; uvicorn does not say that there is none before the first."""
        return self.cycle

    def end_if_overdue(self, now: float) -> None:
        """End the connection if what it waits for has not come in time."""
        self.look()
        waited = now - self.since
        if self.phase == "head" and waited > self.limits.header_time.total_seconds():
            self.answer_at_once(408, f"no request came within {length(self.limits.header_time)}", now)
        elif self.phase == "body" and waited > self.limits.body_time.total_seconds():
            self.answer_at_once(408, f"the body did not come within {length(self.limits.body_time)}", now)
        elif self.phase == "taking" and waited > self.limits.body_time.total_seconds():
            self.transport.abort()

    def answer_at_once(self, status: int, message: str, now: float) -> None:
        """Say why, if nothing was said yet, and end."""
        cycle = self._current()
        said = cycle is not None and cycle.response_started and not cycle.response_complete
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not said:
            self.transport.write(_plain_answer(status, message))
        self.phase, self.since = "taking", now
        self.drop()

    def drop(self) -> None:
        """End the connection; what was written is still sent."""
        self.transport.close()
        self.look()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP; by uvicorn's own way it would be a fault in the midst of an answer."""
        self.answer_at_once(400, "what came is not an HTTP/1.1 request", self.loop.time())

    def shutdown(self) -> None:
        """End if nothing is under way; a request that is still being sent has a moment, and is never acknowledged."""
        super().shutdown()
        if self.phase in ("head", "body"):
            self.loop.call_later(HALF_SENT_GRACE_SECONDS, self._end_half_sent)

    def _end_half_sent(self) -> None:
        self.look()
        if self.phase in ("head", "body"):
            self.answer_at_once(503, "the server is being stopped", self.loop.time())


def _plain_answer(status: int, message: str) -> bytes:
    """A whole answer, for when no application is asked."""
    kind = {400: "BadRequestError", 408: "RequestTimeoutError"}.get(status, "UnavailableError")
    body = msgspec.json.encode({"error": {"type": kind, "message": message}})
    later = f"Retry-After: {_RETRY_AFTER_SECONDS}\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{later}Connection: close\r\n\r\n"
    )
    return head.encode() + body


_PHRASES = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


class BoundedServer(uvicorn.Server):
    """uvicorn that ends overdue connections, and leaves signals to its owner: its own way ends the process by them."""

    def __init__(self, app: Any, limits: Limits) -> None:
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
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Look at all connections a few times a second."""
        if counter % _LOOK_EVERY_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for one in list(self.server_state.connections):
                if isinstance(one, BoundedProtocol):
                    one.end_if_overdue(now)
        return await super().on_tick(counter)


def bounded(limits: Limits) -> type[BoundedProtocol]:
    """The protocol with limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
