"""The SDK: buffers what a model does and ships it from a thread of its own. It never blocks or breaks the model.

The hot path (`Monitor.log`, `Monitor.label`) takes an id, a time and a place in a queue; encoding, sending and
waiting happen in the shipping thread. Importing this module does nothing.
"""

from __future__ import annotations

import atexit
import functools
import http
import http.client
import inspect
import math
import os
import random
import threading
import time
import urllib.parse
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from driftline.errors import UsageError

Kind = Literal["predictions", "labels"]
_Predict = TypeVar("_Predict", bound=Callable[..., Any])

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 30.0
EXIT_SECONDS = 2.0


class _Event(NamedTuple):
    """One row on its way; ``number`` counts what was accepted into the queue."""

    number: int
    kind: Kind
    row: dict[str, Any]
    time: datetime | int | None


@dataclass(frozen=True, slots=True)
class Stats:
    """What became of the events so far.

    ``queued`` wait to be acknowledged, ``sent`` were, ``dropped`` were not taken, by reason. ``failed_requests`` were
    tried again. ``errors`` counts exceptions of watched functions. ``last_error`` is empty when all is well.
    """

    queued: int
    sent: int
    dropped: Mapping[str, int]
    failed_requests: int
    errors: int
    last_error: str


class _Refused(Exception):
    """The server will not take this batch as it is: status, message and refused rows."""

    def __init__(self, status: int, message: str, rows: list[dict[str, Any]]) -> None:
        self.status, self.message, self.rows = status, message, rows
        super().__init__(message)


class _Unreachable(Exception):
    """The server did not take the batch now; ``after_seconds`` is when it said to come again, 0 if it did not."""

    def __init__(self, message: str, after_seconds: float = 0.0) -> None:
        self.after_seconds = after_seconds
        super().__init__(message)


class Monitor:
    """Logs the predictions of one model, and their labels, to a Driftline server.

    Events wait in a queue of at most ``buffer_events``; when it is full, new ones are dropped and counted. They are sent
    every ``flush_seconds`` or as soon as ``batch_events`` are there, in the order in which they came. While the
    server is away they wait. Thread-safe; after a fork the child starts with an empty queue.

    >>> with Monitor("seattle-weather", url="http://127.0.0.1:9") as monitor:
    ...     _ = monitor.log({"wind": float("nan")}, prediction="rain")
    ...     monitor.stats.queued
    1
    """

    def __init__(
        self,
        model: str,
        url: str = "http://127.0.0.1:8000",
        *,
        version: str | None = None,
        buffer_events: int = 10_000,
        batch_events: int = 500,
        flush_seconds: float = 1.0,
        timeout_seconds: float = 5.0,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"url {url!r} came; allowed is http://HOST:PORT or https://…; check the address")
        for name, value in (
            ("buffer_events", buffer_events),
            ("batch_events", batch_events),
            ("flush_seconds", flush_seconds),
            ("timeout_seconds", timeout_seconds),
        ):
            if not value > 0:
                raise UsageError(f"{name} {value!r} came; it is a number above 0")
        self._model, self._version = model, version
        self._transport = _Transport(parts, model, timeout_seconds)
        self._buffer_events, self._batch_events, self._flush_seconds = buffer_events, batch_events, flush_seconds
        self._reset()
        _alive.add(self)

    def _reset(self) -> None:
        """Start with nothing: at first, and in the child of a fork."""
        self._queue: deque[_Event] = deque()
        self._lock = threading.Lock()  # guards the numbers below; held for no longer than an addition
        self._accepted = self._finished = self._sent = self._failed_requests = self._errors = 0
        self._dropped: Counter[str] = Counter()
        self._last_error = ""
        self._thread: threading.Thread | None = None
        self._wake, self._progress = threading.Event(), threading.Condition()
        self._closing = False
        self._transport.disconnect()

    # ---- the hot path -----------------------------------------------------------------------------------------------

    def log(
        self,
        features: Mapping[str, Any],
        *,
        prediction: Any,
        score: Any = None,
        version: str | None = None,
        id: str | None = None,
        time: datetime | None = None,
        latency_seconds: float | None = None,
    ) -> str:
        """Take a prediction and return its id, made here (UUIDv7) unless one is given.

        ``time`` is when the prediction was made: now, unless given; a naive one is taken as UTC. NaN and infinite
        features are sent as missing. Whatever is wrong with the arguments is counted in `stats`, never raised.
        """
        given = id if id is not None else _new_id()
        try:
            row = {"id": given, "features": dict(features), "prediction": prediction}
            if score is not None:
                row["score"] = dict(score) if isinstance(score, Mapping) else score
            if (of := version if version is not None else self._version) is not None:
                row["version"] = of
            if latency_seconds is not None:
                row["latency_seconds"] = latency_seconds
        except Exception:  # noqa: BLE001 - strange features must not break the model
            self._drop("not a mapping of features")
            return given
        self._put("predictions", row, time)
        return given

    def label(self, prediction_id: str, label: Any, *, time: datetime | None = None) -> None:
        """Take the true outcome of a prediction; a later call with the same id corrects it. Never raises."""
        self._put("labels", {"id": prediction_id, "label": label}, time)

    def _put(self, kind: Kind, row: dict[str, Any], moment: datetime | None) -> None:
        if len(self._queue) >= self._buffer_events:
            self._drop("buffer full")
            return
        if self._closing:
            self._drop("closed")
            return
        with self._lock:
            self._accepted += 1
            self._queue.append(_Event(self._accepted, kind, row, moment if moment is not None else _now_ns()))
        if self._thread is None:
            self._start()
        elif len(self._queue) >= self._batch_events:
            self._wake.set()

    def _drop(self, reason: str, number: int = 1) -> None:
        with self._lock:
            self._dropped[reason] += number

    # ---- around it --------------------------------------------------------------------------------------------------

    @property
    def stats(self) -> Stats:
        """What became of the events so far."""
        with self._lock:
            return Stats(
                queued=self._accepted - self._finished,
                sent=self._sent,
                dropped=dict(self._dropped),
                failed_requests=self._failed_requests,
                errors=self._errors,
                last_error=self._last_error,
            )

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until everything taken so far is acknowledged or dropped; return whether that came about in time."""
        target = self._accepted
        give_up = time.perf_counter() + timeout_seconds
        while self._finished < target and time.perf_counter() < give_up:
            self._wake.set()
            with self._progress:
                self._progress.wait(min(0.05, max(give_up - time.perf_counter(), 0.0)))
        return self._finished >= target

    def close(self, timeout_seconds: float = EXIT_SECONDS) -> None:
        """Send what is there, for at most ``timeout_seconds``, and take nothing more."""
        self._closing = True
        if self._thread is not None and self._thread.is_alive():
            self.flush(timeout_seconds)
        self._wake.set()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, function: _Predict) -> _Predict:
        """Decorate a predict function: time it, count it, log its features and what it returns.

        The features are its first argument or the keyword ``features``. It returns a prediction, or a mapping with
        ``prediction`` and ``score``. Its result and its exceptions pass through unchanged. The time is also observed
        in the Prometheus summary ``request_processing_seconds`` of the default registry.
        """
        summary = _summary()

        def note(began: float, arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
            seconds = time.perf_counter() - began
            if summary is not None:
                summary.observe(seconds)
            features = named["features"] if "features" in named else arguments[0] if arguments else None
            if isinstance(result, Mapping) and "prediction" in result:
                self.log(
                    features or {} if features is not None else (),  # type: ignore[arg-type]
                    prediction=result["prediction"],
                    score=result.get("score"),
                    latency_seconds=seconds,
                )
            else:
                self.log(features, prediction=result, latency_seconds=seconds)  # type: ignore[arg-type]

        def fault() -> None:
            with self._lock:
                self._errors += 1

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def watched_later(*arguments: Any, **named: Any) -> Any:
                began = time.perf_counter()
                try:
                    result = await function(*arguments, **named)
                except BaseException:
                    fault()
                    raise
                note(began, arguments, named, result)
                return result

            return watched_later  # type: ignore[return-value]

        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                result = function(*arguments, **named)
            except BaseException:
                fault()
                raise
            note(began, arguments, named, result)
            return result

        return watched  # type: ignore[return-value]

    # ---- the shipping thread ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._ship, name=f"driftline-{self._model}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the interpreter is ending: there is nobody left to ship
            self._last_error = str(error)

    def _ship(self) -> None:
        while not (self._closing and not self._queue):
            if len(self._queue) < self._batch_events:
                self._wake.wait(self._flush_seconds)
            self._wake.clear()
            try:
                while self._queue:
                    self._ship_batch()
            except _Unreachable:  # only while closing: nobody waits any longer
                return

    def _wait(self, seconds: float) -> None:
        """Wait before the next try; `close` cuts it short, a new event does not."""
        give_up = time.perf_counter() + seconds
        while not self._closing and (left := give_up - time.perf_counter()) > 0:
            time.sleep(min(left, 0.05))

    def _ship_batch(self) -> None:
        """Send the oldest events of one kind; they leave the queue when it is known what became of them."""
        kind = self._queue[0].kind
        events: list[_Event] = []
        for event in list(self._queue)[: self._batch_events]:
            if event.kind != kind:
                break
            events.append(event)
        lines = [self._encoded(event) for event in events]
        self._send(kind, [line for line in lines if line is not None])
        for _ in events:
            self._queue.popleft()
        with self._lock:
            self._finished = events[-1].number
        with self._progress:
            self._progress.notify_all()

    def _encoded(self, event: _Event) -> bytes | None:
        try:
            row = {key: _sendable(value) for key, value in event.row.items()}
            if event.time is not None:
                row["time"] = _moment(event.time)
            return msgspec.json.encode(row, enc_hook=_item)
        except Exception:  # noqa: BLE001 - user's objects; one bad event must not hold up the others
            self._drop("cannot be encoded")
            return None

    def _send(self, kind: Kind, lines: list[bytes]) -> None:
        """Send lines until each is acknowledged or refused; raise `_Unreachable` when that fails while closing."""
        if not lines:
            return
        key = _new_id()  # stays the same while trying again: perhaps only the answer got lost
        tries = 0
        while True:
            try:
                self._transport.post(kind, lines, key)
            except _Unreachable as error:
                self._note_failure(str(error))
                if self._closing:
                    raise
                tries += 1
                wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(tries, 20), LONGEST_WAIT_SECONDS)
                self._wait(max(wait * random.uniform(0.5, 1.0), error.after_seconds))
            except _Refused as refused:
                self._note_failure(refused.message)
                self._send_what_is_left(kind, lines, refused)
                return
            else:
                with self._lock:
                    self._sent += len(lines)
                    self._last_error = ""
                return

    def _send_what_is_left(self, kind: Kind, lines: list[bytes], refused: _Refused) -> None:
        """Drop the rows that were refused and send the others."""
        bad = {row["index"]: str(row.get("field", "")) for row in refused.rows if row.get("index") in range(len(lines))}
        if refused.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(lines) > 1:
            half = len(lines) // 2
            self._send(kind, lines[:half])
            self._send(kind, lines[half:])
        elif bad:
            for field in bad.values():
                self._drop(f"refused: {field}")
            self._send(kind, [line for index, line in enumerate(lines) if index not in bad])
        else:
            self._drop(f"refused: status {refused.status}", len(lines))

    def _note_failure(self, message: str) -> None:
        with self._lock:
            self._failed_requests += 1
            self._last_error = message


class _Transport:
    """One kept-alive connection to the server; used by the shipping thread alone."""

    def __init__(self, parts: urllib.parse.SplitResult, model: str, timeout_seconds: float) -> None:
        self._parts, self._timeout_seconds = parts, timeout_seconds
        self._path = f"{parts.path.rstrip('/')}/api/v1/models/{urllib.parse.quote(model, safe='')}/"
        self._connection: http.client.HTTPConnection | None = None

    def disconnect(self) -> None:
        """Forget the connection, without a word to the other side: after a fork it is the parent's."""
        self._connection = None

    def post(self, kind: Kind, lines: list[bytes], key: str) -> None:
        """Send a batch; return when it is durable, raise `_Refused` or `_Unreachable` otherwise."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key, "User-Agent": "driftline"}
        try:
            connection = self._connected()
            connection.request("POST", self._path + kind, b"\n".join(lines), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            raise _Unreachable(f"{type(error).__name__}: {error}") from error
        if answer.will_close:
            self._hang_up()
        if answer.status == http.HTTPStatus.ACCEPTED:
            return
        error_of = _error_of(body)
        message = f"status {answer.status}: {error_of.get('message', '')}"
        if answer.status >= 500 or answer.status == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise _Unreachable(message, _seconds(answer.headers.get("Retry-After")))
        rows = error_of.get("rows")
        raise _Refused(answer.status, message, [row for row in rows if isinstance(row, dict)] if rows else [])

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            assert self._parts.hostname is not None  # checked by Monitor
            self._connection = kind(self._parts.hostname, self._parts.port, timeout=self._timeout_seconds)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body, type=dict[str, dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"message": body[:200].decode(errors="replace")}
    return found.get("error", {})


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), LONGEST_WAIT_SECONDS)
    except ValueError:
        return 0.0


# ---- rows -----------------------------------------------------------------------------------------------------------


def _sendable(value: Any) -> Any:
    """A value as JSON can say it: NaN and infinity are missing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _sendable(inner) for key, inner in value.items()}
    if not isinstance(value, (str, int, bool, type(None))) and hasattr(value, "item"):
        return _sendable(value.item())
    return value


def _item(value: Any) -> Any:
    """Numbers of NumPy and its like, deep within: as Python's own."""
    if hasattr(value, "item"):
        return _sendable(value.item())
    raise NotImplementedError(f"{type(value).__name__} cannot be sent")


def _moment(when: datetime | int) -> str:
    if isinstance(when, int):
        when = datetime.fromtimestamp(when / 1e9, UTC)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.isoformat()


def _now_ns() -> int:
    """The present, nanoseconds since 1970. The SDK runs inside the user's process: this is its own clock."""
    return time.time_ns()


_id_lock = threading.Lock()
_last_id = 0


def _new_id() -> str:
    """Return a UUIDv7 (RFC 9562): milliseconds since 1970, then a counter and random bits, so that ids grow.

    >>> one, other = _new_id(), _new_id()
    >>> one < other, one[14], one[19] in "89ab"
    (True, '7', True)
    """
    global _last_id  # noqa: PLW0603 - ids grow within the whole process
    wanted = (_now_ns() // 1_000_000) << 74 | random.getrandbits(73)  # the top random bit is free for the counter
    with _id_lock:
        _last_id = wanted if wanted > _last_id else _last_id + 1 + random.getrandbits(32)
        bits = _last_id
    high, low = bits >> 62, bits & (1 << 62) - 1
    number = (high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | low
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _summary() -> Any:
    """The summary ``request_processing_seconds``: the one there is, or a new one; None without prometheus_client."""
    try:
        from prometheus_client import REGISTRY, Summary
    except ImportError:
        return None
    try:
        return Summary("request_processing_seconds", "Time spent processing a request")
    except ValueError:  # registered before, by another monitor or by the user
        found = getattr(REGISTRY, "_names_to_collectors", {}).get("request_processing_seconds")
        return found if hasattr(found, "observe") and not getattr(found, "_labelnames", ()) else None


# ---- the life of the process ----------------------------------------------------------------------------------------

_alive: weakref.WeakSet[Monitor] = weakref.WeakSet()


def _close_all() -> None:
    give_up = time.perf_counter() + EXIT_SECONDS
    for monitor in list(_alive):
        monitor.close(max(give_up - time.perf_counter(), 0.0))


def _after_fork() -> None:
    global _id_lock  # noqa: PLW0603 - another thread may have held it when the process forked
    _id_lock = threading.Lock()
    for monitor in list(_alive):
        monitor._reset()  # noqa: SLF001 - what waits in the parent's queue is the parent's to send


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
