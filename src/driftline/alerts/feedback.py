"""What people say of a model's windows and alarms: checked against what is known, and stored for its detector.

What it comes to is `driftline.monitoring.feedback`; the worker judges by it in its next pass.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import groupby
from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.alerts.attention import SOMEBODY, Words
from driftline.detection import LEAST_WINDOWS, Cadence, Observed, Use
from driftline.errors import ConflictError, UnknownNameError, UsageError
from driftline.events import Schema, Window
from driftline.monitoring.feedback import FeedbackKind, guidance_for
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.segments import stored_profiles
from driftline.profiles import WindowProfile
from driftline.rules import Status
from driftline.rules.backtest import BUDGET
from driftline.sketches import decode
from driftline.store.feedback import FeedbackRow
from driftline.store.state import State, Work
from driftline.text.moments import given_moment, moment

_MOST_WINDOWS = 100_000
_INSTANT = timedelta(microseconds=1)
_Reason = Annotated[str, Meta(max_length=1000)]


class AcceptBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Since when all windows are the new normal, why, and who says so."""

    since: datetime
    reason: _Reason = ""
    by: Words = SOMEBODY


class FeedbackBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is said: of an ``alert`` (*expected*), a ``column`` (*ignore*), or a span of event time (the others).

    ``until`` is by default the end of the newest window that has closed.
    """

    kind: FeedbackKind
    since: datetime | None = None
    until: datetime | None = None
    column: Words | None = None
    alert: Words | None = None
    reason: _Reason = ""
    by: Words = SOMEBODY


class AcceptedView(msgspec.Struct, frozen=True):
    """A new normal that somebody accepted, and of how many windows it is known."""

    id: str
    model: str
    since: datetime
    windows: int
    by: str
    at: datetime


_NEEDED = {
    FeedbackKind.ACCEPT: ("since",),
    FeedbackKind.EXPECTED: ("alert",),
    FeedbackKind.MISSED: ("since",),
    FeedbackKind.INCIDENT: ("since",),
    FeedbackKind.IGNORE: ("column",),
}
_ALLOWED = {**_NEEDED, FeedbackKind.MISSED: ("since", "until"), FeedbackKind.INCIDENT: ("since", "until")}


def accept(state: State, config: ModelConfig, body: AcceptBody, now: datetime) -> AcceptedView:
    """Take all windows of a model since a moment for the new normal: the detector learns from them, its alarm ends.

    Raises `UsageError` for fewer than `LEAST_WINDOWS` closed windows since then, and `ConflictError` for a model whose
    detector is off or has not learnt yet. ``now`` is wall-clock time.
    """
    with state.of(config.name).work() as work:
        row, windows = _accepted(work, config, body, now)
        _store(work, row)
    return AcceptedView(row.id, row.model, body.since, len(windows), row.by, row.at)


def say(state: State, config: ModelConfig, body: FeedbackBody, now: datetime) -> FeedbackRow:
    """Store what somebody says of a model; ``now`` is wall-clock time.

    Raises `UsageError` for parts that are missing or too many, `UnknownNameError` for an unknown alert or column, and
    `ConflictError` for what cannot be said of the model as it is.
    """
    _require_parts(body)
    with state.of(config.name).work() as work:
        row = _row(work, config, body, now)
        _store(work, row)
    return row


def _store(work: Work, row: FeedbackRow) -> None:
    work.feedback.add(row)
    work.audit.add(row.at, row.by, row.kind, model=row.model, subject=row.alert or row.column, reason=row.reason)


def _require_parts(body: FeedbackBody) -> None:
    for part in ("since", "until", "column", "alert"):
        came = getattr(body, part) is not None
        if came and part not in _ALLOWED[body.kind]:
            raise UsageError(f"`{part}` came for {body.kind}; allowed is {' and '.join(_ALLOWED[body.kind])}")
        if not came and part in _NEEDED[body.kind]:
            raise UsageError(f"`{part}` is missing; {body.kind} needs it")


def _row(work: Work, config: ModelConfig, body: FeedbackBody, now: datetime) -> FeedbackRow:
    if body.kind is FeedbackKind.ACCEPT:
        assert body.since is not None  # it is needed
        return _accepted(work, config, AcceptBody(body.since, body.reason, body.by), now)[0]
    row = FeedbackRow(
        id=secrets.token_hex(8),
        model=config.name,
        kind=body.kind.value,
        since=body.since,
        until=body.until,
        column=body.column or "",
        alert=body.alert or "",
        reason=body.reason,
        by=body.by,
        at=now,
    )
    if body.kind is FeedbackKind.EXPECTED:
        return _expected(work, row)
    if body.kind is FeedbackKind.IGNORE:
        return _ignored(work, row)
    return _over(work, row)


def _accepted(work: Work, config: ModelConfig, body: AcceptBody, now: datetime) -> tuple[FeedbackRow, list[Window]]:
    since = given_moment("since", body.since)
    if config.budget is None:
        raise ConflictError(f"{config.name} has no detector that could learn: its `alerts.budget` is none")
    known = work.detections.detector(config.name)
    windows = closed_windows(work, config, since)
    if len(windows) < LEAST_WINDOWS:
        reason = f"{len(windows)} windows have closed since {moment(since)}; a new normal needs at least "
        raise UsageError(f"{reason}{LEAST_WINDOWS}")
    if known is None or not known.learnt:
        raise ConflictError(
            f"the detector of {config.name} still learns from its first windows; it accepts them by itself"
        )
    row = FeedbackRow(
        id=secrets.token_hex(8),
        model=config.name,
        kind=FeedbackKind.ACCEPT.value,
        since=since,
        until=Cadence(config.window).last_single(windows[-1]).end,
        column="",
        alert="",
        reason=body.reason,
        by=body.by,
        at=now,
    )
    return row, windows


def closed_windows(work: Work, config: ModelConfig, since: datetime) -> list[Window]:
    """The closed windows that the detector judges and that begin at ``since`` or later, in order of time.

    Windows shorter than a day are whole days; days that are no ordinary ones do not count.
    """
    guidance, cadence = guidance_for(config, ()), Cadence(config.window)
    stored = work.models.get(config.name)
    if stored is None or stored.watermark is None:
        return []
    starts = work.windows.closed_after(config.name, since - _INSTANT, stored.watermark, _MOST_WINDOWS)
    windows = [window for window, _ in groupby(cadence.whole_of(one.start) for one in starts)]
    return [
        one
        for one in windows
        if one.start >= since
        and cadence.last_single(one).end <= stored.watermark
        and guidance.use_of(one, _observed(work, config, one)) is not Use.SKIP
    ]


def _observed(work: Work, config: ModelConfig, window: Window) -> Observed | None:
    """What is stored of a window, read only where a column says which days are no ordinary ones."""
    if not config.calendar_column:
        return None
    profiles, _ = stored_profiles(work.windows.between(config.name, start=window.start, end=window.end))
    return Observed(reduce(WindowProfile.merge, profiles.values(), WindowProfile()))


def _expected(work: Work, row: FeedbackRow) -> FeedbackRow:
    alert = work.alerts.get(row.alert)
    if alert is None or alert.model != row.model:
        raise UnknownNameError(f"alert of {row.model}", row.alert, ())
    if alert.rule != BUDGET:
        raise ConflictError(f"alert {row.alert} is of the rule {alert.rule}, which learns nothing; acknowledge it")
    if alert.status == Status.CORRECTED.value:
        raise ConflictError(f"alert {row.alert} is corrected: by what is known now it is none")
    return replace(row, since=alert.started_at, until=alert.last_end)


def _ignored(work: Work, row: FeedbackRow) -> FeedbackRow:
    stored = work.models.get(row.model)
    features = decode(stored.schema, Schema).features if stored is not None else {}
    if row.column not in features:
        raise UnknownNameError(f"feature of {row.model}", row.column, features)
    return row


def _over(work: Work, row: FeedbackRow) -> FeedbackRow:
    assert row.since is not None  # it is needed
    since, until = given_moment("since", row.since), row.until
    if until is None:
        stored = work.models.get(row.model)
        until = None if stored is None else stored.watermark
    if until is None:
        raise UsageError(f"nothing has come of {row.model} yet; say `until` when it was")
    until = given_moment("until", until)
    if until <= since:
        raise UsageError(f"until {moment(until)} is not after since {moment(since)}")
    return replace(row, since=since, until=until)
