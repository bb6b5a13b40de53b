"""Which alerts speak of a version: those that went on while it answered. A pure function of spans of event time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, TypeVar

from driftline.events import Window


class Alert(Protocol):
    """An alert from the start of its first bad window to the end of its last."""

    @property
    def started_at(self) -> datetime:
        """The start of its first bad window."""
        ...

    @property
    def last_end(self) -> datetime:
        """The end of its last one."""
        ...


_Alert = TypeVar("_Alert", bound=Alert)


def held_against(alerts: Iterable[_Alert], live: Window | None) -> list[_Alert] | None:
    """Return the alerts that went on in the windows that a version has answered, in their order.

    ``live`` is from the start of the first of them to the end of the newest. None, *not known*, for a version that has
    answered in none: no alert could speak of it. One that began under its predecessor and went on speaks of both.
    """
    if live is None:
        return None
    return [one for one in alerts if one.started_at < live.end and one.last_end > live.start]
