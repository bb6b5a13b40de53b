"""Webhook: the message as JSON by POST to any address, signed on request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

import msgspec

from driftline.alerts.message import Message
from driftline.outgoing import post


class Webhook:
    """Posts messages to one address. A status of 200 to 299 is a delivery.

    ``Idempotency-Key`` is the message's key. With a ``secret``, ``X-Driftline-Timestamp`` is the time of sending (whole
    seconds since 1970) and ``X-Driftline-Signature`` is ``sha256=`` and the HMAC, in hexadecimal digits, of the
    timestamp, a full stop and the body.
    """

    def __init__(self, url: str, *, now: Callable[[], datetime], secret: str = "") -> None:
        self._url, self._now, self._secret = url, now, secret.encode()

    def send(self, message: Message) -> None:
        """Post a message; raises as `http.post` does."""
        body = msgspec.json.encode(message)
        headers = {"Idempotency-Key": quote(message.key, safe="/:;,=+@!*()")}
        if self._secret:
            timestamp = str(int(self._now().timestamp()))
            signature = hmac.new(self._secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
            headers |= {"X-Driftline-Timestamp": timestamp, "X-Driftline-Signature": f"sha256={signature}"}
        post(self._url, body, headers=headers)
