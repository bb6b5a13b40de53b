"""Delivers notices from the outbox: at least once, each alert's in order, with longer and longer waits.

A notice is in the outbox from the transaction that changed its alert on, so that no crash can lose it. What waits for a
channel of one model goes out in one message, which is put down before it is sent. One that did not arrive, or of which
that is not known because its sender died, is tried again as it was, with the same key, by whichever process; in the
meantime only notices of its own alerts wait for it. A receiver that cannot be reached at all is given a rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from driftline.alerts.channel import Channel
from driftline.alerts.message import Event, Notice, message_of
from driftline.errors import RefusedError, UnavailableError, UnreachableError
from driftline.net.backoff import wait_seconds
from driftline.net.outgoing import LONGEST_RETRY_SECONDS
from driftline.store.outbox import NotificationRow, Outbox
from driftline.store.state import State

TRIED_FOR = timedelta(days=3)
TRIED_AT_LEAST = 20
"""A notice that has not arrived after so long, and so many attempts, is given up: it would be no news.

A service that was stopped for days, or a clock that jumps ahead, has tried nothing meanwhile.
"""

REFUSALS = 5
"""So often a message is refused before it is set aside: receivers are misconfigured for a while, too."""

MOST_NOTICES = 100
MOST_OVER = 500
"""Notices in one message, and alerts in one digest of what is over."""

DIGEST_WAIT = timedelta(seconds=1)
DIGEST_WAIT_AT_MOST = timedelta(seconds=10)
"""So long a digest waits for more of its model: until no more has come for a while, but not for ever."""

_LOOKED_AT = 2000
_ERROR_LENGTH = 500


class _Said(msgspec.Struct, frozen=True):
    """What a notice says, and nothing else of it: all that waits is looked at."""

    event: Event


_notice = msgspec.json.Decoder(Notice)
_event = msgspec.json.Decoder(_Said)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look into the outbox came to: whether a message was tried, and whether the receiver could be reached."""

    tried: bool = False
    reached: bool = True


def next_message(waiting: Sequence[NotificationRow], now: datetime) -> list[NotificationRow]:
    """Choose the notices that go out next in one message, of a channel's waiting ones; empty where none is due.

    A message that was tried before goes out as it was. A new one takes what waits of one model, but nothing of an alert
    that has an earlier notice waiting elsewhere. What is over is a message of its own, see `_digest`.
    """
    batches: dict[int, list[NotificationRow]] = {}
    for row in waiting:
        if row.batch is not None:
            batches.setdefault(row.batch, []).append(row)
    held: set[str] = set()  # alerts with an earlier notice that is not part of the message
    for place, row in enumerate(waiting):
        if row.batch is None:
            if row.alert not in held and _is_due(row, now):
                if not _is_over(row):
                    return _of_one_model(waiting[place:], row.model, held, now)
                if found := _digest(waiting[place:], row, held, now):
                    return found
        elif row.id == batches[row.batch][0].id:
            whole = batches[row.batch]
            if _is_due(row, now) and not held.intersection(one.alert for one in whole):
                return whole
        held.add(row.alert)
    return []


def _is_due(row: NotificationRow, now: datetime) -> bool:
    """Return whether a notice need not wait:
    nor where it would wait longer than any does, for the clock was ahead then.
    """
    return not now < row.due_at <= now + timedelta(seconds=LONGEST_RETRY_SECONDS)


def _of_one_model(rows: Sequence[NotificationRow], model: str, held: set[str], now: datetime) -> list[NotificationRow]:
    found: list[NotificationRow] = []
    held = set(held)
    for row in rows:
        free = row.model == model and row.batch is None and row.alert not in held
        if free and _is_due(row, now) and not _is_over(row):
            found.append(row)
            if len(found) == MOST_NOTICES:
                break
        else:
            held.add(row.alert)
    return found


def _digest(
    rows: Sequence[NotificationRow], first: NotificationRow, held: set[str], now: datetime
) -> list[NotificationRow]:
    """Return all that is over of a model, once no more of it has come for a while; history comes in many parts."""
    found = [
        row
        for row in rows
        if row.model == first.model and row.batch is None and row.alert not in held and _is_over(row)
    ]
    done = _is_due(found[-1], now) or now >= first.due_at + DIGEST_WAIT_AT_MOST
    return found[:MOST_OVER] if done else []


def _is_over(row: NotificationRow) -> bool:
    return _event.decode(row.body).event is Event.OVER


def deliver_next(
    state: State, channel_name: str, channel: Channel, clock: Callable[[], datetime], rng: random.Random
) -> Outcome:
    """Send the next message of a channel that is due, if there is one, and store what became of it."""
    with state.read() as read:
        rows = next_message(Outbox(read.connection).waiting(channel_name, _LOOKED_AT), clock())
    if not rows:
        return Outcome()
    ids = [row.id for row in rows]
    notices = [_notice.decode(row.body) for row in rows]
    if rows[0].batch is None:  # whoever sends it again after a crash sends the same, under the same key
        with state.work() as work:
            Outbox(work.connection).begin(ids, batch=rows[0].id)
    try:
        channel.send(message_of(notices, notices[0].key))
    except UnavailableError as error:
        _postpone(state, rows, error, clock(), rng)
        return Outcome(tried=True, reached=not isinstance(error, UnreachableError))
    with state.work() as work:
        Outbox(work.connection).settle(ids, state="delivered")
    return Outcome(tried=True)


def _postpone(
    state: State, rows: Sequence[NotificationRow], error: UnavailableError, now: datetime, rng: random.Random
) -> None:
    ids, first = [row.id for row in rows], rows[0]
    said, refused = str(error)[:_ERROR_LENGTH], isinstance(error, RefusedError)
    oldest = min(_notice.decode(row.body).said_at for row in rows)
    with state.work() as work:
        outbox = Outbox(work.connection)
        if refused and first.refusals + 1 >= REFUSALS:
            outbox.settle(ids, state="refused", last_error=said)
        elif now - oldest > TRIED_FOR and first.attempts + 1 >= TRIED_AT_LEAST:
            outbox.settle(ids, state="expired", last_error=said)
        else:
            seconds = max(wait_seconds(first.attempts + 1, rng), error.retry_after or 0.0)
            due_at = now + timedelta(seconds=seconds)
            outbox.postpone(ids, batch=first.batch or first.id, due_at=due_at, last_error=said, refused=refused)
