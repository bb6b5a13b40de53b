"""PagerDuty: an incident for each alert, by Events API v2."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from driftline.alerts.channel import ChannelKind
from driftline.alerts.channels.wording import ENDED, line, link, runbook, sentences
from driftline.alerts.message import Event, Message, Notice, number_lines, told
from driftline.environment import secret
from driftline.errors import RefusedError
from driftline.fields import Text
from driftline.net.outgoing import post

SUMMARY_LIMIT = 1024
KEY_LIMIT = 255
_NAME_LIMIT = 255
_DETAIL_LIMIT = 1000
_MOST_DETAILS = 20

_SEVERITIES = {"page": "critical", "warning": "warning", "info": "info"}


class PagerDuty:
    """Sends an event for each notice. Sending it again does no harm: the alert's id identifies the incident.

    What ends here is resolved there. Acknowledgements are not sent: who acknowledges there is known there.
    """

    def __init__(self, routing_key: str, *, url: str = "https://events.pagerduty.com") -> None:
        self._key, self._url = routing_key, url.rstrip("/") + "/v2/enqueue"

    def send(self, message: Message) -> None:
        """Send the events of all notices; raises as `http.post` does. One refused event does not hold up the others."""
        refused: RefusedError | None = None
        for notice in message.notices:
            for action in actions(notice.event):
                try:
                    post(self._url, msgspec.json.encode(event_of(notice, action, self._key)), hidden=[self._key])
                except RefusedError as error:
                    refused = error
        if refused is not None:
            raise refused


def actions(event: Event) -> tuple[str, ...]:
    """Return the action for an event; a test leaves nothing open, and what is over pages nobody."""
    if event is Event.TEST:
        return ("trigger", "resolve")
    if event is Event.OVER:
        return ()
    return ("resolve",) if event in ENDED else ("trigger",)


def event_of(notice: Notice, action: str, routing_key: str) -> dict[str, Any]:
    """Return an event as PagerDuty takes it."""
    alert, url = notice.alert, link(notice.url)
    event: dict[str, Any] = {"routing_key": routing_key, "event_action": action, "dedup_key": _dedup_key(alert.id)}
    if action == "resolve":
        return event
    said, latest = told(alert), alert.latest
    model, measure = line(alert.model, _NAME_LIMIT), line(alert.measure, _NAME_LIMIT)
    told_in_short = alert.title if notice.event is Event.TEST else f"{alert.name}: {number_lines(alert)[0]}"
    severity = "info" if notice.event is Event.TEST else _SEVERITIES.get(alert.severity, "warning")
    event["payload"] = {
        "summary": line(f"{model}: {told_in_short}", SUMMARY_LIMIT),
        "source": model,
        "severity": severity,
        "timestamp": alert.fired_at,
        "component": model,
        "group": model,
        "class": line(alert.rule, _NAME_LIMIT),
        "custom_details": {
            "model": model,
            "rule": line(alert.rule, _NAME_LIMIT),
            "measure": measure,
            "value": said.value,
            "value_now": said.value_now if latest is None else said.latest,
            "interval": f"{said.low} to {said.high}",
            "threshold": said.threshold,
            "n": alert.n,
            "window_start": alert.window.start,
            "window_end": alert.window.end,
            "findings": [line(one, _DETAIL_LIMIT) for one in sentences(notice)[:_MOST_DETAILS]],
        },
    }
    event["client"] = "Driftline"
    if url:
        event["client_url"] = url
    links = ((url, "Open in Driftline"), (runbook(notice), "Runbook"))
    if there := [{"href": one, "text": words} for one, words in links if one]:
        event["links"] = there
    return event


def _dedup_key(alert_id: str) -> str:
    key = f"driftline-{alert_id}"
    return key if len(key) <= KEY_LIMIT else f"driftline-{hashlib.sha256(alert_id.encode()).hexdigest()}"


def _open(section: Any, now: Callable[[], datetime]) -> PagerDuty:
    del now
    key, url = secret(section.pagerduty), section.url
    return PagerDuty(key, url=secret(url)) if url is not None else PagerDuty(key)


KIND = ChannelKind(Text, _open, more={"url": Text}, addresses=("url",), holds=True)
