"""The windows of a history, those of a day merged, and the basis that reference windows give to judge others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, reduce
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import structs

from driftline.detection.alarms import DetectorVerdict
from driftline.detection.cadence import Cadence, is_fault
from driftline.detection.detector import Detector, DetectorState, SeriesWindow, Settings, Use
from driftline.detection.rhythm import Rhythm
from driftline.detection.series import NO_ROWS, Values
from driftline.detection.series_map import Observed, SeriesMap
from driftline.detection.suspicion import suspect
from driftline.events import Window, WindowSpec
from driftline.profiles import Profile
from driftline.profiles.naive import Naive
from driftline.profiles.segments import SegmentProfiles

WHOLE_DAY = "day"
"""What windows shorter than a day are judged as, in the words of a finding."""


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """A window with what is stored of it; labels are in where it is ``labelled``. A day that was merged of shorter
    windows has these as ``parts``, by their slot in the day.
    """

    window: Window
    observed: Observed
    labelled: bool = True
    use: Use = Use.LEARN
    parts: tuple[tuple[int, Observed], ...] = ()


class Turn(NamedTuple):
    """One step of the judgement: a ``single`` window of less than a day, and with the last one of a day this ``whole``
    day, once it is over. Windows from a day on are ``whole`` ones alone.
    """

    window: Window
    single: HistoryWindow | None
    whole: HistoryWindow | None

    @property
    def own(self) -> HistoryWindow:
        """The single window, or the whole one where there are only these."""
        found = self.whole if self.single is None else self.single
        assert found is not None  # one of both is there
        return found


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
    """The series of a model as its reference windows fix them, and the detector of these.

    Days that are merged of shorter windows have series of their ``rhythm``, too. A basis of ``single`` windows has only
    the series that show faults, at their ``places`` among those of the map.
    """

    map: SeriesMap
    detector: Detector
    cadence: Cadence
    rhythm: Rhythm | None = None
    single: bool = False

    @classmethod
    def of(
        cls,
        reference: Sequence[HistoryWindow],
        cadence: Cadence,
        watched: Watched | None = None,
        settings: Settings | None = None,
    ) -> Basis:
        """Fix the series by the reference windows that may be learnt from; ``settings`` are the cadence's if None."""
        fixed, kept = _map_of(reference, watched or Watched()), _learnable(reference)
        rhythm = Rhythm.of(fixed, [one.parts for one in kept], cadence.singles_a_day) if cadence.below_a_day else None
        series = fixed.series if rhythm is None else rhythm.shared(fixed.series)
        return cls(fixed, Detector(series, settings or cadence.settings), cadence, rhythm)

    @classmethod
    def of_single(
        cls, reference: Sequence[HistoryWindow], cadence: Cadence, settings: Settings, watched: Watched | None = None
    ) -> Basis:
        """Fix the series by which single windows, shorter than a day, show faults that cannot wait."""
        fixed = _map_of(reference, watched or Watched())
        series = tuple(one for one in fixed.series if is_fault(one))
        return cls(fixed, Detector(series, settings), cadence, single=True)

    def start(self, reference: Sequence[HistoryWindow]) -> DetectorState:
        """Learn from the reference windows, in order of time; at least `LEAST_WINDOWS` that may be learnt from."""
        kept = _learnable(reference)
        values = self.map.reference_values([one.observed for one in kept])
        return self.detector.start(self._with(kept, values, in_reference=True))

    def step(self, state: DetectorState, window: SeriesWindow) -> tuple[DetectorState, DetectorVerdict]:
        """Judge one more window; findings say what they are held against."""
        state, said = self.detector.step(state, window)
        if not said.findings:
            return state, said
        when = self.cadence.single_when(window.window) if self.single else self.cadence.when(window.window)
        unit = WHOLE_DAY if self.cadence.below_a_day and not self.single else "window"
        findings = tuple(replace(one, when=when, unit=unit) for one in said.findings)
        return state, replace(said, findings=findings, suspicion=suspect(findings))

    def windows(self, windows: Sequence[HistoryWindow]) -> list[SeriesWindow]:
        """The windows as the detector takes them: small enough to be stored with their summaries."""
        if not windows:
            return []
        return self._with(windows, self.map.values([one.observed for one in windows]))

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero([is_fault(one) for one in self.map.series])

    def _with(
        self, windows: Sequence[HistoryWindow], values: Values, *, in_reference: bool = False
    ) -> list[SeriesWindow]:
        """Windows whose labels are not in say nothing of the series that rest on them, nor is it learnt from later."""
        y, n = values
        if self.single:
            y, n = y[:, self._places], n[:, self._places]
        elif self.rhythm is not None:
            days = [one.parts for one in windows]
            found = self.rhythm.reference_values(self.map, days) if in_reference else self.rhythm.values(self.map, days)
            y, n = np.hstack([y, found.y]), np.hstack([n, found.n])
        slot = self.cadence.single_slot if self.single else self.cadence.slot
        late = np.array([one.role.rests_on_labels for one in self.detector.series], np.bool_)
        told = list[SeriesWindow]()
        for one, of_window, rows in zip(windows, y, n, strict=True):
            silent = late & (not one.labelled)
            own = np.where(silent, 0.0, of_window), np.where(silent, NO_ROWS, rows)
            told.append(SeriesWindow(one.window, slot(one.window), *own, one.labelled, one.use))
        return told


def _learnable(reference: Sequence[HistoryWindow]) -> list[HistoryWindow]:
    return [one for one in reference if one.use is Use.LEARN]


def _map_of(reference: Sequence[HistoryWindow], watched: Watched) -> SeriesMap:
    return SeriesMap.of(
        [one.observed for one in _learnable(reference)],
        measures=watched.measures,
        positive=watched.positive,
        naive=watched.naive,
        ignored=watched.ignored,
    )


def rows_of(window: HistoryWindow) -> int:
    """How many rows a window has."""
    return max(window.observed.profile.predictions, window.observed.profile.features.rows)


def without_labels(observed: Observed) -> Observed:
    """The same without what is known of labels: where these are not all in, what trickles in says nothing yet."""
    segments = {
        column: {value: structs.replace(one, labelled=0, performance=None) for value, one in values.items()}
        for column, values in observed.segments.columns.items()
    }
    return Observed(structs.replace(observed.profile, labels=Profile(), performance=None), SegmentProfiles(segments))


def merged_by(windows: Iterable[HistoryWindow], spec: WindowSpec) -> Iterator[tuple[Window, list[HistoryWindow]]]:
    """Group windows, in order of time, by the longer ones in which they begin."""
    for whole, group in groupby(windows, key=lambda one: spec.window_of(one.window.start)):
        yield whole, list(group)


def merge(
    whole: Window, windows: Sequence[HistoryWindow], slot: Callable[[Window], int] | None = None
) -> HistoryWindow:
    """Merge the windows of a longer one, at least one: labelled where all are, and used as the least usable of them.

    With a ``slot`` the parts that have rows are kept by it. Of labels that are not all in nothing is known.
    """
    observed = reduce(Observed.merge, [one.observed for one in windows])
    uses = {one.use for one in windows}
    use = next(one for one in (Use.SKIP, Use.JUDGE, Use.LEARN) if one in uses)
    parts = () if slot is None else tuple((slot(one.window), one.observed) for one in windows if rows_of(one))
    labelled = all(one.labelled for one in windows)
    return HistoryWindow(whole, observed if labelled else without_labels(observed), labelled, use, parts)


def singles_of(windows: Iterable[HistoryWindow], cadence: Cadence) -> Iterator[HistoryWindow]:
    """Merge windows shorter than a day, in order of time, to those that are judged: to hours where they are shorter."""
    for whole, parts in merged_by(windows, cadence.single_spec):
        yield parts[0] if len(parts) == 1 and parts[0].window == whole else merge(whole, parts)


def day_of(whole: Window, singles: Sequence[HistoryWindow], cadence: Cadence) -> HistoryWindow:
    """Merge the single windows of a day."""
    return merge(whole, singles, cadence.single_slot)


def turns_of(windows: Iterable[HistoryWindow], cadence: Cadence, until: datetime | None = None) -> Iterator[Turn]:
    """Yield what is judged of a model's own windows, in order of time, once event time has come ``until`` a moment: to
    the end of the last one if None. An hour or a day that is not over yet is not judged.
    """
    if not cadence.below_a_day:
        yield from (Turn(one.window, None, one) for one in windows)
        return
    known, end = until_end(windows, until)
    singles = (one for one in singles_of(known, cadence) if one.window.end <= end)
    for whole, parts in merged_by(singles, cadence.day_spec):
        over = cadence.last_single(whole).end <= end
        for one in parts:
            yield Turn(one.window, one, day_of(whole, parts, cadence) if over and one is parts[-1] else None)


def until_end(windows: Iterable[HistoryWindow], until: datetime | None) -> tuple[Iterable[HistoryWindow], datetime]:
    """Windows in order of time, and ``until``: the end of the last one if None."""
    if until is not None:
        return windows, until
    known = list(windows)
    return known, max((one.window.end for one in known), default=datetime.max.replace(tzinfo=UTC))
