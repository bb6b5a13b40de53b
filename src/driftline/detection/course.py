"""The course of a history: from the first window, of which nothing is known, to a detector that has learnt.

With few windows the series are fixed by those that there are, and again when there are more: at 7, 14 and 28 days. A
reference that is cut into windows begins with all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from driftline.detection.alarms import DetectorVerdict, Outcome
from driftline.detection.detector import LEAST_WINDOWS, DetectorState, Use
from driftline.detection.faults import gross_faults
from driftline.detection.findings import Finding
from driftline.detection.history import Basis, HistoryWindow
from driftline.detection.series import SeriesKind
from driftline.detection.series_map import Observed
from driftline.detection.suspicion import suspect
from driftline.errors import MergeError, UsageError
from driftline.events import Window


@dataclass(slots=True)
class Course:
    """What has been seen so far of a history of windows that one detector judges.

    ``basis_of`` fixes the series, anew whenever so many windows were seen as ``fixed_at`` says; the last of these
    numbers is that of the reference. With a ``slot`` a window without rows is held against those of the same slot, once
    the series are fixed, and against the usual one otherwise. What is ``known`` at first is good and has all that there
    is: the profile of a reference.
    """

    basis_of: Callable[[Sequence[HistoryWindow]], Basis]
    fixed_at: tuple[int, ...]
    slot: Callable[[Window], int] | None = None
    seen: list[HistoryWindow] = field(default_factory=list)
    known: Observed = field(default_factory=Observed)
    is_whole: bool = field(init=False)
    fewest: dict[int, int] = field(default_factory=dict)
    basis: Basis | None = None
    state: DetectorState | None = None

    def __post_init__(self) -> None:
        self.is_whole = self.known.profile.features.rows > 0

    def judge(self, window: HistoryWindow) -> DetectorVerdict:
        """Judge the next window by what is known, then learn from it if it belongs to the reference."""
        empty = not _rows(window)
        if self.basis is None or self.state is None or empty:
            verdict = self._first(window)
        else:
            [values] = self.basis.windows([window])
            self.state, verdict = self.basis.detector.step(self.state, values)
        if verdict.outcome is not Outcome.ALARM:
            self._note_rows(window)
            if not empty:
                self._learn(window)
        return verdict

    def start(self, reference: Sequence[HistoryWindow]) -> None:
        """Fix the series and the baseline by the reference."""
        self.basis = self.basis_of(reference)
        self.state = self.basis.start(reference)
        for one in reference:
            self._note_rows(one)

    def accept(self, since: datetime) -> None:
        """Take what came since then for the new normal."""
        if self.basis is None or self.state is None:
            raise UsageError(f"nothing is judged before {LEAST_WINDOWS} windows; there is no new normal to accept")
        self.state = self.basis.detector.accept(self.state, since)

    def _first(self, window: HistoryWindow) -> DetectorVerdict:
        """Judge a window without rows, or one before anything is learnt, by its gross faults alone."""
        said = DetectorVerdict(window.window, Outcome.LEARNING, reason=self._progress())
        faults = self._faults(window)
        if not faults or window.use is Use.SKIP:
            return said
        chance = min(one.chance for one in faults)
        return replace(
            said, outcome=Outcome.ALARM, chance=chance, findings=faults, suspicion=suspect(faults), notifies=True
        )

    def _faults(self, window: HistoryWindow) -> tuple[Finding, ...]:
        """The gross faults of a window.

        A few windows do not show which categories there are, such as weekdays, nor hours what other hours are like.
        """
        found = gross_faults(self.known, window.observed, usual_rows=self._usual_rows(window))
        if self.is_whole or not _rows(window):
            return found
        return () if self.slot is not None else tuple(one for one in found if one.kind is not SeriesKind.NOVEL)

    def _learn(self, window: HistoryWindow) -> None:
        """Fix the series again where there are enough windows for it, and no alarm is open.

        A window whose columns are of other types than those before it is none of the reference.
        """
        if len(self.seen) >= self.fixed_at[-1] or window.use is not Use.LEARN:
            return
        try:
            self.known = self.known.merge(window.observed)
        except MergeError:
            return
        self.seen.append(window)
        if len(self.seen) in self.fixed_at and (self.state is None or self.state.episode is None):
            self.start(self.seen)

    def _note_rows(self, window: HistoryWindow) -> None:
        """Note the fewest rows of a slot in which nothing was wrong."""
        if self.slot is not None:
            slot, rows = self.slot(window.window), _rows(window)
            self.fewest[slot] = min(self.fewest.get(slot, rows), rows)

    def _usual_rows(self, window: HistoryWindow) -> float | None:
        """How many rows such a window has at least, None where that is not known."""
        if self.slot is not None:
            return self.fewest.get(self.slot(window.window)) if self.basis is not None else None
        rows = [one.observed.profile.predictions for one in self.seen]
        return float(np.median(rows)) if rows else None

    def _progress(self) -> str:
        """What is waited for, in words."""
        if self.basis is not None:
            return "no rows"
        return f"learning, {len(self.seen)} of {self.fixed_at[0]} windows"


def _rows(window: HistoryWindow) -> int:
    return max(window.observed.profile.predictions, window.observed.profile.features.rows)
