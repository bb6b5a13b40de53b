"""Checksums of the files of a table, so that bytes that the disk has changed are found before anything is read of them.

Parquet files of the log have none of their own: a flipped bit is often read as another value. A file of the
table's folder, ``_sums``, which readers of Delta Lake pass over, has a line for each data file.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from driftline.errors import StorageError
from driftline.store.blobs import Blobs, Folder
from driftline.store.durable import replace_file

SUMS = "_sums"
_LINE = re.compile(r"([0-9a-f]{8}) (.+) ([0-9a-f]{8})")
_BLOCK_BYTES = 1 << 20


class DamagedError(StorageError):
    """Files have other bytes than were written."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        super().__init__(f"{files[0]} is damaged")


@dataclass(slots=True)
class Sums:
    """The checksums (CRC-32) of the files of one table; ``folder`` is the table's.

    A file that has no checksum yet (of an earlier release, or written just before a crash) gets one when it is first
    looked at.
    """

    folder: Path
    _known: dict[str, str] | None = field(default=None, init=False)
    _verified: set[str] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def add(self, names: Iterable[str], *, anew: bool = False) -> None:
        """Remember files of the folder that have just been written.

        ``anew``: one of the same name may have been written before, by what was cut off before its commit.
        """
        with self._lock:
            self._add([name for name in names if anew or name not in self._load()])

    def damaged(self, names: Iterable[str]) -> list[str]:
        """Return the files whose bytes are not those that were written, of those that are there. Each is read once."""
        with self._lock:
            known, found, new = self._load(), [], []
            for name in names:
                if name in self._verified or not (self.folder / name).exists():
                    continue
                if name not in known:
                    new.append(name)
                elif known[name] == _sum_of(self.folder / name):
                    self._verified.add(name)
                else:
                    found.append(name)
            self._add(new)
            return found

    def keep(self, names: Iterable[str]) -> None:
        """Forget all files but these."""
        with self._lock:
            known, kept = self._load(), set(names)
            left = {name: value for name, value in known.items() if name in kept}
            if len(left) < len(known):
                replace_file(self.folder / SUMS, _lines(left))
                self._known = left
                self._verified &= kept

    def _add(self, names: Iterable[str]) -> None:
        sums = {name: _sum_of(self.folder / name) for name in names}
        if sums:
            with (self.folder / SUMS).open("a", encoding="utf-8") as lines:
                lines.write(_lines(sums))
            self._load().update(sums)
            self._verified.update(sums)

    def _load(self) -> dict[str, str]:
        if self._known is None:
            try:
                text = (self.folder / SUMS).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                text = ""
            lines = (_LINE.fullmatch(line) for line in text.split("\n"))
            self._known = {
                line[2]: line[1] for line in lines if line is not None and line[3] == _check(line[1], line[2])
            }
        return self._known


class NoSums:
    """Of a store that has checksums of its own, and looks at them whenever a file is read."""

    def add(self, names: Iterable[str], *, anew: bool = False) -> None:
        """Remember nothing."""

    def damaged(self, names: Iterable[str]) -> list[str]:
        """Return no file: a damaged one is not handed out."""
        del names
        return []

    def keep(self, names: Iterable[str]) -> None:
        """Forget nothing."""


def sums_of(place: Blobs) -> Sums | NoSums:
    """Return the checksums of the files of a table, by where it is."""
    return Sums(place.path) if isinstance(place, Folder) else NoSums()


def _lines(sums: Mapping[str, str]) -> str:
    """Lines that have a checksum of their own, behind one that may have been cut off."""
    return "\n" + "".join(f"{value} {name} {_check(value, name)}\n" for name, value in sums.items())


def _check(value: str, name: str) -> str:
    return f"{zlib.crc32(f'{value} {name}'.encode()):08x}"


def _sum_of(file: Path) -> str:
    value = 0
    with file.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return f"{value:08x}"
