"""The interface of a registry: versions of models, and which of them is champion."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import msgspec

from driftline.errors import ConflictError, UsageError

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_ROLLED_BACK = "rolled_back"

_PLAIN = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+-")
_LONGEST_FOLDER, _KEPT_OF_LONG = 200, 100
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,99}")


class FileRecord(msgspec.Struct, frozen=True):
    """The hash and size of a file when its version was registered."""

    sha256: str
    size_bytes: int


class Version(msgspec.Struct, frozen=True):
    """The record of a version of a model. Once registered, it does not change.

    ``files`` are by name relative to the version's folder; a version that was not trained by Driftline has none.
    ``signature`` maps each feature to its kind. ``data`` says which rows it was trained on, ``code`` by which code.
    ``contest`` is the JSON of its contest, null without one. ``parent`` is the champion at that time.
    """

    model: str
    version: str
    created_at: datetime
    files: dict[str, FileRecord] = {}
    signature: dict[str, str] = {}
    data: dict[str, Any] = {}
    code: str = ""
    contest: msgspec.Raw = msgspec.Raw(b"null")
    parent: str | None = None


class Registry(Protocol):
    """Keeps versions and aliases. What a method has done survives a crash, and each call can be repeated."""

    def register(self, version: Version, files: Mapping[str, Path]) -> Version:
        """Store a version with copies of its files, given by their names in the version's folder.

        Returns the version with the files' hashes. The same version with the same files again changes nothing; raises
        `ConflictError` for other files.
        """
        ...

    def versions(self, model: str) -> list[Version]:
        """Return all versions of a model, the oldest first; empty for an unknown model."""
        ...

    def version(self, model: str, version: str) -> Version:
        """Return one version; raises `UnknownNameError` for an unknown one."""
        ...

    def aliases(self, model: str) -> dict[str, str]:
        """Return by alias which version is `CHAMPION`, and which was before (`PREVIOUS`); empty without a champion."""
        ...

    def promote(self, model: str, version: str, expected: str | None) -> dict[str, str]:
        """Make a version champion in place of the expected one (None: there is none); return the aliases.

        A repetition changes nothing. Raises `ConflictError` if another version is champion.
        """
        ...

    def roll_back(self, model: str, expected: str) -> dict[str, str]:
        """Make the previous champion champion again in place of the expected one; return the aliases.

        Raises `ConflictError` if another version is champion, or if there is no previous one.
        """
        ...

    def path(self, model: str, version: str) -> Path:
        """Return the folder with a version's files, for the user's own code to load; Driftline loads none itself.

        Raises `UnknownNameError` for an unknown version.
        """
        ...


def promoted(aliases: Mapping[str, str], model: str, version: str, expected: str | None) -> dict[str, str]:
    """Return the aliases with a version as champion in place of the expected one; see `Registry.promote`."""
    if aliases.get(CHAMPION) == version:
        return dict(aliases)
    _expect(aliases, model, expected)
    return {CHAMPION: version, **({PREVIOUS: expected} if expected is not None else {})}


def rolled_back(aliases: Mapping[str, str], model: str, expected: str) -> dict[str, str]:
    """Return the aliases with the previous champion in place of the expected one; see `Registry.roll_back`."""
    if aliases.get(_ROLLED_BACK) == expected:
        return dict(aliases)
    _expect(aliases, model, expected)
    if PREVIOUS not in aliases:
        raise ConflictError(f"{model} has no champion before {expected}; there is nothing to roll back to")
    return {CHAMPION: aliases[PREVIOUS], _ROLLED_BACK: expected}


def _expect(aliases: Mapping[str, str], model: str, expected: str | None) -> None:
    if aliases.get(CHAMPION) != expected:
        raise ConflictError(f"the champion of {model} is {aliases.get(CHAMPION)}, not {expected}; look again")


def checked_name(text: str, what: str) -> str:
    """Return the name if every file system takes it as a folder's; raises `UsageError` if not."""
    if not _NAME.fullmatch(text) or ".." in text or text.endswith("."):
        raise UsageError(f"the {what} came as {text[:120]!r}; it is 1 to 100 letters, digits and . _ + -")
    return text


def folder_name(version: str) -> str:
    """Return the name of a version's folder: letters, digits and ``. _ + -`` stay, the rest is percent-encoded.

    Different versions get different names. Raises `UsageError` for an empty name.

    >>> folder_name("2026-01.1"), folder_name("models:/churn/12"), folder_name("v1..2"), folder_name("a b%")
    ('2026-01.1', 'models%3A%2Fchurn%2F12', 'v1.%2E2', 'a%20b%25')
    """
    if not version:
        raise UsageError("the version came without a name; give it one")
    found, before = "", "."
    for place, sign in enumerate(version):
        last = place == len(version) - 1
        plain = sign in _PLAIN and not (sign == "." and (last or before == ".")) and (found or sign not in "._+-")
        found += sign if plain else "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))
        before = sign
    if len(found) <= _LONGEST_FOLDER:
        return found
    return f"{found[:_KEPT_OF_LONG]}%~{hashlib.sha256(version.encode('utf-8', 'surrogatepass')).hexdigest()}"


def checked_file(name: str) -> str:
    """Return a relative path that stays within its folder; raises `UsageError` for any other."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or "\\" in name or name.startswith("/") or any(part in ("..", ".") for part in parts):
        raise UsageError(f"the file {name[:120]!r} would not lie in the version's folder; name it by a relative path")
    return str(PurePosixPath(name))
