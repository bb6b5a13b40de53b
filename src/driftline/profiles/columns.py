"""The role that each column of a file plays."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from driftline.events import MISSING_TEXTS


class Columns(msgspec.Struct, frozen=True):
    """The roles of a file's columns. ``features`` None means: every column that has no other role.

    ``score`` is one column (binary: the positive class's probability) or a mapping of class name to column. ``missing``
    are the texts that stand for a missing value. ``time_format`` says how times are written; None: inferred.
    ``categorical`` are features whose numbers are codes, not quantities; None: inferred. Rows that share a value of
    ``cluster`` are not treated as independent.
    """

    id: str | None = None
    time: str | None = None
    version: str | None = None
    prediction: str | None = None
    score: str | Mapping[str, str] | None = None
    label: str | None = None
    features: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING_TEXTS
    time_format: str | None = None
    categorical: tuple[str, ...] | None = None
    cluster: str | None = None

    @property
    def roles(self) -> dict[str, str]:
        """The columns that have another role than feature: column name to role."""
        roles = {
            column: part
            for part in ("id", "time", "version", "prediction", "label")
            if (column := getattr(self, part)) is not None
        }
        scores = {"": self.score} if isinstance(self.score, str) else (self.score or {})
        return roles | dict.fromkeys(scores.values(), "score")

    @property
    def unread(self) -> frozenset[str]:
        """The columns that are ignored and have no role either: their values are not read."""
        return frozenset(self.ignore).difference(self.roles, self.segments, self.features or (), (self.cluster,))
