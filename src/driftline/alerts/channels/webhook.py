"""Webhook: the message as JSON by POST to any address, signed on request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from driftline.alerts.channel import ChannelKind
from driftline.alerts.message import Message
from driftline.environment import secret
from driftline.fields import Text
from driftline.net.outgoing import post
from driftline.net.signatures import signed


class Webhook:
    """Posts messages to one address. A status of 200 to 299 is a delivery.

    ``Idempotency-Key`` is the message's key. With a ``secret`` it is `signed`.
    """

    def __init__(self, url: str, *, now: Callable[[], datetime], secret: str = "") -> None:
        self._url, self._now, self._secret = url, now, secret

    def send(self, message: Message) -> None:
        """Post a message; raises as `driftline.net.outgoing.post` does."""
        body = msgspec.json.encode(message)
        key = {"Idempotency-Key": quote(message.key, safe="/:;,=+@!*()")}
        headers = key | signed(body, self._secret, self._now())
        post(self._url, body, headers=headers)


def _open(section: Any, now: Callable[[], datetime]) -> Webhook:
    return Webhook(secret(section.webhook), secret=secret(section.secret or ""), now=now)


KIND = ChannelKind(Text, _open, more={"secret": Text}, addresses=("webhook",))
