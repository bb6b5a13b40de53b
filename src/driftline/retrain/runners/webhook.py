"""Webhook: the request as JSON by POST to any address, signed on request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from driftline.outgoing import post
from driftline.retrain.runners.asking import mark, was_taken
from driftline.retrain.runners.runner import Request


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts requests to one address. A status of 200 to 299 means that the request was taken.

    ``Idempotency-Key`` is the request's id. With a ``secret``, ``X-Driftline-Timestamp`` is the time of sending (whole
    seconds since 1970) and ``X-Driftline-Signature`` is ``sha256=`` and the HMAC, in hexadecimal digits, of the
    timestamp, a full stop and the body. The address may hold a secret: no error repeats it.
    """

    url: str = field(repr=False)
    now: Callable[[], datetime]
    secret: str = field(default="", repr=False)

    def start(self, request: Request, folder: Path) -> None:
        """Post the request; raises as `driftline.outgoing.post` does."""
        if was_taken(folder):
            return
        body = msgspec.json.encode(request)
        headers = {"Idempotency-Key": request.id}
        if self.secret:
            timestamp = str(int(self.now().timestamp()))
            digest = hmac.new(self.secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
            headers |= {"X-Driftline-Timestamp": timestamp, "X-Driftline-Signature": f"sha256={digest}"}
        post(self.url, body, headers=headers, hidden=[self.secret])
        mark(folder)
