"""How many events a second a token may send: the rate, and an account of what each has left. Pure."""

from __future__ import annotations

import math
import re

from driftline.errors import UsageError

_RATE = re.compile(r"(?P<events>[1-9][0-9]{0,8})/(?P<unit>s|min)")
_SECONDS = {"s": 1, "min": 60}
_MOST_ACCOUNTS = 10_000


class RateLimitError(UsageError):
    """A token that has used what it may; ``wait_seconds`` is after how many seconds it may ask again."""

    def __init__(self, message: str, wait_seconds: int) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


def per_second(rate: str) -> float:
    """Parse a rate such as ``1000/s`` or ``30/min``; return events a second.

    >>> per_second("1000/s"), per_second("30/min")
    (1000.0, 0.5)
    """
    found = _RATE.fullmatch(rate)
    if found is None:
        raise UsageError(
            f"the limit {rate!r} came; allowed is a whole number of events a second or minute: 1000/s, 30/min"
        )
    return int(found["events"]) / _SECONDS[found["unit"]]


class Accounts:
    """What each name has left of its rate, in events: at most a second's worth, and at least one event.

    A request that comes while there is less than one event is refused. One that is taken may cost more than is left:
    nobody knows how many events it has before it is read. The next ones then wait until that is made up for. In the
    memory of one process, and from one thread; bounded, for an account that is full again is forgotten.
    """

    def __init__(self, most: int = _MOST_ACCOUNTS) -> None:
        self._most = most
        self._left: dict[str, tuple[float, float, float]] = {}  # events, at which second, events a second

    def enter(self, name: str, rate: str, now: float) -> None:
        """Take one event for a request, at a second of a clock that never runs back.

        Raises `RateLimitError` where none is left.
        """
        events = per_second(rate)
        left = self._now(name, events, now)
        if left < 1:
            wait = max(1, math.ceil((1 - left) / events))
            raise RateLimitError(f"the token of {name} may send {rate}, and has; send again in {wait} s", wait)
        if len(self._left) >= self._most:
            self._forget_full(now)
        self._left[name] = (left - 1, now, events)

    def charge(self, name: str, events: int) -> None:
        """Take more events for a request that has entered."""
        if (known := self._left.get(name)) is not None:
            left, at, rate = known
            self._left[name] = (left - events, at, rate)

    def _now(self, name: str, events: float, now: float) -> float:
        most = max(1.0, events)
        left, at, _ = self._left.get(name, (most, now, events))
        return min(most, left + (now - at) * events)

    def _forget_full(self, now: float) -> None:
        full = [name for name, (_, _, rate) in self._left.items() if self._now(name, rate, now) >= max(1.0, rate)]
        for name in full:
            del self._left[name]

    def __len__(self) -> int:
        return len(self._left)
