"""Wait longer after each failed attempt, by a random amount so that clients do not all retry at the same moment."""

from __future__ import annotations

import random

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
_DOUBLINGS = 30


def wait_seconds(attempts: int, rng: random.Random) -> float:
    """Return how many seconds to wait after ``attempts`` failures, 1 or more.

    The longest wait is 1 second, doubled with each failure up to five minutes; the wait is a random 50 to 100 % of it.

    >>> [round(wait_seconds(attempts, random.Random(0)), 1) for attempts in (1, 2, 3, 100)]
    [0.9, 1.8, 3.7, 276.7]
    """
    full = min(FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, _DOUBLINGS), LONGEST_WAIT_SECONDS)
    return full * rng.uniform(0.5, 1.0)
