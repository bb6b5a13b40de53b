"""The value that every statistic returns."""

from __future__ import annotations

import msgspec


class Measure(msgspec.Struct, frozen=True):
    """A number with an interval and a count of rows; or the reason why there is none.

    ``value``, ``low`` and ``high`` are finite or None; ``low <= value <= high`` where all are there. ``n`` is the
    number of rows it was computed from. ``confidence`` is the two-sided level of the interval, in (0, 1). ``problem``
    says in words why ``value`` is None; it is empty where there is a value.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    confidence: float = 0.95
    problem: str = ""
