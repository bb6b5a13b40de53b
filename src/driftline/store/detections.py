"""What the detector of a model has learnt, and what it said of each window. Every statement on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.store.statements import as_row, put_row, put_rows
from driftline.store.tables import DETECTIONS, DETECTOR_STATES, DETECTORS, EPOCH

WHOLE_PART, SINGLE_PART = "whole", "single"
"""The parts of a state."""


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """A model's detector with what it learnt first; empty while there is too little to learn from for good.

    It learnt from the windows of the reference, or from the first ones of production: all before ``begins``. Of windows
    shorter than a day there is what was learnt ``so_far``, until the next day ends.
    """

    model: str
    fingerprint: bytes
    begins: datetime
    from_reference: bool
    learnt: bytes
    so_far: bytes = b""


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """One window, and what was found in it, None where nothing was.

    ``values`` are the encoded values of its series; of a window that was learnt from, a digest of what was observed.
    """

    model: str
    start: datetime
    values: bytes
    said: bytes | None = None


@dataclass(frozen=True, slots=True)
class DetectorStateRow:
    """What the detector knows after the window that begins at ``start``; not ``kept`` once a newer one is known.

    Its ``part`` is `WHOLE_PART`, or `SINGLE_PART` of windows shorter than a day. Of the whole days of these a state is
    stored only where one has ended: what is known is the state of the single windows, with the newest of whole days
    that is not later. States that are kept come in pairs.
    """

    model: str
    part: str
    start: datetime
    kept: bool
    state: bytes


class Detections:
    """The statements on detectors, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def detector(self, model: str) -> DetectorRow | None:
        """What a model's detector learnt first, if it has."""
        row = self._connection.execute(sa.select(DETECTORS).where(DETECTORS.c.model == model)).one_or_none()
        return None if row is None else as_row(DetectorRow, row)

    def put_detector(self, row: DetectorRow) -> None:
        """Store what a detector learnt first; nothing that another one said is left."""
        self.drop(row.model)
        put_row(self._connection, DETECTORS, row)

    def drop(self, model: str) -> None:
        """Forget all that a model's detector learnt and said."""
        for table in (DETECTORS, DETECTIONS, DETECTOR_STATES):
            self._connection.execute(table.delete().where(table.c.model == model))

    def forget_windows(self, model: str) -> None:
        """Forget all windows of a model, and what was learnt from them, to judge them anew."""
        for table in (DETECTIONS, DETECTOR_STATES):
            self._connection.execute(table.delete().where(table.c.model == model))
        from_windows = (DETECTORS.c.model == model, sa.not_(DETECTORS.c.from_reference))
        self._connection.execute(DETECTORS.update().where(*from_windows).values(learnt=b"", so_far=b"", begins=EPOCH))

    def since(self, model: str, start: datetime) -> list[DetectionRow]:
        """The windows that begin at a moment or after it, in order of time."""
        asked = sa.select(DETECTIONS).where(DETECTIONS.c.model == model, DETECTIONS.c.start >= start)
        return [as_row(DetectionRow, row) for row in self._connection.execute(asked.order_by(DETECTIONS.c.start))]

    def starts_between(self, model: str, start: datetime, end: datetime) -> list[datetime]:
        """When the windows begin that were judged and begin in [start, end), in order of time."""
        of_model = (DETECTIONS.c.model == model, DETECTIONS.c.start >= start, DETECTIONS.c.start < end)
        asked = sa.select(DETECTIONS.c.start).where(*of_model).order_by(DETECTIONS.c.start)
        return list(self._connection.execute(asked).scalars())

    def values_between(self, model: str, start: datetime, end: datetime) -> list[bytes]:
        """The values of the windows that begin in [start, end], in order of time."""
        of_model = (DETECTIONS.c.model == model, DETECTIONS.c.start >= start, DETECTIONS.c.start <= end)
        asked = sa.select(DETECTIONS.c["values"]).where(*of_model).order_by(DETECTIONS.c.start)
        return list(self._connection.execute(asked).scalars())

    def newest_start(self, model: str) -> datetime | None:
        """When the newest window begins that was judged; None before there is one."""
        asked = sa.select(sa.func.max(DETECTIONS.c.start)).where(DETECTIONS.c.model == model)
        found: datetime | None = self._connection.execute(asked).scalar_one()
        return found

    def at(self, model: str, start: datetime) -> DetectionRow | None:
        """One window, if it was judged."""
        asked = sa.select(DETECTIONS).where(DETECTIONS.c.model == model, DETECTIONS.c.start == start)
        row = self._connection.execute(asked).one_or_none()
        return None if row is None else as_row(DetectionRow, row)

    def said_between(self, model: str, start: datetime, end: datetime) -> list[bytes]:
        """What was found in the windows that begin in [start, end), in order of time, without those of nothing."""
        asked = sa.select(DETECTIONS.c.said).where(
            DETECTIONS.c.model == model,
            DETECTIONS.c.start >= start,
            DETECTIONS.c.start < end,
            DETECTIONS.c.said.is_not(None),
        )
        return list(self._connection.execute(asked.order_by(DETECTIONS.c.start)).scalars())

    def put(self, rows: Iterable[DetectionRow]) -> None:
        """Store windows, new or changed."""
        put_rows(self._connection, DETECTIONS, rows)

    def state_before(self, model: str, part: str, start: datetime) -> DetectorStateRow | None:
        """The newest state of a part that knows only of windows before a moment."""
        of_part = (DETECTOR_STATES.c.model == model, DETECTOR_STATES.c.part == part, DETECTOR_STATES.c.start < start)
        statement = sa.select(DETECTOR_STATES).where(*of_part).order_by(DETECTOR_STATES.c.start.desc()).limit(1)
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else as_row(DetectorStateRow, row)

    def replace_states(self, model: str, since: datetime, rows: Sequence[DetectorStateRow], keep: datetime) -> None:
        """Store states in the place of those from ``since`` on; forget those of before ``keep`` but the newest."""
        of_model, parts = DETECTOR_STATES.c.model == model, sorted({row.part for row in rows})
        outdated = sa.and_(sa.not_(DETECTOR_STATES.c.kept), DETECTOR_STATES.c.part.in_(parts))
        self._connection.execute(
            DETECTOR_STATES.delete().where(of_model, sa.or_(DETECTOR_STATES.c.start >= since, outdated))
        )
        put_rows(self._connection, DETECTOR_STATES, rows)
        newest = (
            sa.select(sa.func.max(DETECTOR_STATES.c.start)).where(
                of_model, DETECTOR_STATES.c.kept, DETECTOR_STATES.c.start < keep
            )
        ).scalar_subquery()
        self._connection.execute(DETECTOR_STATES.delete().where(of_model, DETECTOR_STATES.c.start < newest))
