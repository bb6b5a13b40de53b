"""Unpack bodies with ``Content-Encoding: gzip`` or ``zstd``, up to a bound: a bomb costs no more than that."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import numpy as np

from driftline.errors import DataError
from driftline.net.limits import TooLargeError
from driftline.text import quoted
from driftline.web.requests import UnsupportedTypeError

IDENTITY = "identity"
_GZIP_BITS = 16 + zlib.MAX_WBITS
_MOST_MEMBERS = 1_000
_SOME_BYTES = 64 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def coding_of(header: str) -> str:
    """Return the coding that a body came in; raise `UnsupportedTypeError` for one that is not taken."""
    coding = header.strip().lower() or IDENTITY
    if coding not in (IDENTITY, *_UNPACK):
        raise UnsupportedTypeError(f"Content-Encoding {quoted(header)} came; allowed are gzip, zstd, or none")
    return coding


def unpacked(body: bytes, coding: str, most: int) -> bytes:
    """Return what was packed; raise `TooLargeError` where it is more than so many bytes, before they are all made.

    Raises `DataError` for a body that is broken or cut off.
    """
    return body if coding == IDENTITY else _UNPACK[coding](body, most)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError("the body unpacks to more", most, "unpacked")


def _gunzip(body: bytes, most: int) -> bytes:
    """Unpack gzip, whose members may stand one behind another."""
    parts: list[bytes] = []
    left, at = most + 1, 0
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP_BITS)
        while not member.eof:
            if at == len(body):
                raise DataError("the body is gzip that is cut off; send all of it")
            some = body[at : at + _SOME_BYTES]  # a member gives back all behind it: that would copy the rest each time
            try:
                part = member.decompress(some, left)
            except zlib.error as error:
                raise DataError(f"the body is not gzip, as its Content-Encoding says: {error}") from error
            parts.append(part)
            left -= len(part)
            if left <= 0:
                raise _too_large(most)
            at += len(some) - len(member.unused_data)
        if at == len(body):
            return b"".join(parts)
    raise DataError(f"the body is gzip of more than {_MOST_MEMBERS} members; pack it as one")


def _unzstd(body: bytes, most: int) -> bytes:
    """Unpack zstd into memory of that size, of which the system gives what is written to."""
    if not body.startswith(_ZSTD_MAGIC):
        raise DataError("the body is not zstd, as its Content-Encoding says")
    room: Any = np.empty(most + 1, np.uint8)
    try:
        size = cramjam.zstd.decompress_into(body, room)
    except Exception as error:
        said = str(error)
        if any(words in said for words in _NO_ROOM):
            raise _too_large(most) from error
        raise DataError(f"the body is not zstd that can be unpacked: {said[:200]}") from error
    if size > most:
        raise _too_large(most)
    found: bytes = room[:size].tobytes()
    return found


_NO_ROOM = ("write whole buffer",)
_UNPACK: dict[str, Callable[[bytes, int], Any]] = {"gzip": _gunzip, "zstd": _unzstd}
