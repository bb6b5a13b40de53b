"""What people said of a model's windows, as its detector takes it: which windows are learnt from, what is normal now.

Pure: feedback is stored by `driftline.store.feedback`, the calendar and the maintenance stand in the configuration.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import reduce
from typing import NamedTuple
from zoneinfo import ZoneInfo

from driftline.detection import (
    Accepted,
    DetectorVerdict,
    Fold,
    FoldState,
    Observed,
    Reading,
    Series,
    Use,
)
from driftline.errors import UsageError
from driftline.events import Window
from driftline.monitoring.no_ordinary_days import has_mostly
from driftline.monitoring.options import ModelConfig
from driftline.profiles.column import merge_columns
from driftline.rules import Ending
from driftline.store.feedback import FeedbackRow
from driftline.store.tables import EPOCH

_INSTANT = timedelta(microseconds=1)


class FeedbackKind(enum.StrEnum):
    """What somebody can say."""

    ACCEPT = "accept"
    """All windows since a moment are the new normal; the open alarm ends."""
    EXPECTED = "expected"
    """This alarm was right and nothing is wrong: its windows are not learnt from, and it ends."""
    MISSED = "missed"
    """There should have been an alarm over a span: it is not learnt from."""
    INCIDENT = "incident"
    """Something was wrong over a span: it is not learnt from."""
    IGNORE = "ignore"
    """A column says nothing of the model: no alarm is about it."""


_NOT_LEARNT = (FeedbackKind.EXPECTED, FeedbackKind.MISSED, FeedbackKind.INCIDENT)
_ENDING = (FeedbackKind.ACCEPT, FeedbackKind.EXPECTED)


class Step(NamedTuple):
    """A window judged: what was read of it, the states before and after it, and what is said of it."""

    reading: Reading
    before: FoldState
    after: FoldState
    said: DetectorVerdict


@dataclass(frozen=True, slots=True)
class Guidance:
    """What people said of a model's windows, and when it is no ordinary day in ``timezone``.

    ``not_learnt`` are spans of event time; ``accepted`` come in the order in which they are applied, and ``endings`` in
    order of time. The default says nothing.
    """

    timezone: str = "UTC"
    calendar: frozenset[date] = frozenset()
    calendar_column: str = ""
    not_learnt: tuple[Window, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    endings: tuple[Ending, ...] = ()
    ignored: tuple[str, ...] = ()

    def use_of(self, window: Window, observed: Observed | None = None) -> Use:
        """What a window is good for: neither judged nor learnt from where at least half of its days are in the
        calendar, or half of its rows say so in a column, and not learnt from where it overlaps a span that is left out.

        >>> from datetime import UTC
        >>> day = Window(datetime(2024, 12, 25, tzinfo=UTC), datetime(2024, 12, 26, tzinfo=UTC))
        >>> Guidance(calendar=frozenset([date(2024, 12, 25)])).use_of(day).value
        'skip'
        >>> Guidance(not_learnt=(day,)).use_of(day).value, Guidance().use_of(day).value
        ('judge', 'learn')
        """
        if self.calendar:
            days = list(_days_of(window, ZoneInfo(self.timezone)))
            if 2 * sum(day in self.calendar for day in days) >= len(days):
                return Use.SKIP
        if observed is not None and self.skips([observed]):
            return Use.SKIP
        return Use.JUDGE if any(span.overlaps(window) for span in self.not_learnt) else Use.LEARN

    def skips(self, observed: Iterable[Observed]) -> bool:
        """Whether half of the rows of windows say in a column that it is no ordinary day."""
        columns = [one.profile.features.columns.get(self.calendar_column) for one in observed]
        known = [one for one in columns if one is not None]
        return bool(known) and has_mostly(reduce(merge_columns, known))

    def folded(
        self,
        fold: Fold,
        state: FoldState,
        readings: Iterable[Reading],
        recall: Callable[[FoldState], FoldState] = lambda state: state,
    ) -> Iterator[Step]:
        """Judge windows, in order of time, as people have guided the detector.

        ``recall`` gives a state the values of its history, where these were left out, before they are needed.
        """
        guided = fold.weighed(self.weighed)
        for reading in readings:
            if guided.may_learn_next(state, reading) or self._accepts(state, reading.window):
                state = recall(state)
            before = self.applied(guided, state, reading.window)
            state, said = guided.step(before, reading)
            yield Step(reading, before, state, said)

    def applied(self, fold: Fold, state: FoldState, window: Window) -> FoldState:
        """The state before ``window`` is judged: what was said between it and the window before is taken in.

        A new normal of which too few windows are left, as after events were erased, changes nothing.
        """
        for ending in self.endings:
            if state.end <= ending.at <= window.start:
                state = fold.forget(state)
        for one in self.accepted:
            if state.end <= one.at <= window.start:
                with contextlib.suppress(UsageError):
                    state = fold.accept(state, one.since)
        return state

    def _accepts(self, state: FoldState, window: Window) -> bool:
        """Whether a new normal is taken in before ``window`` is judged."""
        return any(state.end <= one.at <= window.start for one in self.accepted)

    def weighed(self, series: Sequence[Series]) -> tuple[Series, ...]:
        """The series with no share of the budget for the columns that are ignored; the others share what these had."""
        ignored = {*self.ignored}
        left = sum(one.weight for one in series if one.column not in ignored)
        if not ignored or not left:
            return tuple(replace(one, weight=0.0) if one.column in ignored else one for one in series)
        total = sum(one.weight for one in series)
        return tuple(replace(one, weight=0.0 if one.column in ignored else one.weight * total / left) for one in series)


def _days_of(window: Window, zone: ZoneInfo) -> Iterator[date]:
    day, last = window.start.astimezone(zone).date(), (window.end - _INSTANT).astimezone(zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def guidance_of(
    rows: Iterable[FeedbackRow],
    *,
    calendar: Iterable[date] = (),
    calendar_column: str = "",
    maintenance: Iterable[Window] = (),
    timezone: str = "UTC",
) -> Guidance:
    """Return what feedback, a calendar and times of maintenance amount to; the order of ``rows`` does not matter.

    >>> guidance_of([]) == Guidance()
    True
    """
    said = sorted(rows, key=lambda row: (row.at, row.id))
    return Guidance(
        timezone=timezone,
        calendar=frozenset(calendar),
        calendar_column=calendar_column,
        not_learnt=(
            *sorted(maintenance, key=lambda span: (span.start, span.end)),
            *(span for row in said if row.kind in _NOT_LEARNT and (span := _span_of(row)) is not None),
        ),
        accepted=tuple(
            sorted(
                (
                    Accepted(row.until, row.since)
                    for row in said
                    if row.kind == FeedbackKind.ACCEPT and row.until is not None and row.since is not None
                ),
                key=lambda one: one.at,
            )
        ),
        endings=tuple(
            sorted(
                (Ending(row.until, in_words(row)) for row in said if row.kind in _ENDING and row.until is not None),
                key=lambda one: one.at,
            )
        ),
        ignored=tuple(sorted({row.column for row in said if row.kind == FeedbackKind.IGNORE})),
    )


def guidance_for(config: ModelConfig, rows: Iterable[FeedbackRow]) -> Guidance:
    """Return what feedback and the configuration of a model amount to."""
    return guidance_of(
        rows,
        calendar=config.calendar,
        calendar_column=config.calendar_column,
        maintenance=config.maintenance,
        timezone=config.window.timezone,
    )


def ends_alarm(row: FeedbackRow) -> bool:
    """Whether some feedback ends the alarm that is open."""
    return row.kind in _ENDING


def judged_again_since(rows: Iterable[FeedbackRow]) -> datetime | None:
    """The event time from which on windows have to be judged again by some feedback; None where that is nowhere.

    What ends an alarm changes what comes after it, a span that is not learnt from the windows in it too, and a column
    that is ignored changes all.
    """
    moments = [EPOCH if row.kind == FeedbackKind.IGNORE else row.since for row in rows]
    return min((moment for moment in moments if moment is not None), default=None)


_WORDS = {
    FeedbackKind.ACCEPT: "{by} accepted it as the new normal",
    FeedbackKind.EXPECTED: "{by} said that it was expected",
    FeedbackKind.MISSED: "{by} said that an alarm was missed",
    FeedbackKind.INCIDENT: "{by} left an incident out",
    FeedbackKind.IGNORE: "{by} ignores the column {column}",
}


def in_words(row: FeedbackRow) -> str:
    """Say who said what, and why.

    >>> from datetime import UTC
    >>> now = datetime(2024, 1, 1, tzinfo=UTC)
    >>> in_words(FeedbackRow("1", "churn", "ignore", None, None, "id", "", "it counts up", "ann", now))
    'ann ignores the column id: it counts up'
    """
    said = _WORDS[FeedbackKind(row.kind)].format(by=row.by, column=row.column)
    return f"{said}: {row.reason}" if row.reason else said


def _span_of(row: FeedbackRow) -> Window | None:
    return None if row.since is None or row.until is None else Window(row.since, row.until)
