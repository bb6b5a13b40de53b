"""Profile rows that come once each, with how often they occur."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

_FEW = 65_536
"""Up to so many rows are simply repeated."""


class Mergeable(Protocol):
    """A profile, or a part of one."""

    def merge(self, other: Self) -> Self:
        """Return the profile of both sets of rows."""


_P = TypeVar("_P", bound=Mergeable)


def profile_counted(of: Callable[[npt.NDArray[np.int64]], _P], nothing: _P, counts: npt.NDArray[np.int64]) -> _P:
    """Return the profile of rows that occur ``counts`` times each, shape (n,); ``of`` profiles the rows at places.

    Merging a profile with itself doubles every count, and the binary digits of the counts say what to add after each
    doubling. So the result is that of the repeated rows, byte for byte, after as many merges as the largest count has
    digits. ``nothing`` is the identity of merging.
    """
    rows = int(counts.sum())
    if rows <= _FEW:
        return of(np.repeat(np.arange(len(counts)), counts)) if rows else nothing
    total = nothing
    for digit in reversed(range(int(counts.max()).bit_length())):
        total = total.merge(total)
        there = np.flatnonzero((counts >> digit) & 1)
        if len(there):
            total = total.merge(of(there))
    return total
