"""The channels of a configuration: what is read there, and the secrets that it names, become objects that can send."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from driftline import clock
from driftline.alerts.channel import Channel
from driftline.alerts.channels.alertmanager import Alertmanager
from driftline.alerts.channels.webhook import Webhook
from driftline.alerts.message import AlertView, Event, Notice, Span, message_of
from driftline.alerts.options import EmailSection, NotifyConfig
from driftline.environment import secret

_DAY = timedelta(days=1)


def open_channel(receiver: NotifyConfig, now: Callable[[], datetime]) -> Channel:
    """Make the channel of a receiver; nothing is sent yet. A secret that the environment lacks is an error."""
    section = receiver.section
    match receiver.kind:
        case "webhook":
            return Webhook(secret(section.webhook or ""), secret=secret(section.secret or ""), now=now)
        case "alertmanager":
            return Alertmanager(secret(section.alertmanager or ""), now=now)
        case "slack":
            from driftline.alerts.channels.slack import Slack

            return Slack(secret(section.slack or ""))
        case "teams":
            from driftline.alerts.channels.teams import Teams

            return Teams(secret(section.teams or ""))
        case "pagerduty":
            from driftline.alerts.channels.pagerduty import PagerDuty

            key, url = secret(section.pagerduty or ""), section.url
            return PagerDuty(key, url=secret(url)) if url is not None else PagerDuty(key)
        case "apprise":
            from driftline.alerts.channels.apprise import Apprise

            return Apprise(secret(section.apprise or ""))
        case _:
            assert section.email is not None  # the only kind that is left
            return _email(section.email, now)


def _email(section: EmailSection, now: Callable[[], datetime]) -> Channel:
    from driftline.alerts.channels.email import Email

    return Email(
        section.host,
        section.port,
        sender=section.sender,
        to=section.to,
        username=secret(section.username or ""),
        password=secret(section.password or ""),
        security=section.security,
        now=now,
    )


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
    if receiver.kind in ("alertmanager", "pagerduty"):
        over = msgspec.structs.replace(alert, status="resolved", ended_at=now)
        notice = Notice(Event.RESOLVED, f"{id}-over", now, "the test is over", over)
        channel.send(message_of([notice], f"{id}-over"))
