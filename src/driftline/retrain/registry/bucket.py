"""A registry in blobs, for a bucket, where nothing can be moved and no lock be held::

    MODEL/versions/VERSION.json    a version's record (VERSION as `folder_name` writes it), written last and once
    MODEL/files/SHA256             a file of any version
    MODEL/aliases.json             which is champion, and which was before; replaced only where it is as it was read

A version whose writer was killed has no record, and its files are those of whoever registers them next.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
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
from driftline.store.blobs import Blobs, fetch
from driftline.text import cause

_ALIASES, _RECORD = "aliases.json", ".json"
_TRIES = 20

_LOG = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class BlobRegistry:
    """Keeps versions and aliases in ``place``; ``local`` is a folder into which files are copied to be loaded."""

    def __init__(self, place: Blobs, local: Path) -> None:
        self._place, self._local = place, local

    # ---- versions ---------------------------------------------------------------------------------------------------

    def register(self, version: Version, files: Mapping[str, Path]) -> Version:
        """See `Registry.register`. Raises `UsageError` for a name that leads elsewhere, else `StorageError`."""
        place, name = self._of(version.model), _record_name(version.version)
        named = {checked_file(one): path for one, path in sorted(files.items())}
        try:
            records = {one: FileRecord(_digest(path), path.stat().st_size) for one, path in named.items()}
        except OSError as error:
            raise StorageError(f"the files of {version.version} cannot be read: {cause(error)}") from error
        if place.find(name) is None:
            for one, record in records.items():
                found = place.find(f"files/{record.sha256}")
                if found is None or found.size_bytes != record.size_bytes:
                    place.put(f"files/{record.sha256}", named[one])
            version = msgspec.structs.replace(version, files=records)
            if place.put_new(name, msgspec.json.encode(version)):
                return version
        known = self.version(version.model, version.version)
        if known.files != records:
            raise ConflictError(
                f"{known.model} has a version {known.version} with other files; give the new one a name of its own"
            )
        return known

    def versions(self, model: str) -> list[Version]:
        """See `Registry.versions`; a version with a damaged record is left out and logged."""
        place, found = self._of(model), []
        for blob in place.list("versions"):
            try:
                found.append(_decoded(place, blob.name, Version))
            except (DamagedError, FileNotFoundError) as error:
                _LOG.warning("a version of %s is left out: %s", model, error)
        return sorted(found, key=lambda one: (one.created_at, one.version))

    def version(self, model: str, version: str) -> Version:
        """See `Registry.version`; raises `DataError` if the record is damaged."""
        try:
            return _decoded(self._of(model), _record_name(version), Version)
        except FileNotFoundError:
            known = [one.version for one in self.versions(model)]
            raise UnknownNameError(f"version of {model}", version, known) from None
        except DamagedError as error:
            raise DataError(str(error)) from error

    def path(self, model: str, version: str) -> Path:
        """See `Registry.path`: its files are copied here; raises `DataError` if one is not as it was registered."""
        known, place = self.version(model, version), self._of(model)
        folder = self._local / checked_name(model, "model") / folder_name(version)
        folder.mkdir(parents=True, exist_ok=True)
        for name, record in known.files.items():
            target = folder / checked_file(name)
            if target.is_file() and _digest(target) == record.sha256:
                continue
            try:
                fetch(place, f"files/{record.sha256}", target)
                fits = _digest(target) == record.sha256
            except FileNotFoundError:
                fits = False
            if not fits:
                shutil.rmtree(folder, ignore_errors=True)
                uri = place.uri(f"files/{record.sha256}")
                raise DataError(f"{uri} is not the file that was registered; restore it, or take another version")
        return folder

    # ---- aliases ----------------------------------------------------------------------------------------------------

    def aliases(self, model: str) -> dict[str, str]:
        """See `Registry.aliases`; raises `DamagedError` if the blob is damaged."""
        return self._aliases(model)[0]

    def promote(self, model: str, version: str, expected: str | None) -> dict[str, str]:
        """See `Registry.promote`; of two promotions at once, one wins."""
        self.version(model, version)
        return self._change(model, lambda aliases: promoted(aliases, model, version, expected))

    def roll_back(self, model: str, expected: str) -> dict[str, str]:
        """See `Registry.roll_back`; a repetition changes nothing."""
        return self._change(model, lambda aliases: rolled_back(aliases, model, expected))

    def _aliases(self, model: str) -> tuple[dict[str, str], str | None]:
        place = self._of(model)
        try:
            content, tag = place.tagged(_ALIASES)
        except FileNotFoundError:
            return {}, None
        return _decode(content, place.uri(_ALIASES), dict[str, str]), tag

    def _change(self, model: str, change: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, str]:
        """Change the aliases as they are in the moment of the change, which others may make as well."""
        for _ in range(_TRIES):
            before, tag = self._aliases(model)
            after = change(before)
            if after == before or self._of(model).swap(_ALIASES, msgspec.json.encode(after), tag):
                return after
        raise StorageError(f"the champion of {model} is being changed by others again and again; try again")

    def _of(self, model: str) -> Blobs:
        return self._place.within(checked_name(model, "model"))


def _record_name(version: str) -> str:
    return f"versions/{folder_name(version)}{_RECORD}"


def _decoded(place: Blobs, name: str, kind: type[_Value]) -> _Value:
    return _decode(place.get(name), place.uri(name), kind)


def _decode(content: bytes, called: str, kind: type[_Value]) -> _Value:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"{called} is not what a registry writes: {error}; restore it") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
