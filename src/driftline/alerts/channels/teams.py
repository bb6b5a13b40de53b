"""Microsoft Teams: an Adaptive Card to the webhook of a workflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from driftline.alerts.channel import ChannelKind
from driftline.alerts.channels.wording import ENDED, MOST_SHOWN, NO_ALARM, facts, line, link, runbook, sentences
from driftline.alerts.message import Message, Notice, headline
from driftline.environment import secret
from driftline.fields import Text
from driftline.net.outgoing import post

SIZE_LIMIT_BYTES = 28_000
_TEXT_LIMIT = 1000


class Teams:
    """Posts messages to a workflow that begins "when a Teams webhook request is received"."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """Post a message; raises as `http.post` does."""
        post(self._url, payload(message))


def payload(message: Message) -> bytes:
    """Return a message as JSON of at most `SIZE_LIMIT_BYTES`: what does not fit is counted."""
    for shown in range(min(len(message.notices), MOST_SHOWN), 1, -1):
        body = msgspec.json.encode(_envelope(message, shown))
        if len(body) <= SIZE_LIMIT_BYTES:
            return body
    return msgspec.json.encode(_envelope(message, 1))


def _envelope(message: Message, shown: int) -> dict[str, Any]:
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": line(message.title, 300),
        "msteams": {"width": "Full"},
        "body": [item for notice in message.notices[:shown] for item in _items(notice)],
    }
    if more := len(message.notices) - shown:
        card["body"].append(_rich([_run(f"and {more} more", isSubtle=True)], separator=True))
    links = (("Open in Driftline", link(message.url)), ("Runbook", runbook(message.notices[0])))
    if actions := [{"type": "Action.OpenUrl", "title": words, "url": url} for words, url in links if url]:
        card["actions"] = actions
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _items(notice: Notice) -> list[dict[str, Any]]:
    alert = notice.alert
    colour = "Good" if notice.event in ENDED else "Accent" if notice.event in NO_ALARM else "Attention"
    title = _run(line(headline(notice.event, alert), 300), size="Large", weight="Bolder", color=colour)
    where = f"{line(alert.rule, 200)} ({line(alert.severity, 50)})"
    items = [_rich([title], separator=True), _rich([_run(where, isSubtle=True)], spacing="None")]
    for name, value in facts(notice):
        items.append(_rich([_run(f"{name}  ", weight="Bolder"), _run(value)], spacing="None"))
    left = _TEXT_LIMIT
    for place, sentence in enumerate(sentences(notice)):
        if left < 20:
            break
        text = line(sentence, left)
        left -= len(text)
        items.append(_rich([_run(text)], spacing="None" if place else "Small"))
    return items


def _rich(inlines: list[dict[str, Any]], **style: object) -> dict[str, Any]:
    # Unlike TextBlock and FactSet it knows no Markdown, so that no name becomes a link.
    return {"type": "RichTextBlock", "inlines": inlines, **style}


def _run(text: str, **style: object) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}


def _open(section: Any, now: Callable[[], datetime]) -> Teams:
    del now
    return Teams(secret(section.teams))


KIND = ChannelKind(Text, _open, addresses=("teams",))
