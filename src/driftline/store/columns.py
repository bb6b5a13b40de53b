"""What the columns of a table of the log are called.

A table distinguishes names by more than case, and takes no control characters. A feature or class has its own name
there (``feature.Age``, ``score.rain``), except where that cannot be: where another column differs from it by case only,
or it has characters that cannot be printed, or begins with ``~``. Then it stands behind a ``~``, and each character of
it that changes with case, or cannot be printed, and each ``%``, is ``%xx`` of its UTF-8. So ``Rain`` beside ``rain`` is
``score.~%52ain``. Two names never have one column, and a column that is there keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from driftline.profiles.frame import FEATURE, SCORE

_PREFIXES = (FEATURE, SCORE)
_MARK = "~"
_ESCAPED = re.compile(r"(?:%[0-9a-f]{2})+")


def escape(name: str) -> str:
    """Write a name so that no two differ by case only and all can be printed.

    >>> escape("Rain"), escape("a%\\n")
    ('~%52ain', '~a%25%0a')
    """
    return _MARK + "".join(sign if _is_plain(sign) else _quoted(sign) for sign in name)


def unescape(written: str) -> str:
    """Read a name that `escape` wrote; any other is as it is.

    >>> unescape("~%52ain"), unescape("rain")
    ('Rain', 'rain')
    """
    if not written.startswith(_MARK):
        return written
    return _ESCAPED.sub(
        lambda found: bytes.fromhex(found[0].replace("%", "")).decode(errors="surrogatepass"), written[len(_MARK) :]
    )


class ColumnNames:
    """The columns of one table, by the canonical names of `driftline.profiles.frame`.

    ``there`` are the columns that the table has, ``wanted`` canonical names that it has or will get, in order.
    """

    def __init__(self, there: Iterable[str], wanted: Iterable[str] = ()) -> None:
        self._there = set(there)
        self._folded = {_folded(one): one for one in self._there}
        self._names: dict[str, str] = {}
        for name in wanted:
            self.column(name)

    def column(self, name: str) -> str:
        """Return the column of a canonical name; it is taken from now on."""
        if name not in self._names:
            self._names[name] = column = self._choose(name)
            self._folded.setdefault(_folded(column), column)
        return self._names[name]

    def canonical(self) -> dict[str, str]:
        """Return those columns of the table that are called otherwise than their canonical name: column to name."""
        known = {column: name for name, column in self._names.items()}
        return {column: name for column in self._there if (name := known.get(column) or _unescaped(column)) != column}

    def _choose(self, name: str) -> str:
        prefix = next((one for one in _PREFIXES if name.startswith(one)), None)
        if prefix is None:
            return name
        rest = name.removeprefix(prefix)
        escaped = prefix + escape(rest)
        if escaped in self._there:
            return escaped
        if name in self._there:
            return name
        free = self._folded.get(_folded(name), name) == name
        return name if free and rest.isprintable() and not rest.startswith(_MARK) else escaped


def _unescaped(column: str) -> str:
    prefix = next((one for one in _PREFIXES if column.startswith(one)), None)
    return column if prefix is None else prefix + unescape(column.removeprefix(prefix))


def _is_plain(sign: str) -> bool:
    same = sign == sign.lower() == sign.casefold() == sign.upper().lower()
    return same and sign.isprintable() and sign != "%"


def _quoted(sign: str) -> str:
    return "".join(f"%{byte:02x}" for byte in sign.encode(errors="surrogatepass"))


def _folded(name: str) -> str:
    return name.casefold().upper().lower()
