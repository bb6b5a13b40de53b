"""The body of a batch that waits in the inbox: its events and a checksum, so that damage shows and is never a value."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from driftline.errors import DataError
from driftline.events import Label, Prediction
from driftline.events.columns import LabelColumns, PredictionColumns
from driftline.store.framed import PredictionFrame, is_packed

Kind = Literal["predictions", "labels"]
KINDS: tuple[Kind, ...] = ("predictions", "labels")

Events = Sequence[Prediction] | Sequence[Label] | PredictionColumns | LabelColumns | PredictionFrame
"""The events of a batch: one by one, or by column, as lists or as a frame."""

_PREDICTIONS = msgspec.msgpack.Decoder(list[Prediction] | PredictionColumns)
_LABELS = msgspec.msgpack.Decoder(list[Label] | LabelColumns)
_MARK = b"\xc1"
"""Between events and checksum: the one byte that MessagePack never uses."""

_CHECK_BYTES = 4


def sealed(events: Events | Sequence[Prediction | Label]) -> bytes:
    """Encode events, and seal them with a checksum (CRC-32)."""
    body = events.packed() if isinstance(events, PredictionFrame) else msgspec.msgpack.encode(events)
    return b"".join((body, _MARK, _check(body)))


def unsealed(body: bytes, kind: str) -> Events:
    """Decode events, those of an earlier release without a checksum, too; raise `DataError` where they are damaged.

    >>> unsealed(sealed([]), "labels")
    []
    >>> unsealed(sealed([])[1:], "labels")
    Traceback (most recent call last):
    ...
    driftline.errors.DataError: the stored bytes of the batch are damaged
    """
    inner, mark, check = body[: -_CHECK_BYTES - 1], body[-_CHECK_BYTES - 1 : -_CHECK_BYTES], body[-_CHECK_BYTES:]
    try:
        right = mark == _MARK and check == _check(inner)
        if right and kind == "predictions" and is_packed(inner):
            return PredictionFrame.unpacked(inner)
        whole = inner if right else body  # a broken seal is too much of it, and no frame came without one
        events: Events = _PREDICTIONS.decode(whole) if kind == "predictions" else _LABELS.decode(whole)
        return events
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError("the stored bytes of the batch are damaged") from error


def events_by_row(events: Events) -> Sequence[Prediction] | Sequence[Label]:
    """Return events one by one."""
    return events.rows() if isinstance(events, (PredictionColumns, LabelColumns, PredictionFrame)) else events


def _check(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECK_BYTES, "big")
