"""A whole history judged: a pure function of windows and events.

What is learnt first is a `Course`, or two of them where windows are shorter than a day; what follows is the `Fold`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from driftline.detection.alarms import Alarms, DetectorVerdict
from driftline.detection.cadence import Cadence
from driftline.detection.course import Course
from driftline.detection.detector import LEAST_WINDOWS, Use
from driftline.detection.fold import Fixed, Fold, FoldState, Learnt, SingleState, together
from driftline.detection.history import (
    Accepted,
    Basis,
    HistoryWindow,
    Turn,
    Watched,
    day_of,
    merged_by,
    rows_of,
    singles_of,
    turns_of,
)
from driftline.detection.series_map import Observed

REFERENCE_WINDOWS = 28
"""So many windows, or days where they are shorter, are learnt from where the reference has no windows of its own."""

MOST_LEARNING = 4 * REFERENCE_WINDOWS
"""Learning is over after so many windows, though some of them were in alarm and are not learnt from."""

_FIXED_AT = (LEAST_WINDOWS, 14)


class Learning(NamedTuple):
    """The verdicts of a history's first windows, and what was learnt from these; None where they are too few yet.

    Where these are shorter than a day, ``so_far`` is what was learnt after the first ``known`` of them: nothing more is
    learnt before the next day ends.
    """

    verdicts: Sequence[DetectorVerdict]
    learnt: Learnt | None
    so_far: Learnt | None = None
    known: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a history, and what is known at its end: None before it can be judged.

    There is a verdict for each window, but for each hour where windows are shorter. Where they are shorter than a day,
    the verdict of a day is that of its last window, too.
    """

    verdicts: tuple[DetectorVerdict, ...]
    fold: Fold | None = None
    state: FoldState | None = None


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
    """Judge windows of the cadence in order of time.

    A ``reference`` of windows is learnt from first; without one the first ``reference_windows`` of history are the
    reference: so many days where windows are shorter. ``reference_profile`` is one without times: it shows gross faults
    only. ``events`` come in order of time; those of the time of learning say nothing, all is normal then.
    """
    turns = list(turns_of(windows, cadence))
    if reference:
        verdicts, learnt = list[DetectorVerdict](), learn_reference(reference, cadence, watched)
    else:
        said, known, *_ = learn_first(turns, cadence, reference_profile, watched, reference_windows)
        if known is None:
            return Judged(tuple(said))
        verdicts, learnt = [*said], known
    fold, state = learnt.fold(cadence), learnt.state
    waiting = sorted((one for one in events if one.at > state.end), key=lambda one: one.at)
    for reading in fold.readings(turns[len(verdicts) :]):
        state, verdict = fold.step(state, reading)
        verdicts.append(verdict)
        while waiting and waiting[0].at <= reading.window.end:
            state = fold.accept(state, waiting.pop(0).since)
    return Judged(tuple(verdicts), fold, state)


def learn_reference(reference: Sequence[HistoryWindow], cadence: Cadence, watched: Watched | None = None) -> Learnt:
    """Learn from the windows of a reference, in order of time: at least `LEAST_WINDOWS`, or so many days."""
    courses = _Courses.of(cadence, watched or Watched(), Observed(), len(reference))
    if courses.singles is None:
        courses.whole.seen = list(reference)
    else:
        hours = list(singles_of(reference, cadence))
        courses.whole.seen = [day_of(whole, parts, cadence) for whole, parts in merged_by(hours, cadence.day_spec)]
        courses.singles.seen = [one for one in hours if rows_of(one)]
        courses.singles.start(courses.singles.seen)
        courses.end = cadence.last_single(courses.whole.seen[-1].window).end
        for one in hours:
            if one.use is Use.LEARN:
                courses.singles.note_rows(one)
    courses.whole.start(courses.whole.seen)
    return courses.learnt()


def learn_first(
    turns: Iterable[Turn],
    cadence: Cadence,
    known: Observed | None = None,
    watched: Watched | None = None,
    reference_windows: int = REFERENCE_WINDOWS,
) -> Learning:
    """Judge the first windows of a history, in order of time, until there are enough to go on from for good.

    The first one is held against what is ``known`` as a whole, for gross faults; with 7, 14 and so many windows as the
    reference has more is seen. No more of ``turns`` are taken than are needed.
    """
    courses, found = (
        _Courses.of(cadence, watched or Watched(), known or Observed(), reference_windows),
        Learning([], None),
    )
    verdicts = list[DetectorVerdict]()
    for turn in turns:
        verdicts.append(courses.judge(turn))
        if turn.whole is None or not courses.have_learnt:
            continue
        if courses.is_done(reference_windows):
            return Learning(verdicts, courses.learnt())
        if turn.single is not None:
            found = Learning(verdicts, None, courses.learnt(), len(verdicts))
    return found._replace(verdicts=verdicts)


@dataclass(slots=True)
class _Courses:
    """The courses of whole windows and, where these are days, of the single ones, and the alarms that they have."""

    cadence: Cadence
    whole: Course
    singles: Course | None
    alarms: Alarms = field(default_factory=Alarms)
    judged: int = 0
    end: datetime | None = None

    @classmethod
    def of(cls, cadence: Cadence, watched: Watched, known: Observed, reference_windows: int) -> _Courses:
        early = [count for count in _FIXED_AT if count < reference_windows]
        fixed_at, words = (*early, reference_windows), cadence.settings.words
        whole = Course(lambda seen: Basis.of(seen, cadence, watched), fixed_at, known=known, words=words)
        if (settings := cadence.single_settings) is None:
            return cls(cadence, whole, None)
        singles = Course(
            lambda seen: Basis.of_single(seen, cadence, settings, watched), slot=cadence.single_slot, known=known
        )
        return cls(cadence, whole, singles)

    def judge(self, turn: Turn) -> DetectorVerdict:
        """Judge the next window, and the day that it ends: single windows learn when days do."""
        if turn.whole is not None:
            self.judged, self.end = self.judged + 1, turn.window.end
        if self.singles is None or turn.single is None:
            assert turn.whole is not None  # one of both is there
            return self.whole.judge(turn.whole)
        said = [self.singles.judge(turn.single)]
        if turn.whole is not None:
            before = self.whole.state
            said.insert(0, self.whole.judge(turn.whole))
            learnt = self.whole.state is not None and (
                self.singles.state is None or before is None or before.reference != self.whole.state.reference
            )
            if learnt and len(self.singles.seen) >= LEAST_WINDOWS:
                self.singles.start(self.singles.seen)
        quiet = self.cadence.single_settings
        assert quiet is not None  # windows are shorter than a day
        self.alarms, verdict = together(self.alarms, turn.window, said, closes_after=quiet.quiet)
        return verdict if verdict.reason else replace(verdict, reason=self.whole.progress)

    @property
    def have_learnt(self) -> bool:
        """Whether there is something to judge by."""
        return self.whole.state is not None and (self.singles is None or self.singles.state is not None)

    def is_done(self, reference_windows: int) -> bool:
        """Whether enough was learnt to go on from for good, at the end of a day."""
        if self.whole.state is None:
            return False
        most = max(MOST_LEARNING, reference_windows)
        return self.whole.state.reference >= reference_windows or self.judged >= most

    def learnt(self) -> Learnt:
        """What was learnt; it has been."""
        whole, state = self.whole.basis, self.whole.state
        assert whole is not None and state is not None
        fixed, usual_rows = Fixed(whole.map, whole.detector, whole.rhythm), self.whole.usual_rows
        if self.singles is None:
            return Learnt(fixed, None, usual_rows, FoldState(state))
        single, single_state = self.singles.basis, self.singles.state
        assert single is not None and single_state is not None and self.end is not None
        known = SingleState(self.end, single_state, self.singles.fewest, self.alarms)
        return Learnt(fixed, Fixed(single.map, single.detector), usual_rows, FoldState(state, known))
