"""Profiles of several columns, and of all rows of a window of a model."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from driftline.profiles.column import CategoricalColumn, Column, CompositeColumn, NumericColumn, merge_columns
from driftline.profiles.delays import LabelDelays
from driftline.profiles.performance import Classification, Regression, merge_performance


class Profile(msgspec.Struct, frozen=True):
    """Column profiles, sorted by name. When profiles merge, a column that only one of them has is kept as it is."""

    rows: int = 0
    columns: Mapping[str, NumericColumn | CategoricalColumn | CompositeColumn] = {}

    def merge(self, other: Profile) -> Profile:
        """Return the profile of both sets of rows."""
        columns: dict[str, Column] = {}
        for name in sorted(self.columns.keys() | other.columns.keys()):
            mine, theirs = self.columns.get(name), other.columns.get(name)
            if mine is not None and theirs is not None:
                columns[name] = merge_columns(mine, theirs)
            else:
                there = mine if mine is not None else theirs
                assert there is not None
                columns[name] = there
        return Profile(self.rows + other.rows, columns)


class WindowProfile(msgspec.Struct, frozen=True):
    """The profile of a set of rows of one model: a window, a reference file, a segment.

    ``features`` has the model's inputs; ``outputs`` its ``prediction``, ``score.<class>`` and ``latency_seconds``;
    ``labels`` the column ``label`` of the labelled rows; ``performance`` is None until a row is labelled. ``delays``
    says how late labels came, of rows of the event log.
    """

    features: Profile = msgspec.field(default_factory=Profile)
    outputs: Profile = msgspec.field(default_factory=Profile)
    labels: Profile = msgspec.field(default_factory=Profile)
    performance: Classification | Regression | None = None
    delays: LabelDelays = LabelDelays()

    def merge(self, other: WindowProfile) -> WindowProfile:
        """Return the profile of both sets of rows."""
        return WindowProfile(
            self.features.merge(other.features),
            self.outputs.merge(other.outputs),
            self.labels.merge(other.labels),
            merge_performance(self.performance, other.performance),
            self.delays.merge(other.delays),
        )

    @property
    def predictions(self) -> int:
        """The number of predictions."""
        return self.outputs.rows

    @property
    def labelled(self) -> int:
        """The number of predictions that have a label."""
        return self.labels.rows
