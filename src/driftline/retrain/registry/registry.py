"""What a registry is: versions of models, and which of them is champion."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import msgspec

from driftline.errors import UsageError

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

_PLAIN = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+-")
_LONGEST_FOLDER, _KEPT_OF_LONG = 200, 100
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,99}")


class FileRecord(msgspec.Struct, frozen=True):
    """What a file was when its version was registered."""

    sha256: str
    size_bytes: int


class Version(msgspec.Struct, frozen=True):
    """A version of a model, and what is known of it. Once registered, it does not change.

    ``files`` are by name relative to the version's folder; a version that was not trained by Driftline has none.
    ``signature`` maps each feature to its kind. ``data`` says which rows it learned from, ``code`` by which code.
    ``contest`` is the JSON of the contest that it entered by, null without one. ``parent`` was champion then.
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
    """Keeps versions and aliases. Everything that it did is there after a crash; everything can be done again."""

    def register(self, version: Version, files: Mapping[str, Path]) -> Version:
        """Store a version with copies of its files, by the name that they get; return it with their hashes.

        The same version with the same files again is no error; with others it is a `ConflictError`.
        """
        ...

    def versions(self, model: str) -> list[Version]:
        """Return all versions of a model, the oldest first; none of a model that is not known."""
        ...

    def version(self, model: str, version: str) -> Version:
        """Return one version; raises `UnknownNameError`."""
        ...

    def aliases(self, model: str) -> dict[str, str]:
        """Return which version is `CHAMPION`, and which was before it (`PREVIOUS`), where there are such."""
        ...

    def promote(self, model: str, version: str, expected: str | None) -> dict[str, str]:
        """Make a version champion in place of the expected one (None: there is none); return the aliases.

        Done already, it changes nothing. Raises `ConflictError` where another is champion.
        """
        ...

    def roll_back(self, model: str, expected: str) -> dict[str, str]:
        """Make the previous champion champion again in place of the expected one; return the aliases.

        Raises `ConflictError` where another is champion, or there is no previous one.
        """
        ...

    def path(self, model: str, version: str) -> Path:
        """Return the folder with a version's files, for the user's own code to load; Driftline loads none itself."""
        ...


def checked_name(text: str, what: str) -> str:
    """Return a name that can be that of a folder anywhere; raises `UsageError`."""
    if not _NAME.fullmatch(text) or ".." in text or text.endswith("."):
        raise UsageError(f"the {what} came as {text[:120]!r}; it is 1 to 100 letters, digits and . _ + -")
    return text


def folder_name(version: str) -> str:
    """Return the name of a version's folder: letters, digits and ``. _ + -`` stay, others become the codes of their
    bytes.

    Different versions have different ones, whatever stands in their names. Raises `UsageError` for an empty name.

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
    """Return a relative path that stays where it begins; raises `UsageError`."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or "\\" in name or name.startswith("/") or any(part in ("..", ".") for part in parts):
        raise UsageError(f"the file {name[:120]!r} would not lie in the version's folder; name it by a relative path")
    return str(PurePosixPath(name))
