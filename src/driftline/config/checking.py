"""Checks that every part of the configuration makes: a value that does not fit is named with its line and key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from driftline.config.strict_yaml import Key, SourceFile, shown
from driftline.environment import is_named
from driftline.errors import ConfigError, UsageError
from driftline.events import parse_duration
from driftline.net.addresses import is_address

LONGEST = timedelta(days=36_600)
"""A century: longer ones are typing errors, and leave the calendar."""

_Value = TypeVar("_Value")


class Checker:
    """Checks values of one file; paths in it begin at its folder."""

    def __init__(self, file: SourceFile) -> None:
        self.file, self.folder = file, file.path.parent

    def error(self, key: Key, reason: str) -> ConfigError:
        """Return a mistake at a key; to be raised."""
        return self.file.error(key, reason)

    def checked(self, key: Key, make: Callable[[], _Value]) -> _Value:
        """Return what ``make`` makes; its `UsageError` is a mistake at the key."""
        try:
            return make()
        except UsageError as error:
            raise self.error(key, str(error)) from error

    def duration(self, key: Key, text: str) -> timedelta:
        """Return a duration such as ``7d``, of at most a century."""
        duration = self.checked(key, lambda: parse_duration(text))
        if duration > LONGEST:
            raise self.error(key, f"came {text!r}; allowed are at most 100 years (36600d)")
        return duration

    def optional_duration(self, key: Key, text: str | None) -> timedelta | None:
        """Return the same; None where nothing was written."""
        return None if text is None else self.duration(key, text)

    def time_limit(self, key: Key, text: str) -> timedelta:
        """Return a duration longer than nothing."""
        if not (limit := self.duration(key, text)):
            raise self.error(key, f"came {shown(text)}; allowed is a time longer than nothing, such as '10s'")
        return limit

    def address(self, key: Key, text: str) -> str:
        """Return an http(s) address, or the name of a variable or file that holds one."""
        # An address may hold a secret: messages do not repeat it.
        if is_named(text):
            return text
        if not is_address(text):
            reason = "is not an http(s) address; write one such as https://example.com/hook"
            raise self.error(key, reason)
        return text

    def local(self, key: Key, path: str) -> str:
        """Return a path as it stands: no address of another machine, and nothing that a shell would have replaced."""
        if "://" in path:
            scheme = path.partition("://")[0]
            raise self.error(key, f"{shown(scheme)} is not available in this release; allowed is a local path")
        if path.startswith("~") or "${" in path:
            raise self.error(key, f"came {shown(path)}; neither `~` nor `${{…}}` is replaced; write the path out")
        return path
