"""Convert text files to plain UTF-8: unpack them, decode them, and check all their bytes once.

Correct files stay where they are; others are written anew into a `Spool`, in bounded memory.
"""

from __future__ import annotations

import codecs
import gzip
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from driftline.errors import DataError

HEAD_BYTES = 1 << 16
_BLOCK_BYTES, _MOST_BLOCKS = 4 << 20, 16
_MARKS = (  # the longer ones first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SEVERAL_BYTES = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")  # in Windows-1252


class Spool:
    """A temporary folder for rewritten files; it is removed with the last reference to it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._files = 0

    def new(self, suffix: str) -> Path:
        """Return the path of a new file, which does not exist yet."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="driftline-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._files += 1
        return self._folder / f"{self._files}{suffix}"


class Plain(NamedTuple):
    """A text file in UTF-8 without a byte order mark; ``notes`` say how it was changed."""

    path: Path
    notes: tuple[str, ...] = ()


def plain(path: Path, name: str, spool: Spool, *, keep_mark: bool) -> Plain:
    """Return a text file as UTF-8; with ``keep_mark``, a byte order mark of UTF-8 stays for the reader to skip."""
    path = _unpacked(path, spool)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    encoding = encoding_of(head)
    if encoding == "utf-8" or (encoding == "utf-8-sig" and keep_mark):
        return Plain(path)
    note = () if encoding == "utf-8-sig" else (f"{name} is {encoding.upper()[:6]}",)
    return Plain(_decoded(path, name, encoding, spool), note)


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text from its first bytes: from a byte order mark, or from the places of zeros.

    >>> [encoding_of("a,b".encode(name)) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be")]
    ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be']
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" not in head:
        return "utf-8"
    whole = head[: len(head) // 4 * 4] or head
    for encoding, places in (("utf-32-le", (2, 3)), ("utf-32-be", (0, 1))):
        if len(whole) >= 4 and all(_zeros(whole[place::4]) > 0.9 for place in places):
            return encoding
    even, odd = _zeros(whole[::2]), _zeros(whole[1::2])
    if min(even, odd) < 0.05 and max(even, odd) > 0.3:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def _zeros(part: bytes) -> float:
    return part.count(0) / len(part) if part else 0.0


def _unpacked(path: Path, spool: Spool) -> Path:
    """Return the uncompressed file; the compression is recognised by the first bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(_GZIP):
        target = spool.new(".txt")
        with gzip.open(path) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, _BLOCK_BYTES)
        return target
    if head.startswith(_ZSTD):
        import cramjam

        target = spool.new(".txt")
        cramjam.zstd.decompress_into(cramjam.File(str(path)), cramjam.File(str(target)))
        return target
    return path


def _decoded(path: Path, name: str, encoding: str, spool: Spool) -> Path:
    target = spool.new(".txt")
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as source, target.open("wb") as file:
            while block := source.read(_BLOCK_BYTES):
                file.write(decoder.decode(block).encode())
            file.write(decoder.decode(b"", final=True).encode())
    except UnicodeError as error:  # lone surrogates among them
        raise DataError(
            f"{name} begins as {encoding.upper()} and does not go on so ({error}); save it as UTF-8"
        ) from None
    return target


# ---- from end to end ---------------------------------------------------------------------------------------


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks of whole lines, except for the last block and lines of many megabytes."""
    with path.open("rb") as file:
        rest: list[bytes] = []
        while block := file.read(_BLOCK_BYTES):
            cut = block.rfind(b"\n") + 1
            if cut or len(rest) >= _MOST_BLOCKS:
                cut = cut or len(block)
                yield b"".join((*rest, block[:cut]))
                rest = [block[cut:]]
            else:
                rest.append(block)
        if last := b"".join(rest):
            yield last


class _Bytes(msgspec.Struct):
    """What is known of the bytes of a file that are not ASCII."""

    line: int = 0
    column: int = 0
    byte: int = 0
    several: int = 0
    runs: int = 0
    lone: int = 0
    undefined: bool = False

    def add(self, block: bytes, lines: int) -> None:
        self.several += len(_SEVERAL_BYTES.findall(block))
        runs = _HIGH_RUN.findall(block)
        self.runs += len(runs)
        self.lone += sum(len(run) == 1 for run in runs)
        self.undefined |= _UNDEFINED.search(block) is not None
        if self.line:
            return
        try:
            block.decode()
        except UnicodeDecodeError as error:
            before = block[: error.start]
            self.line = lines + before.count(b"\n") + 1
            self.column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
            self.byte = block[error.start]


def as_utf8(text: Plain, name: str, spool: Spool) -> Plain:
    """Check all bytes of a text; read it as Windows-1252 if it is not UTF-8 and looks like that.

    Raises `DataError` for zeros, and for a text that is neither, with the line and column of the first bad byte.
    """
    seen, lines = _Bytes(), 0
    for block in blocks(text.path):
        zero = block.find(0)
        if zero >= 0:
            line = lines + block.count(b"\n", 0, zero) + 1
            raise DataError(f"{name}: line {line} has a byte of zero, which no text has; is it a text file?")
        if not block.isascii():
            seen.add(block, lines)
        lines += block.count(b"\n")
    if not seen.line:
        return text
    where = f"the byte 0x{seen.byte:02X} in line {seen.line}, column {seen.column} is not UTF-8"
    if seen.several or seen.undefined or seen.lone < seen.runs / 2:
        raise DataError(f"{name}: {where}; save the file as UTF-8")
    path = _decoded(text.path, name, "cp1252", spool)
    return Plain(path, (*text.notes, f"{name} is read as Windows-1252: {where}"))
