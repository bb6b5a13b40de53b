"""The queue of events and the thread that sends them: batches, refusals, pauses, and a count of every event."""

from __future__ import annotations

import http
import queue
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from driftline.client.encoding import CannotSendError, MissingLabelError, carefully
from driftline.client.ids import new_id, now_ns
from driftline.client.records import Event, Settings, Stats
from driftline.client.speaking import Voice
from driftline.client.transport import KINDS, Answer, Kind, Refused, Transport

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0
BODY_BYTES = 8 * 2**20  # a quarter of the server's limit: a refusal in the middle of a long body can get lost
REASONS = 100  # so that the counts of dropped events stay small, whatever the server answers
SPLITS = 64
"""If a refusal names no row, the batch is halved to find it, at most so many times."""

CLOSED, FULL, NO_LABEL = "closed", "buffer full", "label is missing"
_random = random.SystemRandom()
_LOOK_SECONDS = 0.05


class _GivenUp(Exception):
    """The server cannot be reached while the monitor is closing, so sending ends."""


class Shipper:
    """Queues events without waiting, and sends them from its own thread, which starts with the first event."""

    def __init__(
        self, model: str, transport: Transport, settings: Settings, on_start: Callable[[], None] = lambda: None
    ) -> None:
        self._model, self._transport, self._settings, self._on_start = model, transport, settings, on_start
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Start with an empty queue, at first and in the child of a fork."""
        self.voice = Voice(self._model)
        self._queue: deque[Event] = deque()
        # Guards the counts and the queue, and is only held for additions. Re-entrant, like SimpleQueue.put, because a
        # signal handler or a destructor that runs in the middle of the hot path may log, too.
        self._lock = threading.RLock()
        self._accepted = self._settled = self._sent = self._failed_requests = self._errors = self._bytes = 0
        self._unfinished = 0  # of the batch on its way
        self._written_off = 0  # counted as lost, although an answer may still come
        self._dropped: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._last_error = ""
        self._thread: threading.Thread | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing, self._dead = threading.Event(), threading.Event()
        self._batch_done, self._finished = threading.Condition(), 0  # settled, in whole batches
        self._progress_at = self._patient_until = 0.0
        self._give_up_at = float("inf")
        self._transport.forget()

    # ---- the hot path -----------------------------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Queue an event, or count it as dropped; waits for room only if ``block_seconds`` is set."""
        reason = self._offer(event)
        if reason == FULL and self._settings.block_seconds:
            reason = self._offer_with_patience(event)
        if reason:
            self.drop(reason)

    def _offer(self, event: Event) -> str:
        settings = self._settings
        with self._lock:
            waiting = self._accepted - self._settled
            if self._closed:
                return CLOSED
            if waiting >= settings.buffer_events or (waiting and self._bytes + event[2] > settings.buffer_bytes):
                return FULL
            if not waiting:
                self._progress_at = time.perf_counter()
            self._accepted += 1
            self._bytes += event[2]
            self._queue.append(event)
            if self._thread is None:
                self._start()
            if len(self._queue) % settings.batch_events == 0:
                self._wake.put(None)
        return ""

    def _offer_with_patience(self, event: Event) -> str:
        """Wait for room while the server keeps accepting events; never in the shipping thread, which makes the room."""
        while threading.current_thread() is not self._thread and not self._closing.is_set():
            if (reason := self._offer(event)) != FULL:
                return reason
            if time.perf_counter() - self._progress_at > self._settings.block_seconds:
                return FULL
            with self._batch_done:
                self._batch_done.wait(_LOOK_SECONDS)
        return self._offer(event)

    def drop(self, reason: str) -> None:
        """Count an event that was not queued as dropped, and log it."""
        with self._lock:
            self._dropped[reason] += 1
        if reason == FULL:
            text = f"{FULL}: more events came than could be sent; new ones are lost. {self._state()}"
        elif reason == CLOSED:
            text = "an event came after close and is lost"
        else:
            text = f"an event is lost: {reason}"
        self.voice.say(reason, text, 1)

    def count_error(self) -> None:
        """Count an exception of a watched function."""
        with self._lock:
            self._errors += 1

    def _state(self) -> str:
        last = f"; last failure: {self._last_error}" if self._last_error else ""
        return f"{self._accepted - self._settled:,} wait ({self._bytes:,} bytes), {self._sent:,} were sent{last}"

    # ---- around it --------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Return a snapshot of what happened to the events so far."""
        with self._lock:
            dropped = dict(self._dropped)
            queued = self._accepted - self._settled
            return Stats(
                queued=queued,
                sent=self._sent,
                dropped=dropped,
                failed_requests=self._failed_requests,
                errors=self._errors,
                last_error=self._last_error,
                logged=queued + self._sent + sum(dropped.values()),
                left_out=dict(self._left_out),
            )

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all events so far are sent or dropped; return whether they were in time."""
        target, thread = self._accepted, self._thread
        self._wake.put(None)
        give_up = time.perf_counter() + timeout_seconds
        with self._batch_done:
            while self._finished < target and (left := give_up - time.perf_counter()) > 0:
                if thread is None or not thread.is_alive():
                    break
                self._batch_done.wait(min(left, 0.1))
        return self._finished >= target

    def begin_close(self, give_up_at: float) -> None:
        """Accept no more events, and send the queued ones until ``give_up_at`` (of `time.perf_counter`)."""
        with self._lock:
            self._closed = True
            self._give_up_at = give_up_at
            self._progress_at = time.perf_counter()
        self._closing.set()
        self._wake.put(None)

    def end_close(self, stalled_seconds: float) -> None:
        """Wait until all events are sent, while there is progress, until the time of `begin_close`; drop the rest."""
        thread = self._thread
        while thread is not None and thread is not threading.current_thread() and thread.is_alive():
            stalled_at = max(self._progress_at, self._patient_until) + stalled_seconds
            left = min(self._give_up_at, stalled_at) - time.perf_counter()
            if left <= 0:
                break
            thread.join(min(left, _LOOK_SECONDS))
        if lost := self._write_off():
            last = f"; last failure: {self._last_error}" if self._last_error else ""
            text = f"closed with {lost:,} of {self.stats().logged:,} events not sent: they are lost{last}"
            self.voice.say("unsent", text, lost)
        self.voice.say_losses()

    def _write_off(self) -> int:
        """Count the events that will not be sent as dropped; only after closing, when no new ones come."""
        self._dead.set()
        with self._lock:
            lost = self._accepted - self._settled
            self._queue.clear()
            self._written_off, self._unfinished = self._unfinished, 0
            self._settled, self._bytes = self._accepted, 0
            if lost:
                self._dropped[CLOSED] += lost
        self._tell_finished(self._accepted)
        return lost

    def _tell_finished(self, number: int) -> None:
        with self._batch_done:
            self._finished = max(self._finished, number)
            self._batch_done.notify_all()

    # ---- the shipping thread ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._ship, name=f"driftline-{self._model}", daemon=True)
        try:
            self._thread.start()
            self._on_start()
        except RuntimeError as error:  # too many threads, or the interpreter is ending; the next event tries again
            self._thread, self._last_error = None, str(error)

    def _ship(self) -> None:
        closing = False
        with suppress(_GivenUp):
            while not (closing and not self._queue):
                closing = self._closing.is_set()  # read before the queue, as nothing is queued after it is set
                if not closing and len(self._queue) < self._settings.batch_events:
                    with suppress(queue.Empty):
                        self._wake.get(timeout=self._settings.flush_seconds)
                left = len(self._queue)  # later events are sent in the next round, so that batches fill
                while left > 0 and (batch := self._next_batch(left)):
                    self._ship_batch(batch)
                    left -= len(batch)
                self.voice.say_what_is_due()
        self._transport.hang_up()

    def _next_batch(self, left: int) -> list[Event]:
        batch: list[Event] = []
        with self._lock:
            size = 0
            while self._queue and len(batch) < min(left, self._settings.batch_events):
                if batch and size + self._queue[0][2] > BODY_BYTES:
                    break
                event = self._queue.popleft()
                size += event[2]
                batch.append(event)
            self._unfinished = len(batch)
        return batch

    def _ship_batch(self, events: list[Event]) -> None:
        fate = CLOSED
        try:
            for kind in KINDS:
                lines = [self._encoded(row) for of, row, _ in events if of == kind]
                self._send(kind, [line for line in lines if line is not None])
        except _GivenUp:
            raise  # `end_close` counts the rest as dropped
        except Exception as error:  # noqa: BLE001 - a fault of the SDK may cost a batch, but not the thread
            fate = f"failed: {type(error).__name__}"
            self._note_failure(f"{type(error).__name__}: {error}")
            self.voice.say(fate, f"a fault of the SDK cost a batch; please report it: {self._last_error}", len(events))
        self._settle(self._unfinished, fate)
        with self._lock:
            self._bytes -= min(self._bytes, sum(size for _, _, size in events))
        self._tell_finished(self._finished + len(events))

    def _encoded(self, row: bytes | dict[str, Any]) -> bytes | None:
        if isinstance(row, bytes):
            return row
        try:
            line, left_out = carefully(row)
        except MissingLabelError:
            self._settle(1, NO_LABEL)
            self.voice.say(NO_LABEL, "a label is missing (None, NaN): it says nothing and is not sent", 1)
            return None
        except CannotSendError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - user's objects; one bad event must not hold up the others
            reason = f"{type(error).__name__}: {error}"
        else:
            for name in left_out:
                self._count(self._left_out, name, 1)
                self.voice.say(
                    f"left out {name}", f"{name} cannot be sent, JSON has no word for it; the event goes without", 1
                )
            return line
        self._settle(1, "cannot be encoded")
        self.voice.say("cannot be encoded", f"an event is lost, it cannot be encoded: {reason}", 1)
        return None

    def _send(self, kind: Kind, lines: list[bytes]) -> None:
        """Send lines in order until each is accepted or dropped; drop refused rows, and send the others again."""
        parts = [lines] if lines else []
        splits = 0
        while parts:
            part = parts.pop()
            half = len(part) // 2
            if half and sum(map(len, part)) > BODY_BYTES:
                parts += [part[half:], part[:half]]
                continue
            answer = self._deliver(kind, part)
            bad = {index: why for index, why in answer.bad.items() if 0 <= index < len(part)}
            if answer.fate == "taken":
                self._settle(len(part))
            elif bad:
                self._refuse_rows(kind, part, bad)
                if good := [line for index, line in enumerate(part) if index not in bad]:
                    parts.append(good)
            elif half and answer.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                parts += [part[half:], part[:half]]
            elif half and answer.may_be_of_one_row and splits < SPLITS:
                splits += 1
                parts += [part[half:], part[:half]]
            else:
                self._refuse(kind, len(part), answer)

    def _refuse_rows(self, kind: Kind, part: list[bytes], bad: Mapping[int, Refused]) -> None:
        for index, (name, why) in bad.items():
            reason = f"refused: {name}" if name else "refused"
            self._settle(1, reason)
            one = f"one of the {kind} ({_id_of(part[index])})"
            self.voice.say(
                reason, f"{one} was refused by the server and is lost: {f'{name}: ' if name else ''}{why}", 1
            )

    def _refuse(self, kind: Kind, number: int, answer: Answer) -> None:
        reason = f"refused: status {answer.status}"
        self._settle(number, reason)
        where = self._transport.url
        self.voice.say(reason, f"{number} {kind} were refused by {where} and are lost: {answer.message}", number)

    def _deliver(self, kind: Kind, lines: list[bytes]) -> Answer:
        """Send lines until the server accepts or refuses them; raises `_GivenUp` if it is unreachable while closing."""
        key = new_id(now_ns())  # the same for each try, in case only the answer got lost
        body = b"\n".join(lines)
        wait = FIRST_WAIT_SECONDS
        while not self._dead.is_set():
            closing = self._closing.is_set()
            answer = self._transport.post(kind, body, key)
            if answer.fate != "taken":
                self._note_failure(answer.message)
            if answer.fate != "away":
                self.voice.relieve("away", f"{self._transport.url} answers again")
                return answer
            text = f"{self._transport.url} does not take events: {answer.message}. They wait, and are sent again"
            self.voice.say("away", text)
            self._pause(wait, answer.after_seconds, last=closing)
            wait = min(wait * 2.0, LONGEST_WAIT_SECONDS)
        raise _GivenUp

    def _pause(self, wait: float, asked_seconds: float, *, last: bool) -> None:
        """Wait before the next try; while closing, only if the server asked for a pause that ends in time."""
        seconds = max(wait * _random.uniform(0.5, 1.0), asked_seconds)
        began = time.perf_counter()
        if not last and not self._closing.wait(seconds):
            return
        left = asked_seconds - (time.perf_counter() - began)
        if asked_seconds and time.perf_counter() + left < self._give_up_at:
            self._patient_until = time.perf_counter() + left
            self._dead.wait(max(left, 0.0))
        elif last:
            raise _GivenUp

    def _settle(self, number: int, dropped_for: str | None = None) -> None:
        if number == 0:
            return
        with self._lock:
            self._progress_at = time.perf_counter()
            if self._written_off:  # an answer came after all
                self._written_off -= number
                self._dropped[CLOSED] -= number
                self._dropped += Counter()  # without zeros
            else:
                self._settled += number
                self._unfinished -= number
            if dropped_for is None:
                self._sent += number
            else:
                self._count(self._dropped, dropped_for, number)

    def _count(self, counts: Counter[str], name: str, number: int) -> None:
        with self._lock:
            counts[name if name in counts or len(counts) < REASONS else "other"] += number

    def _note_failure(self, message: str) -> None:
        with self._lock:
            self._failed_requests += 1
            self._last_error = message


class _Row(msgspec.Struct):
    id: str | int | float | None = None


def _id_of(line: bytes) -> str:
    """Return the id of a row for the log; the rest of the row may be confidential."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return f"id {msgspec.json.decode(line, type=_Row).id!r}"
    return "no id"
