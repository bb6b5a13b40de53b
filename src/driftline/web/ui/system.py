"""The page of the service itself: its processes, what waits, who is told, and what is kept for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from driftline.store.retention import Cut, Hold, gone_words, held_words
from driftline.text.durations import about, length
from driftline.web.ui.rendering import Render


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is alive; ``holds`` are the leases that it has, ``behind_seconds`` when it last said so."""

    role: str
    host: str
    pid: int
    address: str
    started_at: datetime
    behind_seconds: float
    idle: bool
    holds: Sequence[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events of a model that are stored and not processed yet, the oldest since a moment."""

    model: str
    events: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told of alerts, and what became of what was sent; ``error`` is of the oldest notice that waits."""

    name: str
    kind: str
    delivered: int
    waiting: int
    given_up: int
    failed_attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Kept:
    """How long something is kept, in words."""

    what: str
    period: str


@dataclass(frozen=True, slots=True)
class SystemView:
    """How the service is. ``waiting`` are those models of which most waits; ``free_bytes`` None for no disk of ours."""

    release: str
    started: datetime
    problems: Mapping[str, str]
    warnings: Mapping[str, str]
    processes: Sequence[Process]
    free_leases: Sequence[str]
    models: int
    waiting: Sequence[Waiting]
    waiting_events: int
    events_place: str
    database: str
    database_bytes: int
    free_bytes: int | None
    receivers: Sequence[Receiver]
    kept: Sequence[Kept]
    cuts: Sequence[Cut]
    holds: Sequence[Hold]


def system_page(request: Request, view: SystemView, render: Render, now: datetime) -> Response:
    """Show it."""
    minute = now.replace(second=0, microsecond=0)
    lag = max((now - one.since for one in view.waiting if one.since is not None), default=None)
    return render(
        request,
        "system.html",
        view=view,
        lag="" if lag is None else length(round(max(lag.total_seconds(), 0.0))),
        running=about(max(minute - view.started, minute - minute)),
        cuts=[(one.model, gone_words(one)) for one in view.cuts],
        holds=[(one.model, held_words(one)) for one in view.holds],
        zone=ZoneInfo("UTC"),
    )
