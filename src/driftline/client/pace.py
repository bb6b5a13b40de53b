"""When to try again, and when to give up."""

from __future__ import annotations

import random
import threading
import time

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0
_random = random.SystemRandom()


class GivenUp(Exception):
    """The server cannot be reached while the monitor is closing, so sending ends."""


class Pace:
    """The pauses of the shipping thread: they grow, and end with the monitor.

    ``closing`` is set when no more events are accepted, and ``dead`` when nothing is sent any more. ``give_up_at`` and
    ``patient_until`` are moments of `time.perf_counter`: the end of the time to close, and of a pause that the server
    has asked for.
    """

    def __init__(self) -> None:
        self.closing, self.dead = threading.Event(), threading.Event()
        self.give_up_at, self.patient_until = float("inf"), 0.0
        self._wait, self._asked, self._due_at = FIRST_WAIT_SECONDS, 0.0, 0.0

    @property
    def due_in(self) -> float:
        """How many seconds the pause that `put_off` began still lasts; 0 if it is over."""
        return max(self._due_at - time.perf_counter(), 0.0)

    def relieve(self) -> None:
        """Begin anew with short pauses: the server has answered."""
        self._wait, self._asked, self._due_at = FIRST_WAIT_SECONDS, 0.0, 0.0

    def put_off(self, asked_seconds: float) -> None:
        """Begin a pause that nobody waits for."""
        self._asked = asked_seconds
        self._due_at = time.perf_counter() + self._next(asked_seconds)

    def pause(self, asked_seconds: float, *, last: bool) -> None:
        """Wait before the next try; while closing, only if the server asked for a pause that ends in time.

        Raises `GivenUp` if this was the ``last`` try.
        """
        seconds = self._next(asked_seconds)
        began = time.perf_counter()
        if not last and not self.closing.wait(seconds):
            return
        self._be_patient(asked_seconds - (time.perf_counter() - began), asked_seconds, last=last)

    def wait_to_end(self) -> None:
        """Wait, while closing, for the end of a pause that was put off, if the server asked for it and it is in time.

        Raises `GivenUp` otherwise.
        """
        if left := self.due_in:
            self._be_patient(left, self._asked, last=True)

    def _be_patient(self, left: float, asked_seconds: float, *, last: bool) -> None:
        if asked_seconds and time.perf_counter() + left < self.give_up_at:
            self.patient_until = time.perf_counter() + left
            self.dead.wait(max(left, 0.0))
        elif last:
            raise GivenUp

    def _next(self, asked_seconds: float) -> float:
        seconds = max(self._wait * _random.uniform(0.5, 1.0), asked_seconds)
        self._wait = min(self._wait * 2.0, LONGEST_WAIT_SECONDS)
        return seconds
