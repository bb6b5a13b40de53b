"""Make the ids of events, and read the clock of the SDK."""

from __future__ import annotations

import os
import struct
import threading
import time

_WORDS = struct.Struct("400Q")
_LOW_BITS = 62
_VARIANT = 0b10 << _LOW_BITS


def now_ns() -> int:
    """Return the present time, in nanoseconds since 1970, from the SDK's own clock in the user's process."""
    return time.time_ns()


class Ids:
    """Makes UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 bits that are random, but grow within a millisecond.

    Ids grow within a process, even if the clock is set back.

    >>> one, other = Ids()(0), Ids()(1_700_000_000_000_000_000)
    >>> one[:15], other[:15], one[19] in "89ab"
    ('00000000-0000-7', '018bcfe5-6800-7', True)
    """

    def __init__(self) -> None:
        self._lock, self._words = threading.RLock(), []  # type: tuple[threading.RLock, list[int]]
        self._milliseconds, self._low, self._head = -1, 0, ""

    def __call__(self, moment_ns: int) -> str:
        """Return a new id; ``moment_ns`` is the present time in nanoseconds since 1970."""
        milliseconds = moment_ns // 1_000_000
        with self._lock:
            words = self._words
            low = self._low + 1 + ((words.pop() if words else self._word()) & 0xFFFF_FFFF)
            if milliseconds > self._milliseconds or low >> _LOW_BITS:
                self._begin(max(milliseconds, self._milliseconds + (low >> _LOW_BITS)))
            else:
                self._low = low
            text = "%016x" % (self._low | _VARIANT)
            return f"{self._head}-{text[:4]}-{text[4:]}"

    def _word(self) -> int:
        if not self._words:
            # The system's randomness, because the state of `random` belongs to the user, who may seed it.
            self._words = list(_WORDS.unpack(os.urandom(_WORDS.size)))
        return self._words.pop()

    def _begin(self, milliseconds: int) -> None:
        """Start a millisecond with a random number in the lower half of the range, so that there is room to grow."""
        self._milliseconds, self._low = milliseconds, self._word() >> 3
        self._head = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{self._word() >> 52:03x}"


_ids = Ids()


def new_id(moment_ns: int) -> str:
    """Return a new id, different from all others of this process and its forks."""
    return _ids(moment_ns)


def after_fork() -> None:
    """Start anew in a child process: a thread may have held the lock at the fork; the parent uses the random words."""
    global _ids  # noqa: PLW0603 - one generator a process
    _ids = Ids()
