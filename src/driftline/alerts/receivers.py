"""The channels of a configuration: what is read there, and the secrets that it names, become objects that can send."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from driftline import clock
from driftline.alerts.channel import Channel
from driftline.alerts.channels import kind_of
from driftline.alerts.message import AlertView, Event, Notice, Span, message_of
from driftline.alerts.options import NotifyConfig

_DAY = timedelta(days=1)


def open_channel(receiver: NotifyConfig, now: Callable[[], datetime]) -> Channel:
    """Make the channel of a receiver; nothing is sent yet. A secret that the environment lacks is an error."""
    return kind_of(receiver.kind).open(receiver.section, now)


def send_test(receiver: NotifyConfig, model: str) -> None:
    """Send a receiver a message that speaks of no alert; those that hold alerts hear at once that it is over."""
    channel = open_channel(receiver, clock.now)
    now = clock.now()
    id = f"test-{now:%Y%m%dT%H%M%S}"
    alert = AlertView(
        id=id,
        model=model,
        rule="test",
        measure="accuracy",
        severity=receiver.severity[0].value,
        title="This is a test of Driftline; nothing is wrong.",
        status="firing",
        window=Span(now - _DAY, now),
        span=Span(now - _DAY, now),
        value=None,
        low=None,
        high=None,
        n=0,
        threshold=0.0,
        worst=None,
        value_now=None,
        fired_at=now,
        ended_at=None,
        findings=None,
        history=[],
    )
    channel.send(message_of([Notice(Event.TEST, f"{id}-test", now, "somebody asked for it", alert)], f"{id}-test"))
    if kind_of(receiver.kind).holds:
        over = msgspec.structs.replace(alert, status="resolved", ended_at=now)
        notice = Notice(Event.RESOLVED, f"{id}-over", now, "the test is over", over)
        channel.send(message_of([notice], f"{id}-over"))
