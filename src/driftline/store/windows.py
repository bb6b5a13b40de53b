"""Windows: their profiles, and how far each has been judged. Every statement on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from driftline.events import Window
from driftline.store.counters import set_counter
from driftline.store.statements import as_row, put_row
from driftline.store.tables import COUNTERS, SUMMARIES, WINDOWS

KNOWN_WINDOWS = "windows"
"""The counter of a model's windows: its one number that can become smaller, when they are built anew."""


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of one version. ``profile`` is the encoded `WindowProfile`, ``segments`` the `SegmentProfiles`."""

    model: str
    start: datetime
    version: str
    end: datetime
    predictions: int
    labelled: int
    profile: bytes
    labels_changed: bool
    settled: bool
    pushed: bool = False
    revision: int = 0
    assess_at: datetime | None = None
    segments: bytes | None = None

    @property
    def window(self) -> Window:
        """The span of event time."""
        return Window(self.start, self.end)


class Windows:
    """The statements on windows, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def between(
        self,
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        version: str | None = None,
    ) -> list[WindowRow]:
        """Return windows in order of time: those that start in [start, end), of one version or all."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model).order_by(WINDOWS.c.start, WINDOWS.c.version)
        if start is not None:
            statement = statement.where(WINDOWS.c.start >= start)
        if end is not None:
            statement = statement.where(WINDOWS.c.start < end)
        if version is not None:
            statement = statement.where(WINDOWS.c.version == version)
        return [as_row(WindowRow, row) for row in self._connection.execute(statement)]

    def at(self, model: str, start: datetime) -> list[WindowRow]:
        """Return the versions of one window."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model, WINDOWS.c.start == start)
        return [as_row(WindowRow, row) for row in self._connection.execute(statement.order_by(WINDOWS.c.version))]

    def first_start(self, model: str) -> datetime | None:
        """Return the start of the oldest window; None before the first event."""
        statement = sa.select(sa.func.min(WINDOWS.c.start)).where(WINDOWS.c.model == model)
        found: datetime | None = self._connection.execute(statement).scalar()
        return found

    def starts_since(self, model: str, start: datetime) -> list[datetime]:
        """Return the starts of the windows that begin at a moment or after it, in order."""
        asked = sa.select(WINDOWS.c.start).where(WINDOWS.c.model == model, WINDOWS.c.start >= start)
        return list(self._connection.execute(asked.distinct().order_by(WINDOWS.c.start)).scalars())

    def starts_unlabelled(self, model: str, start: datetime, end: datetime) -> list[datetime]:
        """Return the starts of the windows within [start, end) that have rows without a label, in order."""
        asked = sa.select(WINDOWS.c.start).where(
            WINDOWS.c.model == model,
            WINDOWS.c.start >= start,
            WINDOWS.c.end <= end,
            WINDOWS.c.labelled < WINDOWS.c.predictions,
        )
        return list(self._connection.execute(asked.distinct().order_by(WINDOWS.c.start)).scalars())

    def labelled_within(self, model: str, start: datetime, end: datetime) -> int:
        """Return how many labelled rows the windows have that lie in [start, end)."""
        statement = sa.select(sa.func.sum(WINDOWS.c.labelled)).where(
            WINDOWS.c.model == model, WINDOWS.c.start >= start, WINDOWS.c.end <= end
        )
        return int(self._connection.execute(statement).scalar() or 0)

    def newest_settled_start(self, model: str) -> datetime | None:
        """Return the start of the newest window that has been judged; None before there is one."""
        statement = sa.select(sa.func.max(WINDOWS.c.start)).where(WINDOWS.c.model == model, WINDOWS.c.settled)
        found: datetime | None = self._connection.execute(statement).scalar_one()
        return found

    def versions_within(self, model: str, start: datetime, end: datetime, *, most: int) -> list[str]:
        """Return the versions that have windows which start in [start, end), sorted: those that answered last."""
        statement = (
            sa.select(WINDOWS.c.version)
            .where(WINDOWS.c.model == model, WINDOWS.c.start >= start, WINDOWS.c.start < end)
            .group_by(WINDOWS.c.version)
            .order_by(sa.func.max(WINDOWS.c.start).desc(), WINDOWS.c.version)
            .limit(most)
        )
        return sorted(self._connection.execute(statement).scalars())

    def settled_segments(
        self, model: str, *, start: datetime | None = None, end: datetime | None = None, most: int
    ) -> list[tuple[Window, bytes | None]]:
        """Return the encoded segments of the newest ``most`` judged windows that start in [start, end), the newest
        first; one for each version.
        """
        judged = sa.and_(WINDOWS.c.model == model, WINDOWS.c.settled)
        if start is not None:
            judged = sa.and_(judged, WINDOWS.c.start >= start)
        if end is not None:
            judged = sa.and_(judged, WINDOWS.c.start < end)
        starts = sa.select(WINDOWS.c.start).where(judged).distinct().order_by(WINDOWS.c.start.desc()).limit(most)
        statement = sa.select(WINDOWS.c.start, WINDOWS.c.end, WINDOWS.c.segments).where(
            judged, WINDOWS.c.start.in_(starts)
        )
        found = self._connection.execute(statement.order_by(WINDOWS.c.start.desc(), WINDOWS.c.version))
        return [(Window(begin, until), body) for begin, until, body in found]

    def judged_of_version(self, model: str, version: str, since: datetime) -> list[tuple[datetime, int]]:
        """Start and revision of the windows that end after ``since``, are judged, and have labels of the version."""
        statement = sa.select(WINDOWS.c.start, WINDOWS.c.revision).where(
            WINDOWS.c.model == model,
            WINDOWS.c.version == version,
            WINDOWS.c.end > since,
            WINDOWS.c.settled,
            WINDOWS.c.labelled > 0,
        )
        return [(start, revision) for start, revision in self._connection.execute(statement.order_by(WINDOWS.c.start))]

    def first_of_version(self, model: str, version: str) -> datetime | None:
        """Return the start of the oldest window that a version has answered in; None where it has answered none."""
        statement = sa.select(sa.func.min(WINDOWS.c.start)).where(
            WINDOWS.c.model == model, WINDOWS.c.version == version
        )
        found: datetime | None = self._connection.execute(statement).scalar()
        return found

    def last_of_version(self, model: str, version: str) -> datetime | None:
        """Return the end of the newest window that a version has answered in; None where it has answered none."""
        statement = sa.select(sa.func.max(WINDOWS.c.end)).where(WINDOWS.c.model == model, WINDOWS.c.version == version)
        found: datetime | None = self._connection.execute(statement).scalar()
        return found

    def closed_after(self, model: str, start: datetime, watermark: datetime, most: int) -> list[Window]:
        """Return the oldest ``most`` windows that start after a moment and end by the watermark, in order of time."""
        statement = (
            sa.select(WINDOWS.c.start, WINDOWS.c.end)
            .where(WINDOWS.c.model == model, WINDOWS.c.start > start, WINDOWS.c.end <= watermark)
            .distinct()
            .order_by(WINDOWS.c.start)
            .limit(most)
        )
        return [Window(begin, end) for begin, end in self._connection.execute(statement)]

    def starts_to_assess(self, model: str, watermark: datetime) -> list[datetime]:
        """Return the starts of the windows that have to be judged (again) at a watermark, in order."""
        due = sa.or_(WINDOWS.c.assess_at.is_(None), WINDOWS.c.assess_at <= watermark)
        statement = sa.select(WINDOWS.c.start).where(WINDOWS.c.model == model, sa.not_(WINDOWS.c.settled), due)
        return list(self._connection.execute(statement.distinct().order_by(WINDOWS.c.start)).scalars())

    def with_changed_labels(self, model: str) -> list[WindowRow]:
        """Return the windows whose labelled part is older than the log."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model, WINDOWS.c.labels_changed)
        return [as_row(WindowRow, row) for row in self._connection.execute(statement.order_by(WINDOWS.c.start))]

    def mark_labels_changed(self, model: str, start: datetime) -> None:
        """Say that a window has labels that its profile does not have yet."""
        self._connection.execute(
            WINDOWS.update()
            .where(WINDOWS.c.model == model, WINDOWS.c.start == start)
            .values(labels_changed=True, settled=False, assess_at=None)
        )

    def mark_settled(self, model: str, start: datetime) -> None:
        """Say that a window has been judged on all that is known."""
        self._connection.execute(
            WINDOWS.update()
            .where(WINDOWS.c.model == model, WINDOWS.c.start == start)
            .values(settled=True, pushed=False, revision=WINDOWS.c.revision + 1)
        )

    def assess_again_at(self, model: str, start: datetime, watermark: datetime) -> None:
        """Leave a window alone until the watermark comes to a moment, or the window changes."""
        self._connection.execute(
            WINDOWS.update().where(WINDOWS.c.model == model, WINDOWS.c.start == start).values(assess_at=watermark)
        )

    def assess_all(self, model: str) -> None:
        """Have the windows that are not settled judged again, where more than the windows themselves has changed."""
        self._connection.execute(
            WINDOWS.update().where(WINDOWS.c.model == model, sa.not_(WINDOWS.c.settled)).values(assess_at=None)
        )

    def unsettle_all(self, model: str, *, since: datetime | None = None) -> None:
        """Have every window judged again, after the rules have changed; or those that begin at a moment or after it."""
        every = WINDOWS.update().where(WINDOWS.c.model == model)
        some = every if since is None else every.where(WINDOWS.c.start >= since)
        self._connection.execute(some.values(settled=False, assess_at=None))

    def to_push(self, model: str, most: int) -> list[WindowRow]:
        """Settled windows whose measures have not gone out since, the oldest first."""
        statement = sa.select(WINDOWS).where(WINDOWS.c.model == model, WINDOWS.c.settled, sa.not_(WINDOWS.c.pushed))
        ordered = statement.order_by(WINDOWS.c.start, WINDOWS.c.version).limit(most)
        return [as_row(WindowRow, row) for row in self._connection.execute(ordered)]

    def mark_pushed(self, rows: Iterable[WindowRow]) -> None:
        """Say that these have gone out, unless they were settled anew in the meantime."""
        for row in rows:
            self._connection.execute(
                WINDOWS.update()
                .where(
                    WINDOWS.c.model == row.model,
                    WINDOWS.c.start == row.start,
                    WINDOWS.c.version == row.version,
                    WINDOWS.c.revision == row.revision,
                )
                .values(pushed=True)
            )

    def put(self, row: WindowRow) -> None:
        """Store a window, new or changed: it has to be judged (again) at once."""
        put_row(self._connection, WINDOWS, replace(row, assess_at=None))

    def drop(self, model: str, *, shown_before: datetime | None = None) -> None:
        """Forget all windows of a model, to rebuild them from the log.

        What people are shown of those that begin ``shown_before`` a moment stays.
        """
        self._connection.execute(WINDOWS.delete().where(WINDOWS.c.model == model))
        shown = SUMMARIES.delete().where(SUMMARIES.c.model == model)
        self._connection.execute(shown if shown_before is None else shown.where(SUMMARIES.c.start >= shown_before))

    def count(self, model: str) -> int:
        """Return how many windows a model has; counted one by one only in a state that was not opened yet."""
        counted = self._connection.execute(
            sa.select(COUNTERS.c.value).where(COUNTERS.c.model == model, COUNTERS.c.name == KNOWN_WINDOWS)
        ).scalar_one_or_none()
        if counted is not None:
            return int(counted)
        statement = sa.select(sa.func.count(WINDOWS.c.start.distinct())).where(WINDOWS.c.model == model)
        return int(self._connection.execute(statement).scalar_one())

    def recount(self, model: str) -> None:
        """Count the windows of a model one by one, and keep the number; who adds one counts it from then on."""
        of_model = (COUNTERS.c.model == model, COUNTERS.c.name == KNOWN_WINDOWS)
        self._connection.execute(COUNTERS.delete().where(*of_model))
        set_counter(self._connection, model, KNOWN_WINDOWS, self.count(model))
