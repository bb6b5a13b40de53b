"""Keep batches that cannot be sent in files, until they can be: private, bounded, and sent by one process at a time.

A folder has one folder for each model, and in it one for each process, which holds a lock on it as long as it lives.
Another process sends what a process has left whose lock is free. A file is one batch: a line that says what it is, with
the SHA-256 of the rest, and then the rows. It is written beside, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from driftline.client.ids import now_ns
from driftline.client.records import Part
from driftline.client.transport import Kind
from driftline.errors import DamagedError, UsageError

SECONDS_BETWEEN_LOOKS = 5.0
"""How often it is looked at what other processes have in the folder."""

_BATCH = re.compile(r"(\d{12})-(\d{1,9})\.batch")
_UNFINISHED, _DAMAGED = ".part", "damaged"
_SAFE = re.compile(r"[^A-Za-z0-9_-]")
_PRIVATE = 0o700


_LIMIT = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?(B|kB|KB|MB|GB|TB)")
_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def bytes_of(limit: str | int) -> int:
    """Return how many bytes a limit is. Raises `UsageError` for one that is none.

    >>> bytes_of("1GB"), bytes_of("1.5 MB"), bytes_of(4096)
    (1000000000, 1500000, 4096)
    """
    if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        return limit
    found = _LIMIT.fullmatch(limit) if isinstance(limit, str) else None
    if found is None or float(found[1]) == 0:
        raise UsageError(f"spill_limit {limit!r} came; allowed are bytes, such as 500_000_000 or '1GB'")
    return int(float(found[1]) * _UNITS[found[2]])


class SpillFullError(Exception):
    """There is no room left within the limit."""


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    model: str
    kind: Kind
    key: str
    events: int
    sha256: str


class Kept(NamedTuple):
    """A file that waits: its path, how many events it says it has, and its bytes."""

    path: Path
    events: int
    size: int


class Spill:
    """The files of one monitor; ``limit_bytes`` bounds those of all processes that log the same model there.

    Raises `UsageError` for a folder that cannot be used.
    """

    def __init__(self, folder: Path, model: str, limit_bytes: int) -> None:
        digest = hashlib.sha256(model.encode()).hexdigest()[:8]
        self.folder, self._model, self._limit_bytes = folder, model, limit_bytes
        self._room = folder / f"{_SAFE.sub('_', model)[:80]}-{digest}"
        try:
            self._room.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            found = self._room.lstat()
        except OSError as error:
            raise UsageError(f"the spill folder {folder} cannot be used: {error}; name another") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise UsageError(f"{self._room} is not a folder of this user; name another spill folder")
        os.chmod(self._room, _PRIVATE)
        self.forget(close=False)

    def forget(self, *, close: bool = True) -> None:
        """Start anew, at first and in the child of a fork: the files and locks are the parent's."""
        for lock in self._locks.values() if close else ():
            os.close(lock)  # the parent has it too, so that it stays locked
        self._lock = threading.RLock()
        self._locks: dict[Path, int] = {}
        self._own: Path | None = None
        self._files: deque[Kept] = deque()
        self._number = self._bytes = self._others_bytes = 0
        self._looked_at = float("-inf")
        self._released = False

    @property
    def waiting(self) -> int:
        """How many files wait."""
        return len(self._files)

    # ---- writing ----------------------------------------------------------------------------------------------------

    def keep(self, part: Part) -> None:
        """Write a part behind those that wait; when this returns, it is on the disk.

        Raises `SpillFullError` where that is more than the limit, and `OSError` where it cannot be written.
        """
        with self._lock:
            data = self._encoded(part)
            self._require_room(len(data))
            own = self._own_folder()
            self._number += 1
            path = own / f"{self._number:012d}-{len(part.lines)}.batch"
            self._write(path, data)
            self._files.append(Kept(path, len(part.lines), len(data)))
            self._bytes += len(data)

    def replace(self, kept: Kept, part: Part) -> None:
        """Put what is left of the first file in its place. Raises `OSError` where that cannot be written."""
        with self._lock:
            if self._released:
                return
            data = self._encoded(part)
            path = kept.path.with_name(f"{kept.path.name.partition('-')[0]}-{len(part.lines)}.batch")
            self._write(path, data)
            if path != kept.path:
                kept.path.unlink(missing_ok=True)
            self._files[0] = Kept(path, len(part.lines), len(data))
            self._bytes += len(data) - kept.size

    def _encoded(self, part: Part) -> bytes:
        body = b"\n".join(part.lines)
        head = _Head(1, self._model, part.kind, part.key, len(part.lines), hashlib.sha256(body).hexdigest())
        return msgspec.json.encode(head) + b"\n" + body

    def _require_room(self, more: int) -> None:
        now = time.perf_counter()
        if now - self._looked_at > SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            folders = [one for one in self._room.iterdir() if one not in self._locks and one.is_dir()]
            self._others_bytes = sum(map(_bytes_in, folders))
        if self._bytes + self._others_bytes + more > self._limit_bytes:
            raise SpillFullError

    def _own_folder(self) -> Path:
        while self._own is None:
            path = self._room / f"{now_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
            path.mkdir(mode=_PRIVATE)
            if self._locked(path):  # else another process has found it empty, and removed it
                _sync(self._room)
                self._own = path
        return self._own

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        beside = path.with_suffix(_UNFINISHED)
        try:
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise

    # ---- reading ----------------------------------------------------------------------------------------------------

    def first(self) -> tuple[Kept, Part] | None:
        """Return the file that was written first, and what is in it; None where none waits.

        Raises `DamagedError` for one that is not what was written; see `set_aside`.
        """
        with self._lock:
            if self._released or not self._files:
                return None
            kept = self._files[0]
            try:
                data = _read(kept.path)
                line, _, body = data.partition(b"\n")
                head, lines = msgspec.json.decode(line, type=_Head), body.split(b"\n")
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise DamagedError(f"{kept.path} cannot be read: {error}") from error
            whole = head.sha256 == hashlib.sha256(body).hexdigest() and head.events == len(lines) == kept.events
            if head.version != 1 or head.model != self._model or not whole or not _is_key(head.key):
                raise DamagedError(f"{kept.path} is not what was written")
            return kept, Part(head.kind, head.key, lines)

    def remove(self, kept: Kept) -> None:
        """Remove the first file: it was sent."""
        self._take_out(kept, Path.unlink)

    def set_aside(self) -> Kept | None:
        """Move the first file to those that are damaged, where nobody reads it; return it."""
        with self._lock:
            if self._released or not self._files:
                return None
            kept = self._files[0]
            damaged = self._room / _DAMAGED

            def move(path: Path) -> None:
                damaged.mkdir(mode=_PRIVATE, exist_ok=True)
                path.replace(damaged / f"{path.parent.name}-{path.name}")

            self._take_out(kept, move)
            return kept

    def _take_out(self, kept: Kept, away: object) -> None:
        with self._lock:
            if self._released or not self._files or self._files[0] != kept:
                return
            self._files.popleft()
            self._bytes -= kept.size
            with contextlib.suppress(OSError):
                away(kept.path)  # type: ignore[operator]
            if not any(file.path.parent == kept.path.parent for file in self._files):
                self._leave(kept.path.parent)

    # ---- processes --------------------------------------------------------------------------------------------------

    def find(self) -> int:
        """Take over what processes have left that have ended; return how many events."""
        with self._lock:
            found = list(self._left())
            self._files.extendleft(reversed(found))
            self._bytes += sum(file.size for file in found)
        return sum(file.events for file in found)

    def _left(self) -> Iterator[Kept]:
        """Lock the folders that nobody has locked, and yield their files, the oldest first."""
        with contextlib.suppress(OSError):
            for folder in sorted(self._room.iterdir()):
                if folder in self._locks or folder.name == _DAMAGED or not self._locked(folder):
                    continue
                for file in folder.glob(f"*{_UNFINISHED}"):  # its batch was not said to be kept
                    file.unlink(missing_ok=True)
                yield from (batches := _batches(folder))
                if not batches:
                    self._leave(folder)

    def _locked(self, folder: Path) -> bool:
        import fcntl

        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink and folder.exists():
                self._locks[folder] = handle
                return True
        except OSError:
            pass
        os.close(handle)
        return False

    def _leave(self, folder: Path) -> None:
        """Remove an empty folder, and unlock it."""
        with contextlib.suppress(OSError):
            folder.rmdir()
        if (handle := self._locks.pop(folder, None)) is not None:
            os.close(handle)
        if folder == self._own:
            self._own = None

    def release(self) -> None:
        """Leave the files to the next process."""
        with self._lock:
            self._released = True
            for folder in list(self._locks):
                self._leave(folder)


def _batches(folder: Path) -> list[Kept]:
    """Return the files of a folder, in the order in which they were written."""
    named = ((file, _BATCH.fullmatch(file.name)) for file in sorted(folder.iterdir()))
    return [Kept(file, int(name[2]), _size(file)) for file, name in named if name is not None]


def _bytes_in(folder: Path) -> int:
    """Return how many bytes the files of a folder have, which may just be going."""
    try:
        return sum(map(_size, folder.iterdir()))
    except OSError:
        return 0


def _read(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is no file")
        return file.read()


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_key(key: str) -> bool:
    return key.isascii() and key.isprintable() and 0 < len(key) <= 200
