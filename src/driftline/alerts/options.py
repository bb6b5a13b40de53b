"""The options of receivers: the entries of ``notify`` in ``driftline.yaml``, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from driftline.alerts.channels import KINDS, kind_of
from driftline.fields import Name, Short, Text
from driftline.rules import Severity


def _fields() -> list[tuple[str, Any, Any]]:
    """Return the keys of an entry: its kind, what belongs to one kind only, and what every receiver may have."""
    severities = Annotated[list[Severity], Meta(min_length=1)]
    kinds = [(name, kind_of(name).option | None, None) for name in KINDS]
    more = [(key, option | None, None) for name in KINDS for key, option in kind_of(name).more.items()]
    return [
        *kinds,
        *more,
        ("name", Name | None, None),
        (
            "severity",
            severities,
            msgspec.field(default_factory=lambda: list(Severity)),
        ),
        ("models", list[Text], msgspec.field(default_factory=list)),
        ("repeat", Short | None, None),
        ("digest", bool | None, None),
    ]


if TYPE_CHECKING:

    class NotifySection(msgspec.Struct, frozen=True):
        """What every receiver may have."""

        name: str | None = None
        severity: list[Severity] = []
        models: list[str] = []
        repeat: str | None = None
        digest: bool | None = None
else:
    NotifySection = msgspec.defstruct(
        "NotifySection",
        _fields(),
        namespace={"__doc__": "One receiver of alerts: where, and which alerts it wants."},
        module=__name__,
        forbid_unknown_fields=True,
        frozen=True,
    )


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """One receiver, of a kind in `KINDS`. Secrets stand as they were written; see `secret`.

    ``digest`` says whether it hears of alerts that were over when they were first seen.
    """

    name: str
    kind: str
    section: NotifySection
    severity: tuple[Severity, ...]
    models: tuple[str, ...]
    repeat: timedelta | None
    digest: bool = True
