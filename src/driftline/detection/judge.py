"""A whole history judged: a pure function of windows and events.

Windows shorter than a day are judged twice, by two detectors that share the budget: whole days carry the evidence, and
single windows are held against the same hour of other days, for faults that cannot wait. Their alarms are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from driftline.detection.alarms import Alarms, DetectorVerdict
from driftline.detection.cadence import Cadence
from driftline.detection.course import Course
from driftline.detection.detector import LEAST_WINDOWS, DetectorState, Settings
from driftline.detection.findings import Finding, Subject
from driftline.detection.history import Accepted, Basis, HistoryWindow, Watched, merge, merged_by
from driftline.detection.series_map import Observed
from driftline.events import Window

REFERENCE_WINDOWS = 28
_FIXED_AT = (LEAST_WINDOWS, 14)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a history, and what the detector knows at its end: None before it can judge.

    There is a verdict for each window, but for each hour where windows are shorter. Where they are shorter than a day,
    the verdict of a day is that of its last window, too, and ``basis`` and ``state`` are those of the days.
    """

    verdicts: tuple[DetectorVerdict, ...]
    basis: Basis | None = None
    state: DetectorState | None = None


def judge_history(
    windows: Iterable[HistoryWindow],
    cadence: Cadence,
    *,
    reference: Sequence[HistoryWindow] = (),
    reference_profile: Observed | None = None,
    watched: Watched | None = None,
    events: Iterable[Accepted] = (),
    reference_windows: int = REFERENCE_WINDOWS,
    whole_days: bool = False,
) -> Judged:
    """Judge windows of the cadence in order of time.

    A ``reference`` of windows is learnt from first; without one the first ``reference_windows`` of history are the
    reference: so many days where windows are shorter. ``reference_profile`` is one without times: it shows gross faults
    only. ``events`` come in order of time. With ``whole_days`` shorter windows are merged to days already: there is
    nothing to be said of single ones, nor of the daily rhythm.
    """
    watched, known = watched or Watched(), reference_profile or Observed()
    waiting = sorted(events, key=lambda one: one.at)
    if not whole_days and (single := cadence.single_settings) is not None:
        pair = _Pair.of(cadence, single, watched, known, reference_windows)
        pair.start(reference)
        return Judged(tuple(pair.judge(list(windows), waiting)), pair.days.basis, pair.days.state)
    course = _days(cadence, watched, known, reference_windows)
    _start(course, reference)
    verdicts = []
    for window in windows:
        verdicts.append(course.judge(window))
        while waiting and waiting[0].at <= window.window.end:
            course.accept(waiting.pop(0).since)
    return Judged(tuple(verdicts), course.basis, course.state)


def _days(cadence: Cadence, watched: Watched, known: Observed, reference_windows: int) -> Course:
    """The course of the windows that carry the evidence."""
    return Course(lambda seen: Basis.of(seen, cadence, watched), _fixed_at(reference_windows, 1), known=known)


def _fixed_at(reference_windows: int, a_day: int) -> tuple[int, ...]:
    early = [count for count in _FIXED_AT if count < reference_windows]
    return tuple(count * a_day for count in (*early, reference_windows))


def _start(course: Course, reference: Sequence[HistoryWindow]) -> None:
    """Begin with a reference; nothing of the history is added to it."""
    if reference:
        course.seen = list(reference)
        course.fixed_at = (len(reference),)
        course.start(reference)


@dataclass(slots=True)
class _Pair:
    """The courses of whole days and of single windows, and the alarms that they have together."""

    cadence: Cadence
    settings: Settings
    days: Course
    singles: Course
    alarms: Alarms = field(default_factory=Alarms)

    @classmethod
    def of(
        cls, cadence: Cadence, settings: Settings, watched: Watched, known: Observed, reference_windows: int
    ) -> _Pair:
        singles = Course(
            lambda seen: Basis.of_single(seen, cadence, settings, watched),
            _fixed_at(reference_windows, cadence.singles_a_day),
            cadence.single_slot,
            known=known,
        )
        return cls(cadence, settings, _days(cadence, watched, known, reference_windows), singles)

    def start(self, reference: Sequence[HistoryWindow]) -> None:
        """Begin with a reference: with the whole days of it, and with its single windows."""
        singles = [merge(whole, parts) for whole, parts in merged_by(reference, self.cadence.single_spec)]
        _start(self.singles, singles)
        _start(self.days, [self._day(whole, parts) for whole, parts in merged_by(singles, self.cadence.day_spec)])

    def judge(self, windows: Sequence[HistoryWindow], events: list[Accepted]) -> Iterator[DetectorVerdict]:
        """Judge windows in order of time; a day or an hour that is not over yet is not judged."""
        until = windows[-1].window.end if windows else None
        singles = [
            merge(whole, parts)
            for whole, parts in merged_by(windows, self.cadence.single_spec)
            if until is not None and whole.end <= until
        ]
        for whole, parts in merged_by(singles, self.cadence.day_spec):
            for one in parts:
                said = [self.singles.judge(one)]
                if one is parts[-1] and until is not None and whole.end <= until:
                    said.insert(0, self.days.judge(self._day(whole, parts)))
                yield self._together(one.window, said)
                while events and events[0].at <= one.window.end:
                    self._accept(events.pop(0).since)

    def _day(self, whole: Window, parts: Sequence[HistoryWindow]) -> HistoryWindow:
        return merge(whole, parts, self.cadence.single_slot)

    def _together(self, window: Window, said: Sequence[DetectorVerdict]) -> DetectorVerdict:
        """What is said of a window by one detector or by both: one alarm, with the surest finding on each subject."""
        reason = next((one.reason for one in said if one.reason), "")
        chances = [one.chance for one in said if one.chance is not None]
        if not chances:
            return replace(said[0], window=window, episode=self.alarms.episode)
        best: dict[Subject, Finding] = {}
        for finding in sorted((one for each in said for one in each.findings), key=lambda one: one.chance):
            best.setdefault(finding.subject, finding)
        self.alarms, verdict = self.alarms.after(
            window, list(best.values()), min(chances), closes_after=self.settings.quiet, reason=reason
        )
        return verdict

    def _accept(self, since: datetime) -> None:
        self.days.accept(since)
        self.singles.accept(since)
        self.alarms = Alarms(episodes=self.alarms.episodes)
