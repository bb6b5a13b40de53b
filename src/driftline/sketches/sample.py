"""Sample distinct keys by their hashes: which are kept depends only on the set of keys, not on their order.

The sample has the k smallest hashes of the set ("bottom-k", k minimum values: Bar-Yossef et al. 2002; Beyer et al.
2007). A key that is kept at the end was never thrown out before, so the count of its rows is exact.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import UsageError

KEPT = 4096
_SPACE = 2.0**64

_Hashes = npt.NDArray[np.uint64]
_Counts = npt.NDArray[np.int64]


def distinct_bounds(kept: int, threshold: int | None, *, sds: float = 3.0) -> tuple[float, float, float]:
    """Return (estimate, low, high) of the number of distinct keys, when ``kept`` of them hash to at most ``threshold``.

    Without a threshold all are kept, and the number is exact. Otherwise, the k-th smallest of D uniform hashes lies at
    about k / D, with a relative standard error of 1 / sqrt(k - 2); the bounds are ``sds`` standard errors away.
    """
    if threshold is None:
        return float(kept), float(kept), float(kept)
    estimate = (kept - 1) / ((threshold + 1) / _SPACE)
    error = sds / math.sqrt(kept - 2)
    return estimate, max(estimate / (1 + error), float(kept)), estimate / (1 - error)


def _no_keys() -> _Hashes:
    return np.empty(0, np.uint64)


def _no_counts() -> _Counts:
    return np.empty(0, np.int64)


class KeySample(msgspec.Struct, frozen=True, eq=False):
    """The `KEPT` smallest hashes of the keys of ``rows`` rows, ascending, and how often each came, each shape (k,)."""

    rows: int = 0
    hashes: _Hashes = msgspec.field(default_factory=_no_keys)
    counts: _Counts = msgspec.field(default_factory=_no_counts)

    def __post_init__(self) -> None:
        if len(self.hashes) != len(self.counts) or len(self.hashes) > KEPT:
            raise UsageError(f"{len(self.hashes)} keys and {len(self.counts)} counts came; at most {KEPT} of each")
        if len(self.hashes) and (bool((self.hashes[1:] <= self.hashes[:-1]).any()) or int(self.counts.min()) <= 0):
            raise UsageError("hashes must be ascending and counts above 0")

    @classmethod
    def of(cls, hashes: _Hashes, before: KeySample | None = None) -> KeySample:
        """Sample hashed keys, shape (n,), uniform on 64 bits; skips those that cannot be kept beside ``before``."""
        rows = len(hashes)
        some = hashes
        if before is not None and len(before.hashes) == KEPT:
            some = hashes = hashes[hashes <= before.hashes[-1]]
        elif rows > 4 * KEPT:  # most cannot be among the smallest
            some = hashes[hashes <= np.uint64(int(2 * KEPT / rows * _SPACE))]
        smallest, counts = np.unique(some, return_counts=True)
        if len(smallest) < KEPT and len(some) < len(hashes):  # they repeat too often
            smallest, counts = np.unique(hashes, return_counts=True)
        return cls(rows, smallest[:KEPT], counts[:KEPT].astype(np.int64))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeySample):
            return NotImplemented
        return (
            self.rows == other.rows
            and np.array_equal(self.hashes, other.hashes)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside: equal by value, not hashable

    def merge(self, other: KeySample) -> KeySample:
        """Return the sample of both sets of rows."""
        hashes, place = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        counts = np.zeros(len(hashes), np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return KeySample(self.rows + other.rows, hashes[:KEPT], counts[:KEPT])

    @property
    def exact(self) -> bool:
        """Whether every key is kept."""
        return len(self.hashes) < KEPT or int(self.counts.sum()) == self.rows

    def distinct(self) -> tuple[float, float, float]:
        """Return (estimate, low, high) of the number of distinct keys; see `distinct_bounds`."""
        return distinct_bounds(len(self.hashes), None if self.exact else int(self.hashes[-1]))

    @property
    def repeated(self) -> float:
        """The share of rows that repeat the key of an earlier one, 0 to 1, judged by the kept keys; 0 when empty."""
        kept = int(self.counts.sum())
        return 1 - len(self.hashes) / kept if kept else 0.0
