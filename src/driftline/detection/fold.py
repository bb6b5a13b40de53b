"""The fold by which every door judges windows: one detector, or of windows shorter than a day two that share a budget.

Whole days carry the evidence; single windows are held against the same hour of other days, for faults that cannot wait.
Their alarms are one. What the detectors read of a window is small and is stored with it; so is the state after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from driftline.detection.alarms import Alarms, DetectorVerdict, Outcome
from driftline.detection.cadence import Cadence
from driftline.detection.course import judge_empty, noted
from driftline.detection.detector import Detector, DetectorState, SeriesWindow, Use
from driftline.detection.findings import Finding, Subject
from driftline.detection.history import Basis, HistoryWindow, Turn, rows_of
from driftline.detection.rhythm import Rhythm
from driftline.detection.series import Series
from driftline.detection.series_map import SeriesMap
from driftline.events import Window


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the detectors read of one window that is judged: None of what has no rows, or is not over.

    ``whole`` is the window itself, or the day that ends with a ``single`` one; ``rows`` are those of the window.
    """

    window: Window
    whole: SeriesWindow | None
    single: SeriesWindow | None = None
    rows: int = 0
    use: Use = Use.LEARN


@dataclass(frozen=True, slots=True, eq=False)
class SingleState:
    """What is known of single windows after some of them, and of the alarms that these and whole days have together.

    ``fewest`` are the rows that a slot of the day has at least, of those that were seen.
    """

    end: datetime
    detector: DetectorState
    fewest: Mapping[int, int]
    alarms: Alarms = field(default_factory=Alarms)


@dataclass(frozen=True, slots=True, eq=False)
class FoldState:
    """All that is known after some windows; ``single`` where they are shorter than a day. Both are stored apart."""

    whole: DetectorState
    single: SingleState | None = None

    @property
    def end(self) -> datetime:
        """Until when windows were judged, event time."""
        return self.whole.end if self.single is None else self.single.end


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """The series of one detector as the reference windows fix them: what a `Basis` is made of."""

    map: SeriesMap
    detector: Detector
    rhythm: Rhythm | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What was learnt first: the series, and the state to go on from. A value that is stored.

    ``usual_rows`` is how many rows a whole window has.
    """

    whole: Fixed
    single: Fixed | None
    usual_rows: float | None
    state: FoldState

    def fold(self, cadence: Cadence) -> Fold:
        """The fold that takes the windows of a model."""
        whole = Basis(self.whole.map, self.whole.detector, cadence, self.whole.rhythm)
        if self.single is None:
            return Fold(cadence, whole, None, self.usual_rows)
        return Fold(cadence, whole, Basis(self.single.map, self.single.detector, cadence, single=True), self.usual_rows)


@dataclass(frozen=True, slots=True)
class Fold:
    """Judges windows one after the other by what was learnt. It holds no state."""

    cadence: Cadence
    whole: Basis
    single: Basis | None
    usual_rows: float | None

    def readings(self, turns: Sequence[Turn]) -> list[Reading]:
        """What the detectors read of windows."""
        whole = iter(self.whole.windows(_with_rows(one.whole for one in turns)))
        single = iter(self.single.windows(_with_rows(one.single for one in turns)) if self.single is not None else ())
        return [
            Reading(
                one.window,
                next(whole) if _with_rows([one.whole]) else None,
                next(single) if _with_rows([one.single]) else None,
                rows_of(one.own),
                one.own.use,
            )
            for one in turns
        ]

    def step(self, state: FoldState, reading: Reading) -> tuple[FoldState, DetectorVerdict]:
        """Judge one more window, later than all before; return the next state and what is said of the window."""
        if self.single is None or state.single is None:
            if reading.whole is None:
                return state, judge_empty(reading.window, reading.use, self.usual_rows)
            whole, verdict = self.whole.step(state.whole, reading.whole)
            return replace(state, whole=whole), verdict
        whole, hours, said = state.whole, state.single, list[DetectorVerdict]()
        if reading.whole is not None:
            whole, verdict = self.whole.step(whole, reading.whole)
            said.append(verdict)
        detector, slot = hours.detector, self.cadence.single_slot(reading.window)
        if reading.single is None:
            verdict = judge_empty(reading.window, reading.use, hours.fewest.get(slot))
        else:
            detector, verdict = self.single.step(detector, reading.single)
        said.append(verdict)
        is_usual = verdict.outcome is not Outcome.ALARM and reading.use is Use.LEARN
        fewest = noted(hours.fewest, slot, reading.rows) if is_usual else hours.fewest
        alarms, verdict = together(hours.alarms, reading.window, said, closes_after=self.single.detector.settings.quiet)
        return FoldState(whole, SingleState(reading.window.end, detector, fewest, alarms)), verdict

    def may_learn_next(self, state: FoldState, reading: Reading) -> bool:
        """Whether the next step may learn again, for which it needs the values of the history."""
        of_whole = reading.whole is not None and self.whole.detector.may_learn_next(state.whole)
        if self.single is None or state.single is None or reading.single is None:
            return of_whole
        return of_whole or self.single.detector.may_learn_next(state.single.detector)

    def accept(self, state: FoldState, since: datetime) -> FoldState:
        """Take what came since then for the new normal; raise `UsageError` for fewer than `LEAST_WINDOWS`."""
        whole = self.whole.detector.accept(state.whole, since)
        if self.single is None or state.single is None:
            return FoldState(whole)
        detector = self.single.detector.accept(state.single.detector, since)
        alarms = Alarms(episodes=state.single.alarms.episodes)
        return FoldState(whole, replace(state.single, detector=detector, alarms=alarms))

    def forget(self, state: FoldState) -> FoldState:
        """The same without the alarm that is open, and what it rests on."""
        whole = _forgetting(state.whole)
        if state.single is None:
            return FoldState(whole)
        single, alarms = _forgetting(state.single.detector), Alarms(episodes=state.single.alarms.episodes)
        return FoldState(whole, replace(state.single, detector=single, alarms=alarms))

    def weighed(self, weigh: Callable[[Sequence[Series]], tuple[Series, ...]]) -> Fold:
        """The same with the series of other weights."""
        whole, single = (
            None if one is None else replace(one, detector=replace(one.detector, series=weigh(one.detector.series)))
            for one in (self.whole, self.single)
        )
        assert whole is not None
        return replace(self, whole=whole, single=single)


def together(
    alarms: Alarms, window: Window, said: Sequence[DetectorVerdict], *, closes_after: int
) -> tuple[Alarms, DetectorVerdict]:
    """What is said of a window by one detector or by both: one alarm, with the surest finding on each subject."""
    reason = next((one.reason for one in said if one.reason), "")
    if all(one.outcome in (Outcome.LEARNING, Outcome.SKIPPED) for one in said):
        return alarms, replace(said[0], window=window, episode=alarms.episode)
    chance = min((one.chance for one in said if one.chance is not None), default=None)
    best: dict[Subject, Finding] = {}
    for finding in sorted((one for each in said for one in each.findings), key=lambda one: one.chance):
        best.setdefault(finding.subject, finding)
    return alarms.after(window, list(best.values()), chance, closes_after=closes_after, reason=reason)


def _with_rows(windows: Iterable[HistoryWindow | None]) -> list[HistoryWindow]:
    return [one for one in windows if one is not None and rows_of(one)]


def _forgetting(state: DetectorState) -> DetectorState:
    return replace(state, recent=(), recent_labelled=(), quiet=None, episode=None)
