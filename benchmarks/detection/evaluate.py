"""What people notice: alarms as episodes, false ones a year, windows until a change is seen, and what is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.detection.streams import Stream, windows
from driftline.detection import Basis, Cadence, DetectorState, HistoryWindow, Outcome, SeriesWindow, Watched
from driftline.events import WindowSpec

QUIET = 7
A_YEAR = 365
CADENCE = Cadence(WindowSpec("1d"))

Floats = npt.NDArray[np.float64]


class Said(NamedTuple):
    """Of each window whether it is an alarm, whether it notifies, and the columns named, the surest first."""

    alarm: npt.NDArray[np.bool_]
    notifies: npt.NDArray[np.bool_]
    named: list[list[str]]


Judge = Callable[[Stream], Said]


def driftline(stream: Stream, cadence: Cadence = CADENCE) -> Said:
    """What the product says of a stream's windows behind its reference."""
    return judged(windows(stream), stream.reference, cadence)


def judged(history: Sequence[HistoryWindow], count: int, cadence: Cadence = CADENCE) -> Said:
    """What the product says of the windows behind the first ``count``, which are the reference."""
    return _learn(history, count).said(cadence)


class Learnt(NamedTuple):
    """What the product has learnt from a reference, and the values of the windows behind it: of any budget."""

    basis: Basis
    state: DetectorState
    rest: list[SeriesWindow]

    def said(self, cadence: Cadence) -> Said:
        """What it says of these windows within the budget of a cadence."""
        _, verdicts = replace(self.basis.detector, settings=cadence.settings).fold(self.state, self.rest)
        return Said(
            np.array([one.outcome is Outcome.ALARM for one in verdicts]),
            np.array([one.notifies for one in verdicts]),
            [[finding.column for finding in one.findings] for one in verdicts],
        )


def learn(stream: Stream) -> Learnt:
    """Learn from the reference of a stream."""
    return _learn(windows(stream), stream.reference)


def _learn(history: Sequence[HistoryWindow], count: int) -> Learnt:
    basis = Basis.of(history[:count], CADENCE, Watched(positive="1"))
    return Learnt(basis, basis.start(history[:count]), basis.windows(history[count:]))


def always(stream: Stream) -> Said:
    """A dummy that takes every window for an alarm and names nothing."""
    count = len(stream.slots) - stream.reference
    return Said(np.ones(count, np.bool_), np.arange(count) == 0, [[""]] * count)


def never(stream: Stream) -> Said:
    """A dummy that takes no window for an alarm."""
    count = len(stream.slots) - stream.reference
    return Said(np.zeros(count, np.bool_), np.zeros(count, np.bool_), [[]] * count)


def episodes(alarm: npt.NDArray[np.bool_], quiet: int = QUIET) -> int:
    """Alarms that people see: those with at most ``quiet`` windows between them are one.

    >>> episodes(np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1], bool))
    2
    """
    at = np.flatnonzero(alarm)
    return int(len(at) > 0) + int((np.diff(at) > quiet + 1).sum())


class FalseAlarms(NamedTuple):
    """Of each stream without a change: alarms, notifications and windows in alarm, a year."""

    alarms: Floats
    notifications: Floats
    windows: Floats

    @property
    def standard_error(self) -> float:
        """Of the mean of alarms; NaN of one stream."""
        return float(self.alarms.std(ddof=1) / math.sqrt(len(self.alarms))) if len(self.alarms) > 1 else math.nan


def false_alarms(judge: Judge, streams: Iterable[Stream]) -> FalseAlarms:
    """Count what is said of streams without a change."""
    return counted([judge(stream) for stream in streams])


def counted(said: Sequence[Said]) -> FalseAlarms:
    """Count the alarms of some streams."""
    per_year = [A_YEAR / len(one.alarm) for one in said]
    return FalseAlarms(
        np.array([episodes(one.alarm) * each for one, each in zip(said, per_year, strict=True)]),
        np.array([one.notifies.sum() * each for one, each in zip(said, per_year, strict=True)]),
        np.array([one.alarm.sum() * each for one, each in zip(said, per_year, strict=True)]),
    )


class Delays(NamedTuple):
    """Windows until the first alarm at or after a change, of each judged stream (1: in the first changed one; infinite:
    in none), and of those found the share in which a changed column is named first. Streams in alarm just before the
    change are not judged.
    """

    windows: Floats
    named_first: float
    skipped: int

    def within(self, count: int) -> float:
        """The share found within so many windows, 0 to 1; NaN of no streams."""
        return float((self.windows <= count).mean()) if len(self.windows) else math.nan


def delays(judge: Judge, streams: Sequence[Stream]) -> Delays:
    """Measure how soon the changes of streams are seen."""
    found, first, skipped = [], [], 0
    for stream in streams:
        assert stream.at is not None
        said, at = judge(stream), stream.at - stream.reference
        if said.alarm[max(at - QUIET, 0) : at].any():
            skipped += 1
            continue
        hits = np.flatnonzero(said.alarm[at:])
        found.append(float(hits[0]) + 1 if len(hits) else math.inf)
        if len(hits):
            first.append(said.named[at + int(hits[0])][0] in stream.changed)
    return Delays(np.array(found), float(np.mean(first)) if first else math.nan, skipped)
