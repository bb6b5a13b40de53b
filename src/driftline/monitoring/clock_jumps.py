"""Keeps what rests on the wall clock right when that jumps: the spans since the last arrival and the last notice.

A clock that jumps ahead by a year makes no model stale and repeats nothing; one that comes back holds nothing up. What
was noted by the clock as it stood before is moved along with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from driftline.monitoring.alerting import STALE_RULE
from driftline.rules import Status
from driftline.store.outbox import Outbox
from driftline.store.state import State, Work
from driftline.text.durations import about

LEAST = timedelta(minutes=5)
"""A clock that is put right by less has not jumped."""

_NONE = timedelta()


@dataclass(slots=True)
class JumpWatch:
    """How far the wall clock has gone from a steady one since the start."""

    offset: timedelta = _NONE

    def jump(self, now: datetime, steady: datetime) -> timedelta:
        """By how much the clock has jumped since the last look (ahead: above 0); ``steady`` began at the same moment.

        >>> from datetime import UTC
        >>> noon, watch = datetime(2024, 1, 1, 12, tzinfo=UTC), JumpWatch()
        >>> watch.jump(noon, noon), watch.jump(noon + timedelta(days=1), noon)
        (datetime.timedelta(0), datetime.timedelta(days=1))
        """
        by = now - steady - self.offset
        if abs(by) < LEAST:
            return _NONE
        self.offset += by
        return by

    @property
    def words(self) -> str:
        """Where the clock stands, for people; empty where it stands as it did at the start."""
        if abs(self.offset) < LEAST:
            return ""
        where = "ahead of" if self.offset > _NONE else "behind"
        return f"the clock has jumped: it is {about(abs(self.offset))} {where} where it was at the start"


def move_along(state: State, model: str, by: timedelta, now: datetime, within: timedelta) -> None:
    """Move what was noted of a model by the clock as it stood before along with a jump of it, see `moved_along`."""
    with state.work() as work:
        _move(work, model, lambda moment: moved_along(moment, by, now, within))


def move_late(state: State, model: str, by: timedelta, now: datetime, within: timedelta) -> None:
    """Move along what came of a model before a jump and was noted only after `move_along`, see `moved_late`."""
    with state.work() as work:
        _move(work, model, lambda moment: moved_late(moment, by, now, within))


def moved_along(moment: datetime, by: timedelta, now: datetime, within: timedelta) -> datetime:
    """Return a moment by the clock as it stands now, which has jumped ``within`` a time; never in the future.

    What lies within that time by the clock as it stands now was noted since.

    >>> from datetime import UTC
    >>> day, noon, second = timedelta(days=1), datetime(2024, 1, 2, 12, tzinfo=UTC), timedelta(seconds=1)
    >>> moved_along(noon - day - timedelta(hours=1), day, noon, second).isoformat()
    '2024-01-02T11:00:00+00:00'
    >>> moved_along(noon, day, noon, second) == noon
    True
    """
    noted_since = now - within <= moment <= now
    return moment if noted_since else min(moment + by, now)


def moved_late(moment: datetime, by: timedelta, now: datetime, within: timedelta) -> datetime:
    """Return a moment of just before a jump by the clock as it stands now; earlier ones have been moved already.

    >>> from datetime import UTC
    >>> day, noon, second = timedelta(days=1), datetime(2024, 1, 2, 12, tzinfo=UTC), timedelta(seconds=1)
    >>> moved_late(noon - day, day, noon, second) == noon
    True
    >>> moved_late(noon - timedelta(hours=20), day, noon, second).isoformat()
    '2024-01-01T16:00:00+00:00'
    """
    noted_before = now - within <= moment + by <= now
    return moment + by if noted_before else moment


def bring_back(state: State, model: str, now: datetime) -> None:
    """Take what lies in the future at a start as of now: it was noted by a clock that has been put right since."""
    latest = now + LEAST
    with state.work() as work:
        _move(work, model, lambda moment: now if moment > latest else moment)


def _move(work: Work, model: str, moved: Callable[[datetime], datetime]) -> None:
    stored = work.models.get(model)
    last = None if stored is None else stored.last_arrival
    if stored is not None and last is not None and (at := moved(last)) != last:
        work.models.put(replace(stored, last_arrival=at))
        for alert in work.alerts.find(model, rule=STALE_RULE, status=Status.FIRING.value):
            if alert.started_at == last:  # by which it is known that nothing has come since
                work.alerts.put(replace(alert, started_at=at, window_start=at))
    outbox = Outbox(work.connection)
    for told in outbox.told(alert.id for alert in work.alerts.find(model, status=Status.FIRING.value)).values():
        if (at := moved(told.at)) != told.at:
            outbox.put_told(replace(told, at=at))
