"""How long things are kept: the keys of ``keep`` in ``driftline.yaml``, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from driftline.fields import Short
from driftline.text.durations import written

FOREVER = "forever"
USUAL_EVENTS = timedelta(days=400)
"""How long events are kept at least, where nobody says how long."""


class KeepSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How long things are kept: a duration each, or *forever*."""

    events: Short | None = None
    windows: Short = FOREVER
    quarantine: Short = "30d"
    notifications: Short = "90d"
    runs: Short = "90d"


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept; None for ever.

    ``events`` is by model, and event time as ``windows`` is; the others are wall-clock time.
    """

    events: Mapping[str, timedelta | None] = field(default_factory=dict)
    windows: timedelta | None = None
    quarantine: timedelta | None = timedelta(days=30)
    notifications: timedelta | None = timedelta(days=90)
    runs: timedelta | None = timedelta(days=90)


def in_days(period: timedelta) -> str:
    """Write how long something is kept, in days where it is whole ones.

    >>> in_days(timedelta(days=91)), in_days(timedelta(hours=36))
    ('91d', '36h')
    """
    return f"{period.days}d" if not period % timedelta(days=1) else written(period)
