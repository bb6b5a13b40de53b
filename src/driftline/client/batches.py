"""`Monitor.log_frame`: send a frame as predictions, labels or both, and wait for it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from driftline.client.frames import Cut, Sent, Shipment
from driftline.client.tables import Columns, Names, label_columns, prediction_columns, source_of
from driftline.client.transport import Kind, Transport
from driftline.errors import UsageError

_LINE_SECONDS = 0.2


class Batches:
    """Sends the frames of one monitor; it knows which batches were too large for the server."""

    def __init__(self, model: str, connect: Callable[[], Transport], version: str | None) -> None:
        self._model, self._connect, self._version = model, connect, version
        self._cuts: dict[str, set[Cut]] = {}

    def send(
        self,
        frame: Any,
        names: Names,
        *,
        name: str,
        on_error: Literal["refuse", "quarantine"],
        patience_seconds: float,
    ) -> Sent:
        """Send a frame and return what was accepted; see `Monitor.log_frame`."""
        if on_error not in ("refuse", "quarantine"):
            raise UsageError(f"on_error {on_error!r} came; allowed are 'refuse' and 'quarantine'")
        source = source_of(frame)
        kinds = self._kinds(source.names, names)
        if len(kinds) > 1 and hasattr(frame, "read_next_batch"):
            raise UsageError("a stream is read only once; send predictions and labels in calls of their own")
        transport = self._connect()
        sent: dict[Kind, Sent] = {}
        try:
            for kind, columns in kinds:
                source = source if not sent else source_of(frame)
                told = json.dumps([transport.url, self._model, kind, on_error, name])
                cuts = self._cuts.setdefault(told, set())
                shipment = Shipment(
                    transport,
                    kind,
                    told,
                    quarantine=on_error == "quarantine",
                    patience_seconds=patience_seconds,
                    cuts=cuts,
                    on_cut=cuts.add,
                    now=time.perf_counter,
                )
                done, sent[kind] = 0, Sent()
                with _told(kind, source.total) as tell:
                    for table in source.batches(columns):
                        for height, answer in shipment.send(table, done):
                            done, sent[kind] = done + height, sent[kind].plus(answer)
                            tell(done)
        finally:
            transport.hang_up()
        labels = sent.get("labels", Sent())
        return sent.get("predictions", labels)._replace(labels=labels.accepted)

    def _kinds(self, known: Sequence[str], names: Names) -> list[tuple[Kind, Columns]]:
        found: list[tuple[Kind, Columns]] = []
        if names.prediction is not None or (names.label is None and "prediction" in known):
            found.append(("predictions", prediction_columns(names, known, self._version)))
        if names.label is not None:
            found.append(("labels", label_columns(names, known)))
        if not found:
            raise UsageError(
                f"the frame has no column 'prediction', and neither prediction= nor label= was given; it has: "
                f"{', '.join(map(str, known)) or 'none'}"
            )
        return found


@contextmanager
def _told(kind: Kind, total: int | None) -> Iterator[Callable[[int], None]]:
    """Say on stderr how far it is, where somebody is looking."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    of = "" if total is None else f" of {total:,}"
    said_at = float("-inf")

    def tell(done: int) -> None:
        nonlocal said_at
        if (now := time.perf_counter()) - said_at >= _LINE_SECONDS:
            said_at = now
            sys.stderr.write(f"\rsending {done:,}{of} {kind}")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
