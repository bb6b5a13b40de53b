"""Limits of one request and of all connections together: the section ``limits`` of driftline.yaml, and its values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.errors import StorageError, UsageError

_Size = Annotated[str, Meta(min_length=1, max_length=100)]
_Rows = Annotated[int, Meta(ge=1, le=100_000_000)]
_Connections = Annotated[int, Meta(ge=1, le=100_000)]


class LimitsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Limits of one request, and of all connections together."""

    body: _Size = "32MB"
    unpacked: _Size = "256MB"
    rows: _Rows = 200_000
    header_time: _Size = "10s"
    body_time: _Size = "60s"
    connections: _Connections = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """The checked values of `LimitsSection`.

    Bytes of a body as sent and unpacked, its rows, the longest times for a request's head and its body, and
    connections.
    """

    body_bytes: int = 32 * 10**6
    unpacked_bytes: int = 256 * 10**6
    rows: int = 200_000
    header_time: timedelta = timedelta(seconds=10)
    body_time: timedelta = timedelta(seconds=60)
    connections: int = 512


class TooLargeError(UsageError):
    """A request over a limit; the message says which limit, and what to do."""

    def __init__(self, what: str, limit: int, key: str) -> None:
        super().__init__(
            f"{what}; allowed are at most {limit:,} (limits.{key} in driftline.yaml); send smaller batches"
        )


class QueueFullError(StorageError):
    """More has arrived than can be processed; the sender should wait and try again."""
