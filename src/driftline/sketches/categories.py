"""Counts of categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CategoryCounts:
    """Exact counts per category; every count is above 0 and the names are in order, so that bytes are reproducible."""

    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, int]]) -> CategoryCounts:
        """Build from (category, count) pairs; repeated categories add up, zero counts vanish."""
        counts: dict[str, int] = {}
        for name, count in pairs:
            if count:
                counts[name] = counts.get(name, 0) + count
        return cls({name: counts[name] for name in sorted(counts)})

    def merge(self, other: CategoryCounts) -> CategoryCounts:
        """Return the counts of both."""
        return CategoryCounts.of([*self.counts.items(), *other.counts.items()])

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values())

    def share(self, name: str) -> float:
        """Share of a category, 0 to 1; 0 when nothing was counted."""
        return self.counts.get(name, 0) / self.count if self.counts else 0.0
