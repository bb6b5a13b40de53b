"""Who goes first where there is one core for all: requests, before what is done with the events later."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from driftline import clock

_NICER_BY = 10
_SWITCH_SECONDS = 0.0005
_YOUNG_OBJECTS = 10_000
_LOOK_SECONDS = 0.005
_BREAK_SECONDS = 0.02  # between two batches of one sender nothing is under way for a moment
_SHARE = 3.0
_LONGEST_SECONDS = 5.0


def give_way() -> None:
    """Have this thread, and those that it starts, run where others would not; a core that is idle is used as ever.

    Only Linux knows the niceness of a thread. What waits in the inbox is bounded: see `QUEUE_LIMIT_EVENTS`.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # it is as nice as it may be
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICER_BY)


def answer_soon() -> None:
    """Have threads that compute in Python be interrupted ten times as often by those that wait.

    Each request waits for the interpreter a few times: with 5 ms each time, there are no 200 requests a second. What
    was made up to now, such as modules and routes, is not searched for garbage ever again, and what is made from now on
    less often: that was a quarter of what a small request costs.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


class Senders:
    """The requests with events that are under way in this process. Who processes events lets them pass between batches.

    Both need the interpreter, of which each process has one: niceness alone gives requests half of it.
    """

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = clock.monotonic_seconds
    ) -> None:
        self._number, self._last, self._sleep, self._now = 0, -_BREAK_SECONDS, sleep, now

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be a request under way; all are in one thread."""
        self._number += 1
        try:
            yield
        finally:
            self._number -= 1
            self._last = self._now()

    def let_pass(self, worked_seconds: float, stopping: Callable[[], bool]) -> None:
        """Rest while requests come without a break: three times as long as was worked at most, and five seconds.

        What was worked is processor time: who has waited for the others while working has let them pass already.
        """
        end = self._now() + min(_SHARE * worked_seconds, _LONGEST_SECONDS)
        while (now := self._now()) < end and not stopping():
            if not self._number and now - self._last >= _BREAK_SECONDS:
                return
            self._sleep(_LOOK_SECONDS)
