"""Compare the answers of two versions on the same rows: overall, by segment and over time."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.events import Task
from driftline.rules.contestants import Entry, Rows, Settings
from driftline.statistics.influence import Answers, Floats, Texts
from driftline.statistics.paired import Difference, difference, rarest_of, value_of
from driftline.statistics.significance import holm

_PERIODS = 20


class Period(msgspec.Struct, frozen=True):
    """The measure of both versions on one of up to 20 equal parts of the rows, sorted by time.

    ``begin`` and ``end`` are the times of its first and last row, in seconds since 1970.
    """

    begin: float
    end: float
    rows: int
    champion: float | None
    challenger: float | None


class SegmentDifference(msgspec.Struct, frozen=True):
    """The difference within one value of a segment; ``p_worse`` is adjusted over all values (Holm)."""

    segment: str
    value: str
    difference: Difference
    p_worse: float


def answers_of(entry: Entry, rows: Rows, both: npt.NDArray[np.bool_]) -> Answers:
    """Return a version's answers on the rows of the mask ``both``, without the scores of classes that any row lacks."""
    scores = {name: score for name, score in entry.scores.items() if not np.isnan(score[both]).any()}
    return Answers(rows.labels, entry.predictions, scores).at(both)


def answers_at_worst(entry: Entry, rows: Rows, owed: npt.NDArray[np.bool_], both: npt.NDArray[np.bool_]) -> Answers:
    """Return a version's answers on the rows of the mask ``both``; an ``owed`` answer counts as its worst one.

    This keeps a champion from staying champion by not answering. The worst answer is no class at all, or a prediction
    off by its largest absolute error; the worst score is the lowest that it gave the true class, or the highest that it
    gave another.
    """
    gave = both & ~owed
    predictions: Texts | Floats
    if rows.task is Task.REGRESSION:
        said, true = np.asarray(entry.predictions, np.float64), np.asarray(rows.labels, np.float64)
        with np.errstate(over="ignore"):
            worst = float(np.abs(said[gave] - true[gave]).max(initial=0.0))
            predictions = np.where(owed, true + worst, said)
    else:
        predictions = np.where(owed, "", entry.predictions)
    scores = {}
    for name, score in entry.scores.items():
        fits = (score >= 0) & (score <= 1)
        true_class = rows.labels == name
        low = float(score[fits & true_class].min(initial=1.0))
        high = float(score[fits & ~true_class].max(initial=0.0))
        if fits[gave].all():
            scores[name] = np.where(owed, np.where(true_class, low, high), score)
    return Answers(rows.labels, predictions, scores).at(both)


def where_both_answered(
    found: Difference,
    champion: Entry,
    challenger: Entry,
    rows: Rows,
    answered: npt.NDArray[np.bool_],
    settings: Settings,
) -> Difference:
    """Return ``found``, or the difference on the rows that both answered if the challenger is worse on those.

    Missing answers count against the champion, but do not let a challenger win that is worse wherever both answered.
    """
    pair = (answers_of(challenger, rows, answered), answers_of(champion, rows, answered))
    blocks = rows.blocks(answered)
    confidence = 2 * settings.confidence - 1
    there = difference(found.measure, *pair, blocks=blocks, positive=rows.positive, confidence=confidence)
    limit = settings.improvement - settings.margin
    return there if there.value is not None and there.value < limit else found


def segment_differences(
    measure: str,
    one: Answers,
    other: Answers,
    rows: Rows,
    both: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.int64] | None,
    settings: Settings,
) -> list[SegmentDifference]:
    """Return the difference within each segment value with enough rows, with p-values adjusted by Holm's method."""
    found: list[tuple[str, str, Difference]] = []
    for segment, of_all in rows.segments.items():
        values = of_all[both]
        for value in np.unique(values).tolist():
            inside = values == value
            if inside.sum() < settings.least_segment_rows:
                continue
            pair = one.at(inside), other.at(inside)
            rarest = rarest_of(measure, *pair, rows.positive)
            if rarest is not None and rarest[1] < settings.least_class_rows:
                continue
            part = difference(measure, *pair, blocks=None if blocks is None else blocks[inside], positive=rows.positive)
            found.append((segment, value, part))
    adjusted = holm([1.0 if part.p_worse is None else part.p_worse for _, _, part in found]).tolist()
    return [
        SegmentDifference(segment, value, part, p) for (segment, value, part), p in zip(found, adjusted, strict=True)
    ]


def periods_of(measure: str, one: Answers, other: Answers, seconds: Floats, positive: str | None) -> list[Period]:
    """Return the measure of both versions on each of up to 20 equal parts of the rows, in order of time."""
    found = []
    for part in np.array_split(np.argsort(seconds, kind="stable"), min(_PERIODS, len(seconds))):
        inside = np.zeros(len(seconds), np.bool_)
        inside[part] = True
        then, now = (value_of(measure, who.at(inside), positive) for who in (other, one))
        found.append(Period(float(seconds[part[0]]), float(seconds[part[-1]]), len(part), then, now))
    return found
