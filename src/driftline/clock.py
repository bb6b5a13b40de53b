"""The only place that reads a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Seconds that never run backwards, for measuring spans."""
    return time.monotonic()


def worked_seconds() -> float:
    """Return the processor time that this thread has had: while others were before it, none passes."""
    return time.thread_time()


def steady() -> Callable[[], datetime]:
    """Return a clock that starts at the present moment and then never jumps: for schedules and spans."""
    began, origin = now(), monotonic_seconds()
    return lambda: began + timedelta(seconds=monotonic_seconds() - origin)
