"""`Monitor`, the class that a model's own code calls."""

from __future__ import annotations

import os
import sys
import time as _time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, overload

from driftline.client import life, watching
from driftline.client.batches import Batches
from driftline.client.encoding import in_utc, is_missing, quickly
from driftline.client.frames import PATIENCE_SECONDS, Sent
from driftline.client.ids import new_id, now_ns
from driftline.client.records import Settings, Stats
from driftline.client.shipping import Shipper
from driftline.client.spill import Spill, bytes_of
from driftline.client.tables import Names
from driftline.client.transport import Kind, Transport
from driftline.client.watching import IdSource, Predict
from driftline.errors import UsageError

CLOSE_SECONDS, STALLED_SECONDS = 60.0, 5.0
FRAME_TIMEOUT_SECONDS = 60.0
"""How long the answer to a batch of a frame may take, at least."""
_GUESSED_BYTES = 500
"""The assumed size of a row that is not encoded yet, without its texts and arrays."""


class Monitor:
    """Logs the predictions of one model, and their labels, to a Driftline server.

    Events wait in a queue of at most ``buffer_events`` and ``buffer_bytes``. When it is full, new ones are dropped,
    counted and logged; with ``block_seconds``, a call waits for room instead, until the server has accepted nothing
    for that long. Events are sent every ``flush_seconds``, or as soon as there are ``batch_events``; predictions are
    sent before the labels of the same batch. While the server cannot be reached they wait: in memory, or in files of
    the folder ``spill``, up to ``spill_limit``, from which this process or the next one sends them first. ``version``
    is the model's, for events without one; ``token`` is sent as a bearer token. Thread-safe; after a fork the child
    starts with an empty queue. Problems are logged as warnings of the logger ``driftline``. Raises `UsageError` for
    invalid settings.

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
        buffer_events: int = 100_000,
        buffer_bytes: int = 64 * 2**20,
        block_seconds: float = 0.0,
        flush_seconds: float = 1.0,
        batch_events: int = 500,
        timeout_seconds: float = 5.0,
        spill: str | os.PathLike[str] | None = None,
        spill_limit: str | int = "1GB",
    ) -> None:
        counts = {"buffer_events": buffer_events, "buffer_bytes": buffer_bytes, "batch_events": batch_events}
        for name, value in counts.items():
            _require(_is_count(value), f"{name} {value!r} came; allowed is a whole number, 1 or more")
        for name, seconds in (("flush_seconds", flush_seconds), ("timeout_seconds", timeout_seconds)):
            _require(_is_pause(seconds), f"{name} {seconds!r} came; allowed are seconds above 0, up to a day (86,400)")
        good = block_seconds == 0 or _is_pause(block_seconds)
        _require(good, f"block_seconds {block_seconds!r} came; allowed are seconds, from 0 (never) to a day (86,400)")
        transport = Transport(model, url, token, timeout_seconds)
        settings = Settings(buffer_events, buffer_bytes, batch_events, flush_seconds, block_seconds)
        self._version = version
        kept = None if spill is None else Spill(Path(spill), model, bytes_of(spill_limit))
        self._shipper = Shipper(model, transport, settings, kept, on_start=life.end_with_worker)
        self._batches = Batches(
            model, lambda: Transport(model, url, token, max(timeout_seconds, FRAME_TIMEOUT_SECONDS)), version
        )
        self._calls = watching.Calls(self.log_result, self._shipper.count_error)
        life.accompany(self._shipper)

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
        """Queue a prediction and return its id, which is made here (UUIDv7) unless one is given.

        ``time`` is when the prediction was made, by default now; a naive one counts as UTC. Missing (None, NaN, NaT,
        ``pd.NA``, masked) and infinite values are sent as null, which means missing; missing ``score``,
        ``latency_seconds``, ``id`` and ``time`` count as not given. ``score`` is a probability or a mapping of class to
        probability. The ``role`` *shadow* marks the answer of another version to a row that was already answered: give
        the id of that answer, and the other version. Never raises: problems are counted in `stats` and logged.
        """
        moment_ns = now_ns()
        given = id if type(id) is str else _given(id, moment_ns)
        row: dict[str, Any] = {"id": given}
        try:
            row["features"] = features if type(features) is dict else _copied(features)
            row["prediction"] = prediction
            if score is not None:
                row["score"] = score if type(score) is dict or not isinstance(score, Mapping) else dict(score)
            if version is not None or self._version is not None:
                row["version"] = version if version is not None else self._version
            if latency_seconds is not None:
                row["latency_seconds"] = latency_seconds
            if role != "live":
                row["role"] = role
            self._put("predictions", row, moment_ns, time)
        except _NotAMapping:
            self._shipper.drop("features are not a mapping")
        except Exception:  # noqa: BLE001 - strange mappings must not break the model
            self._shipper.drop("features or score unreadable")
        return given

    def label(self, prediction_id: str, label: Any, *, time: datetime | None = None) -> None:
        """Queue the true outcome of a prediction; a later call with the same id corrects it.

        ``time`` is when it became known, by default now; a naive one counts as UTC. A missing label is dropped and
        counted. Never raises: problems are counted in `stats` and logged.
        """
        try:
            self._put("labels", {"id": prediction_id, "label": label}, now_ns(), time)
        except Exception:  # noqa: BLE001 - strange values must not break the model
            self._shipper.drop("label unreadable")

    def _put(self, kind: Kind, row: dict[str, Any], moment_ns: int, time: Any) -> None:
        if time is None or _is_none(time):
            row["time"] = datetime.fromtimestamp(moment_ns / 1e9, UTC)
        else:
            row["time"] = in_utc(time)
        line = quickly(row)
        if line is not None:
            self._shipper.put((kind, line, len(line)))
            return
        for name in ("features", "score"):
            if type(row.get(name)) is dict:
                row[name] = dict(row[name])
        self._shipper.put((kind, row, _size_of(row)))

    # ---- whole frames -----------------------------------------------------------------------------------------------

    def log_frame(
        self,
        frame: Any,
        *,
        prediction: str | None = None,
        score: str | Mapping[str, str] | None = None,
        id: str | None = None,
        label: str | None = None,
        time: str | None = None,
        version: str | None = None,
        features: Sequence[str] | None = None,
        name: str = "",
        on_error: Literal["refuse", "quarantine"] = "refuse",
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Sent:
        """Send the rows of a frame, wait until all are durable on the server, and return how many it accepted.

        ``frame`` is one of Polars or pandas, or anything with ``__arrow_c_stream__``. The other arguments name its
        columns; those called ``id``, ``time``, ``version``, ``prediction`` and ``score`` need not be named. ``score``
        may be a mapping of class to column. With ``label``, labels are sent, after the predictions if there are any.
        Without ``features``, the service takes the columns that it knows as features.

        The same frame again is known by the server for a week, batch by batch, and is not stored twice: repeat a call
        that was interrupted. ``name`` tells frames apart that are equal and meant to be. With ``on_error`` *quarantine*
        bad rows are set aside on the server. Raises `UsageError` for arguments that do not fit, `DataError` for a
        frame that cannot be read, `RefusedError` for a row that the server refuses (the batches before it are stored),
        and `UnreachableError` where it stays away for ``patience_seconds``.
        """
        names = Names(prediction, score, id, label, time, version, features)
        return self._batches.send(frame, names, name=name, on_error=on_error, patience_seconds=patience_seconds)

    # ---- around it --------------------------------------------------------------------------------------------------

    @property
    def stats(self) -> Stats:
        """A snapshot of what happened to the events so far."""
        return self._shipper.stats()

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until all events so far are acknowledged or dropped; return whether they were in time.

        It does not shorten the pause before a retry, which the server may have asked for.
        """
        return self._shipper.flush(timeout_seconds)

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Send the waiting events, within ``timeout_seconds``, and accept no new ones.

        It ends sooner when all are sent, when none was sent for five seconds, or when the server cannot be reached and
        one more try has failed. Events that are left are dropped with the reason ``closed``, and logged. A second call
        does nothing.
        """
        self._shipper.begin_close(_time.perf_counter() + timeout_seconds)
        self._shipper.end_close(STALLED_SECONDS)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- predict functions ------------------------------------------------------------------------------------------

    @overload
    def watch(self, function: Predict) -> Predict: ...

    @overload
    def watch(self, *, id: IdSource) -> Callable[[Predict], Predict]: ...

    def watch(self, function: Predict | None = None, *, id: IdSource = None) -> Predict | Callable[[Predict], Predict]:
        """Decorate a predict function, ``def`` or ``async def``: measure its time, log its features and its result.

        The features are its argument ``features``, or else its first one, as they are before the call. It returns a
        prediction, or a mapping with ``prediction`` and optionally ``score``, ``id``, ``time`` and ``version``. The id
        comes from ``id``, the name of an argument or a function of the arguments; else from the mapping; else one is
        made. `last_id` returns it. Results and exceptions pass through unchanged; exceptions are counted in `stats`.
        The time is also observed, in seconds, in the Prometheus summary ``request_processing_seconds`` of the default
        registry, or in the metric that is registered there under this name. Raises `UsageError` for an ``id`` that is
        neither, and for a generator, whose result is not known when it returns.
        """

        def decorate(function: Predict) -> Predict:
            return watching.watched(function, id, self._calls)

        return decorate if function is None else decorate(function)

    def last_id(self) -> str | None:
        """Return the id of the last watched call in this thread or task; None if it raised, or if there was none.

        A call in another thread, or in a task of its own (`asyncio.gather`, `asyncio.to_thread`), does not count: let
        the function return its id then.
        """
        return self._calls.last_id()

    def drop(self, reason: str) -> None:
        """Count an event as dropped that never came to be one, and log it, as `log` does for what it cannot read."""
        self._shipper.drop(reason)

    def log_result(self, features: Any, result: Any, *, id: Any = None, latency_seconds: float) -> str | None:
        """Log the result of a predict function, as `watch` does; return its id, None if the result cannot be read.

        An ``id`` takes precedence over that of the result.
        """
        fields: dict[str, Any] = {}
        try:
            if isinstance(result, Mapping) and "prediction" in result:
                fields = {name: result.get(name) for name in ("score", "id", "time", "version")}
                result = result["prediction"]
        except Exception:  # noqa: BLE001 - a strange result is the caller's all the same
            self._shipper.drop("result cannot be read")
            return None
        for name in ("id", "version"):
            if _is_none(fields.get(name)):
                fields[name] = None
        if not _is_none(id):
            fields["id"] = id
        return self.log(features, prediction=result, latency_seconds=latency_seconds, **fields)


class _NotAMapping(TypeError):
    """The features are no mapping."""


def _copied(value: object) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _NotAMapping
    return dict(value)


def _is_none(value: Any) -> bool:
    try:
        return is_missing(value)
    except Exception:  # noqa: BLE001 - a strange value is handled where it is encoded
        return False


def _given(id: Any, moment_ns: int) -> Any:
    return new_id(moment_ns) if id is None or _is_none(id) else id


def _size_of(row: Mapping[str, Any]) -> int:
    """The approximate size in bytes of a row that is not encoded yet."""
    size = _GUESSED_BYTES
    for value in (*row.get("features", {}).values(), row.get("prediction"), row.get("label")):
        with suppress(Exception):  # the user's objects
            size += sys.getsizeof(value)
    return size


# ---- settings -------------------------------------------------------------------------------------------------------


def _require(good: bool, text: str) -> None:
    if not good:
        raise UsageError(text)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _is_pause(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= 86_400
