"""Bounds how many new names a model can be given: each class and version costs memory, columns and series for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from driftline.errors import RefusedRow
from driftline.events import ParsedLabels, ParsedPredictions, Schema, Task
from driftline.events.columns import LabelColumns, PredictionColumns
from driftline.events.values import UNKNOWN_CLASSES_LIMIT
from driftline.store.framed import PredictionFrame
from driftline.text import quoted

NEW_CLASSES_LIMIT = 1_000
"""The most classes that the reference does not show which events of a model may bring."""

NEW_VERSIONS_LIMIT = 1_000
"""How many versions a model can have that it had not when the service was started."""


@dataclass(slots=True)
class _Names:
    """Names of one kind: ``known`` ones cost nothing more, and at most ``limit`` others are taken.

    ``by_case``: two that differ by case only are one too many, because they become columns.
    """

    about: str
    words: str
    known: set[str]
    limit: int
    by_case: bool = False
    fresh: set[str] = field(default_factory=set)
    folded: dict[str, str] = field(default_factory=dict)

    def new_ones(self, names: Iterable[Any]) -> set[Any]:
        """Return the names that are new."""
        return set(names) - self.known - self.fresh

    def has_room(self, new: set[str]) -> bool:
        """Return whether all of some new names may be taken."""
        if len(self.fresh) + len(new) > self.limit:
            return False
        folded = {name.casefold() for name in new}
        return not self.by_case or (len(folded) == len(new) and self.folded.keys().isdisjoint(folded))

    def problem(self, name: str) -> str | None:
        """Return why a name is not taken, or None."""
        if name in self.known or name in self.fresh:
            return None
        if self.by_case and (first := self.folded.get(name.casefold(), name)) != name:
            return f"came {quoted(name)}, which differs from {quoted(first)} by case only; keep one spelling"
        if len(self.fresh) >= self.limit:
            return f"came {quoted(name)}, after {self.limit} new {self.words}, which is the most; do not make them up"
        return None

    def add(self, name: str) -> None:
        """Remember a name."""
        if name not in self.known:
            self.fresh.add(name)
            self.folded.setdefault(name.casefold(), name)


_Facet = tuple[_Names, Callable[[Any], Iterable[str]]]
"""Names of one kind, and how an event is asked for those that it holds."""


class Admission:
    """What new names one model may still be given.

    Called by the threads of requests: together they may pass a limit by what their batches hold, no more.
    """

    def __init__(self, schema: Schema, scored: Iterable[str] = (), versions: Iterable[str] = ()) -> None:
        """``scored`` are the classes that the log has columns of, ``versions`` those that the model had so far."""
        known = set(schema.classes)
        of_labels = _Names("label", "classes", known, NEW_CLASSES_LIMIT)
        columns = _Names("score", "scored classes", known, UNKNOWN_CLASSES_LIMIT, by_case=True)
        for name in scored:
            columns.add(name)
        of_versions = _Names("version", "versions", set(versions), NEW_VERSIONS_LIMIT)
        classified = schema.task is not Task.REGRESSION
        self._labels: list[_Facet] = [(of_labels, lambda one: (one.label,))] if classified else []
        self._predictions: list[_Facet] = [(of_versions, lambda one: (one.version,)), (columns, lambda one: one.score)]
        if classified:
            of_predictions = replace(of_labels, about="prediction")  # one set of names: they share what is remembered
            self._predictions.append((of_predictions, lambda one: (one.prediction,)))

    def admits(self, columns: PredictionColumns | LabelColumns | PredictionFrame) -> bool:
        """Return whether events may name all that they name; if so it is remembered, else rows have to be looked at."""
        facets = self._labels if isinstance(columns, LabelColumns) else self._predictions
        named: list[Iterable[Any]] = [columns.labels] if isinstance(columns, LabelColumns) else _named(columns)
        asked = [
            (names, new) for (names, _), those in zip(facets, named, strict=False) if (new := names.new_ones(those))
        ]
        if not all(names.has_room(new) for names, new in asked):
            return False
        for names, new in asked:
            for name in new:
                names.add(name)
        return True

    def predictions(self, parsed: ParsedPredictions, rows: Sequence[Any]) -> ParsedPredictions:
        """Refuse the rows that name one class or version too many, and remember the names of the others."""
        good, refused = _sort(parsed, rows, self._predictions)
        return ParsedPredictions(tuple(good), refused)

    def labels(self, parsed: ParsedLabels, rows: Sequence[Any]) -> ParsedLabels:
        """Refuse the rows that name one class too many, and remember the names of the others."""
        good, refused = _sort(parsed, rows, self._labels)
        return ParsedLabels(tuple(good), refused)


def _named(columns: PredictionColumns | PredictionFrame) -> list[Iterable[Any]]:
    """Return what predictions name, in the order of what is asked about them."""
    if isinstance(columns, PredictionFrame):
        return [columns.different("version"), columns.scored, columns.different("prediction")]
    given = [name for name, scores in columns.scores.items() if any(one is not None for one in scores)]
    return [columns.versions, given, columns.predictions]


def _sort(
    parsed: ParsedPredictions | ParsedLabels, rows: Sequence[Any], facets: Sequence[_Facet]
) -> tuple[Sequence[Any], tuple[tuple[RefusedRow, Any], ...]]:
    asked = [(names, of) for names, of in facets if names.new_ones(name for one in parsed.good for name in of(one))]
    if not asked:
        return parsed.good, parsed.refused
    before = {row.index for row, _ in parsed.refused}
    places = (index for index in range(len(rows)) if index not in before)
    good: list[Any] = []
    refused = list(parsed.refused)
    for index, one in zip(places, parsed.good, strict=True):
        asks = ((names, name) for names, of in asked for name in of(one))
        found = next(((names.about, why) for names, name in asks if (why := names.problem(name))), None)
        if found is not None:
            refused.append((RefusedRow(index, *found), rows[index]))
            continue
        good.append(one)
        for names, of in asked:
            for name in of(one):
                names.add(name)
    return good, tuple(sorted(refused, key=lambda pair: pair[0].index))
