"""Delivers messages from the outbox: at least once, in order for each channel, with longer and longer waits.

A message is in the outbox from the transaction that changed its alert on, so that no crash can lose it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from driftline.errors import UnavailableError
from driftline.store.state import NotificationRow, State

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0


class Channel(Protocol):
    """Somewhere that a message can be sent to; raises `UnavailableError` when it did not arrive."""

    def send(self, body: bytes, key: str) -> None:
        """Send a JSON message; ``key`` is the same whenever the same message is sent again."""


def wait_seconds(attempts: int, rng: random.Random) -> float:
    """How long to wait after a number of failed attempts: doubling up to five minutes, spread over its upper half."""
    full = min(FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, 30), LONGEST_WAIT_SECONDS)
    return full * rng.uniform(0.5, 1.0)


def deliver_next(state: State, channel_name: str, channel: Channel, now: datetime, rng: random.Random) -> bool:
    """Send a channel's oldest waiting message, if it is due; return whether there may be another to send at once."""
    with state.read() as read:
        message = next(iter(read.next_notifications([channel_name])), None)
    if message is None or message.due_at > now:
        return False
    try:
        channel.send(message.body, f"driftline-{message.id}")
    except UnavailableError as error:
        wait = timedelta(seconds=wait_seconds(message.attempts + 1, rng))
        after = replace(message, attempts=message.attempts + 1, due_at=now + wait, last_error=str(error)[:500])
        _store(state, after)
        return False
    _store(state, replace(message, attempts=message.attempts + 1, last_error="", state="delivered"))
    return True


def _store(state: State, message: NotificationRow) -> None:
    with state.work() as work:
        work.put_notification(message)


def channels_for(severity: str, accepted: Mapping[str, frozenset[str]]) -> list[str]:
    """The channels that want alerts of a severity."""
    return [name for name, severities in accepted.items() if severity in severities]
