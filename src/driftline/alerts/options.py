"""The options of receivers: the entries of ``notify`` in ``driftline.yaml``, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from driftline.fields import Name, Short, Text
from driftline.rules import Severity


class EmailSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"sender": "from"}):
    """A mail server and whom it writes to."""

    host: Text
    sender: Text
    to: Annotated[list[Text], Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    username: Text | None = None
    password: Text | None = None
    security: Literal["none", "starttls", "tls"] = "starttls"


RECEIVERS = ("webhook", "alertmanager", "slack", "teams", "pagerduty", "email", "apprise")
"""The kinds of receivers: an entry of ``notify`` has exactly one of these keys."""

HOLDING = ("alertmanager", "pagerduty")
"""Receivers that hold alerts which go on, and call people for them."""


class NotifySection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One receiver of alerts: where, and which alerts it wants."""

    webhook: Text | None = None
    alertmanager: Text | None = None
    slack: Text | None = None
    teams: Text | None = None
    pagerduty: Text | None = None
    email: EmailSection | None = None
    apprise: Text | None = None
    secret: Text | None = None
    url: Text | None = None
    name: Name | None = None
    severity: Annotated[list[Severity], Meta(min_length=1)] = msgspec.field(default_factory=lambda: list(Severity))
    models: list[Text] = []
    repeat: Short | None = None
    digest: bool | None = None


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """One receiver, of a kind in `RECEIVERS`. Secrets stand as they were written; see `secret`.

    ``digest`` says whether it hears of alerts that were over when they were first seen.
    """

    name: str
    kind: str
    section: NotifySection
    severity: tuple[Severity, ...]
    models: tuple[str, ...]
    repeat: timedelta | None
    digest: bool = True
