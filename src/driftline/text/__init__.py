"""Escape text from outside before it is shown: control characters that a terminal or a log viewer would obey."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_OBEYED_IN_LINES = re.compile(_OBEYED.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_CUT = "…"
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")  # of libraries in Rust, and of Python
_TRACE = re.compile(r"\s*(stack backtrace:|\n\s*0: ).*", re.DOTALL)
"""The backtrace that libraries in Rust add to a message if the environment asks for it."""

_SYSTEM = {
    errno.ENOSPC: "the disk is full (No space left on device)",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "files may not grow any larger here",
    errno.EACCES: "permission denied",
    errno.EMFILE: "too many files are open",
    errno.EIO: "the disk reports an error",
}


def visible(text: str) -> str:
    r"""Return text as one line with control characters, line ends and direction overrides escaped.

    Escaped are C0 and C1 (so every escape sequence of a terminal), the separators of lines and paragraphs, the
    overrides and isolates of the bidirectional algorithm, and halves of surrogate pairs, which cannot be encoded. All
    other text, of any script, stays as it is. The function is idempotent.

    >>> visible("\x1b[31mred\x1b[0m\nroot: all is well"), visible("naïve 模型 🌧")
    ('\\x1b[31mred\\x1b[0m\\nroot: all is well', 'naïve 模型 🌧')
    """
    return _OBEYED.sub(_escaped, text)


def visible_lines(text: str) -> str:
    r"""Return text of several lines, such as a page, as by `visible`, with its line ends and tabs as they are.

    >>> print(visible_lines("<b>\u202eevil\x1b[0m</b>\n<i>naïve</i>"))
    <b>\u202eevil\x1b[0m</b>
    <i>naïve</i>
    """
    return _OBEYED_IN_LINES.sub(_escaped, text)


def _escaped(signs: re.Match[str]) -> str:
    return signs[0].encode("unicode_escape").decode()


def acts(text: str) -> bool:
    r"""Tell whether `visible` would change a text.

    >>> acts("plain"), acts("a\tb")
    (False, True)
    """
    return _OBEYED.search(text) is not None


def quoted(text: str, most: int = 100) -> str:
    r"""Return a text in quotes, as by `visible`, cut to at most ``most`` characters.

    >>> print(quoted("a\x1b[2J"), quoted("abcdef", 4))
    'a\x1b[2J' 'abc…'
    """
    return repr(text if len(text) <= most else text[: most - 1] + _CUT)


def listed(names: Sequence[str], most: int) -> str:
    """Join the first ``most`` names, and count the others.

    >>> listed(["a", "b", "c"], 2), listed(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def short(text: str, most: int = 100) -> str:
    """Return a text as by `visible`, cut to at most ``most`` characters.

    >>> short("abcdef", 4)
    'abc…'
    """
    return visible(text if len(text) <= most else text[: most - 1] + _CUT)


def cause(error: BaseException) -> str:
    r"""Return what failed; for an error of the operating system, its own message without the library's around it.

    >>> cause(OSError(28, "No space left on device", "data/log"))
    'the disk is full (No space left on device): data/log'
    >>> cause(RuntimeError("Failed to parse parquet: External: Unable to copy data: No space left (os error 28)"))
    'the disk is full (No space left on device)'
    >>> cause(ValueError("no such class")), cause(ValueError("Truncated record\n   0: <unknown>\n   1: clone3"))
    ('no such class', 'Truncated record')
    """
    if isinstance(error, OSError) and error.errno is not None:
        what = _SYSTEM.get(error.errno, error.strerror or type(error).__name__)
        return f"{what}: {error.filename}" if error.filename else what
    if found := _SYSTEM_ERROR.search(str(error)):
        number = int(found[1] or found[2])
        return _SYSTEM.get(number, os.strerror(number))
    return _TRACE.sub("", str(error))
