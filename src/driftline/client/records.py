"""Values that the parts of the SDK pass to each other, and its statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftline.client.transport import Kind


@dataclass(frozen=True, slots=True)
class Stats:
    """What happened to the events so far: ``logged + found == queued + spilled + sent + sum(dropped.values())``.

    ``logged`` counts all calls. ``queued`` events wait to be acknowledged, ``sent`` ones are durable on the server, and
    ``dropped`` ones are lost, by reason, including those that the server refused. ``spilled`` ones wait in the spill
    folder, and ``found`` ones were there before this process. ``left_out`` counts, by field, values that could not be
    sent, so that their event was sent without them. ``failed_requests`` counts requests with an error or no answer, and
    ``errors`` exceptions of watched functions. ``last_error`` is the text of the latest failure, empty if there was
    none.
    """

    queued: int
    sent: int
    dropped: Mapping[str, int]
    failed_requests: int
    errors: int
    last_error: str
    logged: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    spilled: int = 0
    found: int = 0


class Settings(NamedTuple):
    """The limits of the queue, and when it is sent; see `driftline.client.monitor.Monitor`."""

    buffer_events: int
    buffer_bytes: int
    batch_events: int
    flush_seconds: float
    block_seconds: float


Event = tuple[Kind, bytes | dict[str, Any], int]
"""One waiting row: its kind, the row (encoded, or as the caller gave it), and its size in bytes (then approximate)."""


class Part(NamedTuple):
    """Encoded rows of one kind that are sent together, and the key by which the server knows them again."""

    kind: Kind
    key: str
    lines: list[bytes]

    @property
    def size(self) -> int:
        """The bytes of the rows."""
        return sum(map(len, self.lines))

    def of(self, lines: list[bytes]) -> Part:
        """Return some of the rows as a part, whose key is the same whenever it is made again."""
        told = hashlib.sha256(self.key.encode() + b"\n" + b"\n".join(lines))
        return Part(self.kind, told.hexdigest()[:32], lines)

    def halves(self) -> tuple[Part, Part]:
        """Return the first and the second half."""
        half = len(self.lines) // 2
        return self.of(self.lines[:half]), self.of(self.lines[half:])
