"""Slack: an incoming webhook, or one of a server that takes the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from driftline.alerts.channel import ChannelKind
from driftline.alerts.channels.wording import MOST_SHOWN, facts, line, link, runbook, sentences, shorten
from driftline.alerts.message import Message, Notice, headline
from driftline.environment import secret
from driftline.fields import Text
from driftline.net.outgoing import post
from driftline.text.moments import moment

# Slack's limits, of which it refuses whole messages.
TEXT_LIMIT = 3000
HEADER_LIMIT = 150
FIELD_LIMIT = 2000
BLOCK_LIMIT = 50


class Slack:
    """Posts messages to an incoming webhook."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """Post a message; raises as `http.post` does."""
        post(self._url, msgspec.json.encode(payload(message)))


def payload(message: Message) -> dict[str, Any]:
    """Return a message in blocks, and as text for notifications and for servers that know no blocks."""
    shown = message.notices[:MOST_SHOWN]
    header = {"type": "plain_text", "text": line(message.title, HEADER_LIMIT), "emoji": False}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}]
    for notice in shown:
        blocks += _blocks(notice, alone=len(message.notices) == 1)
    if more := len(message.notices) - len(shown):
        blocks.append({"type": "context", "elements": [_text(f"and {more} more")]})
    return {"text": escaped(message.text, TEXT_LIMIT) or "–", "blocks": blocks}


def _blocks(notice: Notice, *, alone: bool) -> list[dict[str, Any]]:
    alert = notice.alert
    # The header has the title of an alert that is alone.
    first = line(alert.rule, 200)
    first = first if alone else f"{line(headline(notice.event, alert), 300)}\n{first}"
    fields = [_text(f"*{name}*\n{escaped(value, FIELD_LIMIT - 100)}") for name, value in facts(notice)]
    context = f"{escaped(line(alert.severity, 100), 500)} · fired {moment(alert.fired_at)}"
    for url, words in ((link(notice.url), "Open in Driftline"), (runbook(notice), "Runbook")):
        there = f" · <{escaped(url, TEXT_LIMIT).replace('|', '%7C')}|{words}>"
        if url and len(context) + len(there) <= TEXT_LIMIT:  # one that is cut leads nowhere
            context += there
    text = escaped("\n".join([first, *(line(one, TEXT_LIMIT) for one in sentences(notice))]), TEXT_LIMIT)
    return [
        {"type": "section", "text": _text(text), "fields": fields},
        {"type": "context", "elements": [_text(context)]},
    ]


def _text(text: str) -> dict[str, Any]:
    # verbatim: no names, channels and addresses are looked for in it.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def escaped(text: str, limit: int) -> str:
    """Return a text that Slack shows as it is, at most ``limit`` UTF-16 units long as it is sent.

    >>> escaped("a < b & c", 40), escaped("a < b & c", 9)
    ('a &lt; b &amp; c', 'a &lt; b…')
    """
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    short = shorten(whole, limit)
    return whole if short == whole else re.sub(r" ?(&[a-z]{0,3})?…$", "…", short)


def _open(section: Any, now: Callable[[], datetime]) -> Slack:
    del now
    return Slack(secret(section.slack))


KIND = ChannelKind(Text, _open, addresses=("slack",))
