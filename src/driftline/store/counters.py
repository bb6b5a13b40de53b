"""Counters of each model, such as its predictions by version. Every statement on them."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from driftline.store.statements import put_values
from driftline.store.tables import COUNTERS, EPOCH

JUDGED_AT = "judged_at"
"""What stands among the counters for the moment at which a window was judged last."""

LABELS_UNTIL = "labels_until"
"""What stands among the counters for the newest moment, event time, that a label speaks of."""

ALARMS = "alarms"
"""The counter of alerts that the detector has fired."""

VERDICTS = "verdicts"
"""The counter of verdicts that were stored, new or other than before: while it stands, all of them stand."""

INVALID = "invalid_events"
"""The counter of rows that were refused or set aside; its key is the kind of reason."""

SHOWN = "shown"
"""The counter of summaries that were stored or dropped: while it stands, what is shown of windows stands."""

ALERT_CHANGES = "alert_changes"
"""The counter of alerts that were stored, new or changed, and of their steps: while it stands, all of them stand."""


class Counters:
    """The statements on counters, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, model: str, name: str, key: str, by: int) -> None:
        """Add to a counter; counters only grow."""
        if by:
            row = {"model": model, "name": name, "key": key, "value": by}
            put_values(self._connection, COUNTERS, [row], added=("value",))

    def of(self, model: str) -> dict[tuple[str, str], int]:
        """Return all counters of a model, by name and key."""
        found = self._connection.execute(sa.select(COUNTERS).where(COUNTERS.c.model == model))
        return {(row.name, row.key): row.value for row in found}

    def note(self, model: str, name: str, moment: datetime) -> None:
        """Keep the newest moment of a kind among the counters, as microseconds since 1970."""
        set_counter(self._connection, model, name, (moment - EPOCH) // timedelta(microseconds=1))

    def moment(self, model: str, name: str) -> datetime | None:
        """Return a moment that was noted; None where none was."""
        statement = sa.select(COUNTERS.c.value).where(COUNTERS.c.model == model, COUNTERS.c.name == name)
        noted = self._connection.execute(statement).scalar_one_or_none()
        return None if noted is None else EPOCH + timedelta(microseconds=noted)

    def versions(self, model: str) -> list[str]:
        """Return the versions that have made predictions, in order of name."""
        statement = sa.select(COUNTERS.c.key).where(
            COUNTERS.c.model == model, COUNTERS.c.name == "predictions", COUNTERS.c.value > 0
        )
        return sorted(self._connection.execute(statement).scalars())


def set_counter(connection: sa.Connection, model: str, name: str, value: int) -> None:
    """Set a counter to a value, which may be smaller than before."""
    put_values(connection, COUNTERS, [{"model": model, "name": name, "key": "", "value": value}])
