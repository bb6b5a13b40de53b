"""Columns that are never stored, shown or logged in clear: ``columns.store`` of a model.

The one place that hides them, behind every door: `Hiding.events` before rows are checked, so that no reason repeats a
value and no row that is set aside has one; `Hiding.rows` where a file is read. Equal values stay equal, whichever way
they come, so that categories are compared as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import polars as pl

from driftline.events import Kind, Schema, class_name
from driftline.events.missing import is_missing
from driftline.events.values import identifier
from driftline.monitoring.options import ModelConfig
from driftline.profiles.frame import identifiers, typed_values
from driftline.profiles.missing import without_missing
from driftline.sources.files import open_rows
from driftline.sources.hidden import HiddenRows
from driftline.sources.rows import Rows
from driftline.store.hash_key import HashKey

PREFIX = "hash:"
"""What a hashed value begins with: it is never taken for a number."""

NOT_STORED = "(not stored)"
"""What stands for a value of a field that nobody configured, where some columns are not to be stored in clear."""

_FIELDS = {
    "predictions": {"id", "time", "version", "prediction", "score", "latency_seconds", "role"},
    "labels": {"id", "label", "time"},
}


@dataclass(frozen=True, slots=True)
class Hiding:
    """Which columns of a model are hashed, and which are left out."""

    hashed: frozenset[str]
    left_out: frozenset[str]
    id: str | None
    missing: tuple[str, ...]
    key: HashKey

    @classmethod
    def of(cls, config: ModelConfig) -> Hiding | None:
        """Return that of a model; None where all is stored in clear."""
        if not config.store:
            return None
        hashed = frozenset(name for name, how in config.store.items() if how == "hash")
        columns = config.columns
        return cls(hashed, frozenset(config.store) - hashed, columns.id, columns.missing, config.key)

    def text(self, text: str) -> str:
        """Return what stands for a text: equal for equal ones, and nothing of it can be seen."""
        return PREFIX + self.key.shown(text)

    # ---- events ------------------------------------------------------------------------------------------------------

    def events(self, rows: Sequence[Any], kind: Literal["predictions", "labels"], schema: Schema) -> list[Any]:
        """Return decoded rows of a request without what is not to be stored.

        What nobody configured is withheld with its value: a misspelt name must not bring one to the disk.
        """
        return [self._event(row, kind, schema) for row in rows]

    def _event(self, row: Any, kind: Literal["predictions", "labels"], schema: Schema) -> Any:
        if not isinstance(row, dict):
            return NOT_STORED
        found: dict[Any, Any] = {}
        for name, value in row.items():
            if name == "id":
                found[name] = self.identifier(value)
            elif name == "features" and kind == "predictions":
                found[name] = self._features(value, schema)
            elif name in _FIELDS[kind]:
                found[name] = value
            elif name not in self.left_out:
                found[name] = NOT_STORED
        return found

    def identifier(self, value: Any) -> Any:
        """Return what stands for an id; one that cannot be an id stands for none, and is refused as such."""
        if self.id not in self.hashed or value is None:
            return value
        try:
            is_name = isinstance(value, (str, int, float)) and not isinstance(value, bool)
            return self.text(identifier(value)) if is_name else ""
        except (ValueError, OverflowError):
            return ""

    def _features(self, features: Any, schema: Schema) -> Any:
        if not isinstance(features, dict):
            return features if features is None else NOT_STORED
        found: dict[Any, Any] = {}
        for name, value in features.items():
            if name in self.left_out:
                continue
            if name not in schema.features:
                found[name] = NOT_STORED
            else:
                found[name] = self._value(value) if name in self.hashed else value
        return found

    def _value(self, value: Any) -> Any:
        if value is None or (isinstance(value, (str, int, float)) and is_missing(value, self.missing)):
            return None
        try:
            text = msgspec.json.encode(value).decode() if isinstance(value, (dict, list)) else class_name(value)
        except (ValueError, TypeError, OverflowError, RecursionError):  # a number of thousands of digits, for one
            return NOT_STORED
        return self.text(text)

    # ---- files -------------------------------------------------------------------------------------------------------

    def rows(self, rows: Rows) -> Rows:
        """Return the rows of a file, or a frame, without what is not to be stored or shown."""
        return HiddenRows(rows, self.frame, self.hashed, self.left_out)

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame so."""
        there = [name for name in frame.columns if name in self.hashed]
        return frame.drop(self.left_out & set(frame.columns)).with_columns(self._column(frame[name]) for name in there)

    def _column(self, values: pl.Series) -> pl.Series:
        if values.dtype.is_nested():
            members = [None if one is None else msgspec.json.encode(one).decode() for one in values.to_list()]
            names = pl.Series(values.name, members, dtype=pl.String)
        elif values.name == self.id:
            names = identifiers(values)
        elif values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean):
            there = without_missing(values, self.missing)
            texts = {one: self.text(class_name(one)) for one in there.drop_nulls().unique()}
            return pl.Series(values.name, [None if one is None else texts[one] for one in there], dtype=pl.String)
        else:
            names = typed_values(without_missing(values, self.missing), Kind.CATEGORICAL).cast(pl.String)
        hidden: Mapping[str, str] = {one: self.text(one) for one in names.drop_nulls().unique()}
        return names.replace_strict(hidden, return_dtype=pl.String).alias(values.name)


def opened(path: Any, config: ModelConfig) -> Rows:
    """Open rows of a model's file, pattern or address, without what is not to be stored; see `open_rows`."""
    rows, hiding = open_rows(path, config.columns.missing), Hiding.of(config)
    return rows if hiding is None else hiding.rows(rows)
