"""The queue of events, and the thread that sends them in batches."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from driftline.client.accounts import CLOSED, FULL, Accounts
from driftline.client.delivery import BODY_BYTES, Delivery
from driftline.client.encoding import CannotSendError, MissingLabelError, carefully
from driftline.client.pace import GivenUp, Pace
from driftline.client.records import Event, Settings, Stats
from driftline.client.speaking import Voice
from driftline.client.spill import Spill
from driftline.client.transport import KINDS, Kind, Transport

NO_LABEL = "label is missing"
_LOOK_SECONDS, _FILES_SECONDS, _FIND_SECONDS = 0.05, 1.0, 30.0


class Shipper:
    """Queues events without waiting, and sends them from its own thread, which starts with the first event."""

    def __init__(
        self,
        model: str,
        transport: Transport,
        settings: Settings,
        spill: Spill | None = None,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._transport, self._settings, self._on_start = model, transport, settings, on_start
        self._spill, self._closed = spill, False
        self._set_up()
        if self._delivery.find():
            with self._lock:
                self._start()

    def reset(self) -> None:
        """Start with an empty queue in the child of a fork."""
        if self._spill is not None:
            self._spill.forget()
        self._set_up()

    def _set_up(self) -> None:
        self.voice = Voice(self._model)
        self._queue: deque[Event] = deque()
        self._accounts = Accounts()
        self._lock = self._accounts.lock
        self._thread: threading.Thread | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._pace = Pace()
        self._batch_done, self._finished = threading.Condition(), 0  # settled, in whole batches
        self._looked_at = time.perf_counter()
        self._delivery = Delivery(self._transport, self._accounts, self.voice, self._pace, self._spill)
        self._transport.forget()

    # ---- the hot path -----------------------------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Queue an event, or count it as dropped; waits for room only if ``block_seconds`` is set."""
        if reason := self._offer(event):
            if reason == FULL and self._settings.block_seconds:
                reason = self._offer_with_patience(event)
            if reason:
                self.drop(reason)

    def _offer(self, event: Event) -> str:
        settings, accounts = self._settings, self._accounts
        with self._lock:
            waiting = accounts.accepted - accounts.settled
            if self._closed:
                return CLOSED
            if waiting >= settings.buffer_events or (waiting and accounts.bytes + event[2] > settings.buffer_bytes):
                return FULL
            if not waiting:
                accounts.progress_at = time.perf_counter()
            accounts.accepted += 1
            accounts.bytes += event[2]
            self._queue.append(event)
            if self._thread is None:
                self._start()
            if len(self._queue) % settings.batch_events == 0:
                self._wake.put(None)
        return ""

    def _offer_with_patience(self, event: Event) -> str:
        """Wait for room while the server keeps accepting events; never in the shipping thread, which makes the room."""
        while threading.current_thread() is not self._thread and not self._pace.closing.is_set():
            if (reason := self._offer(event)) != FULL:
                return reason
            if time.perf_counter() - self._accounts.progress_at > self._settings.block_seconds:
                return FULL
            with self._batch_done:
                self._batch_done.wait(_LOOK_SECONDS)
        return self._offer(event)

    def drop(self, reason: str) -> None:
        """Count an event that was not queued as dropped, and log it."""
        self._accounts.drop(reason)
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
            self._accounts.errors += 1

    def _state(self) -> str:
        one = self._accounts
        waiting = f"{one.accepted - one.settled:,} wait ({one.bytes:,} bytes), {one.sent:,} were sent"
        return waiting + self._last_failure()

    def _last_failure(self) -> str:
        return f"; last failure: {self._accounts.last_error}" if self._accounts.last_error else ""

    # ---- around it --------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Return a snapshot of what happened to the events so far."""
        return self._accounts.stats()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all events so far are sent or dropped, and the spill folder is empty; return whether they are."""
        target, thread = self._accounts.accepted, self._thread
        self._wake.put(None)
        give_up = time.perf_counter() + timeout_seconds
        with self._batch_done:
            while not self._is_through(target) and (left := give_up - time.perf_counter()) > 0:
                if thread is None or not thread.is_alive():
                    break
                self._batch_done.wait(min(left, 0.1))
        return self._is_through(target)

    def _is_through(self, target: int) -> bool:
        return self._finished >= target and not self._accounts.spilled

    def begin_close(self, give_up_at: float) -> None:
        """Accept no more events, and send the queued ones until ``give_up_at`` (of `time.perf_counter`)."""
        with self._lock:
            self._closed = True
            self._pace.give_up_at = give_up_at
            self._accounts.progress_at = time.perf_counter()
        self._pace.closing.set()
        self._wake.put(None)

    def end_close(self, stalled_seconds: float) -> None:
        """Wait until all events are sent, while there is progress, until the time of `begin_close`; drop the rest.

        With a spill folder, the rest is written there instead.
        """
        thread = self._thread
        while thread is not None and thread is not threading.current_thread() and thread.is_alive():
            stalled_at = max(self._accounts.progress_at, self._pace.patient_until) + stalled_seconds
            left = min(self._pace.give_up_at, stalled_at) - time.perf_counter()
            if left <= 0:
                break
            thread.join(min(left, _LOOK_SECONDS))
        ended = self._pace.dead.is_set()
        self._pace.dead.set()
        self._delivery.keep_rest(self._rest())
        kept, lost = self._delivery.release(), self._accounts.write_off()
        self._queue.clear()
        self._tell_finished(self._accounts.accepted)
        if lost:
            text = f"closed with {lost:,} of {self.stats().logged:,} events not sent: they are lost"
            self.voice.say("unsent", text + self._last_failure(), lost)
        if kept and self._spill is not None and not ended:
            text = f"closed with {kept:,} events not sent: they are kept in {self._spill.folder} for the next start"
            self.voice.say("kept", text + self._last_failure())
        self.voice.say_losses()

    def _rest(self) -> Iterator[tuple[Kind, list[bytes]]]:
        """Take what is left of the queue, in batches."""
        while batch := self._next_batch(self._settings.batch_events):
            yield from self._encoded_batch(batch)

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
            self._thread, self._accounts.last_error = None, str(error)

    def _ship(self) -> None:
        closing = False
        with suppress(GivenUp):
            self._send_files()
            while not (closing and not self._queue):
                closing = self._pace.closing.is_set()  # read before the queue, as nothing is queued after it is set
                pause = min(self._settings.flush_seconds, self._delivery.due_in)
                if not closing and pause and len(self._queue) < self._settings.batch_events:
                    with suppress(queue.Empty):
                        self._wake.get(timeout=pause)
                left = len(self._queue)  # later events are sent in the next round, so that batches fill
                while left > 0 and (batch := self._next_batch(left)):
                    self._ship_batch(batch)
                    left -= len(batch)
                if not closing:
                    self._send_files()
                self.voice.say_what_is_due()
            self._guarded(self._delivery.send_last_files)
        self._transport.hang_up()

    def _send_files(self) -> None:
        """Send what waits in the spill folder, for a while; then it is the queue's turn."""
        if self._spill is None:
            return
        if time.perf_counter() - self._looked_at > _FIND_SECONDS:
            self._looked_at = time.perf_counter()
            self._delivery.find()
        self._guarded(lambda: self._delivery.send_files(min(self._settings.flush_seconds, _FILES_SECONDS)))
        self._tell_finished(self._finished)

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
            self._accounts.unfinished = len(batch)
        return batch

    def _ship_batch(self, events: list[Event]) -> None:
        fate = self._guarded(lambda: self._delivery.send(self._encoded_batch(events)))
        self._accounts.settle(self._accounts.unfinished, fate)
        with self._lock:
            self._accounts.bytes -= min(self._accounts.bytes, sum(size for _, _, size in events))
        self._tell_finished(self._finished + len(events))

    def _guarded(self, work: Callable[[], None]) -> str:
        """Do some work; a fault of the SDK may cost a batch, but not the thread. Return what to call its loss."""
        try:
            work()
        except GivenUp:
            raise  # `end_close` keeps the rest, or counts it as dropped
        except Exception as error:  # noqa: BLE001 - whatever it is
            fate = f"failed: {type(error).__name__}"
            self._accounts.fail(f"{type(error).__name__}: {error}")
            lost = self._accounts.unfinished
            text = f"a fault of the SDK cost a batch; please report it: {self._accounts.last_error}"
            self.voice.say(fate, text, lost)
            return fate
        return CLOSED

    def _encoded_batch(self, events: list[Event]) -> Iterator[tuple[Kind, list[bytes]]]:
        for kind in KINDS:
            lines = [self._encoded(row) for of, row, _ in events if of == kind]
            yield kind, [line for line in lines if line is not None]

    def _encoded(self, row: bytes | dict[str, Any]) -> bytes | None:
        if isinstance(row, bytes):
            return row
        try:
            line, left_out = carefully(row)
        except MissingLabelError:
            self._accounts.settle(1, NO_LABEL)
            self.voice.say(NO_LABEL, "a label is missing (None, NaN): it says nothing and is not sent", 1)
            return None
        except CannotSendError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - user's objects; one bad event must not hold up the others
            reason = f"{type(error).__name__}: {error}"
        else:
            for name in left_out:
                self._accounts.leave_out(name)
                self.voice.say(
                    f"left out {name}", f"{name} cannot be sent, JSON has no word for it; the event goes without", 1
                )
            return line
        self._accounts.settle(1, "cannot be encoded")
        self.voice.say("cannot be encoded", f"an event is lost, it cannot be encoded: {reason}", 1)
        return None
