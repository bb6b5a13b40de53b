"""The contest: may a challenger take the champion's place? It checks every gate, and gives the reason of its decision.

The gate that decides is *better*: the lower bound of the difference on the same rows has to be above ``improvement``,
or above minus ``margin``. With neither set, a challenger that is no better is promoted in at most ``1 - confidence``
of contests (one-sided), 5 % by default. All other gates can only keep it from being promoted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import UnknownNameError
from driftline.events import Task
from driftline.lookalikes import shown
from driftline.rules.comparison import (
    Period,
    SegmentDifference,
    answers_at_worst,
    answers_of,
    periods_of,
    segment_differences,
    where_both_answered,
)
from driftline.rules.contestants import Entry, Rows, Settings
from driftline.rules.gates import (
    Gate,
    answers_gate,
    better_gate,
    calibration_gate,
    floor_gate,
    latency_gate,
    leakage_gate,
    rows_gate,
    scores_gate,
    segments_gate,
    shift_gate,
)
from driftline.statistics.catalogue import paired_measures
from driftline.statistics.paired import Difference, difference

Decision = Literal["promote", "hold", "rollback"]
Role = Literal["challenger", "previous"]


class PositiveView(msgspec.Struct, frozen=True):
    """The positive class of a binary model: the one that precision, recall, F1, ROC AUC and a single score are about.

    ``guessed`` is True where the user did not name it, and ``by`` says what the guess rests on. Where the ROC AUC is
    below 0.5, ``doubt`` says that the score seems to belong to the other class, and what to do.
    """

    name: str = msgspec.field(name="class")
    guessed: bool
    by: str | None = None
    doubt: str | None = None

    @property
    def shown(self) -> str:
        """The class, written so that it differs visibly from others."""
        return shown(self.name)

    @property
    def words(self) -> str:
        """The class and, if it was guessed, what the guess rests on."""
        return f"{self.shown}, {self.by}" if self.guessed else self.shown


class Contest(msgspec.Struct, frozen=True):
    """The decision with its reason, every gate, and the difference that decided. It is stored as JSON.

    ``positive`` is set where the measure depends on a positive class. ``notes`` say what was assumed about the rows.
    """

    decision: Decision
    reason: str
    measure: str
    champion: str
    challenger: str
    rows: int
    settings: Settings
    difference: Difference
    gates: list[Gate]
    segments: list[SegmentDifference]
    over_time: list[Period]
    positive: PositiveView | None = None
    notes: tuple[str, ...] = ()


class OwnMeasure(NamedTuple):
    """A user-defined measure: its name, and the difference of both versions on the rows of a mask, shape (n,)."""

    name: str
    between: Callable[[npt.NDArray[np.bool_]], Difference]


def judge_contest(
    champion: Entry,
    challenger: Entry,
    rows: Rows,
    settings: Settings,
    *,
    role: Role = "challenger",
    own: OwnMeasure | None = None,
) -> Contest:
    """Decide whether the challenger replaces the champion; with the role ``previous``, whether a former one returns.

    By a user-defined measure (``own``) the two are compared only on rows that both answered, and not by segment or over
    time. Raises `UnknownNameError` for a measure that the task does not have.
    """
    measure = measure_of(champion, challenger, rows, settings) if own is None else own.name
    gates = [
        answers_gate(challenger, rows),
        scores_gate(champion, challenger),
        rows_gate(champion, challenger, rows, measure, settings),
        leakage_gate(rows),
        latency_gate(champion, challenger, settings),
    ]
    found = Difference(measure, n=len(rows.labels), problem="not compared: an earlier gate is closed")
    segments: list[SegmentDifference] = []
    over_time: list[Period] = []
    if all(gate.passed is not False for gate in gates):
        owed = champion.owes(rows.task)
        answered = champion.answered & ~owed & challenger.answered & ~champion.unscored(measure)
        both = answered | (owed & challenger.answered)
        one, other = answers_of(challenger, rows, both), answers_at_worst(champion, rows, owed, both)
        blocks = rows.blocks(both)
        confidence = 2 * settings.confidence - 1  # two-sided, of which one side is used
        if own is not None:
            found, owed = own.between(answered), np.zeros_like(owed)
        else:
            found = difference(measure, one, other, blocks=blocks, positive=rows.positive, confidence=confidence)
            segments = segment_differences(measure, one, other, rows, both, blocks, settings)
        if owed.any():
            found = where_both_answered(found, champion, challenger, rows, answered, settings)
        if rows.seconds is not None and own is None:
            over_time = periods_of(measure, one, other, rows.seconds[both], rows.positive)
        gates += [
            better_gate(found, settings, _owing(champion, owed)),
            floor_gate(found, settings),
            segments_gate(segments, settings),
            calibration_gate(one, other, rows, settings),
            shift_gate(one, other, rows, settings),
        ]
    decision, reason = decide(gates, champion.version, challenger.version, role)
    return Contest(
        decision=decision,
        reason=reason,
        measure=measure,
        champion=champion.version,
        challenger=challenger.version,
        rows=len(rows.labels),
        settings=settings,
        difference=found,
        gates=gates,
        segments=segments,
        over_time=over_time,
    )


def decide(gates: list[Gate], champion: str, challenger: str, role: Role) -> tuple[Decision, str]:
    """Return the decision and its reason: no gate may have failed, and *better* has to have been checked and passed."""
    closed = [gate for gate in gates if gate.passed is False]
    better = next((gate for gate in gates if gate.name == "better"), None)
    if closed:
        more = f" ({len(closed) - 1} more gates are closed.)" if len(closed) > 1 else ""
        return "hold", f"{closed[0].reason}{more}"
    if better is None or better.passed is None:
        return "hold", better.reason if better is not None else "The two could not be compared."
    if role == "previous":
        return "rollback", f"{challenger} does better than its successor {champion}: {better.reason}"
    return "promote", better.reason


def measure_of(champion: Entry, challenger: Entry, rows: Rows, settings: Settings) -> str:
    """Return the measure that decides, chosen by the task and scores if none is set.

    Raises `UnknownNameError` for one that the task does not have.
    """
    known = paired_measures(rows.task)
    if settings.measure is not None:
        if settings.measure not in known:
            raise UnknownNameError(f"measure of a contest of {rows.task} models", settings.measure, known)
        return settings.measure
    if rows.task is Task.REGRESSION:
        return "mae"
    scored = rows.positive in champion.scores and rows.positive in challenger.scores
    return "roc_auc" if rows.task is Task.BINARY and scored else "accuracy"


def _owing(champion: Entry, owed: npt.NDArray[np.bool_]) -> str:
    if not (count := int(owed.sum())):
        return ""
    some = "One answer" if count == 1 else f"{count} answers"
    verb = "is missing and counts" if count == 1 else "are missing and count"
    return f" {some} of {champion.version} {verb} as its worst."
