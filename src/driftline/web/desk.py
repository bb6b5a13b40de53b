"""Check what comes for one model: as columns where all of it is plain, else row by row."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from driftline import clock
from driftline.client.ids import new_id
from driftline.events.columns import Came
from driftline.events.typed import TypedReader
from driftline.monitoring.accept import Batch, Kind, checked_columns, checked_frame, checked_rows
from driftline.monitoring.admission import Admission
from driftline.net.limits import Limits, TooLargeError
from driftline.profiles.frame import SCORE
from driftline.service.runtime import Service
from driftline.store.deliveries import Delivery
from driftline.web.arrow_rows import as_events
from driftline.web.doors import Size
from driftline.web.frame_columns import came_of
from driftline.web.packed import IDENTITY, unpacked
from driftline.web.requests import FRAMES, NDJSON, frame_of, frame_rows, hold_features, hold_rows, text_of, text_rows


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request as it was received: its body is packed as ``coding`` says."""

    kind: Kind
    body: bytes
    format: str
    key: str | None = None
    quarantine: bool = False
    coding: str = IDENTITY

    def unpacked(self, most: int) -> Incoming:
        """Return the same request with its body unpacked; raise `TooLargeError` where it is more than so many bytes."""
        return replace(self, body=unpacked(self.body, self.coding, most), coding=IDENTITY)

    @property
    def digest(self) -> bytes:
        """What tells the batch of its key from others."""
        return b"" if self.key is None else hashlib.sha256(self.body).digest()


class Desk:
    """Checks what comes for one model."""

    def __init__(self, service: Service, model: str) -> None:
        self._service, self._name = service, model
        one = service.models[model]
        scored = [name.removeprefix(SCORE) for name in one.log.prediction_columns() if name.startswith(SCORE)]
        with service.state.read() as read:
            self._admission = Admission(one.schema, scored, read.counters.versions(model))
        self._reader: TypedReader | None = None

    def quickly(self, came: Incoming) -> Delivery | None:
        """Check JSON that is not packed, by column; None where it is not that, or not all of it is plain."""
        return self._quickly(came, self._service.config.limits)

    def check(self, came: Incoming, size: Size | None = None, *, by_row: bool = False) -> Delivery:
        """Unpack a body and check it; raise `TooLargeError` where it is more than a size, or than is allowed.

        ``by_row`` says that JSON was looked at by column before. Raises `EventError` for bad rows, and `DataError` for
        what cannot be decoded.
        """
        limits = self._service.config.limits
        unpacked = limits.unpacked_bytes
        if size is not None:
            unpacked = min(unpacked, size.unpacked)
            limits = replace(limits, unpacked_bytes=min(limits.unpacked_bytes, size.decoded))
        plain = came.unpacked(unpacked)
        if plain.format in FRAMES:
            return self._check_frame(plain, limits)
        if not by_row and (delivery := self._quickly(plain, limits)) is not None:
            return delivery
        rows = text_rows(text_of(plain.body, limits), plain.format, limits)
        hold_features(len(rows), self._features_of(came.kind), limits)
        return self._of_rows(plain, rows)

    def _quickly(self, came: Incoming, limits: Limits) -> Delivery | None:
        if came.format in FRAMES:
            return None
        text, reader, lines = text_of(came.body, limits), self._reader_now(), came.format == NDJSON
        read = reader.predictions if came.kind == "predictions" else reader.labels
        try:
            hold_features(text.count(b"{"), self._features_of(came.kind), limits)
        except TooLargeError:  # rows are fewer, or whoever looks at them says so
            return None
        columns = read(text, lines=lines)
        if columns is None:
            return None
        hold_rows(columns.rows, limits)
        return self._of_columns(came, columns)

    def _check_frame(self, came: Incoming, limits: Limits) -> Delivery:
        one = self._service.models[self._name]
        name = functools.partial(as_events, kind=came.kind, columns=one.config.columns)
        frame = frame_of(came.body, came.format, limits, name)
        hold_features(frame.height, self._features_of(came.kind), limits)
        columns, arrived = came_of(frame, came.kind.removesuffix("s"), one.schema.positive), clock.now()
        if columns is not None:
            checked = checked_frame(one, self._admission, came.kind, columns, arrived, _id_of(arrived))
            if checked is not None:
                return Delivery(self._name, came.kind, arrived, checked, key=came.key, digest=came.digest)
        return self._of_rows(came, frame_rows(frame, came.format))

    def _features_of(self, kind: Kind) -> int:
        """Return how many features a row of a kind has once it is checked."""
        return len(self._service.models[self._name].schema.features) if kind == "predictions" else 0

    def _reader_now(self) -> TypedReader:
        """Return the reader of the schema that the model has now."""
        one = self._service.models[self._name]
        reader = self._reader
        if reader is None or reader.schema is not one.schema:
            reader = self._reader = TypedReader(one.schema, time_format=one.config.columns.time_format)
        return reader

    def _of_columns(self, came: Incoming, columns: Came) -> Delivery | None:
        arrived, model = clock.now(), self._service.models[self._name]
        checked = checked_columns(model, self._admission, came.kind, columns, arrived, _id_of(arrived))
        if checked is None:
            return None
        return Delivery(self._name, came.kind, arrived, checked, key=came.key, digest=came.digest)

    def _of_rows(self, came: Incoming, rows: list[Any]) -> Delivery:
        arrived, model = clock.now(), self._service.models[self._name]
        batch = Batch(came.kind, rows, came.key, came.digest, came.quarantine)
        return checked_rows(model, self._admission, batch, arrived, _id_of(arrived))


def _id_of(arrived: datetime) -> Callable[[], str]:
    moment_ns = int(arrived.timestamp() * 1e6) * 1000
    return lambda: new_id(moment_ns)
