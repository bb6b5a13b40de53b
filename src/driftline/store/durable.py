"""Brings files and folders onto the disk: what was written may otherwise be gone after a power failure."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path


def sync_file(path: Path) -> None:
    """Wait until what a file, or the list of names of a folder, holds is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(paths: Iterable[Path]) -> None:
    """Wait for files, and then for the folders that they stand in."""
    folders: set[Path] = set()
    for path in paths:
        sync_file(path)
        folders.add(path.parent)
    for folder in sorted(folders):
        sync_file(folder)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing; each has its name on the disk when this returns."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_file(one.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside a path, which takes its place at the end: whole or not at all, even after a power failure.

    Each thread has its own, so that two that write the same do no harm; where the block fails, it is taken away.
    """
    beside = path.with_name(f".{path.name}.{threading.get_native_id()}.new")
    try:
        yield beside
        sync_file(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_file(path.parent)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file that is there as a whole or not at all, even after a power failure. Text is UTF-8."""
    with replacing(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
