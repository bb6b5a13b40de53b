"""The outbox: notifications for each channel, from the transaction that changed the alert until they have arrived; the
last notification that each channel got of each alert; and the silences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from driftline.store.retention import settled
from driftline.store.statements import as_row, put_row, put_values, values_of
from driftline.store.tables import CHANNELS, NOTIFICATIONS, SILENCES, TOLD

_PATTERNS = msgspec.json.Decoder(dict[str, str])
GIVEN_UP = ("refused", "expired")
"""The states of notices that have not arrived and never will."""

_PARAMETERS = 500  # ids in one statement: below every database's limit


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A notice that waits for a channel, or what became of it; ``body`` is its JSON.

    ``batch`` is the id of the first notice of the message that it was tried in, None before it was tried.
    """

    id: int
    channel: str
    model: str
    alert: str
    body: bytes
    batch: int | None
    attempts: int
    refusals: int
    due_at: datetime
    last_error: str
    state: str


@dataclass(frozen=True, slots=True)
class ToldRow:
    """The last notification of an alert to a channel, and when it was put into the outbox."""

    channel: str
    alert: str
    event: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """Mutes alerts whose fields match every pattern, in [starts_at, ends_at), wall-clock time."""

    id: str
    match: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    by: str
    reason: str
    created_at: datetime


class Outbox:
    """The statements on these tables, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # ---- notices ----------------------------------------------------------------------------------------------------

    def add(self, channel: str, model: str, alert: str, body: bytes, due_at: datetime) -> None:
        """Put a notice into the outbox."""
        self._connection.execute(
            NOTIFICATIONS.insert().values(
                channel=channel,
                model=model,
                alert=alert,
                body=body,
                batch=None,
                attempts=0,
                refusals=0,
                due_at=due_at,
                last_error="",
                state="waiting",
            )
        )

    def waiting(self, channel: str, most: int) -> list[NotificationRow]:
        """Return the oldest waiting notices of a channel, in the order in which they were put there."""
        statement = sa.select(NOTIFICATIONS).where(
            NOTIFICATIONS.c.state == "waiting", NOTIFICATIONS.c.channel == channel
        )
        found = self._connection.execute(statement.order_by(NOTIFICATIONS.c.id).limit(most))
        return [
            NotificationRow(**{field.name: row._mapping[field.name] for field in fields(NotificationRow)})
            for row in found
        ]

    def of_alert(self, alert: str, most: int) -> list[NotificationRow]:
        """Return the newest notices of an alert, whatever became of them, in the order in which they were put there."""
        statement = sa.select(NOTIFICATIONS).where(NOTIFICATIONS.c.alert == alert)
        found = self._connection.execute(statement.order_by(NOTIFICATIONS.c.id.desc()).limit(most))
        return [as_row(NotificationRow, row) for row in found][::-1]

    def begin(self, ids: Sequence[int], *, batch: int) -> None:
        """Say that notices go out together now: they are one message from here on."""
        self._update(ids, batch=batch)

    def settle(self, ids: Sequence[int], *, state: str, last_error: str = "") -> None:
        """Say what became of notices after one more attempt: delivered, refused or expired."""
        self._update(ids, state=state, last_error=last_error, attempts=NOTIFICATIONS.c.attempts + 1)

    def postpone(self, ids: Sequence[int], *, batch: int, due_at: datetime, last_error: str, refused: bool) -> None:
        """Have notices that could not be delivered tried again together, not before a moment."""
        self._update(
            ids,
            batch=batch,
            due_at=due_at,
            last_error=last_error,
            attempts=NOTIFICATIONS.c.attempts + 1,
            refusals=NOTIFICATIONS.c.refusals + int(refused),
        )

    def _update(self, ids: Sequence[int], **values: Any) -> None:
        for start in range(0, len(ids), _PARAMETERS):
            some = ids[start : start + _PARAMETERS]
            self._connection.execute(NOTIFICATIONS.update().where(NOTIFICATIONS.c.id.in_(some)).values(**values))

    def count(self, state: str) -> dict[str, int]:
        """Return how many notices of each channel are in a state."""
        return self._with_settled(state, self._by_channel(sa.func.count(), NOTIFICATIONS.c.state == state))

    def count_failed_attempts(self) -> dict[str, int]:
        """Return how many attempts of each channel have failed."""
        failed = NOTIFICATIONS.c.attempts - sa.case((NOTIFICATIONS.c.state == "delivered", 1), else_=0)
        return self._with_settled("failed attempts", self._by_channel(sa.func.sum(failed), sa.true()))

    def _with_settled(self, kind: str, now: dict[str, int]) -> dict[str, int]:
        """Add the notices that are not kept any more: what counts never becomes less."""
        gone = settled(self._connection, kind)
        return {channel: now.get(channel, 0) + gone.get(channel, 0) for channel in sorted(now.keys() | gone.keys())}

    def _by_channel(self, number: Any, where: Any) -> dict[str, int]:
        statement = sa.select(NOTIFICATIONS.c.channel, number).where(where).group_by(NOTIFICATIONS.c.channel)
        return {channel: int(found) for channel, found in self._connection.execute(statement)}

    def forget_orphans(self, channels: Iterable[str]) -> None:
        """Give up the notices of channels that there are no longer."""
        self._connection.execute(
            NOTIFICATIONS.update()
            .where(NOTIFICATIONS.c.state == "waiting", NOTIFICATIONS.c.channel.not_in(list(channels)))
            .values(state="expired", last_error="the channel is no longer configured")
        )

    # ---- what channels know -----------------------------------------------------------------------------------------

    def told(self, alerts: Iterable[str]) -> dict[tuple[str, str], ToldRow]:
        """Return the last notification of these alerts to each channel, by (channel, alert)."""
        ids = list(alerts)
        found: dict[tuple[str, str], ToldRow] = {}
        for start in range(0, len(ids), _PARAMETERS):
            statement = sa.select(TOLD).where(TOLD.c.alert.in_(ids[start : start + _PARAMETERS]))
            for row in self._connection.execute(statement):
                found[row.channel, row.alert] = ToldRow(row.channel, row.alert, row.event, row.at)
        return found

    def told_of(self, alert: str, channels: Sequence[str]) -> dict[str, ToldRow]:
        """Return the last notification of an alert to each of these channels, by channel."""
        statement = sa.select(TOLD).where(TOLD.c.channel.in_(channels), TOLD.c.alert == alert)
        return {row.channel: as_row(ToldRow, row) for row in self._connection.execute(statement)}

    def lost(self, alerts: Iterable[str]) -> set[tuple[str, str]]:
        """Of which of these alerts the newest notice was given up, as (channel, alert): it has not arrived."""
        given_up = self._newest(alerts, NOTIFICATIONS.c.state.in_(GIVEN_UP))
        if not given_up:  # as nearly always
            return set()
        others = self._newest({alert for _, alert in given_up}, NOTIFICATIONS.c.state.not_in(GIVEN_UP))
        return {key for key, id in given_up.items() if others.get(key, -1) < id}

    def _newest(self, alerts: Iterable[str], where: Any) -> dict[tuple[str, str], int]:
        """Return the id of the newest notice of each channel and alert, of those that are meant."""
        ids, found = list(alerts), dict[tuple[str, str], int]()
        for start in range(0, len(ids), _PARAMETERS):
            statement = (
                sa.select(NOTIFICATIONS.c.channel, NOTIFICATIONS.c.alert, sa.func.max(NOTIFICATIONS.c.id).label("id"))
                .where(where, NOTIFICATIONS.c.alert.in_(ids[start : start + _PARAMETERS]))
                .group_by(NOTIFICATIONS.c.channel, NOTIFICATIONS.c.alert)
            )
            found |= {(row.channel, row.alert): row.id for row in self._connection.execute(statement)}
        return found

    def put_told(self, row: ToldRow) -> None:
        """Store the last notification to a channel."""
        put_row(self._connection, TOLD, row)

    def memory(self, channel: str) -> bytes | None:
        """Return what a channel has to know of its receiver, if it has said so."""
        found = self._connection.execute(sa.select(CHANNELS.c.memory).where(CHANNELS.c.channel == channel))
        return found.scalar_one_or_none()

    def put_memory(self, channel: str, memory: bytes) -> None:
        """Store what a channel has to know of its receiver."""
        put_values(self._connection, CHANNELS, [{"channel": channel, "memory": memory}])

    # ---- silences ---------------------------------------------------------------------------------------------------

    def silences(self, *, after: datetime | None = None) -> list[SilenceRow]:
        """Return the silences that end after a moment, or all; the newest first."""
        statement = sa.select(SILENCES).order_by(SILENCES.c.created_at.desc(), SILENCES.c.id)
        if after is not None:
            statement = statement.where(SILENCES.c.ends_at > after)
        return [
            SilenceRow(
                row.id, _PATTERNS.decode(row.match), row.starts_at, row.ends_at, row.by, row.reason, row.created_at
            )
            for row in self._connection.execute(statement)
        ]

    def put_silence(self, row: SilenceRow) -> None:
        """Store a silence, new or changed."""
        put_values(self._connection, SILENCES, [values_of(row) | {"match": msgspec.json.encode(dict(row.match))}])
