"""Send whole tables, batch by batch: each is durable before the next is sent, and none is stored twice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from driftline.client.tables import Table
from driftline.client.transport import ARROW, Answer, Kind, Transport
from driftline.errors import RefusedError, UnreachableError

PATIENCE_SECONDS = 60.0
"""How long a server that is away, or has too much to do, is asked again."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_TOO_LARGE = 413

Cut = tuple[int, int]
"""A batch that was too large, by the place of its first row and its number of rows: it is sent in halves."""


class Sent(NamedTuple):
    """How many rows the server has accepted, and how many it has put into quarantine; and of those, how many labels.

    ``accepted`` and ``quarantined`` are of the predictions, or of the labels where only labels were sent.
    """

    accepted: int = 0
    quarantined: int = 0
    labels: int = 0

    def plus(self, answer: Answer) -> Sent:
        """Return the same with those of another batch."""
        return self._replace(accepted=self.accepted + answer.accepted, quarantined=self.quarantined + answer.set_aside)


class Shipment:
    """Sends tables of one model; a batch that comes again is known by the ``name`` of what it is of, its place and its
    content, and not stored twice.

    For that, rows have to be cut in the same way when they come again. ``cuts`` are those that were made before, and
    ``on_cut`` is told of a new one before the halves are sent. ``now`` is a clock in seconds that only goes on.
    """

    def __init__(
        self,
        transport: Transport,
        kind: Kind,
        name: str,
        *,
        quarantine: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
        cuts: Iterable[Cut] = (),
        on_cut: Callable[[Cut], None] = lambda cut: None,
        now: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport, self._kind, self._name = transport, kind, name
        self._quarantine, self._patience_seconds = quarantine, patience_seconds
        self._cuts, self._on_cut = set(cuts), on_cut
        self._pause, self._now = pause, now

    def send(self, table: Table, offset: int, begin: int | None = None) -> Iterator[tuple[int, Answer]]:
        """Send the rows of a table that begin at an offset; yield how many were sent, and the server's answer.

        ``begin`` is where their batch began, if the rows before the offset were sent before. A batch that is too large
        is sent in halves. Raises `RefusedError` for rows that the server refuses, and `UnreachableError` where it stays
        away.
        """
        begin = offset if begin is None else begin
        waiting = [(begin, offset - begin + table.height)]
        while waiting:
            start, rows = cut = waiting.pop()
            left = rows - max(offset - start, 0)
            if left <= 0:
                continue
            if cut in self._cuts:
                waiting += _halves(cut)
                continue
            first = max(start, offset)
            answer = self._post(table.part(first - offset, left), first)
            if answer.status == _TOO_LARGE and rows > 1:
                self._cuts.add(cut)
                self._on_cut(cut)
                waiting += _halves(cut)
                continue
            if answer.fate == "refused":
                raise RefusedError(_refusal(answer, first))
            yield left, answer

    def _post(self, rows: Table, start: int) -> Answer:
        body = rows.body()
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


def _halves(cut: Cut) -> list[Cut]:
    start, rows = cut
    return [(start + rows // 2, rows - rows // 2), (start, rows // 2)]


def _refusal(answer: Answer, start: int) -> str:
    if not answer.bad:
        return answer.message
    index, bad = min(answer.bad.items())
    more = f" and {len(answer.bad) - 1} more of this batch" if len(answer.bad) > 1 else ""
    return f"row {start + index + 1}{more}: {bad.field}: {bad.reason}"
