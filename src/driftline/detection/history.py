"""A whole history judged: from the first window, of which nothing is known, to the last; a pure function of windows and
events.

With few windows the series are fixed by those that there are, and again when there are more: at 7, 14 and 28. A
reference that is cut into windows begins with all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from driftline.detection.cadence import Cadence
from driftline.detection.detector import (
    LEAST_WINDOWS,
    Detector,
    DetectorState,
    DetectorVerdict,
    Outcome,
    SeriesWindow,
    Settings,
    Use,
)
from driftline.detection.faults import gross_faults
from driftline.detection.series import NO_ROWS, Values
from driftline.detection.series_map import Observed, SeriesMap
from driftline.detection.suspicion import suspect
from driftline.errors import MergeError, UsageError
from driftline.events import Window
from driftline.profiles.naive import Naive

REFERENCE_WINDOWS = 28
_FIXED_AT = (LEAST_WINDOWS, 14)


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """A window with what is stored of it; labels are in where it is ``labelled``."""

    window: Window
    observed: Observed
    labelled: bool = True
    use: Use = Use.LEARN


@dataclass(frozen=True, slots=True)
class Accepted:
    """Somebody said, after the window that ends ``at`` or before it, that all from ``since`` on is the new normal."""

    at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a model is watched: measures of performance (those that a check compares, if None), and no column that is
    ignored. ``positive`` and ``naive`` are what measures need.
    """

    measures: tuple[str, ...] | None = None
    positive: str | None = None
    naive: Naive | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Basis:
    """The series of a model as its reference windows fix them, and the detector of these."""

    map: SeriesMap
    detector: Detector
    cadence: Cadence

    @classmethod
    def of(
        cls,
        reference: Sequence[HistoryWindow],
        cadence: Cadence,
        watched: Watched | None = None,
        settings: Settings | None = None,
    ) -> Basis:
        """Fix the series by the reference windows that may be learnt from; ``settings`` are the cadence's if None."""
        watched = watched or Watched()
        fixed = SeriesMap.of(
            [one.observed for one in reference if one.use is Use.LEARN],
            measures=watched.measures,
            positive=watched.positive,
            naive=watched.naive,
            ignored=watched.ignored,
        )
        return cls(fixed, Detector(fixed.series, settings or cadence.settings), cadence)

    def start(self, reference: Sequence[HistoryWindow]) -> DetectorState:
        """Learn from the reference windows, in order of time; at least `LEAST_WINDOWS` that may be learnt from."""
        kept = [one for one in reference if one.use is Use.LEARN]
        values = self.map.reference_values([one.observed for one in kept])
        return self.detector.start(self._with(kept, values))

    def windows(self, windows: Sequence[HistoryWindow]) -> list[SeriesWindow]:
        """The windows as the detector takes them: small enough to be stored with their summaries."""
        return self._with(windows, self.map.values([one.observed for one in windows]))

    def _with(self, windows: Sequence[HistoryWindow], values: Values) -> list[SeriesWindow]:
        """Windows whose labels are not in say nothing of the series that rest on them, nor is it learnt from later."""
        late = np.array([one.role.rests_on_labels for one in self.map.series], np.bool_)
        found = []
        for one, y, n in zip(windows, values.y, values.n, strict=True):
            silent, slot = late & (not one.labelled), self.cadence.slot(one.window)
            told = np.where(silent, 0.0, y), np.where(silent, NO_ROWS, n)
            found.append(SeriesWindow(one.window, slot, *told, one.labelled, one.use))
        return found


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a history, a window each, and what the detector knows at its end: None before it can judge."""

    verdicts: tuple[DetectorVerdict, ...]
    basis: Basis | None = None
    state: DetectorState | None = None


@dataclass(slots=True)
class _Course:
    """What has been seen so far of a history."""

    cadence: Cadence
    watched: Watched
    reference_windows: int
    seen: list[HistoryWindow] = field(default_factory=list)
    known: Observed = field(default_factory=Observed)
    basis: Basis | None = None
    state: DetectorState | None = None

    def judge(self, window: HistoryWindow) -> DetectorVerdict:
        """Judge the next window by what is known, then learn from it if it belongs to the reference."""
        empty = not max(window.observed.profile.predictions, window.observed.profile.features.rows)
        if self.basis is None or self.state is None or empty:
            verdict = self._first(window)
        else:
            [values] = self.basis.windows([window])
            self.state, verdict = self.basis.detector.step(self.state, values)
        if not (empty or verdict.outcome is Outcome.ALARM):
            self._learn(window)
        return verdict

    def _first(self, window: HistoryWindow) -> DetectorVerdict:
        """Judge a window without rows, or one before anything is learnt, by its gross faults alone."""
        said = DetectorVerdict(window.window, Outcome.LEARNING, reason=self._progress())
        faults = gross_faults(self.known, window.observed, usual_rows=self._usual_rows())
        if not faults or window.use is Use.SKIP:
            return said
        chance = min(one.chance for one in faults)
        return replace(
            said, outcome=Outcome.ALARM, chance=chance, findings=faults, suspicion=suspect(faults), notifies=True
        )

    def _learn(self, window: HistoryWindow) -> None:
        """Fix the series again where there are enough windows for it, and no alarm is open.

        A window whose columns are of other types than those before it is none of the reference.
        """
        if len(self.seen) >= self.reference_windows or window.use is not Use.LEARN:
            return
        try:
            self.known = self.known.merge(window.observed)
        except MergeError:
            return
        self.seen.append(window)
        fixed_at = {*_FIXED_AT, self.reference_windows}
        if len(self.seen) in fixed_at and (self.state is None or self.state.episode is None):
            self.start(self.seen)

    def start(self, reference: Sequence[HistoryWindow]) -> None:
        """Fix the series and the baseline by the reference."""
        self.basis = Basis.of(reference, self.cadence, self.watched)
        self.state = self.basis.start(reference)

    def accept(self, since: datetime) -> None:
        """Take what came since then for the new normal."""
        if self.basis is None or self.state is None:
            raise UsageError(f"nothing is judged before {LEAST_WINDOWS} windows; there is no new normal to accept")
        self.state = self.basis.detector.accept(self.state, since)

    def _usual_rows(self) -> float | None:
        rows = [one.observed.profile.predictions for one in self.seen]
        return float(np.median(rows)) if rows else None

    def _progress(self) -> str:
        """What is waited for, in words."""
        if self.basis is not None:
            return "no rows"
        return f"learning, {len(self.seen)} of {LEAST_WINDOWS} windows"


def judge_history(
    windows: Iterable[HistoryWindow],
    cadence: Cadence,
    *,
    reference: Sequence[HistoryWindow] = (),
    reference_profile: Observed | None = None,
    watched: Watched | None = None,
    events: Iterable[Accepted] = (),
    reference_windows: int = REFERENCE_WINDOWS,
) -> Judged:
    """Judge windows in order of time, one verdict each.

    A ``reference`` of windows is learnt from first; without one the first ``reference_windows`` of history are the
    reference. ``reference_profile`` is one without times: it shows gross faults only. ``events`` come in order of time.
    """
    course = _Course(cadence, watched or Watched(), reference_windows)
    if reference:
        course.seen = list(reference)
        course.start(reference)
        course.reference_windows = len(reference)
    if reference_profile is not None:
        course.known = reference_profile
    waiting = sorted(events, key=lambda one: one.at)
    verdicts = []
    for window in windows:
        verdicts.append(course.judge(window))
        while waiting and waiting[0].at <= window.window.end:
            course.accept(waiting.pop(0).since)
    return Judged(tuple(verdicts), course.basis, course.state)
