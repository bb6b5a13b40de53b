"""Summaries: what people are shown of a window. Every statement on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from driftline.events import WHOLE, Slice
from driftline.store.statements import put_values
from driftline.store.tables import SUMMARIES


class Summaries:
    """The statements on summaries, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put(self, model: str, start: datetime, slice: Slice, body: bytes) -> None:
        """Store what people are shown of a slice of a window's rows."""
        put_values(self._connection, SUMMARIES, [{"model": model, "start": start, "slice": slice, "body": body}])

    def get(self, model: str, start: datetime, slice: Slice = WHOLE) -> bytes | None:
        """Return what people are shown of one window."""
        found: bytes | None = self._connection.execute(
            sa.select(SUMMARIES.c.body).where(
                SUMMARIES.c.model == model, SUMMARIES.c.start == start, SUMMARIES.c.slice == slice
            )
        ).scalar_one_or_none()
        return found

    def newest_start(self, model: str, slice: Slice) -> datetime | None:
        """Return the start of the newest window that has rows of a slice; None where no window has."""
        statement = sa.select(SUMMARIES.c.start).where(SUMMARIES.c.model == model, SUMMARIES.c.slice == slice)
        found: datetime | None = self._connection.execute(
            statement.order_by(SUMMARIES.c.start.desc()).limit(1)
        ).scalar_one_or_none()
        return found

    def of_slices(
        self, model: str, slices: Sequence[Slice], start: datetime, end: datetime, *, most: int
    ) -> list[tuple[Slice, bytes]]:
        """Return what people are shown of some slices of the windows that start in [start, end), in order of time.

        At most ``most`` in all, the newest.
        """
        statement = sa.select(SUMMARIES.c.slice, SUMMARIES.c.body).where(
            SUMMARIES.c.model == model,
            SUMMARIES.c.start >= start,
            SUMMARIES.c.start < end,
            SUMMARIES.c.slice.in_(list(slices)),
        )
        newest = self._connection.execute(statement.order_by(SUMMARIES.c.start.desc()).limit(most))
        return [(slice, body) for slice, body in newest][::-1]

    def between(
        self,
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        slice: Slice = WHOLE,
        newest: int | None = None,
    ) -> list[bytes]:
        """Return what people are shown of the windows that start in [start, end), or of its ``newest``,
        in order of time.
        """
        statement = sa.select(SUMMARIES.c.body).where(SUMMARIES.c.model == model, SUMMARIES.c.slice == slice)
        if start is not None:
            statement = statement.where(SUMMARIES.c.start >= start)
        if end is not None:
            statement = statement.where(SUMMARIES.c.start < end)
        latest_first = statement.order_by(SUMMARIES.c.start.desc()).limit(newest)
        return list(self._connection.execute(latest_first).scalars())[::-1]
