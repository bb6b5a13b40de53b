"""Send whole tables, batch by batch: each is durable before the next is sent, and none is stored twice."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from driftline.client.transport import ARROW, Answer, Kind, Transport
from driftline.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    import polars as pl

PATIENCE_SECONDS = 60.0
"""How long a server that is away, or has too much to do, is asked again."""

_CELLS, _MOST_ROWS = 1_000_000, 50_000
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_TOO_LARGE = 413


class Sent(NamedTuple):
    """How many rows the server has accepted, and how many it has put into quarantine."""

    accepted: int = 0
    quarantined: int = 0

    def plus(self, answer: Answer) -> Sent:
        """Return the same with those of another batch."""
        return Sent(self.accepted + answer.accepted, self.quarantined + answer.set_aside)


def batch_rows(columns: int) -> int:
    """Return how many rows of so many columns are sent at a time."""
    return max(1, min(_MOST_ROWS, _CELLS // max(columns, 1)))


class Shipment:
    """Sends tables of one model; a batch that comes again is known by the ``name`` of what it is of, its place and its
    content, and not stored twice.

    ``now`` is a clock in seconds that only goes on.
    """

    def __init__(
        self,
        transport: Transport,
        kind: Kind,
        name: str,
        *,
        quarantine: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
        now: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport, self._kind, self._name = transport, kind, name
        self._quarantine, self._patience_seconds = quarantine, patience_seconds
        self._pause, self._now = pause, now

    def send(self, frame: pl.DataFrame, offset: int) -> Iterator[tuple[int, Answer]]:
        """Send the rows of a table that begin at an offset; yield how many were sent, and the server's answer.

        A batch that is too large is sent in halves. Raises `RefusedError` for rows that the server refuses, and
        `UnreachableError` where it stays away.
        """
        waiting = [(offset, frame)]
        while waiting:
            start, rows = waiting.pop()
            answer = self._post(rows, start)
            if answer.status == _TOO_LARGE and rows.height > 1:
                half = rows.height // 2
                waiting += [(start + half, rows[half:]), (start, rows[:half])]
                continue
            if answer.fate == "refused":
                raise RefusedError(_refusal(answer, start))
            yield rows.height, answer

    def _post(self, rows: pl.DataFrame, start: int) -> Answer:
        buffer = io.BytesIO()
        rows.write_ipc_stream(buffer)
        body = buffer.getvalue()
        key = hashlib.sha256(f"{self._name} {start} {rows.height} ".encode() + body).hexdigest()
        until, pause = self._now() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            answer = self._transport.post(self._kind, body, key, ARROW, quarantine=self._quarantine)
            if answer.fate != "away":
                return answer
            if self._now() >= until:
                raise UnreachableError(f"{self._transport.url} takes nothing: {answer.message}")
            self._pause(max(pause, answer.after_seconds))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _refusal(answer: Answer, start: int) -> str:
    if not answer.bad:
        return answer.message
    index, bad = min(answer.bad.items())
    more = f" and {len(answer.bad) - 1} more of this batch" if len(answer.bad) > 1 else ""
    return f"row {start + index + 1}{more}: {bad.field}: {bad.reason}"
