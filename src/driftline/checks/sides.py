"""The two sides of a check, after each has been profiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from driftline.checks.scan import SideProfile
from driftline.events import class_name
from driftline.profiles import CategoricalColumn, Column, Columns, WindowProfile
from driftline.profiles.frame import SCORE
from driftline.profiles.layout import Layout

if TYPE_CHECKING:  # it is imported while the rows are read
    from driftline.statistics import EffectThresholds


class Said(msgspec.Struct, frozen=True):
    """Which facts about the model the caller gave, so that they need not be guessed."""

    task: bool = False
    positive: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """Both profiled sides; ``types_before`` and ``types_now`` are the types of the files' columns as compared.

    ``said`` are notes on how the files were read; ``written`` are the reference's types as they were in the file.
    """

    layout: Layout
    before: SideProfile
    now: SideProfile
    types_before: Mapping[str, pl.DataType]
    types_now: Mapping[str, pl.DataType]
    floors: EffectThresholds
    said: tuple[str, ...] = ()
    written: Mapping[str, pl.DataType] = {}

    @property
    def columns(self) -> Columns:
        """The role of each column."""
        return self.layout.columns

    def outputs(self) -> dict[str, str]:
        """Return the column of the file for each profiled output."""
        score, schema = self.columns.score, self.layout.schema
        if isinstance(score, str):
            score = {schema.positive: score} if schema.positive is not None else {}
        named = {SCORE + class_name(name): column for name, column in (score or {}).items()}
        if self.columns.prediction is not None:
            named["prediction"] = self.columns.prediction
        return named

    def profiles(self, profile: WindowProfile) -> dict[str, Column]:
        """Return every profiled column by its name in the file: features, prediction, scores, label."""
        found: dict[str, Column] = {
            name: profile.features.columns[name]
            for name in self.layout.schema.features
            if name in profile.features.columns
        }
        for name, column in self.outputs().items():
            if name in profile.outputs.columns:
                found[column] = profile.outputs.columns[name]
        if self.columns.label is not None and "label" in profile.labels.columns:
            found[self.columns.label] = profile.labels.columns["label"]
        return found

    def role(self, column: str) -> str:
        """Return the role of a column: feature, prediction, score, label, time or id."""
        return self.columns.roles.get(column, "feature")

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of both sides and of the schema, sorted."""
        return tuple(sorted({*self.layout.schema.classes, *classes_of(self.columns, self.before, self.now)}))


def classes_of(columns: Columns, *sides: SideProfile) -> set[str]:
    """Return every class among the labels and predictions of some sides; those derived from scores do not count."""
    found: set[str] = set()
    for seen in sides:
        for profile, name in ((seen.profile.labels, "label"), (seen.profile.outputs, "prediction")):
            column = profile.columns.get(name)
            if isinstance(column, CategoricalColumn) and (name == "label" or columns.prediction is not None):
                found |= set(column.categories.counts)
    return found
