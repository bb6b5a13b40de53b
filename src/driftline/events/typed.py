"""Read JSON into columns by types made of a model's schema: what the types do not allow is left to the row by row way.

msgspec checks names and types while it decodes, so that no dictionary is made of a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from driftline.events.columns import Came, Column
from driftline.events.missing import MISSING_TEXTS
from driftline.events.schema import Kind, Schema, Task

_Moment = Annotated[datetime, Meta(tz=True)]
_NAME = str | int | float
_FEATURE: dict[Kind, Any] = {
    Kind.NUMERIC: float | None,
    Kind.CATEGORICAL: str | int | float | bool | None,
    Kind.TEXT: str | int | float | bool | None,
    Kind.DATETIME: str | int | float | None,
}
_ROW_ENDS = b"}\n{"
_ESCAPED = re.compile(r'["\\\x00-\x1f]')


class _Table:
    """A type of objects with these fields, and how its objects become columns. Names may be any text.

    A name that JSON has to escape cannot be a field of msgspec: an object that has it is not as the type says.
    """

    def __init__(self, title: str, fields: Mapping[str, Any]) -> None:
        self._names = tuple(fields)
        self._fields = {f"f{at}": name for at, name in enumerate(fields) if not _ESCAPED.search(name)}
        self.type: Any = msgspec.defstruct(
            title,
            [(ours, fields[name], None) for ours, name in self._fields.items()],
            rename=self._fields,
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        self.empty = self.type()

    def columns(self, objects: Column) -> dict[str, Column]:
        """Return the columns of some objects."""
        known = {name: list(map(attrgetter(ours), objects)) for ours, name in self._fields.items()}
        return {name: known[name] if name in known else [None] * len(objects) for name in self._names}


class _Decoder:
    """Decodes the rows of a body to objects of a type."""

    def __init__(self, kind: Any) -> None:
        self._array: msgspec.json.Decoder[Column] = msgspec.json.Decoder(list[kind])
        self._line: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def rows(self, body: bytes, *, lines: bool) -> Column | None:
        """Return the rows; None where one of them, or the body, is not as the type says."""
        ends = 0
        if lines:
            body = body.removesuffix(b"\n")
            ends = body.count(b"\n")
            if b"\r" in body or body.count(_ROW_ENDS) != ends:  # a row may end elsewhere, or be broken by a line
                return None
        try:
            rows = self._line.decode_lines(body) if lines else self._array.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None
        return rows if not lines or len(rows) == ends + 1 else None


class TypedReader:
    """Reads the rows of one model, JSON arrays and NDJSON. Times are texts where a format is to be applied to them."""

    def __init__(self, schema: Schema, *, time_format: str | None = None) -> None:
        self.schema, self._positive = schema, schema.positive
        usual = schema.missing is MISSING_TEXTS and time_format is None
        time = _Moment | int | float | None if usual else str | int | float | None
        target = float if schema.task is Task.REGRESSION else str | int | float | bool
        self._features = _Table("Features", {name: _FEATURE.get(kind, Any) for name, kind in schema.features.items()})
        self._scores = _Table("Scores", dict.fromkeys(schema.classes, float | None))
        prediction = msgspec.defstruct(
            "TypedPrediction",
            [
                ("prediction", target),
                ("features", self._features.type, msgspec.field(default_factory=self._features.type)),
                ("id", _NAME | None, None),
                ("time", time, None),
                ("version", _NAME | None, None),
                ("score", None if schema.task is Task.REGRESSION else self._scores.type | float | None, None),
                ("latency_seconds", float | None, None),
            ],
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        label = msgspec.defstruct(
            "TypedLabel",
            [("id", _NAME), ("label", target), ("time", time, None)],
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        self._prediction, self._label = _Decoder(prediction), _Decoder(label)

    def predictions(self, body: bytes, *, lines: bool) -> Came | None:
        """Return the columns of a body, NDJSON with ``lines``; None where it is not as the types say."""
        rows = self._prediction.rows(body, lines=lines)
        scores = None if rows is None else self._scores_of([one.score for one in rows])
        if rows is None or scores is None:
            return None
        return Came(
            len(rows),
            [one.prediction for one in rows],
            [one.id for one in rows],
            [one.time for one in rows],
            [one.version for one in rows],
            [one.latency_seconds for one in rows],
            self._features.columns([one.features for one in rows]),
            scores,
        )

    def labels(self, body: bytes, *, lines: bool) -> Came | None:
        """Return the columns of a body, NDJSON with ``lines``; None where it is not as the types say."""
        rows = self._label.rows(body, lines=lines)
        if rows is None:
            return None
        return Came(len(rows), [one.label for one in rows], [one.id for one in rows], [one.time for one in rows])

    def _scores_of(self, scores: Column) -> Mapping[str, Column] | None:
        kinds = {*map(type, scores)} - {NoneType}
        if not kinds:
            return {}
        if kinds == {float}:
            return None if self._positive is None else {self._positive: scores}
        if kinds != {self._scores.type}:
            return None
        return self._scores.columns([self._scores.empty if one is None else one for one in scores])
