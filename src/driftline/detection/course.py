"""The course of a history: from the first window, of which nothing is known, to a detector that has learnt.

With few windows the series are fixed by those that there are, and again when there are more: at 7, 14 and 28 days. A
reference that is cut into windows begins with all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from driftline.detection.alarms import DetectorVerdict, Outcome
from driftline.detection.detector import DetectorState, Use
from driftline.detection.faults import gross_faults
from driftline.detection.findings import Finding
from driftline.detection.history import Basis, HistoryWindow, rows_of
from driftline.detection.series import SeriesKind
from driftline.detection.series_map import Observed
from driftline.detection.suspicion import suspect
from driftline.errors import MergeError
from driftline.events import Window


@dataclass(slots=True)
class Course:
    """What has been seen so far of a history of windows that one detector judges, until it has learnt for good.

    ``basis_of`` fixes the series, anew whenever so many windows were seen as ``fixed_at`` says; the last of these
    numbers is that of the reference. Without any it is told when. With a ``slot`` a window without rows is held against
    those of the same slot, once the series are fixed, and against the usual one otherwise. What is ``known`` at first
    is good and has all that there is: the profile of a reference.
    """

    basis_of: Callable[[Sequence[HistoryWindow]], Basis]
    fixed_at: tuple[int, ...] = ()
    slot: Callable[[Window], int] | None = None
    known: Observed = field(default_factory=Observed)
    words: str = "windows"
    seen: list[HistoryWindow] = field(default_factory=list)
    fewest: dict[int, int] = field(default_factory=dict)
    is_whole: bool = field(init=False)
    basis: Basis | None = None
    state: DetectorState | None = None

    def __post_init__(self) -> None:
        self.is_whole = self.known.profile.features.rows > 0

    def judge(self, window: HistoryWindow) -> DetectorVerdict:
        """Judge the next window by what is known, then learn from it."""
        if not rows_of(window):
            verdict = judge_empty(window.window, window.use, self._usual_rows(window), self.progress)
        elif self.basis is None or self.state is None:
            verdict = self._first(window)
        else:
            [values] = self.basis.windows([window])
            self.state, verdict = self.basis.step(self.state, values)
        if verdict.outcome is not Outcome.ALARM and window.use is Use.LEARN:
            self._learn(window)
        return verdict

    def start(self, reference: Sequence[HistoryWindow]) -> None:
        """Fix the series and the baseline by the reference."""
        self.basis = self.basis_of(reference)
        self.state = self.basis.start(reference)

    def note_rows(self, window: HistoryWindow) -> None:
        """Note the fewest rows of a slot in which nothing was wrong."""
        if self.slot is not None:
            self.fewest = noted(self.fewest, self.slot(window.window), rows_of(window))

    @property
    def usual_rows(self) -> float | None:
        """How many rows a window has; None where none was seen."""
        return float(np.median([one.observed.profile.predictions for one in self.seen])) if self.seen else None

    @property
    def progress(self) -> str:
        """What is waited for, in words."""
        if self.basis is not None or not self.fixed_at:
            return ""
        return f"learning, {len(self.seen)} of {self.fixed_at[0]} {self.words}"

    def _first(self, window: HistoryWindow) -> DetectorVerdict:
        """Judge a window before anything is learnt, by its gross faults alone."""
        said = DetectorVerdict(window.window, Outcome.LEARNING, reason=self.progress)
        return said if window.use is Use.SKIP else with_faults(said, self._faults(window))

    def _faults(self, window: HistoryWindow) -> tuple[Finding, ...]:
        """The gross faults of a window.

        A few windows do not show which categories there are, such as weekdays, nor hours what other hours are like.
        """
        found = gross_faults(self.known, window.observed)
        if self.is_whole:
            return found
        return () if self.slot is not None else tuple(one for one in found if one.kind is not SeriesKind.NOVEL)

    def _learn(self, window: HistoryWindow) -> None:
        """Fix the series again where there are enough windows for it, and no alarm is open.

        A window whose columns are of other types than those before it is none of the reference.
        """
        self.note_rows(window)
        if not rows_of(window):
            return
        try:
            self.known = self.known.merge(window.observed)
        except MergeError:
            return
        self.seen.append(window)
        if len(self.seen) in self.fixed_at and (self.state is None or self.state.episode is None):
            self.start(self.seen)

    def _usual_rows(self, window: HistoryWindow) -> float | None:
        """How many rows such a window has at least, None where that is not known."""
        if self.slot is not None:
            return self.fewest.get(self.slot(window.window)) if self.basis is not None else None
        return self.usual_rows


def noted(fewest: Mapping[int, int], slot: int, rows: int) -> dict[int, int]:
    """The fewest rows of each slot, after one more window of one."""
    return dict(sorted({**fewest, slot: min(fewest.get(slot, rows), rows)}.items()))


def judge_empty(window: Window, use: Use, usual_rows: float | None, reason: str = "") -> DetectorVerdict:
    """Judge a window without rows by how many such windows usually have, None where that is not known."""
    known = usual_rows is not None and use is not Use.SKIP
    said = DetectorVerdict(window, Outcome.OK if known else Outcome.LEARNING, reason=reason or "no rows")
    if use is Use.SKIP:
        return replace(said, outcome=Outcome.SKIPPED)
    found = with_faults(said, gross_faults(Observed(), Observed(), usual_rows=usual_rows))
    return found if found is said else replace(found, reason="")


def with_faults(said: DetectorVerdict, faults: tuple[Finding, ...]) -> DetectorVerdict:
    """The same with gross faults, if there are any: an alarm."""
    if not faults:
        return said
    chance = min(one.chance for one in faults)
    return replace(
        said, outcome=Outcome.ALARM, chance=chance, findings=faults, suspicion=suspect(faults), notifies=True
    )
