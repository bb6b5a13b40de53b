"""Push samples by Prometheus remote write 1.0: they have times of their own, which samples of a scrape cannot have.

The protocol is one protobuf message of four fields, compressed with snappy; it is encoded here by hand, according to
the specification "Prometheus Remote-Write 1.0".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import cramjam

from driftline.net.outgoing import post

TIMEOUT_SECONDS = 30.0
_REFUSED = frozenset(range(400, 500)) - {429}
"""The statuses after which, by the protocol, a sender does not try again."""


class Series(NamedTuple):
    """A time series: its labels without its name, and samples of (milliseconds since 1970, value), oldest first."""

    name: str
    labels: Mapping[str, str]
    samples: Sequence[tuple[int, float]]


def encode(series: Iterable[Series]) -> bytes:
    """Encode a WriteRequest; labels with an empty value are left out, which means the same there."""
    return b"".join(_field(1, _series(one)) for one in series)


def _series(one: Series) -> bytes:
    labels = {"__name__": one.name, **{name: value for name, value in one.labels.items() if value}}
    encoded = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, labels[name].encode())) for name in sorted(labels)
    )
    for milliseconds, value in one.samples:
        encoded += _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(milliseconds & (2**64 - 1)))
    return encoded


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(found) + bytes([number])


class RemoteWriter:
    """Pushes series to the address of a remote write receiver."""

    def __init__(self, url: str) -> None:
        self._url = url

    def push(self, series: Sequence[Series]) -> None:
        """Send series, and return when they are accepted.

        Raises `RefusedError` if the receiver will never accept them (a status of 400 to 499 except 429),
        `UnavailableError` if it may later, and `UnreachableError` without an answer. No error contains the address.
        """
        body = bytes(cramjam.snappy.compress_raw(encode(series)))
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        post(self._url, body, headers=headers, timeout_seconds=TIMEOUT_SECONDS, refused=_REFUSED)
