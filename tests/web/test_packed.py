"""Packed bodies: the same as they were, and a bomb is refused at its bound."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import Any

import cramjam
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline.errors import DataError
from driftline.net.limits import TooLargeError
from driftline.web.packed import coding_of, unpacked
from driftline.web.requests import UnsupportedTypeError

PACK = {"gzip": gzip.compress, "zstd": lambda body: bytes(cramjam.zstd.compress(body)), "identity": lambda body: body}
PACKED = ["gzip", "zstd"]


@given(st.binary(max_size=2_000), st.sampled_from([*PACK]), st.integers(0, 2_000))
@example(b"", "gzip", 0)
@example(b"", "zstd", 0)
def test_what_was_packed_comes_back_or_is_too_large(body: bytes, coding: str, most: int) -> None:
    if len(body) <= most or coding == "identity":
        assert unpacked(PACK[coding](body), coding, most) == body
    else:
        with pytest.raises(TooLargeError, match=r"limits\.unpacked"):
            unpacked(PACK[coding](body), coding, most)


@pytest.mark.parametrize("coding", PACKED)
def test_parts_that_were_packed_one_by_one_come_back_as_one(coding: str) -> None:
    assert unpacked(PACK[coding](b"[1,") + PACK[coding](b"2]"), coding, 5) == b"[1,2]"


@pytest.mark.parametrize("coding", PACKED)
def test_a_bomb_costs_no_more_than_its_bound(coding: str) -> None:
    bomb = PACK[coding](b"0" * 30_000_000)
    assert len(bomb) < 60_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            unpacked(bomb, coding, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", PACKED)
def test_a_body_that_is_cut_off_or_broken_is_refused(coding: str) -> None:
    whole = PACK[coding](bytes(range(256)) * 4)
    for end in range(len(whole)):
        with pytest.raises(DataError, match=coding):
            unpacked(whole[:end], coding, 10_000)
    for broken in (b"", b"not packed", whole[::-1], whole + b"more", PACK["zstd" if coding == "gzip" else "gzip"](b"")):
        with pytest.raises(DataError, match=coding):
            unpacked(broken, coding, 10_000)


def test_members_without_end_are_refused() -> None:
    with pytest.raises(DataError, match="members"):
        unpacked(gzip.compress(b"") * 1_001, "gzip", 10)


def test_many_members_before_a_large_one_do_not_have_it_copied_for_each_of_them(monkeypatch: Any) -> None:
    given_bytes = 0
    make = zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inner = make(bits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def decompress(self, some: bytes, most: int) -> bytes:
            nonlocal given_bytes
            given_bytes += len(some)
            return self._inner.decompress(some, most)

    monkeypatch.setattr("driftline.web.packed.zlib.decompressobj", Counting)
    large = bytes(1_000_000)
    body = gzip.compress(b"") * 900 + gzip.compress(large, compresslevel=0) * 8
    assert unpacked(body, "gzip", 10**7) == large * 8
    assert given_bytes < len(body) + 910 * 64 * 1024


@pytest.mark.parametrize("header", ["br", "gzip, gzip", "deflate", "\x1b[31m"])
def test_other_codings_are_named(header: str) -> None:
    with pytest.raises(UnsupportedTypeError, match="allowed are gzip, zstd, or none") as raised:
        coding_of(header)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(("header", "coding"), [("", "identity"), ("GZIP", "gzip"), (" zstd", "zstd")])
def test_codings_are_known_however_they_are_written(header: str, coding: str) -> None:
    assert coding_of(header) == coding
