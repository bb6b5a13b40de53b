"""The only place that reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Seconds that never run backwards, for measuring spans."""
    return time.monotonic()
