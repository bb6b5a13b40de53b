"""An ASGI middleware that logs what an application predicts, from its requests and responses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from driftline.client.ids import new_id, now_ns
from driftline.client.monitor import Monitor
from driftline.errors import UsageError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ID_HEADER = b"driftline-prediction-id"
FLUSH_SECONDS = 5.0

_TOO_LARGE, _NO_JSON, _NO_PAIRS = "body too large", "body is no JSON", "features and results do not pair"


def _whole(body: Any) -> Any:
    return body


class PredictionMiddleware:
    """Logs each answer to a POST on one of the ``paths`` as a prediction, or as one for each item of a list.

    ``features`` and ``result`` pick from the decoded JSON of the request and of the response: the mapping of features,
    and the prediction or a mapping with ``prediction`` as for `Monitor.watch`, or lists of those; by default, the whole
    bodies. The response gets the header ``driftline-prediction-id``, by which a label finds the prediction, unless the
    application gives it one; predictions of a list have that id with ``-0``, ``-1``, … behind it. Only answers of the
    status 2xx are logged. Bodies of more than ``most_bytes``, and those that are no JSON, are dropped and counted by
    the monitor. The application runs as it does without: no problem here reaches it. Raises `UsageError` for paths that
    do not begin with a slash.
    """

    def __init__(
        self,
        app: App,
        monitor: Monitor,
        paths: Collection[str] = ("/predict",),
        *,
        features: Callable[[Any], Any] = _whole,
        result: Callable[[Any], Any] = _whole,
        most_bytes: int = 2**20,
    ) -> None:
        if isinstance(paths, str) or not all(str(one).startswith("/") for one in paths):
            raise UsageError(f"paths {paths!r} came; allowed is a list of paths, such as ['/predict']")
        self._app, self._monitor, self._paths = app, monitor, frozenset(paths)
        self._features, self._result, self._most_bytes = features, result, most_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, self._flushing(receive), send)
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._paths:
            await self._logged(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _flushing(self, receive: Receive) -> Receive:
        async def flushing() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, self._monitor.flush, FLUSH_SECONDS)
            return message

        return flushing

    async def _logged(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        exchange = _Exchange(self._most_bytes)

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                exchange.came.add(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.start = message  # until the body says whether it has an id
                return
            if message["type"] == "http.response.body":
                exchange.went.add(message.get("body", b""))
            if exchange.start is not None:
                start, exchange.start = exchange.start, None
                exchange.status = start["status"]
                await send(self._with_id(start, exchange, whole=not message.get("more_body", False)))
            await send(message)

        await self._app(scope, receiving, sending)
        if 200 <= exchange.status < 300:
            self._log(exchange)

    def _with_id(self, start: Message, exchange: _Exchange, *, whole: bool) -> Message:
        """Return the beginning of a response with the prediction's id, which may be in the response."""
        headers = list(start.get("headers", ()))
        for name, value in headers:
            if bytes(name).lower() == ID_HEADER:
                exchange.id = bytes(value).decode("latin-1")
                return start
        if not 200 <= exchange.status < 300:
            return start
        if whole:
            with suppress(Exception):  # it is said when it is logged
                result = self._result(msgspec.json.decode(bytes(exchange.went.data or b"")))
                if isinstance(result, Mapping) and "prediction" in result and isinstance(result.get("id"), (str, int)):
                    exchange.id = str(result["id"])
        if not (exchange.id.isascii() and exchange.id.isprintable()):
            return start
        return {**start, "headers": [*headers, (ID_HEADER, exchange.id.encode())]}

    def _log(self, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.began
        if exchange.came.data is None or exchange.went.data is None:
            self._monitor.drop(_TOO_LARGE)
            return
        try:
            request, response = (msgspec.json.decode(bytes(one.data or b"")) for one in (exchange.came, exchange.went))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._monitor.drop(_NO_JSON)
            return
        try:
            features, results = self._features(request), self._result(response)
        except Exception as error:  # noqa: BLE001 - of the user's functions, for bodies that they did not expect
            self._monitor.drop(f"body cannot be read: {type(error).__name__}")
            return
        if not isinstance(features, list):
            self._monitor.log_result(features, _with_time(results), id=exchange.id, latency_seconds=seconds)
        elif isinstance(results, list) and len(results) == len(features):
            for number, (one, result) in enumerate(zip(features, results, strict=True)):
                own = f"{exchange.id}-{number}"
                self._monitor.log_result(one, _with_time(result), id=own, latency_seconds=seconds)
        else:
            self._monitor.drop(_NO_PAIRS)


def _with_time(result: Any) -> Any:
    """Return a result with its time, a text in JSON, as a moment; what cannot be read the monitor counts."""
    if not (isinstance(result, dict) and isinstance(result.get("time"), str)):
        return result
    with suppress(ValueError):
        return {**result, "time": datetime.fromisoformat(result["time"])}
    return result


class _Body:
    """The bytes of a body, None if there are too many."""

    def __init__(self, most_bytes: int) -> None:
        self.data: bytearray | None = bytearray()
        self._most_bytes = most_bytes

    def add(self, part: bytes) -> None:
        if self.data is not None and len(self.data) + len(part) <= self._most_bytes:
            self.data += part
        else:
            self.data = None


class _Exchange:
    """A request and its response, with the id of the prediction."""

    def __init__(self, most_bytes: int) -> None:
        self.came, self.went = _Body(most_bytes), _Body(most_bytes)
        self.id, self.began, self.status = new_id(now_ns()), time.perf_counter(), 0
        self.start: Message | None = None
