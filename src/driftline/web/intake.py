"""Group commit: what many requests bring is stored in one transaction, and waits for the disk once.

While one group is written, the next gathers. Each request is answered as if it had been alone, after its group is on
the disk.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

from driftline import clock
from driftline.errors import StorageError
from driftline.net.limits import QueueFullError
from driftline.store.deliveries import Delivery
from driftline.store.inbox import UNAVAILABLE, Inbox

MOST_WAITING = 1024
"""How many deliveries wait to be stored; their bytes are bounded by those of the requests that brought them."""

MOST_TOGETHER = 256
"""How many deliveries are stored in one transaction: bounds how long others wait for the database."""

_COUNTED_FOR = timedelta(seconds=1)

Outcome = int | Exception


class _Waiting(NamedTuple):
    delivery: Delivery
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[int]


class Intake:
    """Stores deliveries for the requests that brought them, one group at a time, in a thread of its own."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._running = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="driftline intake")
        self._now = clock.steady()
        self._counts: dict[str, int] = {}
        self._counted_at: datetime | None = None

    async def put(self, delivery: Delivery) -> int:
        """Store a delivery; return how many of its events were accepted, once they are on the disk.

        Raises `QueueFullError` where too many wait, and whatever became of this one.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise QueueFullError(f"{MOST_WAITING} requests wait to be stored; try again later")
            self._waiting.append(_Waiting(delivery, loop, answer))
            begins, self._running = not self._running, True
        if begins:
            self._thread.submit(self._run)
        return await answer

    async def waiting_events(self, model: str) -> int:
        """Return about how many events of a model wait to be processed; counted anew once a second."""
        now = self._now()
        if self._counted_at is None or now - self._counted_at >= _COUNTED_FOR:
            self._counts = dict(await asyncio.to_thread(self._inbox.waiting_events))
            self._counted_at = now
        return self._counts.get(model, 0)

    def _run(self) -> None:
        """Store what waits, group after group, until nothing does."""
        while True:
            with self._lock:
                group, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                if not group:
                    self._running = False
                    return
            outcomes: Sequence[Outcome]
            try:
                outcomes = self._inbox.accept_all([one.delivery for one in group])
            except BaseException as error:  # noqa: BLE001 - every request gets an answer
                why = error if isinstance(error, Exception) else StorageError(f"the batch was not stored: {error!r}")
                outcomes = [why] * len(group)
            if isinstance(first := outcomes[0], UNAVAILABLE):
                with self._lock:  # who came meanwhile has waited for the same, and would again
                    late, self._waiting = self._waiting, []
                group, outcomes = [*group, *late], [*outcomes, *[first] * len(late)]
            _answer(group, outcomes)


def _answer(group: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    """Give each request its outcome; those of one event loop are woken together."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], Outcome]]] = {}
    for one, outcome in zip(group, outcomes, strict=True):
        by_loop.setdefault(one.loop, []).append((one.answer, outcome))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, answers)
        except RuntimeError:  # the loop has ended, and with it who asked
            continue


def _settle(answers: Sequence[tuple[asyncio.Future[int], Outcome]]) -> None:
    for answer, outcome in answers:
        if answer.done():  # whoever asked has gone
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
