"""Train by any server: the request is posted to its address as JSON, signed if there is a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from driftline import clock
from driftline.environment import secret
from driftline.fields import Text
from driftline.net.outgoing import post
from driftline.net.signatures import signed
from driftline.retrain.runners.handover import mark, was_taken
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions


class WebhookSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Any server that trains when a request is posted to it."""

    url: Text
    secret: Text | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts requests to one address. A status of 200 to 299 means that the request was taken.

    ``Idempotency-Key`` is the request's id. With a ``secret`` the request is `signed`. No error repeats the address, as
    it may hold a secret.
    """

    url: str = field(repr=False)
    now: Callable[[], datetime]
    secret: str = field(default="", repr=False)

    def start(self, request: Request, folder: Path) -> None:
        """Post the request unless it was taken; raises the errors of `driftline.net.outgoing.post`."""
        if was_taken(folder):
            return
        body = msgspec.json.encode(request)
        headers = {"Idempotency-Key": request.id, **signed(body, self.secret, self.now())}
        post(self.url, body, headers=headers, hidden=[self.secret])
        mark(folder)


def _open(section: WebhookSection, config: RunOptions) -> Webhook:
    del config
    return Webhook(secret(section.url), clock.now, secret(section.secret or ""))


KIND = RunnerKind(WebhookSection, _open)
