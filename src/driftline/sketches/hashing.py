"""Hash texts, in the same way on every machine and in every release: samples of categories depend on the hashes, and
the ids that a service knows are known by theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

_Hashes = npt.NDArray[np.uint64]

LONGEST = 256
"""So many bytes of each text are hashed in one go for all texts; the rest of a longer one is hashed by itself."""

_WORD = 8
_BLOCK = 2**15  # texts whose words a processor's cache holds
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def hash_texts(texts: pl.Series) -> _Hashes:
    """Hash texts without nulls, shape (n,), to 64 bits, shape (n,), by the finaliser of SplitMix64 over their words.

    >>> hash_texts(pl.Series(["rain", "sun", "rain"])).tolist()
    [17499551226191325525, 14682514497516896871, 17499551226191325525]
    """
    return _lanes(texts, 1)[0]


def fingerprints(texts: pl.Series) -> _Hashes:
    """Hash texts without nulls, shape (n,), to 128 bits, shape (2, n): two hashes of each that begin differently.

    Of 10**9 different texts, two have the same with a chance of 10**-21. The first row is `hash_texts`.

    >>> fingerprints(pl.Series(["rain", "sun"])).tolist()
    [[17499551226191325525, 14682514497516896871], [6960234158507143725, 13833352560832381645]]
    """
    blocks = [texts[start : start + _BLOCK] for start in range(0, max(len(texts), 1), _BLOCK)]
    return np.concatenate([np.stack(_lanes(block, 2)) for block in blocks], axis=1)


def _lanes(texts: pl.Series, lanes: int) -> list[_Hashes]:
    """Hash texts several times, each time from another start."""
    if not len(texts):
        return [np.empty(0, np.uint64)] * lanes
    data = texts.cast(pl.Binary)
    lengths = data.bin.size().to_numpy().astype(np.uint64)
    words = _words_of(lengths)
    columns: Sequence[_Hashes] | _Hashes = ()
    if words:
        padded = (data + pl.Series([b"\0" * (words * _WORD)])).bin.slice(0, words * _WORD)
        kind = pl.Array(pl.UInt64, words)
        columns = padded.bin.reinterpret(dtype=kind, endianness="little").to_numpy().T
    long = np.flatnonzero(lengths > LONGEST)
    tails = data.gather(long.tolist()).bin.slice(LONGEST).to_list() if len(long) else []
    return [_hashed(lengths, columns, long, tails, lane) for lane in range(lanes)]


def hash_names(names: Iterable[str]) -> _Hashes:
    """Hash names as `hash_texts` does, but without Polars, for whose busy threads a few names would have to wait."""
    data = [name.encode() for name in names]
    lengths = np.array([len(one) for one in data], np.uint64)
    size = _words_of(lengths) * _WORD
    padded = b"".join(one[:size].ljust(size, b"\0") for one in data)
    columns = np.frombuffer(padded, "<u8").reshape(len(data), -1).T if size else ()
    long = np.flatnonzero(lengths > LONGEST)
    return _hashed(lengths, columns, long, [data[at][LONGEST:] for at in long.tolist()])


def _words_of(lengths: _Hashes) -> int:
    """The number of 8-byte words to hash in one go, from the lengths of the texts in bytes."""
    return min(-(-int(lengths.max(initial=0)) // _WORD), LONGEST // _WORD)


def _hashed(
    lengths: _Hashes, words: Iterable[_Hashes], long: npt.NDArray[np.int64], tails: list[bytes], lane: int = 0
) -> _Hashes:
    """The hashes of texts from the columns of their 8-byte ``words``, and from the ``tails`` of the ``long`` ones."""
    hashes = mixed(lengths)
    for _ in range(lane):
        hashes = mixed(~hashes)
    for at, word in enumerate(words):
        there = lengths > np.uint64(at * _WORD)  # so that a hash does not depend on how long other texts are
        hashes = np.where(there, mixed(hashes ^ word), hashes)
    if tails:
        from hashlib import blake2b  # OpenSSL takes as long to load as a small file to check

        rest = [int.from_bytes(blake2b(tail, digest_size=_WORD).digest(), "little") for tail in tails]
        hashes[long] = mixed(hashes[long] ^ np.array(rest, np.uint64))
    return hashes


def mixed(values: _Hashes) -> _Hashes:
    """Return the next step of SplitMix64 (Steele, Lea & Flood 2014) for each number, shape (n,)."""
    values = values + _MULTIPLIER
    for shift, factor in _MIX:
        values = (values ^ (values >> shift)) * factor
    return values ^ (values >> np.uint64(31))
