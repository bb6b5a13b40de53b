"""How long to wait before the same is tried again: longer and longer, and not all at the same moment."""

from __future__ import annotations

import random

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
_DOUBLINGS = 30


def wait_seconds(attempts: int, rng: random.Random) -> float:
    """Return how long to wait after failed attempts: doubling up to five minutes, at random in its upper half.

    >>> [round(wait_seconds(attempts, random.Random(0)), 1) for attempts in (1, 2, 3, 100)]
    [0.9, 1.8, 3.7, 276.7]
    """
    full = min(FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, _DOUBLINGS), LONGEST_WAIT_SECONDS)
    return full * rng.uniform(0.5, 1.0)
