"""Find the alerts that count against a version: those that were open while it answered. A pure function."""

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
        """The end of its last bad window."""
        ...


_Alert = TypeVar("_Alert", bound=Alert)


def held_against(alerts: Iterable[_Alert], live: Window | None) -> list[_Alert] | None:
    """Return the alerts that were open in the windows in which a version answered, in their order.

    ``live`` reaches from the start of the first of these windows to the end of the newest. The result is None, *not
    known*, if ``live`` is None: the version has not answered in any window. An alert that began under its predecessor
    and went on counts against both.
    """
    if live is None:
        return None
    return [one for one in alerts if one.started_at < live.end and one.last_end > live.start]
