"""How processes share what each of them could do: evenly, and without passing things to and fro."""

from __future__ import annotations

from collections.abc import Sequence


def moves(mine: int, others: Sequence[int], free: int) -> int:
    """Return how many a process is to take of what is ``free`` (above 0), or to give away (below 0).

    It has ``mine``, and ``others`` is what each of the others has. Who has least takes what is free; where nothing is,
    who has two more than another gives one away. So none has two more than another in the end, and nothing moves while
    that is so.

    >>> moves(0, [], 3), moves(4, [0], 0), moves(2, [1], 0), moves(2, [1], 1), moves(1, [2], 1)
    (3, -2, 0, 0, 1)
    """
    if free:
        return next((number for number in range(free) if any(mine + number > one for one in others)), free)
    least = min(others, default=mine)
    return -max((mine - least) // 2, 0)
