"""How far a changed verdict reaches: the part of a rule's history that has to be folded again.

After ``keep_firing_for + 1`` ok windows in a row that clear it, no alert fires, whatever was before. What changes
between two such places changes nothing before the one and nothing after the other: only the windows between them are
read. Where an alert has fired for long before the change, its beginning and its worst breach stand for all of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftline.events import WHOLE, Slice, Window
from driftline.rules import Rule, Status
from driftline.rules import State as VerdictState
from driftline.store.alerts import AlertRow
from driftline.store.judgements import Judgement
from driftline.store.state import Work

ROWLESS_WINDOWS = 7
"""How many windows in a row without rows of a segment or version end its alerts; more where the rule keeps them firing.

A segment that is gone is never ok again: without this its alert would fire for ever.
"""

READ_AT_ONCE = 64
"""How many verdicts are read at first; twice as many each time that this was not enough."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a history: verdicts in order of time, and the event time that they are all there is of.

    ``begin`` and ``end`` are None where the history itself begins and ends. Folding the verdicts gives the alerts that
    lie between them.
    """

    begin: datetime | None
    end: datetime | None
    verdicts: list[Judgement]


@dataclass(frozen=True, slots=True)
class History:
    """What a rule says, and has said, of one slice of a model's windows."""

    work: Work
    model: str
    rule: Rule
    slice: Slice = WHOLE

    def whole(self) -> list[Stretch]:
        """Return all of the history."""
        return [Stretch(None, None, self.work.judgements.find(self.model, rule=self.rule.name, slice=self.slice))]

    def alerts(self, within: tuple[datetime | None, datetime | None]) -> list[AlertRow]:
        """Return the alerts of which a part lies in a span of event time, open where None."""
        return self.work.alerts.find(self.model, rule=self.rule.name, slice=self.slice, within=within)

    def reached(self, changed: Sequence[datetime]) -> list[Stretch]:
        """Return the stretches in which alerts can change, once the verdicts on the windows ``changed`` have.

        Law: folded again, they and what is stored of the rest are what the whole history amounts to.
        """
        left, found = sorted(set(changed)), list[Stretch]()
        while left:
            begin, before = self._before(left[0])
            end, after, left = self._after(left)
            found.append(Stretch(begin, end, [*before, *after]))
        return found

    def rowless(self) -> list[Window]:
        """Return the windows without rows that end an alert of a part of the rows, in order of time.

        Empty for all rows, and while the part may come again: where fewer windows than that have closed without it.
        """
        if self.slice == WHOLE:
            return []
        stored, last = self.work.models.get(self.model), self.work.summaries.newest_start(self.model, self.slice)
        if stored is None or stored.watermark is None or last is None:
            return []
        least = max(ROWLESS_WINDOWS, self.rule.keep_firing_for + 1)
        found = self.work.windows.closed_after(self.model, last, stored.watermark, least)
        return found if len(found) == least else []

    def _before(self, start: datetime) -> tuple[datetime | None, list[Judgement]]:
        """Return the verdicts before a window that it may belong together with,
        and since when these are all there is.
        """
        rows, in_a_row, end, most = list[Judgement](), 0, start, READ_AT_ONCE  # the newest first
        while True:
            part = self._verdicts(end=end, newest_first=True, most=most)
            for one in part:
                rows.append(one)
                in_a_row = in_a_row + 1 if self._clears(one) else 0
                if in_a_row > self.rule.keep_firing_for:
                    return rows[-in_a_row].window_end, rows[:-in_a_row][::-1]
            if len(part) < most:
                return None, rows[::-1]
            if (long := self._long_alert(rows)) is not None:
                return long
            end, most = part[-1].window_start, 2 * most

    def _long_alert(self, rows: Sequence[Judgement]) -> tuple[datetime, list[Judgement]] | None:
        """As few verdicts of `_before` as do, where an alert has fired since long before ``rows``, the newest first."""
        place = next((place for place in reversed(range(len(rows))) if rows[place].state == VerdictState.BREACH), None)
        if place is None:
            return None
        known = rows[place]
        firing = [
            alert
            for alert in self.alerts((known.window_start, known.window_end))
            if alert.measure == self.rule.measure
            and alert.started_at < known.window_start
            and _stands(self.work, alert)
        ]
        if len(firing) != 1:
            return None
        since, until = firing[0].started_at, known.window_start
        first = self._verdicts(start=since, end=until, state="breach", most=self.rule.for_windows)
        worst = self._worst(since, until, lowest=self.rule.comparison == "below")
        if worst is None or first[0].window_start != since:
            return None
        more = [worst] if worst.window_start > first[-1].window_start else []
        return since, [*first, *more, *rows[: place + 1][::-1]]

    def _after(self, changed: Sequence[datetime]) -> tuple[datetime | None, list[Judgement], list[datetime]]:
        """Return the verdicts from the first changed window on that belong together, their end,
        and what changed beyond.
        """
        rows, left, in_a_row, most = list[Judgement](), list(changed), 0, READ_AT_ONCE
        start = left[0]
        while True:
            part = self._verdicts(start=start, most=most)
            for one in part if not rows else part[1:]:  # the first of a later part was the last of the one before
                rows.append(one)
                in_a_row = in_a_row + 1 if self._clears(one) else 0
                while left and left[0] <= one.window_start:
                    in_a_row = 0
                    del left[0]
                if in_a_row > self.rule.keep_firing_for:
                    return one.window_start, rows, left
            if len(part) < most:
                return None, rows, []
            start, most = part[-1].window_start, 2 * most

    def _clears(self, one: Judgement) -> bool:
        """Return whether a verdict is one of those that end an alert."""
        return one.state == VerdictState.OK and self.rule.cleared_by(one.value)

    def _verdicts(self, **asked: Any) -> list[Judgement]:
        return self.work.judgements.of_rule(self.model, self.rule.name, slice=self.slice, **asked)

    def _worst(self, since: datetime, until: datetime, *, lowest: bool) -> Judgement | None:
        return self.work.judgements.worst_breach(
            self.model, self.rule.name, since, until, slice=self.slice, lowest=lowest
        )


def _stands(work: Work, alert: AlertRow) -> bool:
    """Return whether a stored alert is what its rule says."""
    return alert.status != Status.CORRECTED and not is_outdated(work, alert)


OUTDATED = "outdated"
"""The step of an alert that the rule, as it was changed, does not find; it stays as it was under the old one."""


def is_outdated(work: Work, alert: AlertRow) -> bool:
    """Return whether an alert is one of its rule as it was before it was changed."""
    steps = work.alerts.transitions([alert.id]).get(alert.id, [])
    return bool(steps) and steps[-1].kind == OUTDATED
