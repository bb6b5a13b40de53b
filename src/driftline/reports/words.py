"""Words that the report of a check uses both in a terminal and on its page."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from driftline.lookalikes import shown, shown_all
from driftline.results.check import CheckReport, ComparedMeasure, Performance
from driftline.statistics import least_change
from driftline.statistics.segment_changes import ColumnChange
from driftline.text.numbers import decimals_of, figure, figures, fixed

if TYPE_CHECKING:  # a check has none
    from driftline.rules.contest import Contest


RULE_STATES: Mapping[str, str] = {"breach": "in breach", "ok": "ok", "nodata": "not judged"}
"""The state of a rule in words."""


class Fallen(NamedTuple):
    """Rows, such as those of a segment or a class, where a measure is worse than on the reference."""

    where: str
    name: str
    measure: ComparedMeasure


def cleaned(text: str, *, keep: str = "") -> str:
    """Replace control characters: a text from the data cannot move the cursor or change the direction of reading.

    >>> cleaned("wind\x1b[2J"), cleaned("a\u3000b") == "a\u3000b"
    ('wind�[2J', True)
    """
    return text if text.isprintable() else "".join(one if _is_shown(one, keep) else "\ufffd" for one in text)


def _is_shown(character: str, keep: str) -> bool:
    return character.isprintable() or character in keep or unicodedata.category(character) == "Zs"


def figures_of(measure: ComparedMeasure) -> tuple[str, str, str, str]:
    """Return a measure's value, the ends of its interval, and the reference's value; – for what is not known.

    Both values have enough decimals to show that they differ.

    >>> from driftline.results.check import MeasureReport
    >>> before = MeasureReport(0.00064)
    >>> figures_of(ComparedMeasure(0.00061, 0.0006, reference=before)), figures_of(ComparedMeasure(0.00061))[0]
    (('0.00061', '0.001', '–', '0.00064'), '0.001')
    """
    before = measure.reference.value if measure.reference is not None else None
    there = [value for value in (measure.value, before) if value is not None]
    told = iter(figures(*there))
    value, was = ("–" if one is None else next(told) for one in (measure.value, before))
    low, high = ("–" if end is None else figure(end) for end in (measure.low, measure.high))
    return value, low, high, was


def fallen(parts: Iterable[tuple[str, Performance]]) -> list[Fallen]:
    """Return the named parts of the rows that have a worse measure, sorted by how far the first such one fell."""
    found = []
    for where, performance in parts:
        name = next((name for name, measure in performance.items() if measure.worse), None)
        if name is not None:
            found.append(Fallen(where, name, performance[name]))
    return sorted(found, key=_fall, reverse=True)


def _fall(part: Fallen) -> float:
    before, became = part.measure.reference, part.measure.value
    if before is None or before.value is None or became is None:
        return 0.0
    was = before.value
    return abs(became / 2 - was / 2) / max(abs(became / 2), abs(was / 2), 1e-300)  # halves: no overflow


def segments_of(report: CheckReport) -> list[tuple[str, Performance]]:
    """Return each segment's name and measures; names that look alike are in quotes."""
    names = _told([(part.column, part.value) for part in report.segments])
    return [(name, part.performance) for name, part in zip(names, report.segments, strict=True)]


def classes_of(report: CheckReport) -> list[tuple[str, Performance]]:
    """Return each class's name and measures; names that look alike are in quotes."""
    classes = report.classes or {}
    told = shown_all(classes)
    return [(told[name], measures) for name, measures in classes.items()]


def split_words(change: ColumnChange) -> str:
    """Say what the mix of the segments changed, and what changed within them; empty where there is no split."""
    if change.reference is None or change.current is None or change.mix is None or change.within is None:
        return ""
    places = decimals_of(change.change, change.mix, change.within)
    told = (fixed(one, places, sign=True) for one in (change.change, change.mix, change.within))
    whole, mix, within = told
    was, now = figures(change.reference, change.current)
    return f"{change.measure} {was} → {now} ({whole}) by {shown(change.column)}: mix {mix}, within segments {within}"


def has_moved(change: ColumnChange) -> bool:
    """Tell whether the change over all rows is one that counts, or a segment became worse."""
    if any(one.state == "worse" for one in change.segments):
        return True
    was, by = change.reference, change.change
    return was is not None and by is not None and abs(by) >= least_change(change.measure, was)


def told_segments(contest: Contest) -> list[str]:
    """Return the names of a contest's segments; those that look alike are in quotes."""
    return _told([(one.segment, one.value) for one in contest.segments])


def _told(segments: Sequence[tuple[str, str]]) -> list[str]:
    values: dict[str, list[str]] = {}
    for column, value in segments:
        values.setdefault(column, []).append(value)
    told = {column: shown_all(those) for column, those in values.items()}
    return [f"{shown(column)} = {told[column][value]}" for column, value in segments]


def is_compared(measures: Performance) -> bool:
    """Tell whether any of these measures has a value on both sides."""
    return any(
        measure.value is not None and measure.reference is not None and measure.reference.value is not None
        for measure in measures.values()
    )


def problems(performance: Performance) -> list[str]:
    """Say why measures have no value: each reason once, after the names of the measures.

    >>> none = ComparedMeasure(problem="no scores")
    >>> problems({"roc_auc": none, "accuracy": ComparedMeasure(0.9), "log_loss": none})
    ['roc_auc, log_loss: no scores']
    """
    names: dict[str, list[str]] = {}
    for name, measure in performance.items():
        if measure.value is None:
            names.setdefault(measure.problem or "could not be measured", []).append(name)
    return [f"{', '.join(those)}: {problem}" for problem, those in names.items()]
