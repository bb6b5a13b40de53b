"""Sign bodies, and check signatures: with a secret that both sides know, over the body and the time it was sent."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

OLDEST_SIGNATURE_SECONDS = 300.0
_LONGEST_TIMESTAMP = 12


def signed(body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """Return the headers that sign a body and the time it was sent; empty without a secret.

    ``X-Driftline-Timestamp`` is the time in whole seconds since 1970, ``X-Driftline-Signature`` is ``sha256=`` and the
    HMAC, in hexadecimal digits, of the timestamp, a full stop and the body.
    """
    if not secret:
        return {}
    timestamp = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Driftline-Timestamp": timestamp, "X-Driftline-Signature": f"sha256={digest}"}


def is_signed(body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> bool:
    """Return whether a body has the headers of `signed`, from this secret and within five minutes of ``now``."""
    timestamp = headers.get("X-Driftline-Timestamp", "")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIMESTAMP):
        return False
    if abs(now.timestamp() - int(timestamp)) > OLDEST_SIGNATURE_SECONDS:
        return False
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={digest}".encode(), headers.get("X-Driftline-Signature", "").encode())
