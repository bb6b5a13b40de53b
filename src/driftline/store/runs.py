"""What is known of ids, as sorted runs of rows of 24 bytes: millions of ids are looked up, or added, in one go.

A row has the key of an id (128 bits of its hash), the event time of its prediction, and a mark of its label, for which
it takes 8 bytes more. Rows that come together are sorted by key and written once, as a run, which changes only where
rows are erased. A newer row of a key counts instead of the older one. The newest runs are merged when they are not much
larger than what comes, so that there are few of them and a row is written a few times in its life; a run that is full
is never written again. This is the log-structured merge-tree (O'Neil et al. 1996), in two tables of a database that has
transactions: an ordinary index on random ids would write a page for each.

A run is cut into parts by the first bits of the keys, so that a few ids are looked up in a few parts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from driftline.store.statements import batches
from driftline.store.tables import KNOWN_PARTS, KNOWN_RUNS

Words = npt.NDArray[np.uint64]

NO_MARK = np.uint64(0x7FF8_0000_0000_0000)
"""The mark of a row without a label: the bits of NaN, which no label is."""

FULL = 2**20
"""Rows that a run has at most, unless so many come in one go: what is merged, and forgotten, at a time is bounded."""

PART_ROWS = 2**15
"""Rows that a part has at most, about: 1 MiB."""

_GROWTH = 4  # a run is merged with what comes unless it has so many times its rows
_SPANS = 4  # runs are merged as long as they cover at most such a part of the time for which ids are kept
_WRITTEN_AT_ONCE = 8  # parts
KEPT_BYTES = 64 * 2**20
KEPT_FROM = FULL // 4  # rows of a run that is worth keeping: a smaller one is soon merged
_WORD_BITS = np.uint64(64)


class Rows(NamedTuple):
    """Rows by column, each of shape (n,): ``high`` and ``low`` are the key, ``times`` microseconds since 1970."""

    high: Words
    low: Words
    times: npt.NDArray[np.int64]
    marks: Words


class Found(NamedTuple):
    """What is known of each of some keys, by column, each of shape (n,); zero and `NO_MARK` where it is nothing."""

    known: npt.NDArray[np.bool_]
    times: npt.NDArray[np.int64]
    marks: Words


@dataclass(frozen=True, slots=True)
class Run:
    """One sorted run of a model's rows."""

    number: int
    rows: int
    bits: int
    oldest: datetime
    newest: datetime

    @property
    def version(self) -> tuple[int, int]:
        """What tells the run from all that ever were, and from itself before rows were erased."""
        return self.number, self.rows


class KeptParts:
    """Parts of runs that were read, as long as there is room for them. A run that has lost rows is another one.

    What one process keeps of all models is at most ``most_bytes``.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most, self._size, self._lock = most_bytes, 0, threading.Lock()
        self._parts: dict[str, dict[tuple[int, int], dict[int, bytes]]] = {}  # by model, run and part

    def of(self, model: str, run: Run) -> dict[int, bytes]:
        """Return the parts of a run that are kept."""
        with self._lock:
            return dict(self._parts.get(model, {}).get(run.version, {}))

    def keep(self, model: str, run: Run, part: int, body: bytes) -> None:
        """Keep a part, if there is room."""
        with self._lock:
            parts = self._parts.setdefault(model, {}).setdefault(run.version, {})
            if part not in parts and self._size + len(body) <= self._most:
                parts[part] = body
                self._size += len(body)

    def keep_only(self, model: str, runs: Sequence[Run]) -> None:
        """Drop the parts of a model's runs that are no longer there."""
        there = {run.version for run in runs}
        with self._lock:
            kept = self._parts.get(model, {})
            for version in kept.keys() - there:
                self._size -= sum(map(len, kept.pop(version).values()))


class Runs:
    """The statements on sorted runs, within one transaction.

    ``kept`` spares reading again; it is for transactions that see only what is committed.
    """

    def __init__(self, connection: sa.Connection, kept: KeptParts | None = None) -> None:
        self._connection, self._kept = connection, kept

    def of(self, model: str) -> list[Run]:
        """Return the runs of a model, the oldest first."""
        columns = (KNOWN_RUNS.c[name] for name in Run.__dataclass_fields__)
        asked = sa.select(*columns).where(KNOWN_RUNS.c.model == model).order_by(KNOWN_RUNS.c.number)
        return [Run(*row) for row in self._connection.execute(asked)]

    def find(self, model: str, high: Words, low: Words) -> Found:
        """Return what is known of keys, in their order."""
        found = Found(
            np.zeros(len(high), np.bool_), np.zeros(len(high), np.int64), np.full(len(high), NO_MARK, np.uint64)
        )
        runs = self.of(model)
        if self._kept is not None:
            self._kept.keep_only(model, runs)
        left = np.argsort(high)
        for run in reversed(runs):
            if not len(left):
                break
            for places, part in self._parts_for(model, run, high, left):
                _look_up(part, high, low, places, found)
            left = left[~found.known[left]]
        return found

    def put(self, model: str, rows: Rows, came: datetime, *, kept_for: timedelta) -> None:
        """Add rows; of several with one key the last counts, and it counts instead of what was known.

        They ``came`` now, or their event time is later; ids are ``kept_for`` so long from then on.
        """
        if not len(rows.high):
            return
        merged, oldest, newest = sort_rows([rows]), came, came
        absorbed: list[int] = []
        for run in reversed(self.of(model)):
            size = len(merged.high)
            earlier, later = min(oldest, run.oldest), max(newest, run.newest)
            if run.rows > _GROWTH * size or run.rows + size > FULL or later - earlier > kept_for / _SPANS:
                break
            merged = sort_rows([*(_rows_of(body) for _, body in self._read(run, None)), merged])  # no other holds them
            oldest, newest = earlier, later
            absorbed.append(run.number)
        self._forget(absorbed)
        self._write(model, merged, oldest, newest)

    def forget_oldest(self, model: str, before: datetime) -> int:
        """Forget the oldest run, if all its ids came before a moment; return how many rows it had, 0 if it is kept."""
        oldest = next(iter(self.of(model)), None)
        if oldest is None or oldest.newest >= before:
            return 0
        self._forget([oldest.number])
        return oldest.rows

    def erase(self, model: str, high: Words, low: Words) -> None:
        """Erase all rows of some keys, wherever they are."""
        order = np.argsort(high)
        for run in self.of(model):
            gone = sum(self._erase_of(run, part, places, high, low) for part, places in self._wanted(run, high, order))
            if gone == run.rows:
                self._forget([run.number])
            elif gone:
                left = KNOWN_RUNS.update().where(KNOWN_RUNS.c.number == run.number)
                self._connection.execute(left.values(rows=run.rows - gone))

    def _erase_of(self, run: Run, part: int, places: npt.NDArray[np.intp], high: Words, low: Words) -> int:
        """Erase keys, those at some places, from a part; return how many rows that were."""
        mine = (KNOWN_PARTS.c.run == run.number, KNOWN_PARTS.c.part == part)
        body = self._connection.execute(sa.select(KNOWN_PARTS.c.body).where(*mine)).scalar()
        if body is None:
            return 0
        rows = _rows_of(bytes(body))
        left = np.ones(len(rows.high), np.bool_)
        for at, _ in _matches(rows, high, low, places):
            left[at] = False
        gone = int((~left).sum())
        if gone:
            kept = Rows._make(column[left] for column in rows)
            new = KNOWN_PARTS.update().where(*mine).values(body=_body_of(kept, 0, len(kept.high)))
            self._connection.execute(new if left.any() else KNOWN_PARTS.delete().where(*mine))
        return gone

    def drop(self, model: str) -> None:
        """Forget all runs of a model."""
        self._forget([run.number for run in self.of(model)])

    def _forget(self, numbers: Sequence[int]) -> None:
        for some in batches(numbers):
            self._connection.execute(KNOWN_PARTS.delete().where(KNOWN_PARTS.c.run.in_(some)))
            self._connection.execute(KNOWN_RUNS.delete().where(KNOWN_RUNS.c.number.in_(some)))

    def _write(self, model: str, rows: Rows, oldest: datetime, newest: datetime) -> None:
        size = len(rows.high)
        bits = max(0, -(-size // PART_ROWS) - 1).bit_length()
        said = {"model": model, "rows": size, "bits": bits, "oldest": oldest, "newest": newest}
        number: int = self._connection.execute(KNOWN_RUNS.insert().values(said)).inserted_primary_key[0]  # type: ignore[index]
        bounds = _bounds(rows.high, bits)
        parts = [(part, *span) for part, span in enumerate(pairwise([*bounds, size])) if span[1] > span[0]]
        for first in range(0, len(parts), _WRITTEN_AT_ONCE):
            bodies = [
                {"run": number, "part": part, "body": _body_of(rows, start, end)}
                for part, start, end in parts[first : first + _WRITTEN_AT_ONCE]
            ]
            self._connection.execute(KNOWN_PARTS.insert(), bodies)

    def _parts_for(
        self, model: str, run: Run, high: Words, left: npt.NDArray[np.intp]
    ) -> Iterator[tuple[npt.NDArray[np.intp], Rows]]:
        """Yield the parts of a run that keys may be in, each with the places of these keys, in order of the keys."""
        wanted = dict(self._wanted(run, high, left))
        kept = {} if self._kept is None else self._kept.of(model, run)
        for part in wanted.keys() & kept.keys():
            yield wanted[part], _rows_of(kept[part])
        missing = sorted(wanted.keys() - kept.keys())
        for part, body in self._read(run, missing):
            if part in wanted:
                yield wanted[part], _rows_of(body)
            if self._kept is not None and run.rows >= KEPT_FROM:
                self._kept.keep(model, run, part, body)

    def _wanted(self, run: Run, high: Words, left: npt.NDArray[np.intp]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
        """Yield the numbers of the parts that keys may be in, each with the places of these, in order of the keys."""
        bounds = [*_bounds(high[left], run.bits), len(left)]
        for part, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                yield part, left[start:end]

    def _read(self, run: Run, parts: Sequence[int] | None) -> Iterator[tuple[int, bytes]]:
        """Yield parts of a run, all of them for None, in their order."""
        asked = sa.select(KNOWN_PARTS.c.part, KNOWN_PARTS.c.body).where(KNOWN_PARTS.c.run == run.number)
        asked = asked.order_by(KNOWN_PARTS.c.part)
        if parts is None or 2 * len(parts) > 2**run.bits:
            yield from _pairs(self._connection.execute(asked))
            return
        for some in batches(parts):
            yield from _pairs(self._connection.execute(asked.where(KNOWN_PARTS.c.part.in_(some))))


def _pairs(found: Any) -> Iterator[tuple[int, bytes]]:
    for part, body in found:
        yield part, bytes(body)


def sort_rows(parts: Sequence[Rows]) -> Rows:
    """Return rows in the order of their keys, each key once: the last that came of it."""
    columns = list(zip(*parts, strict=True))
    high, low = (np.concatenate(column) for column in columns[:2])
    order = np.argsort(high, kind="stable")
    alike = high[order[1:]] == high[order[:-1]]
    if np.any(alike & (low[order[1:]] != low[order[:-1]])):  # two keys begin alike, by a chance of 2**-64 a pair
        order = np.lexsort((low, high))
        alike = high[order[1:]] == high[order[:-1]]
    same = alike & (low[order[1:]] == low[order[:-1]])
    order = order[~np.append(same, False)] if np.any(same) else order
    del high, low, alike, same  # a million rows are sorted at a time: only one column is there twice
    return Rows._make(np.concatenate(column)[order] for column in columns)


def _look_up(part: Rows, high: Words, low: Words, places: npt.NDArray[np.intp], found: Found) -> None:
    """Note what a part knows of the keys at some places, in order of the keys."""
    for at, there in _matches(part, high, low, places):
        found.known[there] = True
        found.times[there] = part.times[at]
        found.marks[there] = part.marks[at]


def _matches(
    part: Rows, high: Words, low: Words, places: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield where in a part keys are, and the places of these, for keys at some places, in order of the keys."""
    wanted = high[places]
    at = np.searchsorted(part.high, wanted)
    alike = np.flatnonzero(part.high.take(at, mode="clip") == wanted)
    while len(alike):
        at, places = at[alike], places[alike]
        same = part.low[at] == low[places]
        yield at[same], places[same]
        at, places = at[~same] + 1, places[~same]  # another key that begins as this one may be the one
        alike = np.flatnonzero(part.high.take(at, mode="clip") == high[places])
        alike = alike[at[alike] < len(part.high)]


def _bounds(high: Words, bits: int) -> list[int]:
    """Return where the keys of each part begin, among keys in order."""
    if not bits:
        return [0]
    firsts = np.arange(2**bits, dtype=np.uint64) << (_WORD_BITS - np.uint64(bits))
    bounds: list[int] = np.searchsorted(high, firsts).tolist()
    return bounds


def _body_of(rows: Rows, start: int, end: int) -> bytes:
    """Return rows as they are stored: how many, and then column by column; without marks where none has one."""
    columns = [column[start:end].astype(column.dtype.newbyteorder("<")) for column in rows]
    if np.all(columns[-1] == NO_MARK):
        del columns[-1]
    return b"".join([(end - start).to_bytes(8, "little"), *(column.tobytes() for column in columns)])


def _rows_of(body: bytes) -> Rows:
    """Read stored rows, of which there is at least one."""
    size, words = int.from_bytes(body[:8], "little"), np.frombuffer(body, "<u8", offset=8)
    high, low, times, *marks = words.reshape(-1, size)
    none: Words = np.broadcast_to(NO_MARK, size)  # takes no memory
    return Rows(high, low, times.view("<i8"), marks[0] if marks else none)
