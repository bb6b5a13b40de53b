"""What the parts of the SDK hand to each other, and the account that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftline.client.transport import Kind


@dataclass(frozen=True, slots=True)
class Stats:
    """What became of the events so far: ``logged == queued + sent + sum(dropped.values())``, at every moment.

    ``logged`` is the number of calls. ``queued`` wait to be acknowledged, ``sent`` are durable on the server,
    ``dropped`` are lost, by reason; those that the server refused among them. ``left_out`` counts values that could not
    be sent and without which their event went, by field. ``failed_requests`` brought an error or no answer. ``errors``
    counts exceptions of watched functions. ``last_error`` is the text of the latest failure, empty if there was none.
    """

    queued: int
    sent: int
    dropped: Mapping[str, int]
    failed_requests: int
    errors: int
    last_error: str
    logged: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


class Settings(NamedTuple):
    """How much waits, how it is sent, and how long a call waits for room; see `driftline.client.monitor.Monitor`."""

    buffer_events: int
    buffer_bytes: int
    batch_events: int
    flush_seconds: float
    block_seconds: float


Event = tuple[Kind, bytes | dict[str, Any], int]
"""One row on its way: its kind, the row (encoded, or as the caller gave it), and its size in bytes (then a guess)."""
