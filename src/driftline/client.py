"""The SDK: buffers what a model does and ships it from a thread of its own. It never blocks or breaks the model.

The hot path (`Monitor.log`, `Monitor.label`) takes an id, a time and a place in a queue; encoding, sending and
waiting happen in the shipping thread. Importing this module starts and registers nothing.
"""

from __future__ import annotations

import atexit
import email.utils
import functools
import http.client
import inspect
import math
import os
import queue
import random
import threading
import time
import urllib.parse
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from driftline.errors import UsageError

Kind = Literal["predictions", "labels"]
_KINDS: tuple[Kind, ...] = ("predictions", "labels")  # in the order in which a batch is sent
_Predict = TypeVar("_Predict", bound=Callable[..., Any])

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
EXIT_SECONDS = 2.0
BODY_BYTES = 8 * 2**20  # a quarter of what the server takes: a refusal in the middle of a long body can get lost
REASONS = 100  # so that the counts of what was dropped stay small, whatever the server answers


class _Event(NamedTuple):
    """One row on its way, as the caller gave it; ``time`` is None for now."""

    kind: Kind
    row: dict[str, Any]
    now_ns: int
    time: Any


class _Answer(NamedTuple):
    """What became of a request: taken (durable), refused (for good), or away (to be tried again, same key)."""

    fate: Literal["taken", "refused", "away"]
    message: str = ""
    status: int = 0
    bad: Mapping[int, str] = {}  # rows that were refused: index to field
    after_seconds: float = 0.0  # when to come again, 0 if the server did not say


class _NotAMapping(TypeError):
    """What came as features is no mapping."""


class _GivenUp(Exception):
    """The server is away and the monitor is closing: nobody waits any longer."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What became of the events so far: ``queued + sent + sum(dropped.values())`` is the number of calls.

    ``queued`` wait to be acknowledged, ``sent`` are durable on the server, ``dropped`` are lost, by reason.
    ``failed_requests`` brought an error or no answer. ``errors`` counts exceptions of watched functions.
    ``last_error`` is the text of the latest failure, empty if there was none.
    """

    queued: int
    sent: int
    dropped: Mapping[str, int]
    failed_requests: int
    errors: int
    last_error: str


class Monitor:
    """Logs the predictions of one model, and their labels, to a Driftline server.

    Events wait in a queue of at most ``buffer_events``; when it is full, new ones are dropped and counted. They are
    sent every ``flush_seconds``, or as soon as ``batch_events`` are there; predictions go before the labels of the
    same batch. While the server is away they wait. ``version`` is that of the model, for events that bring none;
    ``token`` is sent as a bearer token. Thread-safe; after a fork the child starts with an empty queue. A setting that
    does not fit raises `UsageError`.

    >>> with Monitor("seattle-weather", url="http://127.0.0.1:9") as monitor:
    ...     _ = monitor.log({"wind": float("nan")}, prediction="rain")
    ...     monitor.stats.queued
    1
    >>> monitor.stats.dropped  # nobody listens on port 9
    {'closed': 1}
    """

    def __init__(
        self,
        model: str,
        url: str = "http://127.0.0.1:8000",
        *,
        version: str | None = None,
        token: str | None = None,
        buffer_events: int = 10_000,
        flush_seconds: float = 1.0,
        batch_events: int = 500,
        timeout_seconds: float = 5.0,
    ) -> None:
        for name, value in (("buffer_events", buffer_events), ("batch_events", batch_events)):
            _require(_is_count(value), f"{name} {value!r} came; allowed is a whole number, 1 or more")
        for name, seconds in (("flush_seconds", flush_seconds), ("timeout_seconds", timeout_seconds)):
            _require(_is_pause(seconds), f"{name} {seconds!r} came; allowed are seconds above 0, up to a day (86,400)")
        self._transport = _Transport(model, url, token, timeout_seconds)
        self._model, self._version = model, version
        self._buffer_events, self._batch_events, self._flush_seconds = buffer_events, batch_events, flush_seconds
        self._closed = False
        self._reset()
        _register_hooks()
        _alive.add(self)

    def _reset(self) -> None:
        """Start with nothing: at first, and in the child of a fork."""
        self._queue: deque[_Event] = deque()
        # Guards the numbers and the queue; held for no longer than an addition. Re-entrant, as is SimpleQueue.put: a
        # signal handler or a destructor that runs in the middle of the hot path may log, too.
        self._lock = threading.RLock()
        self._accepted = self._settled = self._sent = self._failed_requests = self._errors = 0
        self._dropped: Counter[str] = Counter()
        self._last_error = ""
        self._thread: threading.Thread | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._batch_done, self._finished = threading.Condition(), 0  # settled, in whole batches
        self._transport.forget()

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
        role: Literal["live", "shadow"] = "live",
    ) -> str:
        """Take a prediction and return its id, made here (UUIDv7) unless one is given.

        ``time`` is when the prediction was made: now, unless given; a naive one is taken as UTC. NaN and infinite
        numbers are sent as null, which is missing. ``score`` is a probability or a mapping of class to probability.
        A ``role`` of shadow is what another version says of a row that was answered: with the id of that answer, and
        its own version. Mappings are copied, not what is in them. What is wrong with the arguments is counted in
        `stats`, never raised.
        """
        now_ns = _now_ns()
        given = id if id is not None else _new_id(now_ns)
        try:
            row = {"id": given, "features": _copied(features), "prediction": prediction}
            if score is not None:
                row["score"] = _copied(score) if isinstance(score, Mapping) else score
            if (of := version if version is not None else self._version) is not None:
                row["version"] = of
            if latency_seconds is not None:
                row["latency_seconds"] = latency_seconds
            if role != "live":
                row["role"] = role
        except Exception as error:  # noqa: BLE001 - strange mappings must not break the model
            self._drop("features are not a mapping" if type(error) is _NotAMapping else "features or score unreadable")
        else:
            self._put(_Event("predictions", row, now_ns, time))
        return given

    def label(self, prediction_id: str, label: Any, *, time: datetime | None = None) -> None:
        """Take the true outcome of a prediction, known at ``time``; a later call with the same id corrects it.

        A naive time is taken as UTC; without one it is now. Never raises: what is wrong is counted in `stats`.
        """
        self._put(_Event("labels", {"id": prediction_id, "label": label}, _now_ns(), time))

    def _put(self, event: _Event) -> None:
        with self._lock:
            if self._closed:
                self._drop("closed")
            elif self._accepted - self._settled >= self._buffer_events:
                self._drop("buffer full")
            else:
                self._accepted += 1
                self._queue.append(event)
                if self._thread is None:
                    self._start()
                if len(self._queue) % self._batch_events == 0:
                    self._wake.put(None)

    def _drop(self, reason: str) -> None:
        """Count an event that was not even queued."""
        with self._lock:
            self._dropped[reason] += 1

    # ---- around it --------------------------------------------------------------------------------------------------

    @property
    def stats(self) -> Stats:
        """What became of the events so far: a snapshot."""
        with self._lock:
            return Stats(
                queued=self._accepted - self._settled,
                sent=self._sent,
                dropped=dict(self._dropped),
                failed_requests=self._failed_requests,
                errors=self._errors,
                last_error=self._last_error,
            )

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until everything taken so far is acknowledged or dropped; return whether that came about in time.

        It does not cut the wait before a retry short: a server that asks for a pause gets it.
        """
        target, thread = self._accepted, self._thread
        self._wake.put(None)
        give_up = time.perf_counter() + timeout_seconds
        with self._batch_done:
            while self._finished < target and (left := give_up - time.perf_counter()) > 0:
                if thread is None or not thread.is_alive():
                    break
                self._batch_done.wait(min(left, 0.1))
        return self._finished >= target

    def close(self, timeout_seconds: float = EXIT_SECONDS) -> None:
        """Send what is there, for at most ``timeout_seconds``, and take nothing more. A second call does nothing.

        If the server is away, one more try is made, and what is left is dropped with the reason ``closed``.
        """
        self._begin_close()
        self._end_close(time.perf_counter() + timeout_seconds)

    def _begin_close(self) -> None:
        with self._lock:
            self._closed = True
        self._stop.set()
        self._wake.put(None)

    def _end_close(self, give_up: float) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(give_up - time.perf_counter(), 0.0))
        if thread is None:  # none could be started
            self._abandon()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, function: _Predict) -> _Predict:
        """Decorate a predict function, ``def`` or ``async def``: time it, log its features and what it returns.

        The features are its first argument or the keyword ``features``, as they are before the call. It returns a
        prediction, or a mapping with ``prediction`` and perhaps ``score``. Its result and its exceptions pass through
        unchanged; exceptions are counted in `stats`. The time is also observed, in seconds, in the Prometheus summary
        ``request_processing_seconds`` of the default registry, or in what is registered there under this name.
        """
        summary = _summary()

        @contextmanager
        def call(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Iterator[list[Any]]:
            features = named["features"] if "features" in named else arguments[0] if arguments else None
            with suppress(Exception):  # `log` says what is wrong with them
                features = _copied(features)
            results: list[Any] = []
            began = time.perf_counter()
            try:
                yield results
            except Exception:
                with self._lock:
                    self._errors += 1
                raise
            finally:
                seconds = time.perf_counter() - began
                with suppress(Exception):  # a summary of the user's, with labels perhaps
                    summary.observe(seconds)
            self._log_result(features, results[0], seconds)

        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004

            @functools.wraps(function)
            async def watched_later(*arguments: Any, **named: Any) -> Any:
                with call(arguments, named) as results:
                    results.append(await function(*arguments, **named))
                return results[0]

            return watched_later  # type: ignore[return-value]

        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            with call(arguments, named) as results:
                results.append(function(*arguments, **named))
            return results[0]

        return watched  # type: ignore[return-value]

    def _log_result(self, features: Any, result: Any, seconds: float) -> None:
        try:
            named = isinstance(result, Mapping) and "prediction" in result
            prediction, score = (result["prediction"], result.get("score")) if named else (result, None)
        except Exception:  # noqa: BLE001 - a strange result is the caller's all the same
            self._drop("result cannot be read")
        else:
            self.log(features, prediction=prediction, score=score, latency_seconds=seconds)

    # ---- the shipping thread ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._ship, name=f"driftline-{self._model}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # too many threads, or the interpreter is ending; the next event tries again
            self._thread, self._last_error = None, str(error)

    def _ship(self) -> None:
        closing = False
        with suppress(_GivenUp):
            while not (closing and not self._queue):
                closing = self._stop.is_set()  # asked before the queue is: afterwards nothing comes
                if not closing and len(self._queue) < self._batch_events:
                    with suppress(queue.Empty):
                        self._wake.get(timeout=self._flush_seconds)
                left = len(self._queue)  # what comes meanwhile is for the next round, so that batches fill
                while left > 0:
                    most = min(left, self._batch_events)
                    self._ship_batch([self._queue.popleft() for _ in range(most)])
                    left -= most
        self._transport.hang_up()
        self._abandon()

    def _ship_batch(self, events: list[_Event]) -> None:
        before, fate = self._settled, "closed"
        try:
            for kind in _KINDS:
                lines = [self._encoded(event) for event in events if event.kind == kind]
                self._send(kind, [line for line in lines if line is not None])
        except _GivenUp:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours may cost a batch, not the thread
            fate = f"failed: {type(error).__name__}"
            self._note_failure(f"{type(error).__name__}: {error}")
        finally:
            self._settle(len(events) - (self._settled - before), fate)
            with self._batch_done:
                self._finished += len(events)
                self._batch_done.notify_all()

    def _abandon(self) -> None:
        """Count what nobody will send; only after closing, when nothing comes any more."""
        with self._lock:
            left = len(self._queue)
            self._queue.clear()
        self._settle(left, "closed")
        with self._batch_done:
            self._finished += left
            self._batch_done.notify_all()

    def _encoded(self, event: _Event) -> bytes | None:
        try:
            return _JSON.encode(event.row | {"time": _moment(event)})
        except Exception:  # noqa: BLE001 - user's objects; one bad event must not hold up the others
            self._settle(1, "cannot be encoded")
            return None

    def _send(self, kind: Kind, lines: list[bytes]) -> None:
        """Send lines in order until each is settled; rows that are refused are dropped, the others sent again."""
        parts = [lines] if lines else []
        while parts:
            part = parts.pop()
            half = len(part) // 2
            if half and sum(map(len, part)) > BODY_BYTES:
                parts += [part[half:], part[:half]]
                continue
            answer = self._deliver(kind, part)
            bad = {index: field for index, field in answer.bad.items() if 0 <= index < len(part)}
            if answer.fate == "taken":
                self._settle(len(part))
            elif half and answer.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                parts += [part[half:], part[:half]]
            elif bad:
                for field in bad.values():
                    self._settle(1, f"refused: {field}" if field else "refused")
                if good := [line for index, line in enumerate(part) if index not in bad]:
                    parts.append(good)
            else:
                self._settle(len(part), f"refused: status {answer.status}")

    def _deliver(self, kind: Kind, lines: list[bytes]) -> _Answer:
        """Send lines until the server takes or refuses them; raise `_GivenUp` if it is away while closing."""
        key = _new_id(_now_ns())  # stays the same while trying again: perhaps only the answer got lost
        wait = FIRST_WAIT_SECONDS
        while True:
            closing = self._stop.is_set()
            answer = self._transport.post(kind, b"\n".join(lines), key)
            if answer.fate != "taken":
                self._note_failure(answer.message)
            if answer.fate != "away":
                return answer
            if closing:
                raise _GivenUp
            self._stop.wait(max(wait * _random.uniform(0.5, 1.0), answer.after_seconds))
            wait = min(wait * 2.0, LONGEST_WAIT_SECONDS)

    def _settle(self, number: int, dropped_for: str | None = None) -> None:
        if number == 0:
            return
        with self._lock:
            self._settled += number
            if dropped_for is None:
                self._sent += number
            else:
                known = dropped_for in self._dropped or len(self._dropped) < REASONS
                self._dropped[dropped_for if known else "other"] += number

    def _note_failure(self, message: str) -> None:
        with self._lock:
            self._failed_requests += 1
            self._last_error = message


class _Transport:
    """One kept-alive connection to the server; used by the shipping thread alone."""

    def __init__(self, model: str, url: str, token: str | None, timeout_seconds: float) -> None:
        _require(_is_name(model), f"model {model!r} came; allowed is a name, as in the server's driftline.yaml")
        _require(_is_address(url), f"url {url!r} came; allowed is http://HOST:PORT or https://…; check the address")
        _require(token is None or _is_ascii(token), "the token is not printable ASCII; check it for a line end")
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme == "https"
        self._connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._port, self._timeout_seconds = parts.hostname or "", parts.port, timeout_seconds
        self._path = f"{parts.path.rstrip('/')}/api/v1/models/{urllib.parse.quote(model, safe='')}/"
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": "driftline"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def forget(self) -> None:
        """Let go of the connection, without a word to the other side: after a fork it is the parent's."""
        self._connection = None

    def post(self, kind: Kind, body: bytes, key: str) -> _Answer:
        """Send a batch and say what became of it."""
        kept = self._connection is not None
        try:
            return self._post(kind, body, key)
        except (OSError, http.client.HTTPException) as error:
            self.hang_up()
            if kept and not isinstance(error, TimeoutError):  # the server had ended the kept connection: a new one
                return self.post(kind, body, key)
            return _Answer("away", f"{type(error).__name__}: {error}")

    def _post(self, kind: Kind, body: bytes, key: str) -> _Answer:
        if self._connection is None:
            self._connection = self._connect(self._host, self._port, timeout=self._timeout_seconds)
        self._connection.request("POST", self._path + kind, body, {**self._headers, "Idempotency-Key": key})
        response = self._connection.getresponse()
        text = response.read(2**20)
        if response.will_close or not response.isclosed():
            self.hang_up()
        status = response.status
        if status == http.HTTPStatus.ACCEPTED:
            return _Answer("taken")
        message, bad = _error_of(text)
        message = f"status {status}: {message}"
        if 400 <= status < 500 and status not in _COME_AGAIN:
            return _Answer("refused", message, status, bad)
        # A redirection or a 200 without a promise: not our server, or not yet. The events are kept.
        return _Answer("away", message, status, after_seconds=_seconds(response.headers.get("Retry-After")))

    def hang_up(self) -> None:
        """End the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_COME_AGAIN = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS)


class _ErrorRow(msgspec.Struct):
    index: int
    field: str = ""


class _Error(msgspec.Struct):
    message: str = ""
    rows: list[_ErrorRow] = []


class _ErrorBody(msgspec.Struct):
    error: _Error


def _error_of(body: bytes) -> tuple[str, Mapping[int, str]]:
    """Message and refused rows of the server's error; of any other body its beginning."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body[:200].decode(errors="replace"), {}
    return error.message, {row.index: row.field for row in error.rows}


def _seconds(retry_after: str | None) -> float:
    """Read a Retry-After header, seconds or a date: 0 if it says nothing, at most five minutes.

    >>> _seconds("2"), _seconds(None), _seconds("soon"), _seconds("nan"), _seconds("1e9")
    (2.0, 0.0, 0.0, 0.0, 300.0)
    """
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after or "").timestamp() - _now_ns() / 1e9
        except (ValueError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


# ---- settings -------------------------------------------------------------------------------------------------------


def _require(good: bool, text: str) -> None:
    if not good:
        raise UsageError(text)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _is_pause(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= 86_400


def _is_ascii(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _is_name(value: object) -> bool:
    try:
        return isinstance(value, str) and value.encode().strip() != b""
    except UnicodeEncodeError:
        return False


def _is_address(value: object) -> bool:
    try:
        parts = urllib.parse.urlsplit(str(value))
        _ = parts.port  # raises for one that is no port
    except ValueError:
        return False
    whole = not (" " in str(value) or parts.query or parts.fragment or "@" in parts.netloc)
    return _is_ascii(value) and parts.scheme in ("http", "https") and bool(parts.hostname) and whole


# ---- rows -----------------------------------------------------------------------------------------------------------


def _copied(value: object) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _NotAMapping
    return dict(value)


def _plain(value: Any) -> Any:
    """What msgspec does not know as what it does: numbers of NumPy and its like, moments of pandas, keys."""
    if isinstance(value, bool):
        return int(value)  # only keys come here: the classes False and True are 0 and 1
    if isinstance(value, datetime):
        return value.isoformat() if value == value else None  # noqa: PLR0124 - NaT is not itself
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} cannot be sent")


_JSON = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number")  # NaN and infinity become null


def _moment(event: _Event) -> str:
    when = event.time if event.time is not None else datetime.fromtimestamp(event.now_ns / 1e9, UTC)
    if not isinstance(when, datetime) or when != when:  # noqa: PLR0124 - NaT is not itself
        raise TypeError(f"time {when!r} is not a datetime")
    return datetime.isoformat(when if when.tzinfo is not None else when.replace(tzinfo=UTC))


def _now_ns() -> int:
    """The present, nanoseconds since 1970. The SDK runs inside the user's process: this is its own clock."""
    return time.time_ns()


class _Ids:
    """Makes UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 bits, random but growing within a millisecond.

    Ids grow within a process, also when the clock goes back.

    >>> one, other = _Ids()(0), _Ids()(1_700_000_000_000_000_000)
    >>> one[:15], other[:15], one[19] in "89ab"
    ('00000000-0000-7', '018bcfe5-6800-7', True)
    """

    def __init__(self) -> None:
        self._lock, self._last = threading.RLock(), 0

    def __call__(self, now_ns: int) -> str:
        # The system's randomness: the user may seed `random`, and wants to find it as it was. The top bit is left 0.
        dice = int.from_bytes(os.urandom(10), "big")
        bits = now_ns // 1_000_000 << 74 | dice >> 7
        with self._lock:
            if bits <= self._last:
                bits = self._last + 1 + (dice & 0xFFFF_FFFF)
            self._last = bits
        text = f"{bits >> 74:012x}7{bits >> 62 & 0xFFF:03x}{0b10 << 62 | bits & (1 << 62) - 1:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_new_id = _Ids()
_random = random.SystemRandom()


def _summary() -> Any:
    """The summary ``request_processing_seconds``: the one there is, or a new one; None without prometheus_client."""
    try:
        from prometheus_client import REGISTRY, Summary
    except ImportError:
        return None
    try:
        return Summary("request_processing_seconds", "Time spent processing a request")
    except ValueError:  # registered before, by another monitor or by the user
        return getattr(REGISTRY, "_names_to_collectors", {}).get("request_processing_seconds")


# ---- the life of the process ----------------------------------------------------------------------------------------

_alive: weakref.WeakSet[Monitor] = weakref.WeakSet()


@functools.cache
def _register_hooks() -> None:
    """Once, with the first monitor."""
    atexit.register(_close_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _close_all() -> None:
    give_up = time.perf_counter() + EXIT_SECONDS
    monitors = list(_alive)
    for monitor in monitors:
        monitor._begin_close()
    for monitor in monitors:
        monitor._end_close(give_up)


def _after_fork() -> None:
    global _new_id  # noqa: PLW0603 - another thread may have held its lock when the process forked
    _new_id = _Ids()
    for monitor in list(_alive):
        monitor._reset()  # what waits in the parent's queue is the parent's to send
