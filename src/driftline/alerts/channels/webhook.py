"""Webhook: the message as JSON by POST to any address."""

from __future__ import annotations

import httpx

from driftline.errors import UnavailableError

TIMEOUT_SECONDS = 10.0


class Webhook:
    """Posts messages to one address. A status of 200 to 299 is a delivery; everything else is tried again."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, body: bytes, key: str) -> None:
        """Send a message; ``key`` is the same whenever the same message is sent again."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "driftline"}
        try:
            answer = httpx.post(self._url, content=body, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"{type(error).__name__}: {error}") from error
        if not answer.is_success:
            raise UnavailableError(f"status {answer.status_code}: {answer.text[:200]}")
