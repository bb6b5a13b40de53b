"""Counts of categories: exact up to a bound, sampled and bucketed beyond it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import UsageError
from driftline.sketches.hashing import hash_names
from driftline.sketches.sample import KEPT, distinct_bounds

EXACT_LIMIT = 10_000
"""Up to this many categories are all kept; of more, only the `KEPT` ones with the smallest hashes."""
BUCKETS = 1024

_Counts = npt.NDArray[np.int64]
_BUCKET_SHIFT = np.uint64(64 - 10)
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)


def buckets_of(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the bucket of each hash, 0 to `BUCKETS` - 1; independent of how small the hash is."""
    return (hashes * _FIBONACCI) >> _BUCKET_SHIFT


def _no_buckets() -> _Counts:
    return np.empty(0, np.int64)


class CategoryCounts(msgspec.Struct, frozen=True, eq=False):
    """Counts by category; every count is above 0 and exact, and the names are sorted, so bytes are reproducible.

    Up to `EXACT_LIMIT` categories are all kept, and ``buckets`` is empty. With more, ``counts`` has the `KEPT`
    categories with the smallest hashes, a fair sample of the names with exact counts, and ``buckets``, shape
    (`BUCKETS`,), counts all rows by a hash of their category. Neither depends on the order of the rows, as a list of
    the most frequent names would (Misra & Gries 1982 and its successors).
    """

    counts: Mapping[str, int] = {}
    buckets: _Counts = msgspec.field(default_factory=_no_buckets)

    def __post_init__(self) -> None:
        if len(self.buckets) not in (0, BUCKETS):
            raise UsageError(f"{len(self.buckets)} buckets came; there are none or {BUCKETS}")
        names = list(self.counts)
        if names != sorted(names) or min(self.counts.values(), default=1) <= 0 or (self.buckets < 0).any():
            raise UsageError("names must be ascending and counts above 0")

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, int]]) -> CategoryCounts:
        """Build from (category, count) pairs; repeated categories add up, zero counts vanish."""
        counts: dict[str, int] = {}
        for name, count in pairs:
            if count:
                counts[name] = counts.get(name, 0) + count
        return _bounded(counts, _no_buckets())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CategoryCounts):
            return NotImplemented
        return self.counts == other.counts and np.array_equal(self.buckets, other.buckets)

    __hash__ = None  # type: ignore[assignment]  # a mapping and an array inside: equal by value, not hashable

    def merge(self, other: CategoryCounts) -> CategoryCounts:
        """Return the counts of both."""
        counts = dict(self.counts)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        if self.exact and other.exact:
            return _bounded(counts, _no_buckets())
        return _bounded(counts, self.by_bucket() + other.by_bucket())

    @property
    def exact(self) -> bool:
        """Whether every category is kept."""
        return not len(self.buckets)

    @property
    def count(self) -> int:
        """The number of values counted."""
        return sum(self.counts.values()) if self.exact else int(self.buckets.sum())

    def share(self, name: str) -> float:
        """Return the share of a category, 0 to 1; 0 if nothing was counted, or if it is not among the kept ones."""
        return self.counts.get(name, 0) / self.count if self.count else 0.0

    def shares(self) -> dict[str, float]:
        """Return the share of each kept category, 0 to 1; a hundred times as fast as `share` for each of them."""
        count = self.count
        return {name: own / count for name, own in self.counts.items()}

    def known(self, names: Iterable[str]) -> set[str]:
        """Return the names whose count is known, even if it is 0: those with a hash small enough to be kept."""
        if self.exact:
            return set(names)
        asked = list(names)
        small = hash_names(asked) <= np.uint64(self.threshold)
        return {name for name, kept in zip(asked, small.tolist(), strict=True) if kept}

    def bounds(self, name: str) -> tuple[int, int]:
        """Return the smallest and the largest possible count of a category; they are equal for a kept one."""
        if self.known([name]):
            return self.counts.get(name, 0), self.counts.get(name, 0)
        own = buckets_of(hash_names([name]))[0]
        kept = buckets_of(hash_names(self.counts)) == own
        known = sum(count for count, there in zip(self.counts.values(), kept.tolist(), strict=True) if there)
        return 0, int(self.buckets[int(own)]) - known

    def distinct(self) -> tuple[float, float, float]:
        """Return (estimate, low, high) of the number of categories; see `distinct_bounds`."""
        return distinct_bounds(
            len(self.counts), self.threshold if len(self.counts) >= KEPT and not self.exact else None
        )

    @property
    def threshold(self) -> int:
        """The largest hash with which a category is kept."""
        return (1 << 64) - 1 if self.exact or not self.counts else int(hash_names(self.counts).max())

    def up_to(self, threshold: int) -> dict[str, int]:
        """Return the counts of the categories with a hash of at most ``threshold``, on which two samples compare."""
        if self.exact and threshold == (1 << 64) - 1:
            return dict(self.counts)
        there = hash_names(self.counts) <= np.uint64(threshold)
        return {name: self.counts[name] for name, kept in zip(self.counts, there.tolist(), strict=True) if kept}

    def by_bucket(self) -> _Counts:
        """Return the counts of all values by a hash of their category, shape (`BUCKETS`,)."""
        return self.buckets if not self.exact else _by_bucket(self.counts)


def _by_bucket(counts: Mapping[str, int]) -> _Counts:
    buckets = np.zeros(BUCKETS, np.int64)
    if counts:
        np.add.at(buckets, buckets_of(hash_names(counts)).astype(np.int64), np.fromiter(counts.values(), np.int64))
    return buckets


def _bounded(counts: Mapping[str, int], buckets: _Counts) -> CategoryCounts:
    if not len(buckets):
        if len(counts) <= EXACT_LIMIT:
            return CategoryCounts({name: counts[name] for name in sorted(counts)})
        buckets = _by_bucket(counts)
    names = np.array(list(counts), dtype=object)
    kept = names[np.argsort(hash_names(counts), kind="stable")[:KEPT]].tolist() if len(names) > KEPT else names.tolist()
    return CategoryCounts({name: counts[name] for name in sorted(kept)}, buckets)
