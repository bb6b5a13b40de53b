"""Marks: values of which one is another whenever something has changed that the pages of a model show.

They are read in as many statements whatever the history is, and nothing is decoded. A value that only grows stands for
rows that are counted where they are written; what is little, or is not counted, stands in the mark itself.
"""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

from driftline.store.forgetting import CLEANING, DONE, ERASING, STOPPED, WAITING
from driftline.store.tables import (
    COUNTERS,
    CUTS,
    FEEDBACK,
    FORGETTINGS,
    FORGOTTEN_ROWS,
    HOLDS,
    INBOX,
    MODELS,
    NOTIFICATIONS,
    RETRAINING,
    TOLD,
    WINDOWS,
)

Mark = tuple[Any, ...]


def mark_of_model(connection: sa.Connection, model: str, *, requests: int) -> Mark:
    """Return the mark of a model, of which so many of the newest ``requests`` for challengers are shown.

    Every event that was processed, every verdict and summary, and every change of an alert moves a counter.
    """
    counters = sa.select(COUNTERS.c.name, COUNTERS.c.key, COUNTERS.c.value).where(COUNTERS.c.model == model)
    asked = (RETRAINING.c[name] for name in ("id", "stage", "changed_at", "note"))
    newest = sa.select(*asked).where(RETRAINING.c.model == model).order_by(RETRAINING.c.asked_at.desc()).limit(requests)
    return (
        tuple(connection.execute(_others(), {"model": model}).one()),
        tuple(sorted(map(tuple, connection.execute(counters)))),
        tuple(sorted(map(tuple, connection.execute(newest)))),
    )


def mark_of_alert(connection: sa.Connection, alert: str, *, notices: int) -> Mark:
    """Return the mark of who was told of an alert, of which so many of the newest ``notices`` are shown."""
    columns = (NOTIFICATIONS.c[name] for name in ("id", "state", "attempts", "due_at", "last_error"))
    newest = sa.select(*columns).where(NOTIFICATIONS.c.alert == alert).order_by(NOTIFICATIONS.c.id.desc())
    told = sa.select(TOLD.c.channel, TOLD.c.event, TOLD.c.at).where(TOLD.c.alert == alert)
    return (
        tuple(map(tuple, connection.execute(newest.limit(notices)))),
        tuple(sorted(map(tuple, connection.execute(told)))),
    )


@functools.cache
def _others() -> sa.Select[Any]:
    """Return the statement on what no counter of a model says."""
    model: sa.BindParameter[str] = sa.bindparam("model")
    number, total = sa.func.count(), sa.func.sum
    lost, said, windows = FORGOTTEN_ROWS.c, FEEDBACK.c, WINDOWS.c
    parts = [
        sa.select(MODELS.c.fingerprint).where(MODELS.c.model == model),
        sa.select(MODELS.c.rules).where(MODELS.c.model == model),
        sa.select(number).where(windows.model == model, sa.not_(windows.settled)),
        sa.select(total(INBOX.c.events)).where(INBOX.c.model == model),
        *(sa.select(HOLDS.c[name]).where(HOLDS.c.model == model) for name in ("by", "reason", "at")),
        *(sa.select(CUTS.c[name]).where(CUTS.c.model == model) for name in ("before", "period", "finished")),
        sa.select(number).where(lost.model == model),
        sa.select(total(lost.rows)).where(lost.model == model),
        sa.select(number).where(said.model == model),
        sa.select(number).where(said.model == model, said.applied),
        *(
            sa.select(number).where(FORGETTINGS.c.model == model, FORGETTINGS.c.state == state)
            for state in (WAITING, ERASING, CLEANING, DONE, STOPPED)
        ),
    ]
    return sa.select(*(one.scalar_subquery().label(f"part_{place}") for place, one in enumerate(parts)))
