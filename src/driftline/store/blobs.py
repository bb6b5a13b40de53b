"""Blobs: named bytes in a folder or a bucket, each there as a whole or not at all. All that is no row is kept in them.

The event log's files, registered versions, and what a retraining run has read and written. `Folder` is the one on a
disk; `driftline.store.s3.Bucket` the one in S3. Both are checked by one suite, ``tests/store/test_blobs.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from driftline.errors import UsageError
from driftline.store.durable import make_folder, replacing, sync_file
from driftline.text import cause

CHUNK_BYTES = 1 << 20
_LOCK = ".lock"


class Blob(NamedTuple):
    """A blob: its name below the place that was asked, its size, and when it was written, by the store's clock."""

    name: str
    size_bytes: int
    modified: datetime


class Blobs(Protocol):
    """A place of blobs. Names are relative to it, with ``/`` between folders; a missing one is a `FileNotFoundError`.

    Faults of the store are `StorageError` or `OSError`, in words. What a method has done is durable when it returns.
    """

    @property
    def root(self) -> str:
        """The address, as Delta Lake and Polars take it and as people are shown it."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether what others write here is durable once they are done, and checked by the store when it is read."""
        ...

    @property
    def table_options(self) -> dict[str, str] | None:
        """What Delta Lake needs to open a table here."""
        ...

    @property
    def scan_options(self) -> dict[str, Any] | None:
        """What Polars needs to read and write files here."""
        ...

    def within(self, name: str) -> Blobs:
        """Return the place of the blobs whose names begin with ``name/``."""
        ...

    def uri(self, name: str) -> str:
        """Return the address of a blob, as Polars takes it."""
        ...

    def put(self, name: str, content: bytes | Path) -> None:
        """Store a blob, in place of one of this name; a path is a local file that is copied."""
        ...

    def put_new(self, name: str, content: bytes | Path) -> bool:
        """Store a blob unless there is one of this name; whether that was done. Of two at once, one is told so."""
        ...

    def swap(self, name: str, content: bytes, tag: str | None) -> bool:
        """Store a blob in place of the one that `tagged` gave this tag (None: there is none); whether that was done."""
        ...

    def get(self, name: str) -> bytes:
        """Return a blob."""
        ...

    def tagged(self, name: str) -> tuple[bytes, str]:
        """Return a blob, and a tag by which `swap` knows it again."""
        ...

    def stream(self, name: str) -> Iterator[bytes]:
        """Give a blob in parts, for one that is large."""
        ...

    def find(self, name: str) -> Blob | None:
        """Return what is known of a blob; None where there is none."""
        ...

    def list(self, folder: str = "") -> list[Blob]:
        """Return what is known of the blobs in a folder and all below it, by name; none for an unknown one."""
        ...

    def delete(self, name: str) -> None:
        """Take a blob away; nothing where there is none."""
        ...

    def words(self, error: BaseException) -> str:
        """Say what an error of Delta Lake, Polars or the system on a blob here means, without anything secret."""
        ...


def place_of(place: Path | Blobs) -> Blobs:
    """Return the place itself, of a folder as well."""
    return Folder(place) if isinstance(place, Path) else place


def checked(name: str) -> str:
    """Return the name of a blob; raise `UsageError` for one that might lead out of its place."""
    parts = name.split("/")
    if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise UsageError(f"the blob {name[:120]!r} would not lie in its place; name it by a relative path")
    return name


def fetch(blobs: Blobs, name: str, target: Path) -> None:
    """Copy a blob into a local file, which is there as a whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as beside, beside.open("wb") as file:
        for part in blobs.stream(name):
            file.write(part)


@dataclass(frozen=True, slots=True)
class Folder:
    """Blobs as files of a folder, which is made when it is first needed. Files that begin with a dot are none."""

    path: Path
    lasting: bool = False
    table_options: None = None
    scan_options: None = None

    @property
    def root(self) -> str:
        """See `Blobs.root`."""
        return str(self.path)

    def within(self, name: str) -> Folder:
        """See `Blobs.within`."""
        return Folder(self.path / checked(name))

    def uri(self, name: str) -> str:
        """See `Blobs.uri`."""
        return str(self._file(name))

    def put(self, name: str, content: bytes | Path) -> None:
        """See `Blobs.put`."""
        file = self._file(name)
        make_folder(file.parent)
        with replacing(file) as beside:
            _write(beside, content)

    def put_new(self, name: str, content: bytes | Path) -> bool:
        """See `Blobs.put_new`."""
        file = self._file(name)
        make_folder(file.parent)
        with _beside(file) as beside:
            _write(beside, content)
            sync_file(beside)
            try:
                os.link(beside, file)
            except FileExistsError:
                return False
        sync_file(file.parent)
        return True

    def swap(self, name: str, content: bytes, tag: str | None) -> bool:
        """See `Blobs.swap`; a lock on the folder keeps others out, which a killed process releases."""
        file = self._file(name)
        make_folder(file.parent)
        with (file.parent / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = _tag(file.read_bytes()) if file.exists() else None
            if known != tag:
                return False
            self.put(name, content)
        return True

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        return self._file(name).read_bytes()

    def tagged(self, name: str) -> tuple[bytes, str]:
        """See `Blobs.tagged`."""
        content = self.get(name)
        return content, _tag(content)

    def stream(self, name: str) -> Iterator[bytes]:
        """See `Blobs.stream`."""
        with self._file(name).open("rb") as file:
            while part := file.read(CHUNK_BYTES):
                yield part

    def find(self, name: str) -> Blob | None:
        """See `Blobs.find`."""
        file = self._file(name)
        return _blob(name, file) if file.is_file() else None

    def list(self, folder: str = "") -> list[Blob]:
        """See `Blobs.list`."""
        below = self._file(folder) if folder else self.path
        files = sorted((one.relative_to(self.path).as_posix(), one) for one in below.rglob("[!.]*") if one.is_file())
        return [_blob(name, file) for name, file in files]

    def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        self._file(name).unlink(missing_ok=True)

    def words(self, error: BaseException) -> str:
        """See `Blobs.words`."""
        return cause(error)

    def _file(self, name: str) -> Path:
        return self.path / checked(name)


def _blob(name: str, file: Path) -> Blob:
    stat = file.stat()
    return Blob(name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


def _write(file: Path, content: bytes | Path) -> None:
    if isinstance(content, Path):
        shutil.copyfile(content, file)
    else:
        file.write_bytes(content)


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A name beside a file's that no other process and thread has; nothing is left there."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}.new")
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)
