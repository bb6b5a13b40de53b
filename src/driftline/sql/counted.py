"""Profile rows that come once each, with how often they occur."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt


class Mergeable(Protocol):
    """A profile, or a part of one."""

    def merge(self, other: Self) -> Self:
        """Return the profile of both sets of rows."""


_P = TypeVar("_P", bound=Mergeable)


def profile_counted(of: Callable[[npt.NDArray[np.bool_]], _P], nothing: _P, counts: npt.NDArray[np.int64]) -> _P:
    """Return the profile of rows that occur ``counts`` times each, shape (n,); ``of`` profiles those of a mask, once.

    Merging a profile with itself doubles every count, and the binary digits of the counts say what to add after each
    doubling. So the result is that of the repeated rows, byte for byte, after as many merges as the largest count has
    digits. ``nothing`` is the identity of merging.
    """
    total = nothing
    for digit in reversed(range(int(counts.max(initial=0)).bit_length())):
        total = total.merge(total)
        there = (counts >> digit) & 1 == 1
        if there.any():
            total = total.merge(of(there))
    return total
