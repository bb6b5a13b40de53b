"""A registry in a folder::

    MODEL/versions/VERSION/version.json    its record (VERSION as `folder_name` writes it)
    MODEL/versions/VERSION/files/…         its files
    MODEL/aliases.json                     which version is champion, and which was before

A version is written beside its place and then moved there, and aliases are replaced as a whole, so that after a crash
each is there completely or not at all. Changes hold a lock on the model's folder, which a killed process releases.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from driftline.errors import ConflictError, DamagedError, DataError, StorageError, UnknownNameError
from driftline.retrain.registry.registry import (
    FileRecord,
    Version,
    checked_file,
    checked_name,
    folder_name,
    promoted,
    rolled_back,
)
from driftline.store.durable import replace_file, sync_file
from driftline.text import cause

_VERSION, _FILES, _ALIASES, _LOCK = "version.json", "files", "aliases.json", ".lock"
_UNFINISHED = ".new-"
_CHUNK_BYTES = 2**20

_LOG = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class FolderRegistry:
    """Keeps versions and aliases under one folder, which is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # ---- versions ---------------------------------------------------------------------------------------------------

    def register(self, version: Version, files: Mapping[str, Path]) -> Version:
        """See `Registry.register`. Raises `UsageError` for a name that leads elsewhere, `StorageError` for the disk."""
        place = self._place(version.model, version.version)
        named = {checked_file(name): path for name, path in files.items()}
        with self._storing(version.model):
            if place.exists():
                return self._same(self.version(version.model, version.version), named)
            self._sweep(place.parent)
            unfinished = place.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
            (unfinished / _FILES).mkdir(parents=True)
            records = {name: _copy(path, unfinished / _FILES / name) for name, path in sorted(named.items())}
            version = msgspec.structs.replace(version, files=records)
            replace_file(unfinished / _VERSION, msgspec.json.encode(version))
            for folder in sorted((one for one in unfinished.rglob("*") if one.is_dir()), reverse=True):
                sync_file(folder)
            sync_file(unfinished)
            unfinished.rename(place)
            sync_file(place.parent)
        return version

    def versions(self, model: str) -> list[Version]:
        """See `Registry.versions`; a version with a damaged record is left out and logged."""
        folder = self._of(model) / "versions"
        found = []
        for place in folder.glob("*"):
            if place.name.startswith("."):  # unfinished, or made by a file manager
                continue
            try:
                found.append(_decoded(place / _VERSION, Version))
            except (DamagedError, OSError) as error:
                _LOG.warning("a version of %s is left out: %s", model, error)
        return sorted(found, key=lambda one: (one.created_at, one.version))

    def version(self, model: str, version: str) -> Version:
        """See `Registry.version`; raises `DataError` if the record is damaged."""
        path = self._place(model, version) / _VERSION
        try:
            return _decoded(path, Version)
        except FileNotFoundError:
            known = [one.version for one in self.versions(model)]
            raise UnknownNameError(f"version of {model}", version, known) from None
        except DamagedError as error:
            raise DataError(str(error)) from error

    def path(self, model: str, version: str) -> Path:
        """See `Registry.path`; raises `DataError` if a file is not as it was registered."""
        known, folder = self.version(model, version), self._place(model, version) / _FILES
        for name, record in known.files.items():
            try:
                fits = _digest(folder / name) == record.sha256
            except OSError:
                fits = False
            if not fits:
                raise DataError(
                    f"{folder / name} is not the file that was registered; restore it, or take another version"
                )
        return folder

    # ---- aliases ----------------------------------------------------------------------------------------------------

    def aliases(self, model: str) -> dict[str, str]:
        """See `Registry.aliases`; raises `DamagedError` if the file is damaged."""
        try:
            return _decoded(self._of(model) / _ALIASES, dict[str, str])
        except FileNotFoundError:
            return {}

    def promote(self, model: str, version: str, expected: str | None) -> dict[str, str]:
        """See `Registry.promote`; of two promotions at once, one wins."""
        self.version(model, version)
        with self._storing(model):
            aliases = self.aliases(model)
            return self._put(model, aliases, promoted(aliases, model, version, expected))

    def roll_back(self, model: str, expected: str) -> dict[str, str]:
        """See `Registry.roll_back`; a repetition changes nothing."""
        with self._storing(model):
            aliases = self.aliases(model)
            return self._put(model, aliases, rolled_back(aliases, model, expected))

    def _put(self, model: str, before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
        if after != before:
            replace_file(self._of(model) / _ALIASES, msgspec.json.encode(after))
        return after

    # ---- folders ----------------------------------------------------------------------------------------------------

    def _of(self, model: str) -> Path:
        return self._folder / checked_name(model, "model")

    def _place(self, model: str, version: str) -> Path:
        return self._of(model) / "versions" / folder_name(version)

    @contextlib.contextmanager
    def _storing(self, model: str) -> Iterator[None]:
        """Hold the model's lock; raises `StorageError`, with the folder, for faults of the disk."""
        folder = self._of(model)
        try:
            (folder / "versions").mkdir(parents=True, exist_ok=True)
            with (folder / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StorageError(f"the registry in {folder} cannot be written: {cause(error)}") from error

    @staticmethod
    def _sweep(folder: Path) -> None:
        """Remove unfinished versions that a killed process has left."""
        for one in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(one)

    @staticmethod
    def _same(known: Version, files: Mapping[str, Path]) -> Version:
        if {name: _digest(path) for name, path in files.items()} != {
            name: record.sha256 for name, record in known.files.items()
        }:
            raise ConflictError(
                f"{known.model} has a version {known.version} with other files; give the new one a name of its own"
            )
        return known


def _decoded(path: Path, kind: type[_Value]) -> _Value:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"{path} is not what a registry writes: {error}; restore it") from error


def _copy(source: Path, target: Path) -> FileRecord:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return FileRecord(digest.hexdigest(), size)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
